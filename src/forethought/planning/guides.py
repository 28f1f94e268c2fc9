"""What a planner searches for, and what it knows before it searches.

A planner chooses *decisions* ``x_t``, numbers per step of the plan. A guide says what they mean: actions, corrections
of a policy's actions, or changes of a policy's parameters; where the search begins; and what the state at the end of
the plan is worth.
"""

from collections.abc import Callable
from typing import Protocol, TypeAlias, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from forethought.errors import UsageError
from forethought.imagine import imagine
from forethought.models.base import Belief, WorldModel
from forethought.types import Box, Discrete, Key, PyTree

LeafValue: TypeAlias = Callable[[PyTree], Array]  # features [n, ...] -> values [n]
Actor: TypeAlias = Callable[[Array], Array]  # a module; features of one state -> an action in [-1, 1]


@runtime_checkable  # for the type checks of the tests
class Guide(Protocol):
    """See the module. Decisions have the shape ``(steps, d)`` that `shape` gives; all methods are pure."""

    low: float
    high: float
    continues: bool  # whether a search goes on from the last one's plan, moved on by a step; else `begin` each time

    def shape(self, horizon: int) -> tuple[int, ...]:
        """Shape of the decisions of one plan; a first axis of 1 means one decision for all steps."""
        ...

    def begin(self, model: WorldModel[Belief], belief: Belief, horizon: int, *, key: Key) -> Float[Array, "n s d"]:
        """Where the search begins, for n states."""
        ...

    def draw(self, shape: tuple[int, ...], *, key: Key) -> Array:
        """Uniformly random decisions."""
        ...

    def act(self, features: PyTree, x: Array) -> PyTree:
        """The actions [n, ...] that decisions [n, d] mean in states with these features."""
        ...

    def value(self, features: PyTree) -> Float[Array, " n"]:
        """What the rest is worth, beyond the end of the plan."""
        ...


class Actions(eqx.Module):
    """Decisions are the actions themselves; ``leaf`` is the value of the last state (0 where None)."""

    n_action: int = eqx.field(static=True)
    leaf: LeafValue | None = None
    low: float = eqx.field(static=True, default=-1.0)
    high: float = eqx.field(static=True, default=1.0)
    continues: bool = eqx.field(static=True, default=True)

    def shape(self, horizon: int) -> tuple[int, ...]:
        """One action per step."""
        return horizon, self.n_action

    def begin(self, model: WorldModel[Belief], belief: Belief, horizon: int, *, key: Key) -> Float[Array, "n s d"]:
        """The middle of the bounds."""
        return jnp.zeros((_count(belief), *self.shape(horizon)))

    def draw(self, shape: tuple[int, ...], *, key: Key) -> Array:
        """Uniform within the bounds."""
        return jax.random.uniform(key, shape, minval=self.low, maxval=self.high)

    def act(self, features: PyTree, x: Array) -> PyTree:
        """As decided."""
        return x

    def value(self, features: PyTree) -> Float[Array, " n"]:
        """By the leaf."""
        return jnp.zeros(jax.tree.leaves(features)[0].shape[0]) if self.leaf is None else self.leaf(features)


class Choices(Actions):
    """Decisions are Discrete actions, int32 of shape ``(steps,)``. Only random shooting can search them."""

    def shape(self, horizon: int) -> tuple[int, ...]:
        """One choice per step."""
        return (horizon,)

    def begin(self, model: WorldModel[Belief], belief: Belief, horizon: int, *, key: Key) -> Array:
        """The first choice throughout; nothing begins from it."""
        return jnp.zeros((_count(belief), horizon), jnp.int32)

    def draw(self, shape: tuple[int, ...], *, key: Key) -> Array:
        """Uniform."""
        return jax.random.randint(key, shape, 0, self.n_action)


class Proposals(Actions):
    """POPLIN-A-Init (Wang & Ba 2019, arXiv 1906.08649, section 4.1): the search begins at the actions of a policy.

    Not quite at the bounds, though: where CEM's standard deviation is half the distance to the bound, nothing leads
    away from one.
    """

    actor: Actor | None = None
    continues: bool = eqx.field(static=True, default=False)

    def begin(self, model: WorldModel[Belief], belief: Belief, horizon: int, *, key: Key) -> Float[Array, "n s d"]:
        """What the policy would do, by the model, within three quarters of the bounds."""
        assert self.actor is not None
        actor = self.actor
        _, imagined = imagine(model, lambda features, _: jax.vmap(actor)(features), belief, horizon, key=key)
        return jnp.clip(jnp.moveaxis(imagined.transition.action, 0, 1), 0.75 * self.low, 0.75 * self.high)


class Corrections(Actions):
    """POPLIN-A-Replan: decisions are added to the actions of a policy that sees the imagined states."""

    actor: Actor | None = None
    low: float = eqx.field(static=True, default=-2.0)  # from one end of the action's range to the other
    high: float = eqx.field(static=True, default=2.0)

    def act(self, features: PyTree, x: Array) -> PyTree:
        """``clip(policy(s) + x)``."""
        assert self.actor is not None
        return jnp.clip(jax.vmap(self.actor)(features) + x, -1.0, 1.0)


class Parameters(Actions):
    """POPLIN-P (section 4.2): decisions are added to the parameters of a policy.

    ``shared``: one change for the whole plan ("Uni"), else one for each step ("Sep").
    """

    actor: Actor | None = None
    shared: bool = eqx.field(static=True, default=False)
    low: float = eqx.field(static=True, default=-jnp.inf)
    high: float = eqx.field(static=True, default=jnp.inf)

    def shape(self, horizon: int) -> tuple[int, ...]:
        """A change of all parameters."""
        return (1 if self.shared else horizon), sum(leaf.size for leaf in jax.tree.leaves(self.actor))

    def draw(self, shape: tuple[int, ...], *, key: Key) -> Array:
        """Raises `UsageError`: there are no bounds to draw within."""
        raise UsageError("changes of parameters have no bounds that random shooting could draw within; use cem")

    def act(self, features: PyTree, x: Array) -> PyTree:
        """``policy_{theta + x}(s)``."""
        flat, unravel = ravel_pytree(self.actor)
        return jax.vmap(lambda f, change: unravel(flat + change)(f))(features, x)


def free(space: Box | Discrete, leaf: LeafValue | None = None) -> Actions:
    """The guide that knows nothing of the actions, for a space of actions."""
    return Actions(space.shape[0], leaf) if isinstance(space, Box) else Choices(space.n, leaf)


def _count(belief: Belief) -> int:
    return jax.tree.leaves(belief)[0].shape[0]
