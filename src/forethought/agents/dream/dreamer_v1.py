"""Dreamer (Hafner et al. 2020, "Dream to control", arXiv 1912.01603), called V1 since.

The actor learns from the gradient of imagined returns through the model.
"""

from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool

from forethought.agents.dream.base import DreamConfig, Dreamt, LatentAgent, descended, dream
from forethought.agents.dream.elder_nets import NetSizes, feature_policy, number, world_model
from forethought.agents.dream.policies import FeaturePolicy, one_hot, tanh_gaussian
from forethought.errors import require_above, require_within
from forethought.models.latent import LatentModel, Regression
from forethought.models.rssm import Filtered, LatentBelief
from forethought.nets.latents import Normals, frozen
from forethought.nets.recurrent import KerasGRU
from forethought.nets.sight import Sight
from forethought.optimizers import clipped_adam
from forethought.replay.moments import Replay
from forethought.returns import lambda_returns
from forethought.types import Info, Key, TimeStep


@dataclass(frozen=True)
class DreamerV1Config(DreamConfig):
    """Dreamer V1. Defaults are those of the published code (``dreamer.py``), whose frames are two to a step."""

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
    units: int = 400
    """Width of all other dense layers (ELU)."""
    depth: int = 32
    """Channels of the first convolution (ReLU); each has twice as many as the one before."""
    predict_ends: bool = False
    """Whether the model learns when the world ends; without it, it goes on for ever."""
    ends_weight: float = 10.0
    """Of that in the loss."""
    free_nats: float = 3.0
    """The mean divergence of posterior from prior below this is let be."""
    horizon: int = 15
    """Imagined steps."""
    discount: float = 0.99
    """Factor per step on what follows."""
    return_lambda: float = 0.95
    """Of the returns: 0 trusts the value of the next step, 1 the rewards alone."""
    model_rate: float = 6e-4
    """Adam step size of the model."""
    actor_rate: float = 8e-5
    """Of the actor."""
    critic_rate: float = 8e-5
    """Of the critic."""
    max_grad_norm: float = 100.0
    """Gradients of each longer than this are shortened to it."""
    noise: float = 0.3
    """Standard deviation of what is added to actions while learning; of choices the share that is random."""

    def check(self) -> None:
        """Counts, shares and bounds."""
        super().check()
        for name in ("deter", "stoch", "units", "depth"):
            require_within(name, getattr(self, name), 1)
        require_within("horizon", self.horizon, 2)
        for name in ("model_rate", "actor_rate", "critic_rate", "max_grad_norm", "discount"):
            require_above(name, getattr(self, name), 0)
        for name in ("discount", "return_lambda"):
            require_within(name, getattr(self, name), 0.0, 1.0)
        for name in ("ends_weight", "free_nats", "noise"):
            require_within(name, getattr(self, name), 0.0)


class Nets(NamedTuple):
    """What is learned."""

    model: LatentModel
    actor: FeaturePolicy
    critic: Regression


class DreamerV1State(NamedTuple):
    """Everything that changes."""

    nets: Nets
    opt: Nets

    @property
    def model(self) -> LatentModel:
        """The world model."""
        return self.nets.model


