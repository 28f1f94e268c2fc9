"""PlaNet (Hafner et al. 2019, "Learning latent dynamics for planning from pixels", arXiv 1811.04551).

Every action is the first of a plan that is searched for within a recurrent latent model; no policy is learned.
"""

from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array

from forethought.agents.control.planning import PlannerCarry, observed
from forethought.agents.dream.base import DreamConfig, LearnsFromWindows, gradient
from forethought.agents.dream.elder_nets import NetSizes, world_model
from forethought.errors import require_above, require_within
from forethought.models.latent import LatentModel
from forethought.nets.latents import Normals
from forethought.nets.recurrent import GRU
from forethought.optimizers import clipped_adam
from forethought.planning.cem import PlainCEM
from forethought.planning.guides import free
from forethought.planning.planner import Planner
from forethought.replay.moments import Replay
from forethought.types import EnvSpec, Info, Key, TimeStep


@dataclass(frozen=True)
class PlaNetConfig(DreamConfig):
    """PlaNet. Defaults are those of the paper, with episodes of 500 steps for "an episode", and of the published code.

    The paper's images have 5 bits of each colour; these have all.
    """

    batch_size: int = 50
    """Windows of moments in an update."""
    batch_length: int = 50
    """Moments of each of them."""
    train_every: int = 500
    """Environment steps between two rounds of updates."""
    updates: int = 100
    """Updates of a round."""
    random_steps: int = 2500
    """Environment steps with random actions before the first update."""
    deter: int = 200
    """Width of what is carried on, and of the layers around it."""
    stoch: int = 30
    """Numbers that are drawn."""
    units: int = 300
    """Width of the layers of the reward, and of vectors (ReLU)."""
    depth: int = 32
    """Channels of the first convolution (ReLU); each has twice as many as the one before."""
    reward_weight: float = 10.0
    """Of the reward in the loss."""
    image_weight: float = 1.0
    """Of pictures in the loss, which sums over their pixels: 4 makes of 32 x 32 what the published 64 x 64 are."""
    free_nats: float = 3.0
    """Divergences of posterior from prior below this are let be."""
    learning_rate: float = 1e-3
    """Adam step size."""
    max_grad_norm: float = 1000.0
    """Gradients longer than this are shortened to it."""
    horizon: int = 12
    """Imagined steps per plan."""
    noise: float = 0.3
    """Standard deviation of what is added to actions while learning."""
    search: PlainCEM = field(default_factory=PlainCEM)
    """How plans are looked for."""

    def check(self) -> None:
        """Counts and bounds."""
        super().check()
        for name in ("deter", "stoch", "units", "depth", "horizon"):
            require_within(name, getattr(self, name), 1)
        for name in ("learning_rate", "max_grad_norm"):
            require_above(name, getattr(self, name), 0)
        for name in ("reward_weight", "image_weight", "free_nats", "noise"):
            require_within(name, getattr(self, name), 0.0)


class PlaNetState(NamedTuple):
    """Everything that changes."""

    model: LatentModel
    opt: optax.OptState


class PlaNet(LearnsFromWindows):
    """The agent; see `PlaNetConfig` for its settings and `forethought.agents.base.Agent` for its methods."""

    def __init__(self, config: PlaNetConfig, spec: EnvSpec):
        super().__init__(config, spec)
        self.guide = free(spec.action)
        self.planner: Planner = Planner(config.search, config.horizon)
        self.optimizer = clipped_adam(config.learning_rate, config.max_grad_norm, eps=1e-4)

    def build(self, *, key: Key) -> LatentModel:
        """See `forethought.agents.dream.elder_nets`."""
        c = self.config
        sizes = NetSizes(
            cell=GRU,
            latents=Normals.of,
            stoch=c.stoch,
            outputs=2 * c.stoch,
            deter=c.deter,
            hidden=c.deter,
            units=c.units,
            depth=c.depth,
            reward_layers=3,
            ends_layers=None,
            vector_layers=3,
            activation=jax.nn.relu,
            image=jax.nn.relu,
        )
        return world_model(sizes, self.spec, 1.0, key=key)

    def init(self, *, key: Key) -> PlaNetState:
        """A fresh model."""
        model = self.build(key=key)
        return PlaNetState(model, self.optimizer.init(model))

    def init_actor(self, n: int) -> PlannerCarry:
        """No belief, and where the search begins."""
        return PlannerCarry(self.unseen(n), self.planner.init(self.guide, n), jnp.ones(n, bool))

    def observe(self, state: PlaNetState, carry: PlannerCarry, time_step: TimeStep, *, key: Key) -> PlannerCarry:
        """The model's belief."""
        return observed(state.model, carry, time_step, key=key)

    def decide(self, state: PlaNetState, carry: PlannerCarry, *, key: Key, explore: bool):
        """The first action of the plan, with noise while learning."""
        key_plan, key_noise = jax.random.split(key)
        belief, search, fresh = carry
        plan, search = self.planner.plan(state.model, self.guide, belief, search, fresh, key=key_plan)
        action = self.explored(plan.action, self.config.noise if explore else 0.0, key=key_noise)
        return action, PlannerCarry(belief, search, jnp.zeros_like(fresh)), ()

    def acts_with(self, state: PlaNetState) -> LatentModel:
        """The model."""
        return state.model

    def learn(self, state: PlaNetState, replay: Replay, *, key: Key) -> tuple[PlaNetState, Replay, Info]:
        """One step of the model."""
        key_draw, key_loss = jax.random.split(key)
        _, window = self.draw(replay, key=key_draw)
        loss = partial(self.loss, window, key=key_loss)
        model, opt, info = gradient(loss, self.optimizer, state.model, state.opt, self.config.precision)
        return PlaNetState(model, opt), replay, info

    def loss(self, window: TimeStep, model: LatentModel, *, key: Key) -> tuple[Array, Info]:
        """Equation 3: what is seen and earned, in normal distributions of variance 1, and the divergence of each
        posterior from its prior beyond ``free_nats``.
        """
        c = self.config
        found, seen = model.filter(model.initial(window.first.shape[1]), window, key=key)
        losses = {k: jnp.mean(x) for k, x in model.losses(found.belief, seen, window.reward, window.terminated).items()}
        divergence = found.posterior.kl(found.prior)  # type: ignore[arg-type]
        weights = {"vector": 0.5, "image": 0.5 * c.image_weight, "reward": c.reward_weight}
        beyond = jnp.mean(jnp.maximum(divergence - c.free_nats, 0.0))
        total = sum((weights[name] * x for name, x in losses.items()), beyond)
        return total, {f"{name}_loss": x for name, x in losses.items()} | {"divergence": jnp.mean(divergence)}
