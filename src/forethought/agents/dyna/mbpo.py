"""MBPO, model-based policy optimization (Janner et al. 2019, arXiv 1906.08253).

An ensemble is fitted to the real transitions; short rollouts of the current policy branch off real states; SAC learns
from the imagined transitions, many updates per real step.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from forethought.agents.base import Agent, Phase, Portable, Seen
from forethought.agents.ensemble import NOTHING, EnsembleConfig, EnsembleLearner, Known
from forethought.agents.free.sac import ActorCritic, ActorCriticConfig, GaussianActor, SACState
from forethought.errors import UsageError, require_within
from forethought.imagine import branched_rollouts
from forethought.models.ensemble import Ensemble, EnsembleBelief
from forethought.models.fit import FitState
from forethought.models.normalizer import Normalizer
from forethought.replay import ring
from forethought.replay.moments import Replay
from forethought.settings import Settings
from forethought.types import EnvSpec, Info, Key, Transition


@dataclass(frozen=True)
class RolloutSchedule(Settings):
    """Length of the imagined rollouts: ``first`` until step ``start``, ``last`` from ``end``, linear between.

    Steps are counted from the end of the random ones, as the epochs of the official code are.
    """

    start: int = 20_000
    """Environment steps until which rollouts have the first length."""
    end: int = 150_000
    """Environment steps from which they have the last length."""
    first: int = 1
    """Length at the start."""
    last: int = 1
    """Length at the end."""

    def check(self) -> None:
        """Lengths of 1 or more, over a window of time."""
        require_within("first", self.first, 1)
        require_within("last", self.last, 1)
        require_within("start", self.start, 0)
        require_within("end", self.end, self.start)

    def length(self, step: Int[Array, ""]) -> Int[Array, ""]:
        """Steps per rollout from ``step`` on, rounded down (official code, ``_set_rollout_length``)."""
        # The steps at which it changes, worked out in Python's integers: float32 is late at some of them, and products
        # of steps and lengths are beyond int32.
        span, rise = max(self.end - self.start, 1), self.last - self.first
        if rise >= 0:
            changes = [-(-k * span // rise) for k in range(1, rise + 1)]
        else:
            changes = [k * span // -rise + 1 for k in range(-rise)]
        passed = jnp.sum(step - self.start >= jnp.array(changes, jnp.int32), dtype=jnp.int32)
        return self.first + (passed if rise >= 0 else -passed)


@dataclass(frozen=True)
class MBPOConfig(EnsembleConfig):
    """MBPO. Defaults are what the official configurations (``examples/config/*/0.py``) have in common.

    Each fit of the model is followed by rollouts.
    """

    updates_per_step: int = 20
    """Policy updates per environment step (20 in most official configurations)."""
    real_ratio: float = 0.05
    """Share of real transitions in each policy batch."""
    rollouts_per_step: int = 400
    """Rollouts per environment step, made together after each fit: 100,000 every 250 steps."""
    retain: int = 1
    """Epochs whose imagined transitions are kept."""
    epoch_steps: int = 1000
    """Environment steps per epoch, which ``retain`` counts in."""
    schedule: RolloutSchedule = field(default_factory=RolloutSchedule)
    """Length of the rollouts over the run."""
    sac: ActorCriticConfig = field(default_factory=ActorCriticConfig)
    """How the policy learns."""

    def check(self) -> None:
        """Counts, shares and bounds."""
        super().check()
        for name in ("updates_per_step", "rollouts_per_step", "retain", "epoch_steps"):
            require_within(name, getattr(self, name), 1)
        require_within("real_ratio", self.real_ratio, 0.0, 1.0)
        if max(self.imagined_capacity, self.rollouts) > ring.MOST_ROWS:
            raise UsageError(
                f"{self.imagined_capacity:,} imagined transitions are more than a ring holds ({ring.MOST_ROWS:,}); "
                "lower rollouts_per_step, retain or epoch_steps"
            )

    @property
    def rollouts(self) -> int:
        """Rollouts made after each fit."""
        return self.rollouts_per_step * self.model_every

    @property
    def imagined_capacity(self) -> int:
        """Imagined transitions kept when rollouts have reached their greatest length."""
        longest = max(self.schedule.first, self.schedule.last)
        return self.rollouts_per_step * self.epoch_steps * self.retain * longest


class MBPOState(NamedTuple):
    """Everything that changes."""

    sac: SACState
    model: FitState
    imagined: ring.Ring


class MBPO(Agent):
    """The agent; see `MBPOConfig` for its settings and `forethought.agents.base.Agent` for its methods."""

    def __init__(self, config: MBPOConfig, spec: EnvSpec, known: Known = NOTHING):
        self.config, self.spec = config, spec
        self.sac = ActorCritic(config.sac, spec)
        self.learner = EnsembleLearner(config, spec, known=known)
        self.replay_capacity, self.random_steps = config.replay_capacity, config.random_steps
        self.n_real = int(config.sac.batch_size * config.real_ratio)

    def init(self, *, key: Key) -> MBPOState:
        """Fresh policy and model, nothing imagined yet."""
        key_sac, key_model = jax.random.split(key)
        obs, action, no = jnp.zeros(self.sac.n_obs), jnp.zeros(self.sac.n_action), jnp.array(False)
        imagined = ring.create(Transition(obs, action, jnp.array(0.0), obs, no, no), self.config.imagined_capacity)
        return MBPOState(self.sac.init(key=key_sac), self.learner.init(key=key_model), imagined)

    def decide(self, state: MBPOState, carry: Seen, *, key: Key, explore: bool):
        """Sampled while exploring; else the squashed mean."""
        obs = carry.obs
        action = self.sac.policy(state.sac, obs, key=key) if explore else self.sac.best(state.sac, obs)
        return action, carry, ()

    def acts_with(self, state: MBPOState) -> tuple[GaussianActor, Normalizer]:
        """The actor, and the scale at which it sees."""
        return state.sac.actor, state.sac.scales.obs

    def portable(self, state: MBPOState) -> Portable:
        """The squashed mean."""
        return Portable.network(state.sac.actor.net, self.sac.n_action, state.sac.scales.obs)

    def phases(self) -> tuple[Phase, ...]:
        """Fit and imagine every ``model_every`` steps, improve the policy after each step."""
        c, start = self.config, self.learner.start  # never an update before the first fit
        return (
            self.learner.phase(),
            Phase("rollout", c.model_every, self.rollout, start=start, kind="model"),
            Phase("update", 1, self.update, updates=c.updates_per_step, start=start),
        )

    def warnings(self, metrics: dict[str, list[Any]], obs_names: Sequence[str] = ()) -> list[str]:
        """See `EnsembleLearner.warnings`."""
        return self.learner.warnings(metrics, obs_names)

    def world_model(self, state: MBPOState) -> Ensemble:
        """The elites."""
        return state.model.model.predictor()

    def rollout(self, state: MBPOState, replay: Replay, *, step: Array, key: Key) -> tuple[MBPOState, Replay, Info]:
        """Branch rollouts off real states; the ring holds ``retain`` epochs of rollouts of the present length."""
        key_start, key_rollout = jax.random.split(key)
        c, sac = self.config, self.sac.rescaled(state.sac, replay)
        epoch = (step - c.random_steps) // c.epoch_steps  # the length changes where an epoch begins
        length = c.schedule.length(epoch * c.epoch_steps)
        imagined = ring.resize(state.imagined, c.rollouts_per_step * c.epoch_steps * c.retain * length)
        start = replay.sample(c.rollouts, key=key_start).obs
        imagined, added = branched_rollouts(
            state.model.model.predictor(),
            lambda obs, key: self.sac.policy(sac, obs, key=key),
            EnsembleBelief(start),
            length,
            imagined,
            key=key_rollout,
        )
        info = {"rollout_length": length.astype(jnp.float32), "rollout_steps": added}
        return state._replace(sac=sac, imagined=imagined), replay, info

    def update(self, state: MBPOState, replay: Replay, *, step: Array, key: Key) -> tuple[MBPOState, Replay, Info]:
        """``updates_per_step`` steps of SAC, each on ``real_ratio`` real and otherwise imagined transitions."""
        n_real, n = self.n_real, self.config.sac.batch_size

        def draw(key: Key) -> Transition:
            key_real, key_imagined = jax.random.split(key)
            real = replay.sample(n_real, key=key_real)
            imagined = ring.sample(state.imagined, n - n_real, key=key_imagined)
            return jax.tree.map(lambda r, i: jnp.concatenate([r, i]), real, imagined)

        sac, info = self.sac.learn_many(state.sac, draw, self.config.updates_per_step, key=key)
        return state._replace(sac=sac), replay, info