class DreamerV1(LatentAgent):
    """The agent; see `DreamerV1Config` for its settings and `forethought.agents.base.Agent` for its methods."""

    @property
    def net_sizes(self) -> NetSizes:
        """Of the networks."""
        c = self.config
        return NetSizes(
            cell=KerasGRU,
            latents=Normals.of,
            stoch=c.stoch,
            outputs=2 * c.stoch,
            deter=c.deter,
            hidden=c.deter,
            units=c.units,
            depth=c.depth,
            reward_layers=2,
            ends_layers=3 if c.predict_ends else None,
            vector_layers=3,
            activation=jax.nn.elu,
            image=jax.nn.relu,
        )

    def build(self, *, key: Key) -> LatentModel:
        """See `forethought.agents.dream.elder_nets`."""
        return world_model(self.net_sizes, self.spec, self.config.discount, key=key)

    def init(self, *, key: Key) -> DreamerV1State:
        """Fresh networks."""
        key_model, key_actor, key_critic = jax.random.split(key, 3)
        actor = feature_policy(self.net_sizes, self.spec.action, one_hot, tanh_gaussian, key=key_actor)
        nets = Nets(self.build(key=key_model), actor, number(self.net_sizes, 3, key=key_critic))
        return DreamerV1State(nets, Nets(*(o.init(net) for o, net in zip(self.optimizers, nets, strict=True))))

    @property
    def optimizers(self) -> tuple[optax.GradientTransformation, ...]:
        """One for each network."""
        c = self.config
        rates = c.model_rate, c.actor_rate, c.critic_rate
        return tuple(clipped_adam(rate, c.max_grad_norm, eps=1e-7) for rate in rates)

    def decide(self, state: DreamerV1State, carry: LatentBelief, *, key: Key, explore: bool):
        """Drawn, with noise, while learning; else the mode."""
        says, (key_draw, key_noise) = state.nets.actor(carry.features), jax.random.split(key)
        action = says.sample(key=key_draw) if explore else says.mode()
        return self.explored(action, self.config.noise if explore else 0.0, key=key_noise), carry, ()

    def learn(self, state: DreamerV1State, replay: Replay, *, key: Key) -> tuple[DreamerV1State, Replay, Info]:
        """One step of model, actor and critic, on windows and on what is dreamt from every moment of them."""
        key_draw, key_loss = jax.random.split(key)
        _, window = self.draw(replay, key=key_draw)
        nets, opt, info = descended(
            partial(self.loss, window, key=key_loss), self.optimizers, state.nets, state.opt, self.config.precision
        )
        return DreamerV1State(nets, opt), replay, info

    def loss(self, window: TimeStep, nets: Nets, *, key: Key) -> tuple[Array, Info]:
        """The sum of the losses of model, actor and critic, none of which reaches the others' networks."""
        key_filter, key_dream = jax.random.split(key)
        found, seen = nets.model.filter(nets.model.initial(window.first.shape[1]), window, key=key_filter)
        model_loss, info = self.model_loss(nets.model, found, seen, window)
        held: Nets = frozen(nets)

        def policy(features: Array, key: Key) -> Array:
            return nets.actor(frozen(features)).sample(key=key)

        start, horizon = frozen(found.belief), self.config.horizon
        lived = dream(held.model, policy, start, horizon, key=key_dream)
        ended = window.terminated.ravel() & self.config.predict_ends
        actor_loss, critic_loss = self.dream_losses(nets.critic, held, lived, ended)
        return model_loss + actor_loss + critic_loss, info | {"actor_loss": actor_loss, "critic_loss": critic_loss}

    def model_loss(
        self, model: LatentModel, found: Filtered, seen: Sight, window: TimeStep
    ) -> tuple[Array, dict[str, Array]]:
        """Equation 10: what is seen and earned, in normal distributions of variance 1, and the divergence of the
        posterior from the prior, of which the mean may be ``free_nats``.
        """
        c = self.config
        losses = {k: jnp.mean(x) for k, x in model.losses(found.belief, seen, window.reward, window.terminated).items()}
        divergence = jnp.mean(found.posterior.kl(found.prior))  # type: ignore[arg-type]
        weights = {"vector": 0.5, "image": 0.5, "going_on": c.ends_weight}
        total = sum((weights.get(name, 1.0) * x for name, x in losses.items()), jnp.maximum(divergence, c.free_nats))
        return total, {f"{name}_loss": x for name, x in losses.items()} | {"divergence": divergence}

    def dream_losses(
        self, critic: Regression, held: Nets, lived: Dreamt, ended: Bool[Array, " n"]
    ) -> tuple[Array, Array]:
        """Of actor and critic (equations 6 to 8): values count from a moment's own reward on, and the actor climbs the
        returns themselves, through the model that says them. What is dreamt from the end of the world does not count.
        """
        c, features = self.config, lived.features[1:]
        discount = c.discount * lived.continues
        value = held.critic(features).mean()
        never = jnp.zeros(value[1:].shape, bool)
        returns = lambda_returns(lived.reward[:-1], discount[:-1], value[1:], never, c.return_lambda)
        weight = frozen(jnp.cumprod(jnp.concatenate([1.0 - ended[None], discount[:-2]]), axis=0))
        valued = critic(frozen(features[:-1])).log_prob(frozen(returns))
        return -jnp.mean(weight * returns), -jnp.mean(weight * valued)
