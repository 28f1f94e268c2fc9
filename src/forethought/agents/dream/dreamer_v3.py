"""Dreamer V3 (Hafner et al. 2025, "Mastering diverse control tasks through world models", Nature; arXiv 2301.04104).

One set of numbers for all domains: rewards and values are classes of any size, returns are divided by their range, and
the actor learns from the likelihood of what it did, whether actions are choices or numbers.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from forethought.agents.dream import v3_nets
from forethought.agents.dream.base import DreamConfig, Dreamt, LatentAgent, dream, gradient
from forethought.agents.dream.policies import FeaturePolicy
from forethought.errors import require_above, require_within
from forethought.models.latent import Classification, LatentModel
from forethought.models.rssm import Filtered, LatentBelief
from forethought.nets.latents import frozen, kl_losses
from forethought.nets.sight import Sight
from forethought.optimizers import clipped_adam, laprop
from forethought.replay.moments import Replay
from forethought.returns import lambda_returns
from forethought.types import Box, Info, Key, Noted, TimeStep


@dataclass(frozen=True)
class DreamerV3Config(DreamConfig):
    """Dreamer V3. Defaults are those of the published code (``dreamerv3/configs.yaml``), but for the random steps (it
    has none) and the size: its own is 200m, and 1m for observations that are vectors.
    """

    size: Literal["1m", "12m", "25m", "50m", "100m", "200m", "400m", "xs", "s", "m", "l", "xl"] = "1m"
    """Parameters, about: the widths of all networks. Those from xs to xl are the networks of 2023."""
    horizon: int = 15
    """Imagined steps."""
    discount: float = 1.0 - 1.0 / 333.0
    """Factor per step on what follows."""
    return_lambda: float = 0.95
    """Of the returns: 0 trusts the value of the next step, 1 the rewards alone."""
    learning_rate: float = 4e-5
    """Of all networks."""
    warmup: int = 1000
    """Updates over which that step size rises from 0."""
    elder: bool = False
    """As in 2023: model, actor and critic each take steps of Adam (1e-4, 3e-5 and 3e-5), numbers are decided by the
    gradient through the dream, windows begin as episodes do, and a dream goes on or ends by what is likelier."""
    clip: float = 0.3
    """Gradients are shortened to this share of the weights that they are of."""
    free_nats: float = 1.0
    """Divergences between prior and posterior below this are let be."""
    dynamics_weight: float = 1.0
    """Of what teaches the prior, in the loss."""
    representation_weight: float = 0.1
    """Of what holds the posterior to the prior, in the loss."""
    replay_value_weight: float = 0.3
    """Of the critic's loss on what was lived through."""
    entropy_weight: float = 3e-4
    """Of the entropy of the policy, which is paid for."""
    slow_rate: float = 0.02
    """Share by which the slow critic follows the critic in each update."""
    range_rate: float = 0.01
    """Share by which the range of returns follows that of each update."""

    def check(self) -> None:
        """Counts, shares and bounds."""
        super().check()
        require_within("horizon", self.horizon, 1)
        require_within("warmup", self.warmup, 0)
        for name in ("learning_rate", "clip", "discount"):
            require_above(name, getattr(self, name), 0)
        for name in ("discount", "return_lambda", "slow_rate", "range_rate"):
            require_within(name, getattr(self, name), 0.0, 1.0)
        for name in ("free_nats", "dynamics_weight", "representation_weight", "replay_value_weight", "entropy_weight"):
            require_within(name, getattr(self, name), 0.0)


class Nets(NamedTuple):
    """What is learned."""

    model: LatentModel
    actor: FeaturePolicy
    critic: Classification


class DreamerV3State(NamedTuple):
    """Everything that changes; ``low`` and ``high`` are the 5th and the 95th percentile of returns."""

    nets: Nets
    slow: Classification
    opt: optax.OptState
    low: Float[Array, ""]
    high: Float[Array, ""]

    @property
    def model(self) -> LatentModel:
        """The world model."""
        return self.nets.model


