"""C of World Models: a linear policy, and how candidates for it are tried out, in dreams or in the world."""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from forethought.errors import UsageError
from forethought.imagine import imagined_returns
from forethought.models.base import Belief, WorldModel
from forethought.planning.cma_es import CMAES, Cloud
from forethought.types import Box, Discrete, Key, PyTree


@dataclass(frozen=True)
class LinearPolicy:
    """``a = squash(W [features, 1])``; its parameters are one vector, W row by row.

    A number of an action is ``tanh``, one that is ``one_sided`` the part of it above 0, so that a half of all outputs
    ask for none of it (the brake in the published code). A choice is that of the greatest of one output each, or,
    where there is an ``order``, that in whose interval the tanh of a single output falls, all being equally long
    (left, nothing, right: the published thresholds at a third). Unbatched.

    Raises `UsageError` where ``one_sided`` or ``order`` do not fit the actions.
    """

    n_features: int
    action: Box | Discrete
    one_sided: tuple[int, ...] = ()
    order: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        choices = self.action.n if isinstance(self.action, Discrete) else 0
        if self.order and sorted(self.order) != list(range(choices)):
            takes = f"takes each of the {choices} choices here once, from 0 on" if choices else "is for choices alone"
            raise UsageError(f"c.order is {self.order}; it {takes}")
        numbers = self.action.shape[0] if isinstance(self.action, Box) else 0
        if not set(self.one_sided) <= set(range(numbers)):
            there = f"the numbers of an action here are 0 to {numbers - 1}" if numbers else "actions here are choices"
            raise UsageError(f"c.one_sided is {self.one_sided}; {there}")

    @property
    def n_outputs(self) -> int:
        """Rows of W."""
        if isinstance(self.action, Box):
            return self.action.shape[0]
        return 1 if self.order else self.action.n

    @property
    def size(self) -> int:
        """Parameters: 867 in CarRacing, of 32 + 256 features."""
        return (self.n_features + 1) * self.n_outputs

    def __call__(self, parameters: Float[Array, " d"], features: Float[Array, " f"]) -> PyTree:
        """The action."""
        weight = parameters.reshape(self.n_outputs, -1)
        return self.of_outputs(weight[:, :-1] @ features + weight[:, -1])

    def of_outputs(self, outputs: Float[Array, " o"]) -> PyTree:
        """What outputs of any size stand for."""
        if isinstance(self.action, Box):
            return self.of_numbers(jnp.tanh(outputs))
        if not self.order:
            return jnp.argmax(outputs).astype(jnp.int32)
        n = self.action.n
        place = jnp.clip(jnp.floor(0.5 * n * (jnp.tanh(outputs[0]) + 1.0)), 0, n - 1).astype(jnp.int32)
        return jnp.array(self.order, jnp.int32)[place]

    def of_numbers(self, numbers: Float[Array, "*b a"]) -> Float[Array, "*b a"]:
        """Of numbers in [-1, 1] those that are ``one_sided`` bent, so that what is below 0 is none, which is -1."""
        if not self.one_sided:
            return numbers
        bent = jnp.isin(jnp.arange(numbers.shape[-1]), jnp.array(self.one_sided))
        return jnp.where(bent, 2.0 * jnp.maximum(numbers, 0.0) - 1.0, numbers)


def dreamt(
    model: WorldModel[Belief],
    policy: LinearPolicy,
    candidates: Float[Array, "p d"],
    begin: Belief,
    horizon: int,
    *,
    key: Key,
) -> tuple[Float[Array, "p r"], Int[Array, "p r"]]:
    """What each candidate earns in dreams that begin from r beliefs, the same for all, and how many steps they last."""
    p, r = candidates.shape[0], jax.tree.leaves(begin)[0].shape[0]
    many = jax.tree.map(lambda x: jnp.concatenate([x] * p), begin)

    def act(features: Float[Array, "n f"], key: Key) -> PyTree:
        of_each = jax.vmap(lambda c, seen: jax.vmap(lambda x: policy(c, x))(seen))
        action = of_each(candidates, features.reshape(p, r, -1))
        return action.reshape(p * r, *action.shape[2:])

    earned, lived = imagined_returns(model, act, many, horizon, key=key)
    return earned.reshape(p, r), lived.reshape(p, r)


def judged(earned: Float[Array, "p r"]) -> Float[Array, " p"]:
    """What each candidate is worth: the mean of what it earned.

    In steps of a hundred-thousandth of the greatest: candidates that act alike differ by rounding alone, which must not
    rank them, for seeds side by side round otherwise than alone.
    """
    value = jnp.mean(earned, axis=1)
    step = jnp.maximum(1e-5 * jnp.max(jnp.abs(value)), 1e-30)
    return jnp.round(value / step) * step


class Trials(NamedTuple):
    """Candidates that are tried out in the world, number i mod p in environment i.

    Attributes:
        running: what the episode of each environment has earned so far.
        own: whether it began with the candidate that is tried there now.
        earned, ended: of each candidate, over its episodes that have ended; none counts after ``episodes``.
        value: mean over the last generation that was done.
    """

    candidates: Float[Array, "p d"]
    running: Float[Array, " n"]
    own: Bool[Array, " n"]
    earned: Float[Array, " p"]
    ended: Int[Array, " p"]
    value: Float[Array, ""]

    @classmethod
    def begin(cls, candidates: Float[Array, "p d"], n: int) -> "Trials":
        """None has been tried."""
        p = candidates.shape[0]
        nothing = jnp.zeros(p), jnp.zeros(p, jnp.int32), jnp.array(0.0)
        return cls(candidates, jnp.zeros(n), jnp.zeros(n, bool), *nothing)

    def after(self, reward: Float[Array, " n"], over: Bool[Array, " n"], episodes: int) -> "Trials":
        """With one step more of each environment; ``over``: an episode has ended with it."""
        p, n = self.candidates.shape[0], reward.shape[0]
        running, whose = self.running + reward, jnp.arange(n) % p
        room = episodes - self.ended[whose]
        turn = jnp.cumsum((over & self.own).reshape(-1, p), axis=0).reshape(n)  # of those of a candidate that end now
        counts = over & self.own & (turn <= room)
        earned = self.earned.at[whose].add(jnp.where(counts, running, 0.0))
        ended = self.ended.at[whose].add(counts.astype(jnp.int32))
        return Trials(self.candidates, jnp.where(over, 0.0, running), self.own | over, earned, ended, self.value)

    def next_generation(
        self, search: CMAES, cloud: Cloud, over: Bool[Array, " n"], episodes: int, *, key: Key
    ) -> tuple[Cloud, "Trials"]:
        """Where every candidate has had its episodes: what the search makes of them, and the next ones to try.

        Episodes that begin after this step, where one is ``over``, are theirs; those under way count for nobody.
        """

        def move(_: None) -> tuple[Cloud, Trials]:
            value = self.earned / episodes
            moved = search.tell(cloud, self.candidates, value)
            fresh = Trials.begin(search.ask(moved, key=key), over.shape[0])
            return moved, fresh._replace(running=self.running, own=over, value=jnp.mean(value))

        done = jnp.all(self.ended >= episodes)
        return jax.lax.cond(done, move, lambda _: (cloud, self), None)
