"""POPLIN (Wang & Ba 2019, arXiv 1906.08649): plans that go out from a policy, and a policy distilled from the plans.

What differs from the official code: behaviour cloning takes the actions that were carried out (its "BC-AR") in the
newest transitions, for a fixed number of updates; the average of the changes is added to the parameters, as the paper
has it, where the code sets them to it; the last layer of the policy is a tanh, where the code clips.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float, Int

from forethought.agents.base import Phase, Portable
from forethought.agents.control.planning import PlanningConfig, PlansOnModel
from forethought.agents.ensemble import NOTHING, EnsembleLearner, Known
from forethought.errors import UsageError, require_above, require_within
from forethought.models.ensemble import Propagation
from forethought.models.fit import FitState
from forethought.models.normalizer import Normalizer, identity
from forethought.nets.mlp import MLP
from forethought.planning.cem import CEM
from forethought.planning.guides import Actions, Corrections, Parameters, Proposals
from forethought.replay.moments import Replay
from forethought.settings import require_widths
from forethought.types import EnvSpec, Info, Key

# What a plan is about, by the form of POPLIN.
_GUIDES: dict[str, Callable[..., Actions]] = {
    "init": Proposals,
    "replan": Corrections,
    "sep": Parameters,
    "uni": partial(Parameters, shared=True),
}
_LEAST_STD = 0.1  # of what the policy is shown (official code: a variance of 0.01)


@dataclass(frozen=True)
class POPLINConfig(PlanningConfig):
    """What both forms share. Defaults are those of the official code (``dmbrl/config``) where it has one."""

    horizon: int = 30
    """Imagined steps per plan."""
    propagation: Propagation = "expectation"
    """How particles meet members; the official code propagates the mean of all."""
    particles: int = 1
    """Rollouts per plan; one is enough where nothing is drawn."""
    evaluate_by: Literal["plan", "policy"] = "plan"
    """Who acts when the agent is evaluated or used: the planner, or the policy alone."""
    policy_hidden: tuple[int, ...] = (64, 64)
    """Widths of the hidden layers of the policy."""
    policy_learning_rate: float = 3e-3
    """Adam step size of the distillation by behaviour cloning."""
    policy_updates: int = 500
    """Updates of the policy after each fit of the model (behaviour cloning; ours, the official code stops early)."""
    policy_batch: int = 64
    """Planned transitions per update."""
    policy_newest: int = 400
    """Newest transitions that behaviour cloning learns from: plans by an early model are bad examples (the official
    code takes the rollouts since the last one)."""
    search: CEM = field(default_factory=lambda: CEM(population=500, elites=50, iterations=5))
    """How plans are looked for."""

    def check(self) -> None:
        """Counts, shares and bounds."""
        super().check()
        require_within("policy_updates", self.policy_updates, 0)
        require_within("policy_batch", self.policy_batch, 1)
        require_within("policy_newest", self.policy_newest, 1)
        require_widths("policy_hidden", self.policy_hidden)
        require_above("policy_learning_rate", self.policy_learning_rate, 0)


@dataclass(frozen=True)
class POPLINAConfig(POPLINConfig):
    """POPLIN-A: planning in the space of actions, around those of a policy."""

    form: Literal["init", "replan"] = "init"
    """Where the policy comes in: its imagined actions begin the search (init), or plans correct it (replan)."""
    distil: Literal["bc"] = "bc"
    """How the policy learns from plans: behaviour cloning of the actions taken."""


@dataclass(frozen=True)
class POPLINPConfig(POPLINConfig):
    """POPLIN-P: planning in the space of a policy's parameters."""

    form: Literal["sep", "uni"] = "sep"
    """One change of the parameters for each step of the plan (sep), or one for all of it (uni)."""
    distil: Literal["bc", "average"] = "average"
    """How the policy learns from plans: behaviour cloning, or the average of the changes that were carried out."""
    policy_hidden: tuple[int, ...] = (32,)
    """Widths of the hidden layers of the policy."""
    search: CEM = field(default_factory=lambda: CEM(population=500, elites=50, iterations=5, initial_std=0.1**0.5))
    """How plans are looked for; the first variance of the parameters is 0.1."""


class DeterministicPolicy(eqx.Module):
    """Normalised observation to action, ``tanh(net(obs))``; unbatched."""

    net: MLP

    def __call__(self, obs: Float[Array, " o"]) -> Float[Array, " a"]:
        """Deterministic."""
        return jnp.tanh(self.net(obs))


class POPLINState(NamedTuple):
    """Everything that changes."""

    model: FitState
    policy: DeterministicPolicy
    policy_opt: optax.OptState
    seen: Normalizer  # of the observations that the policy is shown; changes with each distillation
    distillations: Int[Array, ""]  # so far


class Extras(NamedTuple):
    """What is kept with each transition: its decision, and whether and about which policy it was planned."""

    decision: Float[Array, "*n d"]
    planned: Bool[Array, "*n"]
    distillations: Int[Array, "*n"]


class POPLINCarry(NamedTuple):
    """As `PlannerCarry`, and how often the policy that the plan is about had been distilled."""

    belief: Any
    search: Any
    fresh: Bool[Array, " n"]
    distillations: Int[Array, " n"]


