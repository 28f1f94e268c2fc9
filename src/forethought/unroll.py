"""The one loop over reality: an actor lives in a world, as in `forethought.imagine` a policy does in a believed one."""

import itertools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Protocol, TypeAlias, runtime_checkable

import numpy as np

from forethought.envs.contract import Step
from forethought.types import TimeStep

# (time step [n, ...], carry, t) -> (actions [n, ...], carry)
Actor: TypeAlias = Callable[[TimeStep, Any, int], tuple[np.ndarray, Any]]


@runtime_checkable  # for the type checks of the tests
class World(Protocol):
    """What can be lived in: any `VectorEnv`."""

    def now(self) -> TimeStep:
        """The moment to act on."""
        ...

    def reset(self) -> TimeStep:
        """The first moment."""
        ...

    def step(self, action: np.ndarray) -> Step:
        """What the actions lead to."""
        ...


class Moment(NamedTuple):
    """A time step of n environments, the actions in it, and what they led to."""

    time_step: TimeStep
    action: np.ndarray
    step: Step


def unroll(world: World, act: Actor, carry: Any, steps: int | None = None, *, anew: bool = True) -> Iterator[Moment]:
    """Let ``act`` live in the world for ``steps`` steps or for ever, from a reset or from where the world stands.

    Whoever iterates may stop at any moment, or move the world on between two.
    """
    if anew:
        world.reset()
    for t in itertools.count() if steps is None else range(steps):
        now = world.now()
        action, carry = act(now, carry, t)
        yield Moment(now, action, world.step(action))
