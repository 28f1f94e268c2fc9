"""What a world model is: an environment in belief space.

A belief is any pytree with a leading axis n. Everything else in the library is a use of ``step``. Further powers are
separate protocols, so that a user of a model states in its signature what it needs.
"""

from typing import Protocol, TypeVar, runtime_checkable

from jaxtyping import Array, Bool, Float

from forethought.types import Key, Outcome, PyTree

Belief = TypeVar("Belief")
Believed = TypeVar("Believed", contravariant=True)


@runtime_checkable  # for the type checks of the tests
class WorldModel(Protocol[Belief]):
    """A module of arrays that can be stepped in imagination. All methods are batched over n and pure."""

    def initial(self, n: int) -> Belief:
        """The belief before anything was seen."""
        ...

    def observe(self, belief: Belief, action: PyTree, obs: PyTree, first: Bool[Array, " n"], *, key: Key) -> Belief:
        """Filter reality: the belief after ``action`` led to ``obs``; ``first`` forgets what came before."""
        ...

    def step(self, belief: Belief, action: PyTree, *, key: Key) -> tuple[Belief, Outcome]:
        """Imagine: the belief after ``action``, with the reward and whether the world continues."""
        ...

    def features(self, belief: Belief) -> PyTree:
        """What a policy or a value function reads of a belief; the observation itself in models of observations."""
        ...


@runtime_checkable  # for the type checks of the tests
class Disagrees(Protocol[Believed]):
    """Models that can say how far they are from agreeing with themselves."""

    def disagreement(self, belief: Believed, action: PyTree) -> Float[Array, " n"]:
        """Spread of the predictions of the members, in units of the data's standard deviation."""
        ...


@runtime_checkable  # for the type checks of the tests
class GivesDensity(Protocol[Believed]):
    """Models that can say how likely an observation is."""

    def log_density(self, belief: Believed, action: PyTree, obs: PyTree) -> Float[Array, " n"]:
        """``ln p(obs | belief, action)`` of the next observation, in its own units."""
        ...