class DreamerV3(LatentAgent):
    """The agent; see `DreamerV3Config` for its settings and `forethought.agents.base.Agent` for its methods."""

    def init(self, *, key: Key) -> DreamerV3State:
        """Fresh networks; the slow critic is a copy, not an alias. What is earned and worth is 0 at first."""
        key_model, key_actor, key_critic = jax.random.split(key, 3)
        w, features, action = v3_nets.SIZES[self.config.size], sum(self.sizes), self.spec.action
        critic = v3_nets.critic(w, features, key=key_critic)
        nets = Nets(self.build(key=key_model), v3_nets.actor(w, features, action, key=key_actor), critic)
        low, high = jnp.array(0.0), jnp.array(0.0)
        return DreamerV3State(nets, jax.tree.map(jnp.copy, critic), self.optimizer.init(nets), low, high)

    @property
    def climbs(self) -> bool:
        """Whether the actor climbs the returns themselves, through the dream."""
        return self.config.elder and isinstance(self.spec.action, Box)

    @property
    def optimizer(self) -> optax.GradientTransformation:
        """One for all networks, or one for each."""
        if not self.config.elder:
            return laprop(self.config.learning_rate, self.config.warmup, self.config.clip)
        model, actor = clipped_adam(1e-4, 1000.0, eps=1e-8), clipped_adam(3e-5, 100.0, eps=1e-5)
        names: Any = Nets("model", "actor", "critic")  # type: ignore[arg-type]
        return optax.partition({"model": model, "actor": actor, "critic": actor}, names)

    def build(self, *, key: Key) -> LatentModel:
        """See `forethought.agents.dream.v3_nets`."""
        return v3_nets.world_model(v3_nets.SIZES[self.config.size], self.spec, self.config.discount, key=key)

    def notes(self) -> LatentBelief:
        """What was believed before each moment: windows begin from it, and what they find replaces it."""
        return jax.tree.map(lambda x: x[0], self.init_actor(1))

    def decide(self, state: DreamerV3State, carry: LatentBelief, *, key: Key, explore: bool):
        """Drawn while learning, else the mode."""
        says = state.nets.actor(carry.features)
        action = says.sample(key=key) if explore else says.mode()
        return state.model.carried_out(action), carry, Noted(carry)

    def learn(self, state: DreamerV3State, replay: Replay, *, key: Key) -> tuple[DreamerV3State, Replay, Info]:
        """One step of all networks, on windows and on what is dreamt from every moment of them."""
        key_draw, key_loss = jax.random.split(key)
        places, window = self.draw(replay, key=key_draw)
        before = jax.tree.map(lambda x: x[places], replay.notes)
        loss = partial(self.loss, state, window, before, key=key_loss)
        nets, opt, (found, low, high, info) = gradient(
            loss, self.optimizer, state.nets, state.opt, self.config.precision
        )
        slow = optax.incremental_update(nets.critic, state.slow, self.config.slow_rate)
        ahead = jnp.arange(1, self.config.batch_length)[:, None]
        places = replay.after(places + ahead * self.setting.num_envs, 0).ravel()
        notes = jax.tree.map(lambda x: x[:-1].reshape(-1, x.shape[-1]), found)
        return DreamerV3State(nets, slow, opt, low, high), replay.note(places, notes), info

    def loss(
        self, state: DreamerV3State, window: TimeStep, before: LatentBelief, nets: Nets, *, key: Key
    ) -> tuple[Array, Any]:
        """The sum of all losses; beside it what was believed, the range of returns, and what to tell."""
        c, (key_filter, key_dream) = self.config, jax.random.split(key)
        if c.elder:
            window = window._replace(first=window.first.at[0].set(True))  # windows begin as episodes do
        found, seen = nets.model.filter(before, window, key=key_filter)
        losses = self.model_losses(nets.model, found, seen, window)
        actor = nets.actor if self.climbs else frozen(nets.actor)

        def policy(features: Array, key: Key) -> Array:
            return actor(frozen(features)).sample(key=key)

        lived = dream(frozen(nets.model), policy, frozen(found.belief), c.horizon, key=key_dream)
        begin = nets.model.continues(frozen(found.belief.features)).ravel()
        if c.elder:  # the world goes on or it does not, and where the dream begins that is known
            lived = lived._replace(continues=jnp.round(lived.continues))
            begin = 1.0 - window.terminated.ravel()
        dreamt, returns, low, high = self.dream_losses(state, nets, lived, begin)
        losses |= dreamt
        if c.replay_value_weight:
            features = found.belief.features
            losses["replay_value"] = self.replay_value_loss(state, nets.critic, features, window, returns[0])
        weights = {
            "dynamics": c.dynamics_weight,
            "representation": c.representation_weight,
            "replay_value": c.replay_value_weight,
        }
        told = {f"{name}_loss": jnp.mean(x) for name, x in losses.items()}
        total = sum((weights.get(name, 1.0) * jnp.mean(x) for name, x in losses.items()), jnp.array(0.0))
        info = told | {"return": jnp.mean(returns), "range": high - low}
        return total, (frozen(found.belief), low, high, info)

    def model_losses(self, model: LatentModel, found: Filtered, seen: Sight, window: TimeStep) -> dict[str, Array]:
        """Squared errors of what is seen, and what was not expected of rewards, ends and latents [t, n]."""
        losses = model.losses(found.belief, seen, window.reward, window.terminated)
        dynamics, representation = kl_losses(found.posterior, found.prior, self.config.free_nats)
        return losses | {"dynamics": dynamics, "representation": representation}

    def dream_losses(
        self, state: DreamerV3State, nets: Nets, lived: Dreamt, begin: Float[Array, " n"]
    ) -> tuple[dict[str, Array], Any, Any, Any]:
        """Of actor and critic [h, n] (equations 5 to 7), with the lambda-returns and their new range.

        ``begin``: whether the world goes on where the dream begins; where it does not, nothing counts that is dreamt.
        """
        c, features = self.config, lived.features
        going_on = c.discount * lived.continues
        first = begin if c.elder else c.discount * begin  # in 2023 the discounts begin with the step after
        weight = frozen(jnp.cumprod(jnp.concatenate([first[None], going_on[:-1]]), axis=0))
        value = frozen(nets.critic)(features).mean()
        never = jnp.zeros(lived.reward.shape, bool)
        returns = lambda_returns(lived.reward, going_on, value[1:], never, c.return_lambda)
        low, high = (
            (1.0 - c.range_rate) * held + c.range_rate * jnp.percentile(frozen(returns), share)
            for held, share in ((state.low, 5.0), (state.high, 95.0))
        )
        gain = (returns - value[:-1]) / jnp.maximum(1.0, high - low)
        policy = nets.actor(frozen(features[:-1]))
        if not self.climbs:
            gain = policy.log_prob(frozen(lived.action)) * frozen(gain)
        targets = jnp.concatenate([returns, value[-1:]])
        valued = self.critic_loss(state, nets.critic, frozen(features), frozen(targets))[:-1]
        losses = {"actor": -weight * (gain + c.entropy_weight * policy.entropy()), "critic": weight * valued}
        return losses, frozen(returns), low, high

    def replay_value_loss(
        self,
        state: DreamerV3State,
        critic: Classification,
        features: Float[Array, "t n f"],
        window: TimeStep,
        returns: Float[Array, " m"],
    ) -> Float[Array, "s n"]:
        """The critic's loss on lambda-returns of the rewards that were earned; what is dreamt from a moment stands for
        its value.
        """
        c, reward, dreamt = self.config, window.reward, returns.reshape(window.reward.shape)
        ended = window.terminated | window.truncated
        ended = ended.at[:-1].max(window.first[1:])  # some are broken off without either
        going_on = c.discount * (1.0 - window.terminated[1:])
        target = frozen(lambda_returns(reward[1:], going_on, dreamt[1:], ended[1:], c.return_lambda))
        return ~ended[:-1] * self.critic_loss(state, critic, features[:-1], target)

    def critic_loss(
        self, state: DreamerV3State, critic: Classification, features: Float[Array, "t n f"], target: Array
    ) -> Float[Array, "t n"]:
        """How unlikely the critic holds the target, and what the slow critic says."""
        says = critic(features)
        return -says.log_prob(target) - says.log_prob(frozen(state.slow(features).mean()))
