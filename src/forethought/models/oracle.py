"""The world itself as a world model: what a planner or an agent does when its model is right."""

from typing import NamedTuple, Protocol, runtime_checkable

import equinox as eqx
import jax
from jaxtyping import Array, Bool

from forethought.envs.functional import FunctionalEnv
from forethought.errors import UsageError
from forethought.types import Key, Outcome, PyTree


@runtime_checkable
class FullyObserved(Protocol):
    """Environments whose observation determines the state."""

    def state_of(self, obs: Array) -> PyTree:
        """The state that shows this observation (unbatched)."""
        ...


class OracleBelief(NamedTuple):
    """The states of n environments and what they show; make one to start from states that are known."""

    state: PyTree
    obs: Array


class Oracle(eqx.Module):
    """A functional environment as a world model; see `WorldModel` for its methods.

    `observe` needs an environment that is `FullyObserved`. Any other is refused with a `UsageError`, unless ``blind``
    is asked for: such an oracle starts from `begin` or from known states, and cannot `observe`.

    The time limit is no part of the world: nothing stops an imagined episode but its termination, and whoever goes on
    after that steps a world that has ended.
    """

    env: FunctionalEnv = eqx.field(static=True)

    def __init__(self, env: FunctionalEnv, *, blind: bool = False):
        self.env = env
        if not blind:
            self._fully_observed()

    def initial(self, n: int) -> OracleBelief:
        """The beginning of n episodes, the same at every call; `begin` draws others."""
        return self.begin(n, key=jax.random.key(0))

    def begin(self, n: int, *, key: Key) -> OracleBelief:
        """The first states of n episodes."""

        def begin(key: Key) -> OracleBelief:
            key_init, key_reset = jax.random.split(key)
            return OracleBelief(*self.env.reset(self.env.init(key_init), key_reset))

        return jax.vmap(begin)(jax.random.split(key, n))

    def observe(
        self, belief: OracleBelief, action: PyTree, obs: Array, first: Bool[Array, " n"], *, key: Key
    ) -> OracleBelief:
        """The state that shows this observation. Raises `UsageError` where the oracle is blind."""
        return OracleBelief(jax.vmap(self._fully_observed().state_of)(obs), obs)

    def features(self, belief: OracleBelief) -> Array:
        """The observation."""
        return belief.obs

    def step(self, belief: OracleBelief, action: Array, *, key: Key) -> tuple[OracleBelief, Outcome]:
        """What happens; each particle draws its own random numbers."""
        keys = jax.random.split(key, action.shape[0])
        state, obs, reward, terminated = jax.vmap(self.env.step)(belief.state, action, keys)
        return OracleBelief(state, obs), Outcome(reward, 1.0 - terminated)

    def _fully_observed(self) -> FullyObserved:
        if not isinstance(self.env, FullyObserved):
            raise UsageError(
                f"{self.env.spec.id} does not tell its state from an observation (it has no state_of); "
                "use Oracle(env, blind=True) and start from its begin"
            )
        return self.env
