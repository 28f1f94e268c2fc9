"""The part of an agent that learns an ensemble: settings, fits on a schedule, and what to warn of."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from forethought.agents.base import Phase, Pieces
from forethought.envs.functional import FunctionalEnv
from forethought.errors import UsageError, require_within
from forethought.models import fit
from forethought.models.ensemble import Ensemble, Propagation
from forethought.models.fit import FitConfig, FitState, Fitting
from forethought.models.normalizer import moments
from forethought.models.rewards import Reward
from forethought.models.taught import Taught
from forethought.models.termination import TOLERATED_DISAGREEMENT, disagreement, known_termination
from forethought.nets.mlp import Precision
from forethought.replay.moments import Replay
from forethought.settings import Settings, require_widths
from forethought.types import Box, EnvSpec, Info, Key
from forethought.wording import listed

# Shares of the variance that a model leaves open: the reward is what all else follows, observations may be random.
NOT_LEARNED, HARDLY_LEARNED = 0.5, 0.9


class Known(NamedTuple):
    """What is known of the environment, so that it need not be learned: functions of the user, or the world itself."""

    reward: Taught | None = None
    termination: Taught | None = None
    world: FunctionalEnv | None = None


NOTHING = Known()


@dataclass(frozen=True)
class EnsembleConfig(Settings):
    """How an agent learns its ensemble. Defaults are those of MBPO's official code."""

    model_every: int = 250
    """Environment steps between two fits of the model."""
    random_steps: int = 5000
    """Environment steps with random actions before the first fit (official ``n_initial_exploration_steps``)."""
    members: int = 7
    """Networks in the ensemble."""
    elites: int = 5
    """Members with the least hold-out error, which imagination uses; all of them where nothing is held out."""
    model_hidden: tuple[int, ...] = (200, 200, 200, 200)
    """Widths of the hidden layers of each member."""
    precision: Precision = "float32"
    """Of the products between hidden layers where the model is used: bfloat16 rounds by up to 0.4 %, and is much faster
    where the processor has units for it."""
    fit: FitConfig = field(default_factory=FitConfig)
    """How the ensemble is fitted."""
    replay_capacity: int = 1_000_000
    """Real transitions kept."""

    def check(self) -> None:
        """Counts, shares and bounds."""
        for name in ("model_every", "members", "replay_capacity"):
            require_within(name, getattr(self, name), 1)
        require_within("random_steps", self.random_steps, 0)
        require_widths("model_hidden", self.model_hidden)
        require_within("elites", self.elites, 1, self.members)
        if self.fit.holdout_ratio == 0.0 and self.elites < self.members:
            raise UsageError(
                f"there are {self.members} members and {self.elites} elites, and nothing is held out to choose them "
                f"by; set elites to {self.members}, or fit.holdout_ratio above 0, such as 0.2"
            )


