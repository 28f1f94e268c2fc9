"""Planning on a model: random shooting, CEM, iCEM, MPPI. PETS is one choice of settings of it.

The real transitions teach an ensemble, or the world itself is the model; every action is the first of a plan that the
model believes in. No policy is learned.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool

from forethought.agents.base import Agent, Phase
from forethought.agents.control.world import KnownWorld
from forethought.agents.ensemble import NOTHING, EnsembleConfig, EnsembleLearner, Known
from forethought.errors import BadSetting, require_within
from forethought.models.base import WorldModel
from forethought.models.ensemble import Propagation
from forethought.models.fit import FitState
from forethought.models.rewards import known_reward
from forethought.planning.cem import CEM, ICEM
from forethought.planning.guides import Actions, free
from forethought.planning.mppi import MPPI
from forethought.planning.planner import Planner
from forethought.planning.shooting import RandomShooting
from forethought.types import EnvSpec, Key, TimeStep


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
    model: Literal["ensemble", "world"] = "ensemble"
    """What plans are made in: a learned ensemble, or the true dynamics, of which an environment written in JAX is a
    function. With "world" nothing is learned, and settings of the fit are of no account."""
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
                "or some plans would be evaluated by kinder members than others",
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

    model: FitState | tuple[()]


class PlannerCarry(NamedTuple):
    """What is believed now, and where the search goes on from; ``fresh`` where it begins anew."""

    belief: Any
    search: Any
    fresh: Bool[Array, " n"]


def observed(model: WorldModel, carry: Any, time_step: TimeStep, *, key: Key) -> Any:
    """The carry with the model's belief. A plan is gone on from where it was made in the moment before."""
    first = jnp.asarray(time_step.first)
    belief = model.observe(carry.belief, time_step.prev_action, time_step.obs, first, key=key)
    return carry._replace(belief=belief, fresh=carry.fresh | first)


class PlansOnModel(Agent):
    """What agents that plan have in common: the model, whichever it is, and the belief in it."""

    has_memory = True

    def __init__(self, config: Any, spec: EnvSpec, known: Known = NOTHING):
        self.config, self.spec = config, spec
        self.learner: EnsembleLearner | KnownWorld
        if config.model == "world":
            self.learner = KnownWorld(known.world, spec)
        else:
            of_task = known_reward(spec.id) if config.reward == "known" and known.reward is None else None
            reward = of_task if spec.action_repeat == 1 else None  # what is known are the rewards of single steps
            self.learner = EnsembleLearner(config, spec, known=known, reward=reward, propagation=config.propagation)
        self.planner: Planner = Planner(config.search, config.horizon, config.particles, config.discount)
        self.replay_capacity = config.replay_capacity
        self.random_steps = 0 if config.model == "world" else config.random_steps

    def observe(self, state: Any, carry: Any, time_step: TimeStep, *, key: Key) -> Any:
        """See `observed`."""
        return observed(self.world_model(state), carry, time_step, key=key)

    def first_carry(self, guide: Actions, n: int) -> PlannerCarry:
        """Before the first time step."""
        model = jax.eval_shape(lambda: self.world_model(self.init(key=jax.random.key(0))).initial(n))
        belief = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), model)
        return PlannerCarry(belief, self.planner.init(guide, n), jnp.ones(n, bool))

    def warnings(self, metrics: dict[str, list[Any]], obs_names: Sequence[str] = ()) -> list[str]:
        """See `EnsembleLearner.warnings`."""
        return self.learner.warnings(metrics, obs_names)

    def world_model(self, state: Any) -> WorldModel:
        """As plans use it."""
        return self.learner.world_model(state.model)


class PlanningAgent(PlansOnModel):
    """The agent; see `PlanningConfig` for its settings and `forethought.agents.base.Agent` for its methods."""

    def __init__(self, config: Any, spec: EnvSpec, known: Known = NOTHING):
        super().__init__(config, spec, known)
        self.guide = free(spec.action)

    def init(self, *, key: Key) -> Any:
        """A fresh model."""
        return PlanningState(self.learner.init(key=key))

    def init_actor(self, n: int) -> PlannerCarry:
        """No belief, and where the planner's search begins."""
        return self.first_carry(self.guide, n)

    def decide(self, state: Any, carry: PlannerCarry, *, key: Key, explore: bool):
        """The first action of the plan; the same while learning and after."""
        belief, search, fresh = carry
        plan, search = self.planner.plan(self.world_model(state), self.guide, belief, search, fresh, key=key)
        return plan.action, PlannerCarry(belief, search, jnp.zeros_like(fresh)), ()

    def acts_with(self, state: Any) -> Any:
        """The model, as far as it was learned."""
        return self.learner.learned(state.model)

    def phases(self) -> tuple[Phase, ...]:
        """The fit of the model, where it is learned."""
        return self.learner.phases()
