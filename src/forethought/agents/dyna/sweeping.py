"""Prioritized sweeping (Moore & Atkeson 1993; Peng & Williams 1993; Sutton & Barto 2018, section 8.4)."""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from forethought.agents.base import Agent, Phase, Portable, Seen
from forethought.agents.dyna.tables import epsilon_greedy
from forethought.errors import require_within
from forethought.models.tabular import TabularModel
from forethought.replay.moments import Replay
from forethought.settings import Settings
from forethought.types import Discrete, EnvSpec, Info, Key


@dataclass(frozen=True)
class SweepingConfig(Settings):
    """Prioritized sweeping: planning where the values are most wrong, with full backups through the model.

    Discount and epsilon are those of the mazes of Sutton & Barto, the threshold is that of Zhang's replication of
    example 8.4; the other defaults are ours.
    """

    discount: float = 0.95
    """Factor per step on the value of what follows."""
    epsilon: float = 0.1
    """Chance of a uniformly random action while learning."""
    planning_steps: int = 10
    """Backups after each real step, at most."""
    threshold: float = 1e-4
    """Changes smaller than this do not spread (theta in the book)."""
    model_decay: float = 1.0
    """Factor on older counts of a pair at each visit: 1 the empirical distribution, 0 only the last outcome."""
    outcomes: int = 8
    """Distinct outcomes that the model keeps per state and action."""

    def check(self) -> None:
        """Counts, shares and bounds."""
        require_within("planning_steps", self.planning_steps, 0)
        require_within("outcomes", self.outcomes, 1)
        require_within("threshold", self.threshold, 0.0)
        for name in ("discount", "epsilon", "model_decay"):
            require_within(name, getattr(self, name), 0.0, 1.0)


class SweepingState(NamedTuple):
    """Everything that changes. ``priority`` is the queue: one number per pair, 0 outside of it."""

    q: Float[Array, "s a"]
    priority: Float[Array, "s a"]
    model: TabularModel


def expected_target(q: Float[Array, "s a"], model: TabularModel, discount: float) -> Float[Array, "s a"]:
    """``sum_k p_k (r_k + gamma (1 - terminated_k) max_a Q(s'_k, a))`` for every pair, by the model's counts."""
    value = jnp.where(model.ended, 0.0, jnp.max(q, axis=1)[model.next_state])
    return jnp.sum(model.probability() * (model.reward + discount * value), axis=-1)


class PrioritizedSweeping(Agent):
    """The agent; see `SweepingConfig` for its settings and `forethought.agents.base.Agent` for its methods.

    A priority array with ``argmax`` in place of a heap: one backup is a few passes over S x A x outcomes numbers,
    without branches, so it also runs for many seeds at once.
    """

    random_steps = 0
    replay_capacity = 1_000_000  # each row is read once, by its number: room for all whose learning was put off

    def __init__(self, config: SweepingConfig, spec: EnvSpec):
        assert isinstance(spec.obs, Discrete)
        assert isinstance(spec.action, Discrete)
        self.config, self.spec = config, spec
        self.n_states, self.n_actions = spec.obs.n, spec.action.n

    def init(self, *, key: Key) -> SweepingState:
        """Zeros: the table knows nothing and nothing is queued."""
        shape = self.n_states, self.n_actions
        model = TabularModel(*shape, outcomes=self.config.outcomes, decay=self.config.model_decay)
        return SweepingState(jnp.zeros(shape), jnp.zeros(shape), model)

    def decide(self, state: SweepingState, carry: Seen, *, key: Key, explore: bool):
        """Epsilon-greedy while learning, greedy when evaluated; ties are broken at random in both."""
        return epsilon_greedy(state.q, carry.obs, self.config.epsilon if explore else 0.0, key=key), carry, ()

    def acts_with(self, state: SweepingState) -> Array:
        """The table."""
        return state.q

    def portable(self, state: SweepingState) -> Portable:
        """The table."""
        return Portable("table", {"q": state.q})

    def phases(self) -> tuple[Phase, ...]:
        """One phase: remember the transition of each step, then back up where the error is greatest."""
        return (Phase("update", 1, self.update, updates=self.config.planning_steps),)

    def world_model(self, state: SweepingState) -> TabularModel:
        """The counts."""
        return state.model

    def update(
        self, state: SweepingState, replay: Replay, *, step: Array, key: Key
    ) -> tuple[SweepingState, Replay, Info]:
        """Queue the pair just lived through by its error, then serve the queue."""
        t = replay.numbered(step - 1)
        model = state.model.learn(t)
        error = jnp.abs(expected_target(state.q, model, self.config.discount) - state.q)
        priority = state.priority.at[t.obs, t.action].set(self._worth(error[t.obs, t.action]))

        def back_up(carry: tuple[Array, Array], _: None) -> tuple[tuple[Array, Array], None]:
            q, priority = carry
            s, a = jnp.unravel_index(jnp.argmax(priority), priority.shape)
            waiting = priority[s, a] > 0
            target = expected_target(q, model, self.config.discount)[s, a]
            q = q.at[s, a].set(jnp.where(waiting, target, q[s, a]))
            priority = priority.at[s, a].set(0.0)
            leads_here = jnp.any((model.next_state == s) & ~model.ended & (model.count > 0), axis=-1)
            error = self._worth(jnp.abs(expected_target(q, model, self.config.discount) - q))
            return (q, jnp.where(waiting & leads_here, error, priority)), None

        (q, priority), _ = jax.lax.scan(back_up, (state.q, priority), length=self.config.planning_steps)
        info = {"q_max": jnp.max(q), "queued": jnp.sum(priority > 0).astype(jnp.float32)}
        return SweepingState(q, priority, model), replay, info

    def _worth(self, error: Array) -> Array:
        return jnp.where(error > self.config.threshold, error, 0.0)