class EnsembleLearner:
    """Fits an ensemble to the replay; an agent keeps its `FitState` as ``model`` in its own state."""

    def __init__(
        self,
        config: EnsembleConfig,
        spec: EnvSpec,
        *,
        known: Known = NOTHING,
        reward: Reward | None = None,
        propagation: Propagation = "ts1",
    ):
        assert isinstance(spec.obs, Box)
        assert isinstance(spec.action, Box)
        self.config, self.spec, self.known, self.propagation = config, spec, known, propagation
        self.n_obs, self.n_action = spec.obs.shape[0], spec.action.shape[0]
        self.reward = known.reward or reward
        self.termination = known.termination or known_termination(spec.id)

    def init(self, *, key: Key) -> FitState:
        """Before the first fit."""
        c = self.config
        model = Ensemble(
            self.n_obs,
            self.n_action,
            key=key,
            members=c.members,
            elites=c.elites,
            hidden=c.model_hidden,
            termination=self.termination,
            reward=self.reward,
            propagation=self.propagation,
            precision=c.precision,
        )
        return fit.init(model, c.fit)

    @property
    def start(self) -> int:
        """Environment steps before the first fit."""
        return max(self.config.random_steps, 1)

    @property
    def fit_model(self) -> Pieces:
        """Fit the ensemble to all real transitions, and check what is taken for known against them."""
        return Pieces(self._begin, self._proceed, self._finish, "fitting the model", "epoch")

    def phases(self) -> tuple[Phase, ...]:
        """A fit every ``model_every`` steps."""
        return (self.phase(),)

    def world_model(self, held: FitState) -> Ensemble:
        """The elites."""
        return held.model.predictor()

    def learned(self, held: FitState) -> Ensemble:
        """What the elites are chosen from."""
        return held.model

    def phase(self) -> Phase:
        """See `phases`."""
        known = self.termination is not None or self.reward is not None
        check = self.check if known else None
        return Phase("fit_model", self.config.model_every, self.fit_model, start=self.start, kind="model", check=check)

    def check(self, replay: Replay) -> Info:
        """Shares of the real transitions that what is taken for known contradicts."""
        info = {}
        if self.termination is not None:
            info["termination_disagreement"] = disagreement(self.termination, replay)
        if self.reward is not None:
            info["reward_disagreement"] = reward_disagreement(self.reward, replay)
        return info

    def _begin(self, state: Any, replay: Replay, *, step: Array, key: Key) -> Fitting:
        return fit.begin(state.model, replay, self.config.fit)

    def _proceed(
        self, work: Fitting, replay: Replay, *, step: Array, key: Key, units: Array | int
    ) -> tuple[Fitting, Array]:
        return fit.proceed(work, replay, self.config.fit, units, key=key)

    def _finish(self, state: Any, work: Fitting, replay: Replay, *, step: Array, key: Key) -> tuple[Any, Replay, Info]:
        model, info = fit.finish(work, replay, self.config.fit)
        return state._replace(model=model), replay, info | self.check(replay)

    def warnings(self, metrics: dict[str, list[Any]], obs_names: Sequence[str] = ()) -> list[str]:
        """Known functions that the data contradict, and outputs that are not learned."""
        found = self._not_learned(metrics, obs_names)
        for what in ("termination", "reward"):
            share = max(metrics.get(f"{what}_disagreement", [0.0]))
            if share > TOLERATED_DISAGREEMENT:
                found.append(self._contradiction(what, share))
        return found

    def _not_learned(self, metrics: dict[str, list[Any]], obs_names: Sequence[str]) -> list[str]:
        """What the last fit foretells hardly better than by its mean, evaluated by the worst seed."""
        seen = "held-out transitions" if "holdout_mse_outputs" in metrics else "the transitions it was trained on"
        named = "holdout" if "holdout_mse_outputs" in metrics else "train"
        errors = np.max(metrics.get(f"{named}_mse_outputs", [[0.0]]), axis=0)
        found = []
        if errors[0] > NOT_LEARNED and self.reward is None:
            beta = "" if self.config.fit.beta else "--agent.fit.beta 0.5, "
            found.append(
                f"the model has not learned the reward: on {seen} its error is {errors[0]:.2f} of the variance; "
                f"what is planned or learned in it goes for something else. More data, {beta}what the reward depends "
                "on among the observations, or the reward as a function (--reward) help"
            )
        endings = max(metrics.get(f"{named}_termination", [0.0]))
        if endings > NOT_LEARNED:
            found.append(
                f"the model has not learned when episodes terminate: on {seen} it foretells that little "
                f"better than by its frequency ({endings:.2f} of the entropy). More data, or termination as a function "
                "(--termination) help"
            )
        rest = [i for i, error in enumerate(errors[1:]) if error > HARDLY_LEARNED]
        if rest:
            figures = [f"{obs_names[i] if obs_names else f'observation {i}'} {errors[1 + i]:.2f}" for i in rest]
            found.append(
                f"the model hardly foretells some observations: {listed(figures)}, the error on {seen} as a share "
                "of the variance of the change in one step. That is right for what is random. What goes "
                "round, as the hour or an angle, is learned as its sine and cosine, and what jumps where an "
                "observation says when; where that is so already, more steps teach it"
            )
        return found

    def _contradiction(self, what: str, share: float) -> str:
        taught = getattr(self.known, what)
        if taught is not None:
            return (
                f"the {what} function {taught.name} contradicts the real transitions: {100 * share:.1f} % of them; "
                f"mend it, or leave out --{what}, and {what} will be learned"
            )
        return (
            f"the {what} function known for {self.spec.id} contradicts the real transitions: {100 * share:.1f} % of "
            f"them; if the environment was changed, register it under a name of its own, and {what} will be learned"
        )


def reward_disagreement(reward: Reward, replay: Replay) -> Array:
    """Share of the real transitions whose reward the function misses by more than 1 % of it, or of the mean size."""
    t, used = replay.all(), replay.used
    size = jnp.where(used, jnp.abs(t.reward), 0.0)
    mean = moments(size[:, None], used)[0][0]
    allowed = 0.01 * jnp.maximum(size, mean) + 1e-6 * jnp.max(size)  # float32 rounds
    # A reward that is NaN is wrong too.
    wrong = ~(jnp.abs(reward(t.obs, t.action, t.next_obs) - t.reward) <= allowed) & used
    return jnp.sum(wrong) / jnp.maximum(replay.size, 1)