class POPLIN(PlansOnModel):
    """The agent; see `POPLINAConfig` and `POPLINPConfig`, and `forethought.agents.base.Agent` for its methods."""

    def __init__(self, config: Any, spec: EnvSpec, known: Known = NOTHING):
        super().__init__(config, spec, known)
        if not isinstance(self.learner, EnsembleLearner):
            raise UsageError("POPLIN learns its policy from what its ensemble is shown; leave out --agent.model")
        self.ensemble = self.learner
        self.optimizer = optax.adam(config.policy_learning_rate)

    def init(self, *, key: Key) -> POPLINState:
        """A fresh model and policy."""
        key_model, key_policy = jax.random.split(key)
        policy = self._new_policy(key_policy)
        opt, seen = self.optimizer.init(policy), identity(self.ensemble.n_obs)
        return POPLINState(self.ensemble.init(key=key_model), policy, opt, seen, jnp.array(0))

    def init_actor(self, n: int) -> POPLINCarry:
        """Where the planner's search goes on from."""
        guide = self._guide(self._new_policy(jax.random.key(0)), identity(self.ensemble.n_obs))
        return POPLINCarry(*self.first_carry(guide, n), jnp.zeros(n, int))

    def decide(self, state: Any, carry: POPLINCarry, *, key: Key, explore: bool):
        """The first action of the plan, or that of the policy alone where it is to be evaluated.

        A plan is not gone on from after a distillation: it was one of changes to another policy. Noise on what the
        policy proposes (init) never is: the next proposals are made in the state to which that noise has led, so it
        would count twice.
        """
        model, guide = self.world_model(state), self._guide(state.policy, state.seen)
        none = jnp.zeros_like(carry.fresh)
        if not explore and self.config.evaluate_by == "policy":
            action = jax.vmap(state.policy)(state.seen.normalize(model.features(carry.belief)))
            decision = jnp.zeros((len(action), guide.shape(self.planner.horizon)[-1]))
            return action, carry, Extras(decision, none, carry.distillations)
        fresh = carry.fresh | (carry.distillations != state.distillations) | (self.config.form == "init")
        plan, search = self.planner.plan(model, guide, carry.belief, carry.search, fresh, key=key)
        distillations = jnp.full_like(carry.distillations, state.distillations)
        extras = Extras(plan.decisions[:, 0], ~none, distillations)
        return plan.action, POPLINCarry(carry.belief, search, none, distillations), extras

    def acts_with(self, state: POPLINState) -> Any:
        """The ensemble, the policy, what it is shown, and how often it was distilled: then plans begin anew."""
        return state.model.model, state.policy, state.seen, state.distillations

    def portable(self, state: POPLINState) -> Portable:
        """The policy, without the plans that go out from it: what acts with ``evaluate_by="policy"``."""
        return Portable.network(state.policy.net, self.ensemble.n_action, state.seen)

    def phases(self) -> tuple[Phase, ...]:
        """The fit of the model, then the distillation of the plans since the last one."""
        c, learner = self.config, self.ensemble
        return (
            learner.phase(),
            Phase("distil", c.model_every, self.distil, c.policy_updates, learner.start, "model"),
        )

    def distil(self, state: POPLINState, replay: Replay, *, step: Array, key: Key) -> tuple[POPLINState, Replay, Info]:
        """Teach the policy what was planned."""
        inputs, n = state.model.model.inputs, self.ensemble.n_obs  # just set by the fit
        seen = Normalizer(inputs.mean[:n], jnp.maximum(inputs.std[:n], _LEAST_STD))
        learn = self._average if self.config.distil == "average" else self._clone
        state, info = learn(state._replace(seen=seen), replay, key)
        return state._replace(distillations=state.distillations + 1), replay, info

    def _clone(self, state: POPLINState, replay: Replay, key: Key) -> tuple[POPLINState, Info]:
        """Behaviour cloning: ``min E |policy(s) - a|^2`` over the newest planned transitions."""

        def loss(policy: DeterministicPolicy, batch: Any) -> Array:
            planned = batch.extras.planned.astype(jnp.float32)
            error = jnp.mean((jax.vmap(policy)(state.seen.normalize(batch.obs)) - batch.action) ** 2, axis=-1)
            return jnp.sum(planned * error) / jnp.maximum(jnp.sum(planned), 1.0)

        def update(carry: tuple[DeterministicPolicy, Any], key: Key) -> tuple[tuple[DeterministicPolicy, Any], Array]:
            policy, opt = carry
            c = self.config
            batch = replay.sample_newest(c.policy_batch, c.policy_newest, key=key)
            value, grads = jax.value_and_grad(loss)(policy, batch)
            updates, opt = self.optimizer.update(grads, opt, policy)
            return (optax.apply_updates(policy, updates), opt), value

        start = state.policy, state.policy_opt
        (policy, opt), values = jax.lax.scan(update, start, jax.random.split(key, self.config.policy_updates))
        return state._replace(policy=policy, policy_opt=opt), {"policy_loss": values[-1]}

    def _average(self, state: POPLINState, replay: Replay, key: Key) -> tuple[POPLINState, Info]:
        """``theta += mean of the changes`` of this theta that were carried out, among the newest ``model_every``."""
        back = jnp.arange(self.config.model_every)
        extras = replay.newest(back).extras
        weight = extras.planned & (extras.distillations == state.distillations) & (back < replay.size)
        mean = jnp.sum(extras.decision * weight[:, None], axis=0) / jnp.maximum(jnp.sum(weight), 1)
        flat, unravel = ravel_pytree(state.policy)
        return state._replace(policy=unravel(flat + mean)), {"policy_change": jnp.linalg.norm(mean)}

    def _new_policy(self, key: Key) -> DeterministicPolicy:
        sizes = (self.ensemble.n_obs, *self.config.policy_hidden, self.ensemble.n_action)
        return DeterministicPolicy(MLP(sizes, jnp.tanh, key=key))

    def _guide(self, policy: DeterministicPolicy, seen: Normalizer) -> Actions:
        n = self.ensemble.n_action
        return _GUIDES[self.config.form](n, actor=policy, seen=seen)
