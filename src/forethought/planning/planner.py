"""A planner: a search over decisions whose worth a world model tells.

One contract for every search: all that differs between random shooting, CEM, iCEM and MPPI is in the `Search`.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, Protocol, TypeAlias, TypeVar, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Num

from forethought.errors import require_within
from forethought.imagine import follow
from forethought.models.base import Belief, WorldModel
from forethought.planning.guides import Guide
from forethought.types import Key, PyTree

Carry = TypeVar("Carry")
# (decisions [n, p, s, d], key) -> values [n, p], -inf where broken
Objective: TypeAlias = Callable[[Array, Key], Array]


class Found(NamedTuple):
    """What a search found for each of n states; ``value`` is what it believes the decisions are worth."""

    decisions: Num[Array, "n s *d"]
    value: Float[Array, " n"]


class Plan(NamedTuple):
    """What to do now, and what was thought."""

    action: PyTree
    decisions: Num[Array, "n s *d"]
    value: Float[Array, " n"]


@runtime_checkable  # for the type checks of the tests
class Search(Protocol[Carry]):
    """Looks for decisions of great value. A frozen dataclass of settings; all methods are pure.

    ``carry`` is what it keeps from one decision to the next; `begin` makes it from a first guess.
    """

    def begin(self, mean: Num[Array, "n s *d"]) -> Carry:
        """What is carried before the first search, given the middle of what is to be searched."""
        ...

    def search(self, objective: Objective, guide: Guide, carry: Carry, *, key: Key) -> tuple[Found, Carry]:
        """Search from where the carry says."""
        ...

    def move_on(self, carry: Carry) -> Carry:
        """The carry one step of the plan later."""
        ...


@dataclass(frozen=True)
class Planner(Generic[Carry]):
    """Chooses actions by a search in a world model, for n states at once.

    Attributes:
        search: how decisions are looked for.
        horizon: imagined steps per plan.
        particles: rollouts per plan, whose returns are averaged.
        discount: factor per step on what follows.
    """

    search: Search
    horizon: int
    particles: int = 1
    discount: float = 1.0

    def __post_init__(self) -> None:
        require_within("horizon", self.horizon, 1)
        require_within("particles", self.particles, 1)
        require_within("discount", self.discount, 0.0, 1.0)

    def init(self, guide: Guide, n: int) -> Carry:
        """The carry at the beginning of an episode."""
        return self.search.begin(jnp.zeros((n, *guide.shape(self.horizon))))

    def plan(
        self,
        model: WorldModel[Belief],
        guide: Guide,
        belief: Belief,
        carry: Carry,
        first: Bool[Array, " n"],
        *,
        key: Key,
    ) -> tuple[Plan, Carry]:
        """What to do in n beliefs, and the carry of the next call. ``first[i]``: an episode begins with belief i."""
        key_guide, key_search = jax.random.split(key)
        guide = guide.prepare(model, belief, self.horizon, key=key_guide)
        begun = self.init(guide, first.shape[0])
        carry = jax.tree.map(lambda new, old: _where(first, new, old), begun, carry)

        def objective(x: Array, key: Key) -> Array:
            return plan_values(model, guide, belief, x, self.horizon, self.particles, self.discount, key=key)

        found, carry = self.search.search(objective, guide, carry, key=key_search)
        action = guide.act(model.features(belief), guide.place(found.decisions[:, None])[:, 0, 0])
        return Plan(action, *found), self.search.move_on(carry)


def plan_values(
    model: WorldModel[Belief],
    guide: Guide,
    belief: Belief,
    x: Num[Array, "n p s *d"],
    horizon: int,
    particles: int = 1,
    discount: float = 1.0,
    *,
    key: Key,
) -> Float[Array, "n p"]:
    """What each of p plans is worth in each of n beliefs: the mean over particles of ``sum_t g^t r_t + g^H V(s_H)``.

    The guide must be prepared for these beliefs.

    Nothing is earned after an imagined termination. A plan is worth -inf where a particle's return is not finite, or an
    observation that it meets while alive; also where that observation counts as the end, for it might be a cheap one.

    The particles are the outermost axis of the batch, so that a model that deals its batch out in order (an ensemble)
    lets every member see an equal share of each plan's particles.
    """
    n, p, steps = x.shape[:3]
    rows = particles * n * p

    def spread(leaf: Array) -> Array:
        return jnp.broadcast_to(leaf[None, :, None], (particles, n, p, *leaf.shape[1:])).reshape(rows, *leaf.shape[1:])

    def decide(features: PyTree, x_t: Array, key: Key) -> PyTree:
        return guide.act(features, jnp.tile(x_t, (particles, *[1] * (x_t.ndim - 1))))

    decisions = jnp.moveaxis(guide.place(x), 2, 0).reshape(steps, n * p, *x.shape[3:])
    if steps < horizon:  # one decision for all steps
        decisions = jnp.broadcast_to(decisions, (horizon, *decisions.shape[1:]))
    last, alive, imagined = follow(model, decide, jax.tree.map(spread, belief), decisions, key=key)
    powers = discount ** jnp.arange(horizon)
    value = jnp.einsum("h,hr->r", powers, jnp.where(imagined.alive, imagined.transition.reward, 0.0))
    value += jnp.where(alive, discount**horizon * guide.value(model.features(last)), 0.0)
    value = jnp.where(jnp.all(_sound(imagined.transition.next_obs) | ~imagined.alive, axis=0), value, -jnp.inf)
    value = jnp.mean(value.reshape(particles, n, p), axis=0)
    return jnp.where(jnp.isfinite(value), value, -jnp.inf)


def shifted(x: Float[Array, "*b s d"], fill: Array | float = 0.0) -> Float[Array, "*b s d"]:
    """A plan one step later: the first decision is gone, ``fill`` is the last one. A single decision stays."""
    if x.shape[-2] == 1:
        return x
    return jnp.concatenate([x[..., 1:, :], jnp.broadcast_to(fill, x[..., :1, :].shape)], axis=-2)


def _sound(features: PyTree) -> Bool[Array, "h r"]:
    finite = [jnp.all(jnp.isfinite(leaf), axis=tuple(range(2, leaf.ndim))) for leaf in jax.tree.leaves(features)]
    return functools.reduce(jnp.logical_and, finite)


def _where(fresh: Bool[Array, " n"], new: Any, old: Any) -> Array:
    return jnp.where(fresh.reshape(-1, *[1] * (new.ndim - 1)), new, old)
