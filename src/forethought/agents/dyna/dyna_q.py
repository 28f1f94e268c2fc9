"""Dyna-Q and Dyna-Q+ (Sutton 1990; Sutton & Barto 2018, sections 8.2 and 8.3): a table learns from life and memory."""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from forethought.agents.base import Agent, Phase, Portable, Seen
from forethought.agents.dyna.tables import epsilon_greedy, q_learning
from forethought.errors import require_within
from forethought.models.tabular import TabularModel
from forethought.replay.moments import Replay
from forethought.settings import Settings
from forethought.types import Discrete, EnvSpec, Info, Key, Transition


@dataclass(frozen=True)
class DynaQConfig(Settings):
    """Dyna-Q. Defaults are those of the maze of Sutton & Barto, example 8.1."""

    step_size: float = 0.1
    """Share of the temporal difference that enters the table."""
    discount: float = 0.95
    """Factor per step on the value of what follows."""
    epsilon: float = 0.1
    """Chance of a uniformly random action while learning."""
    planning_steps: int = 50
    """Updates from the model after each real step; 0 is plain Q-learning."""
    kappa: float = 0.0
    """Bonus ``kappa sqrt(steps since the pair was tried)`` in planning; above 0 is Dyna-Q+."""
    model_decay: float = 1.0
    """Factor on older counts of a pair at each visit: 1 the empirical distribution, 0 only the last outcome."""
    outcomes: int = 8
    """Distinct outcomes that the model keeps per state and action."""

    def check(self) -> None:
        """Counts, shares and bounds."""
        require_within("planning_steps", self.planning_steps, 0)
        require_within("outcomes", self.outcomes, 1)
        require_within("kappa", self.kappa, 0.0)
        for name in ("step_size", "discount", "epsilon", "model_decay"):
            require_within(name, getattr(self, name), 0.0, 1.0)


@dataclass(frozen=True)
class DynaQPlusConfig(DynaQConfig):
    """Dyna-Q+: as Dyna-Q, and curious about what it has not tried for long."""

    kappa: float = 1e-4
    """Bonus ``kappa sqrt(steps since the pair was tried)`` in planning. The book gives
    no value; Zhang's replication takes 1e-4 for its figure 8.4 and 1e-3 for 8.5."""
    model_decay: float = 0.0
    """Factor on older counts of a pair at each visit; 0, only the last outcome counts, suits a changing world."""


class DynaQState(NamedTuple):
    """Everything that changes."""

    q: Float[Array, "s a"]
    model: TabularModel
    last_tried: Int[Array, "s a"]  # the step at which a pair was last tried for real


class DynaQ(Agent):
    """The agent; see `DynaQConfig` for its settings and `forethought.agents.base.Agent` for its methods.

    With ``kappa > 0`` planning may also choose actions that were never tried in states that were visited; until they
    are tried the model says that they lead back to the state with reward 0 (book, footnote to section 8.3).
    """

    random_steps = 0
    replay_capacity = 1_000_000  # each row is read once, by its number: room for all whose learning was put off

    def __init__(self, config: DynaQConfig, spec: EnvSpec):
        assert isinstance(spec.obs, Discrete)
        assert isinstance(spec.action, Discrete)
        self.config, self.spec = config, spec
        self.n_states, self.n_actions = spec.obs.n, spec.action.n

    def init(self, *, key: Key) -> DynaQState:
        """Zeros: the table knows nothing."""
        shape = self.n_states, self.n_actions
        model = TabularModel(*shape, outcomes=self.config.outcomes, decay=self.config.model_decay)
        return DynaQState(jnp.zeros(shape), model, jnp.zeros(shape, jnp.int32))

    def decide(self, state: DynaQState, carry: Seen, *, key: Key, explore: bool):
        """Epsilon-greedy while learning, greedy when evaluated; ties are broken at random in both."""
        return epsilon_greedy(state.q, carry.obs, self.config.epsilon if explore else 0.0, key=key), carry, ()

    def acts_with(self, state: DynaQState) -> Array:
        """The table."""
        return state.q

    def portable(self, state: DynaQState) -> Portable:
        """The table."""
        return Portable("table", {"q": state.q})

    def phases(self) -> tuple[Phase, ...]:
        """One phase: the transition of each step, then ``planning_steps`` updates from the model."""
        return (Phase("update", 1, self.update, updates=1 + self.config.planning_steps),)

    def world_model(self, state: DynaQState) -> TabularModel:
        """The counts."""
        return state.model

    def update(self, state: DynaQState, replay: Replay, *, step: Array, key: Key) -> tuple[DynaQState, Replay, Info]:
        """Learn from the transition of this step, remember it, then plan."""
        t = replay.numbered(step - 1)
        q = q_learning(state.q, t, self.config.step_size, self.config.discount)
        model = state.model.learn(t)
        last_tried = state.last_tried.at[t.obs, t.action].set(step)

        def plan(q: Array, dream: Transition) -> tuple[Array, None]:
            return q_learning(q, dream, self.config.step_size, self.config.discount), None

        # The model stays as it is meanwhile: all is drawn at once, and only the values follow one another.
        key_pairs, key_outcomes = jax.random.split(key)
        s, a = self._imagined_pairs(model, key=key_pairs)
        dreams = model.sample_outcomes(s, a, key=key_outcomes)
        bonus = self.config.kappa * jnp.sqrt((step - last_tried[s, a]).astype(jnp.float32))
        q, _ = jax.lax.scan(plan, q, dreams._replace(reward=dreams.reward + bonus))
        info = {"q_max": jnp.max(q), "pairs_visited": model.n_pairs.astype(jnp.float32)}
        return DynaQState(q, model, last_tried), replay, info

    def _imagined_pairs(self, model: TabularModel, *, key: Key) -> tuple[Array, Array]:
        """What planning tries: visited pairs, and in Dyna-Q+ any action of visited states.

        The book's Tabular Dyna-Q draws a visited state and then an action taken in it; here all visited pairs are
        equally likely, which differs where states have different numbers of actions tried.
        """
        n = self.config.planning_steps
        if self.config.kappa == 0:
            return model.sample_pairs(n, key=key)
        key_state, key_action = jax.random.split(key)
        return model.sample_states(n, key=key_state), jax.random.randint(key_action, (n,), 0, self.n_actions)
