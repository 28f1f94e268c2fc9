"""Dreamer V2 (Hafner et al. 2021, "Mastering Atari with discrete world models", arXiv 2010.02193).

Latents are categorical, the divergence is balanced, ends are foretold, values come from a slow critic, and the actor is
paid for entropy: choices learn from their likelihood, numbers from the gradient through the model.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int

from forethought.agents.dream.base import DreamConfig, Dreamt, LatentAgent, descended, dream
from forethought.agents.dream.elder_nets import NetSizes, feature_policy, number, world_model
from forethought.agents.dream.policies import FeaturePolicy, categorical, truncated_gaussian
from forethought.errors import require_above, require_within
from forethought.models.latent import LatentModel, Regression, Unsquashed
from forethought.models.rssm import Filtered, LatentBelief
from forethought.nets.latents import OneHots, frozen, kl_losses
from forethought.nets.recurrent import NormedGRU
from forethought.nets.sight import Sight
from forethought.optimizers import clipped_adam
from forethought.replay.moments import Replay
from forethought.returns import lambda_returns
from forethought.types import Discrete, Info, Key, TimeStep


@dataclass(frozen=True)
class DreamerV2Config(DreamConfig):
    """Dreamer V2. Defaults are those of the published code (``configs.yaml``), which has others for Atari and for
    continuous control.
    """

    batch_length: int = 50
    """Moments of each window."""
    train_every: int = 5
    """Environment steps between two rounds of updates."""
    pretrain: int = 1
    """Updates besides, before the first round."""
    random_steps: int = 10_000
    """Environment steps with random actions before the first update."""
    deter: int = 1024
    """Width of what is carried on, and of the layers around it."""
    choices: int = 32
    """Choices that are drawn."""
    classes: int = 32
    """Classes of each."""
    units: int = 400
    """Width of all other dense layers (ELU)."""
    depth: int = 48
    """Channels of the first convolution (ELU); each has twice as many as the one before."""
    predict_ends: bool = True
    """Whether the model learns when the world ends; without it, it goes on for ever."""
    ends_weight: float = 1.0
    """Of that in the loss."""
    rewards: Literal["tanh", "as they are"] = "tanh"
    """What is learned of rewards."""
    kl_weight: float = 1.0
    """Of the divergence of posterior from prior in the loss."""
    kl_balance: float = 0.8
    """Share of it that teaches the prior; the rest holds the posterior back."""
    free_nats: float = 0.0
    """The mean divergence below this is let be."""
    horizon: int = 15
    """Imagined steps."""
    discount: float = 0.99
    """Factor per step on what follows."""
    return_lambda: float = 0.95
    """Of the returns: 0 trusts the value of the next step, 1 the rewards alone."""
    entropy_weight: float = 2e-3
    """Of the entropy of the policy, which is paid for."""
    slow_every: int = 100
    """Updates after which the slow critic becomes a copy of the critic."""
    model_rate: float = 1e-4
    """Adam step size of the model."""
    actor_rate: float = 8e-5
    """Of the actor."""
    critic_rate: float = 2e-4
    """Of the critic."""
    weight_decay: float = 1e-6
    """Share by which all weights shrink in each update."""
    max_grad_norm: float = 100.0
    """Gradients of each longer than this are shortened to it."""

    def check(self) -> None:
        """Counts, shares and bounds."""
        super().check()
        for name in ("deter", "choices", "units", "depth", "slow_every"):
            require_within(name, getattr(self, name), 1)
        for name in ("classes", "horizon"):
            require_within(name, getattr(self, name), 2)
        for name in ("model_rate", "actor_rate", "critic_rate", "max_grad_norm", "discount"):
            require_above(name, getattr(self, name), 0)
        for name in ("discount", "return_lambda", "kl_balance", "weight_decay"):
            require_within(name, getattr(self, name), 0.0, 1.0)
        for name in ("ends_weight", "kl_weight", "free_nats", "entropy_weight"):
            require_within(name, getattr(self, name), 0.0)


class Nets(NamedTuple):
    """What is learned."""

    model: LatentModel
    actor: FeaturePolicy
    critic: Regression


class DreamerV2State(NamedTuple):
    """Everything that changes."""

    nets: Nets
    slow: Regression
    opt: Nets
    updates: Int[Array, ""]

    @property
    def model(self) -> LatentModel:
        """The world model."""
        return self.nets.model


class DreamerV2(LatentAgent):
    """The agent; see `DreamerV2Config` for its settings and `forethought.agents.base.Agent` for its methods."""

    @property
    def net_sizes(self) -> NetSizes:
        """Of the networks."""
        c = self.config
        return NetSizes(
            cell=NormedGRU,
            latents=partial(OneHots.of, classes=c.classes),
            stoch=c.choices * c.classes,
            outputs=c.choices * c.classes,
            deter=c.deter,
            hidden=c.deter,
            units=c.units,
            depth=c.depth,
            reward_layers=4,
            ends_layers=4 if c.predict_ends else None,
            vector_layers=4,
            activation=jax.nn.elu,
            image=jax.nn.elu,
        )

    def build(self, *, key: Key) -> LatentModel:
        """See `forethought.agents.dream.elder_nets`."""
        return world_model(self.net_sizes, self.spec, self.config.discount, key=key)

    def init(self, *, key: Key) -> DreamerV2State:
        """Fresh networks; the slow critic is a copy, not an alias."""
        key_model, key_actor, key_critic = jax.random.split(key, 3)
        actor = feature_policy(self.net_sizes, self.spec.action, categorical, truncated_gaussian, key=key_actor)
        nets = Nets(self.build(key=key_model), actor, number(self.net_sizes, 4, key=key_critic))
        opt = Nets(*(o.init(net) for o, net in zip(self.optimizers, nets, strict=True)))
        return DreamerV2State(nets, jax.tree.map(jnp.copy, nets.critic), opt, jnp.array(0))

    @property
    def optimizers(self) -> tuple[optax.GradientTransformation, ...]:
        """One for each network."""
        c = self.config
        rates = c.model_rate, c.actor_rate, c.critic_rate
        return tuple(clipped_adam(rate, c.max_grad_norm, eps=1e-5, decay=c.weight_decay) for rate in rates)

    def decide(self, state: DreamerV2State, carry: LatentBelief, *, key: Key, explore: bool):
        """Drawn while learning, else the mode."""
        says = state.nets.actor(carry.features)
        return says.sample(key=key) if explore else says.mode(), carry, ()

    def world_model(self, state: DreamerV2State) -> LatentModel:
        """The latent model, in the units of rewards."""
        if self.config.rewards != "tanh":
            return state.model
        squashed = state.model.reward
        assert isinstance(squashed, Regression)
        return eqx.tree_at(lambda model: model.reward, state.model, Unsquashed(squashed))

    def learn(self, state: DreamerV2State, replay: Replay, *, key: Key) -> tuple[DreamerV2State, Replay, Info]:
        """One step of model, actor and critic, on windows and on what is dreamt from every moment of them."""
        key_draw, key_loss = jax.random.split(key)
        _, window = self.draw(replay, key=key_draw)
        loss = partial(self.loss, state.slow, window, key=key_loss)
        nets, opt, info = descended(loss, self.optimizers, state.nets, state.opt, self.config.precision)
        anew = state.updates % self.config.slow_every == 0
        slow = jax.tree.map(lambda new, old: jnp.where(anew, new, old), nets.critic, state.slow)
        return DreamerV2State(nets, slow, opt, state.updates + 1), replay, info

    def loss(self, slow: Regression, window: TimeStep, nets: Nets, *, key: Key) -> tuple[Array, Info]:
        """The sum of the losses of model, actor and critic, none of which reaches the others' networks."""
        key_filter, key_dream = jax.random.split(key)
        window = window._replace(first=window.first.at[0].set(True))  # windows begin as episodes do
        found, seen = nets.model.filter(nets.model.initial(window.first.shape[1]), window, key=key_filter)
        model_loss, info = self.model_loss(nets.model, found, seen, window)
        held: Nets = frozen(nets)

        def policy(features: Array, key: Key) -> Array:
            return nets.actor(frozen(features)).sample(key=key)

        start, horizon = frozen(found.belief), self.config.horizon
        lived = dream(held.model, policy, start, horizon, key=key_dream)
        ended = window.terminated.ravel() & self.config.predict_ends
        actor_loss, critic_loss = self.dream_losses(nets, held.model, slow, lived, ended)
        return model_loss + actor_loss + critic_loss, info | {"actor_loss": actor_loss, "critic_loss": critic_loss}

    def model_loss(
        self, model: LatentModel, found: Filtered, seen: Sight, window: TimeStep
    ) -> tuple[Array, dict[str, Array]]:
        """Equation 2: what is seen, earned and ended by, and the balanced divergence (algorithm 2)."""
        c = self.config
        reward = jnp.tanh(window.reward) if c.rewards == "tanh" else window.reward
        losses = {k: jnp.mean(x) for k, x in model.losses(found.belief, seen, reward, window.terminated).items()}
        dynamics, representation = (
            jnp.maximum(jnp.mean(x), c.free_nats) for x in kl_losses(found.posterior, found.prior, 0.0)
        )
        divergence = c.kl_balance * dynamics + (1.0 - c.kl_balance) * representation
        weights = {"vector": 0.5, "image": 0.5, "going_on": c.ends_weight}
        total = sum((weights.get(name, 1.0) * x for name, x in losses.items()), c.kl_weight * divergence)
        return total, {f"{name}_loss": x for name, x in losses.items()} | {"divergence": divergence}

    def dream_losses(
        self, nets: Nets, model: LatentModel, slow: Regression, lived: Dreamt, ended: Bool[Array, " n"]
    ) -> tuple[Array, Array]:
        """Of actor and critic (equations 4 to 6): values count from a moment's own reward on.

        The first action counts from the second moment on: whatever is earned in the first one it did not bring about.
        """
        c, features = self.config, lived.features
        discount = c.discount * jnp.concatenate([1.0 - ended[None], lived.continues])
        reward = jnp.concatenate([model.reward(features[:1]).mean(), lived.reward])
        value = slow(features).mean()
        never = jnp.zeros(lived.reward.shape, bool)
        returns = lambda_returns(reward[:-1], discount[:-1], value[1:], never, c.return_lambda)
        weight = frozen(jnp.cumprod(jnp.concatenate([jnp.ones_like(discount[:1]), discount[:-1]]), axis=0))
        policy = nets.actor(frozen(features[:-2]))
        objective = self.objective(policy, frozen(lived.action[:-1]), returns[1:], frozen(value[:-2]))
        actor_loss = -jnp.mean(weight[:-2] * (objective + c.entropy_weight * policy.entropy()))
        valued = nets.critic(frozen(features[:-1])).log_prob(frozen(returns))
        return actor_loss, -jnp.mean(weight[:-1] * valued)

    def objective(
        self, policy: Any, action: Array, returns: Float[Array, "h n"], value: Float[Array, "h n"]
    ) -> Float[Array, "h n"]:
        """What the actor climbs: the likelihood of choices times what they gained, or the returns of numbers."""
        if isinstance(self.spec.action, Discrete):
            return policy.log_prob(action) * frozen(returns - value)
        return returns
