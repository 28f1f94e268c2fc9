"""Planning on a learned ensemble: random shooting, CEM, iCEM, MPPI. PETS is one choice of settings of it.

The real transitions teach an ensemble; every action is the first of a plan that the ensemble believes in. No policy is
learned.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array

from forethought.agents.base import Phase, Portable
from forethought.agents.ensemble import NOTHING, EnsembleConfig, EnsembleLearner, Known
from forethought.errors import BadSetting, UsageError, require_within
from forethought.models.ensemble import Ensemble, EnsembleBelief, Propagation
from forethought.models.fit import FitState
from forethought.models.rewards import known_reward
from forethought.planning.cem import CEM, ICEM
from forethought.planning.guides import free
from forethought.planning.mppi import MPPI
from forethought.planning.planner import Planner
from forethought.planning.shooting import RandomShooting
from forethought.types import EnvSpec, Key


@dataclass(frozen=True)
class PlanningConfig(EnsembleConfig):
    """Planning on a learned ensemble, every action anew. Defaults are those of mbrl-lib's PETS where PETS has none."""

    horizon: int = 15
    """Imagined steps per plan."""
    particles: int = 20
    """Rollouts per plan, whose returns are averaged."""
    discount: float = 1.0
    """Factor per imagined step on what follows."""
    propagation: Propagation = "ts1"
    """How particles meet members: ts1 a new one each step, ts_inf one for good, expectation the mean of all."""
    reward: Literal["learned", "known"] = "learned"
    """Whose reward counts: the ensemble's, or a known function of the environment where there is one. A function that
    the user gives (``--reward``) always does."""
    model_every: int = 50
    """Environment steps between two fits of the model (mbrl-lib's PETS on cartpole)."""
    random_steps: int = 200
    """Environment steps with random actions before the first fit (one trial of cartpole)."""
    members: int = 5
    """Networks in the ensemble (official PETS)."""

    def check(self) -> None:
        """Counts, shares and bounds."""
        super().check()
        require_within("horizon", self.horizon, 1)
        require_within("particles", self.particles, 1)
        require_within("discount", self.discount, 0.0, 1.0)
        if self.propagation == "ts_inf" and self.particles % self.elites:
            raise BadSetting(
                "particles",
                f"is {self.particles}; with ts_inf it must be a multiple of the {self.elites} elites, "
                "or some plans would be judged by kinder members than others",
            )


@dataclass(frozen=True)
class RandomShootingConfig(PlanningConfig):
    """Random shooting on a learned ensemble (Nagabandi et al. 2018)."""

    search: RandomShooting = field(default_factory=RandomShooting)
    """How plans are looked for."""


@dataclass(frozen=True)
class CEMConfig(PlanningConfig):
    """The cross-entropy method on a learned ensemble."""

    search: CEM = field(default_factory=CEM)
    """How plans are looked for."""


@dataclass(frozen=True)
class ICEMConfig(PlanningConfig):
    """iCEM on a learned ensemble (Pinneri et al. 2020)."""

    search: ICEM = field(default_factory=ICEM)
    """How plans are looked for."""


@dataclass(frozen=True)
class MPPIConfig(PlanningConfig):
    """MPPI on a learned ensemble."""

    search: MPPI = field(default_factory=MPPI)
    """How plans are looked for."""


class PlanningState(NamedTuple):
    """Everything that changes."""

    model: FitState


class PlanningAgent:
    """The agent; see `PlanningConfig` for its settings and `forethought.agents.base.Agent` for its methods."""

    def __init__(self, config: Any, spec: EnvSpec, known: Known = NOTHING):
        self.config, self.spec = config, spec
        of_task = known_reward(spec.id) if config.reward == "known" and known.reward is None else None
        reward = of_task if spec.action_repeat == 1 else None  # what is known are the rewards of single steps
        self.learner = EnsembleLearner(config, spec, known=known, reward=reward, propagation=config.propagation)
        self.planner: Planner = Planner(config.search, config.horizon, config.particles, config.discount)
        self.guide = free(spec.action)
        self.replay_capacity, self.random_steps = config.replay_capacity, config.random_steps

    def init(self, *, key: Key) -> Any:
        """A fresh model."""
        return PlanningState(self.learner.init(key=key))

    def init_actor(self, n: int) -> Any:
        """Where the planner's search goes on from."""
        return self.planner.init(self.guide, n)

    def act(self, state: Any, carry: Any, obs: Array, first: Array, *, key: Key, explore: bool):
        """The first action of the plan; the same while learning and after."""
        model = state.model.model.predictor()
        plan, carry = self.planner.plan(model, self.guide, EnsembleBelief(obs), carry, jnp.asarray(first), key=key)
        return plan.action, carry

    def acts_with(self, state: Any) -> Any:
        """The ensemble."""
        return state.model.model

    def portable(self, state: Any) -> Portable:
        """Raises `UsageError`: every action is searched for."""
        raise UsageError(
            "a planner has no policy to export as arrays; write it as .stablehlo, which takes the search along"
        )

    def note(self, carry: Any) -> Any:
        """Nothing."""
        return ()

    def phases(self) -> tuple[Phase, ...]:
        """The fit of the model."""
        return (self.learner.phase(),)

    def concerns(self, metrics: dict[str, list[Any]], obs_names: Sequence[str] = ()) -> list[str]:
        """See `EnsembleLearner.concerns`."""
        return self.learner.concerns(metrics, obs_names)

    def world_model(self, state: Any) -> Ensemble:
        """The elites."""
        return state.model.model.predictor()
