"""Soft actor-critic (Haarnoja et al. 2018, arXiv 1812.05905): off-policy, maximum entropy, no model of the world.

The baseline for every claim of sample efficiency, and the policy learner inside MBPO.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from forethought.agents.base import Agent, Phase, Portable, Seen
from forethought.agents.free.scales import Scales, fit_scales, preserve_outputs, unscaled
from forethought.errors import require_above, require_within
from forethought.models.normalizer import Normalizer
from forethought.nets.heads import tanh_gaussian_sample
from forethought.nets.mlp import MLP
from forethought.replay.moments import Replay
from forethought.settings import Settings, require_widths
from forethought.types import Box, EnvSpec, Info, Key, Transition

LOG_STD_MIN, LOG_STD_MAX = -20.0, 2.0  # the bounds of the authors' code
_RESCALE_EVERY = 250  # environment steps, as often as MBPO fits its model


@dataclass(frozen=True)
class ActorCriticConfig(Settings):
    """How actor and critics learn. Defaults are those of arXiv 1812.05905, table 1."""

    hidden: tuple[int, ...] = (256, 256)
    """Widths of the hidden layers of actor and critics."""
    learning_rate: float = 3e-4
    """Adam step size of actor, critics and temperature."""
    discount: float = 0.99
    """Factor per step on the value of what follows."""
    tau: float = 5e-3
    """Share of the online critic that enters the target critic at each update."""
    batch_size: int = 256
    """Transitions per update."""
    temperature: float | None = None
    """A fixed weight of the entropy, in units of reward and above 0; None: learned so that the entropy meets its
    target."""
    target_entropy: float | None = None
    """Entropy that the temperature aims at, in nats; None: minus the number of action dimensions."""
    normalize: bool = False
    """Whether actor and critics work at unit scale, whatever the environment's units (see `Scales`). Ours, and on by
    default where no preset is made for the environment."""

    def check(self) -> None:
        """Counts, shares and bounds."""
        if self.temperature is not None:  # kept as its logarithm, in float32
            require_within("temperature", self.temperature, 1e-8, 1e8)
        require_widths("hidden", self.hidden)
        require_above("learning_rate", self.learning_rate, 0)
        require_within("batch_size", self.batch_size, 1)
        require_within("discount", self.discount, 0.0, 1.0)
        require_within("tau", self.tau, 0.0, 1.0)


@dataclass(frozen=True)
class SACConfig(ActorCriticConfig):
    """Soft actor-critic. Defaults are those of arXiv 1812.05905, table 1, unless a field says otherwise."""

    updates_per_step: int = 1
    """Gradient steps per environment step."""
    random_steps: int = 1000
    """Environment steps with uniformly random actions before the policy acts (the authors' code: 1000 to 10000)."""
    replay_capacity: int = 1_000_000
    """Transitions kept."""

    def check(self) -> None:
        """Counts, shares and bounds."""
        super().check()
        for name, least in (("updates_per_step", 1), ("random_steps", 0), ("replay_capacity", 1)):
            require_within(name, getattr(self, name), least)


class GaussianActor(eqx.Module):
    """Mean and log standard deviation of a Gaussian that tanh squashes into the action box."""

    net: MLP

    def __init__(self, n_obs: int, n_action: int, hidden: tuple[int, ...], *, key: Key):
        self.net = MLP((n_obs, *hidden, 2 * n_action), jax.nn.relu, key=key)

    def __call__(self, obs: Float[Array, " o"]) -> tuple[Float[Array, " a"], Float[Array, " a"]]:
        """Unbatched."""
        mean, log_std = jnp.split(self.net(obs), 2)
        return mean, jnp.clip(log_std, LOG_STD_MIN, LOG_STD_MAX)


class Critic(eqx.Module):
    """Action value ``Q(obs, action)``."""

    net: MLP

    def __init__(self, n_obs: int, n_action: int, hidden: tuple[int, ...], *, key: Key):
        self.net = MLP((n_obs + n_action, *hidden, 1), jax.nn.relu, key=key)

    def __call__(self, obs: Float[Array, " o"], action: Float[Array, " a"]) -> Float[Array, ""]:
        """Unbatched."""
        return self.net(jnp.concatenate([obs, action]))[0]


Twins: TypeAlias = tuple[Critic, Critic]


class SACState(NamedTuple):
    """Everything that changes.

    The critics are two modules, not one with a stacked axis: plain matrix products are 5 % faster on the CPU than
    batches of two.
    """

    actor: GaussianActor
    critics: Twins
    targets: Twins
    log_alpha: Float[Array, ""]
    actor_opt: optax.OptState
    critic_opt: optax.OptState
    alpha_opt: optax.OptState
    scales: Scales


def q_values(critics: Twins, obs: Float[Array, "b o"], action: Float[Array, "b a"]) -> Float[Array, "2 b"]:
    """Both critics on a batch."""
    return jnp.stack([jax.vmap(critic)(obs, action) for critic in critics])


def soft_target(
    reward: Float[Array, " b"],
    terminated: Array,
    q_next: Float[Array, "2 b"],
    log_prob: Float[Array, " b"],
    alpha: Float[Array, ""],
    discount: float,
) -> Float[Array, " b"]:
    """``y = r + gamma (1 - terminated) (min_i Q_i(s', a') - alpha log pi(a'|s'))``, equation 5 of the paper.

    ``truncated`` does not appear: a time limit ends the watching, not the world. No gradient flows through it.
    """
    value = jnp.min(q_next, axis=0) - alpha * log_prob
    return jax.lax.stop_gradient(reward + discount * jnp.where(terminated, 0.0, value))


class ActorCritic:
    """The learner: SAC on batches, wherever they come from. `SAC` feeds it real ones, MBPO mostly imagined ones."""

    def __init__(self, config: ActorCriticConfig, spec: EnvSpec):
        assert isinstance(spec.obs, Box)
        assert isinstance(spec.action, Box)
        self.config = config
        self.n_obs, self.n_action = spec.obs.shape[0], spec.action.shape[0]
        self.optimizer = optax.adam(config.learning_rate)
        self.target_entropy = -float(self.n_action) if config.target_entropy is None else config.target_entropy

    def init(self, *, key: Key) -> SACState:
        """Fresh networks; the target critics are copies, not aliases."""
        key_actor, key_first, key_second = jax.random.split(key, 3)
        sizes = self.n_obs, self.n_action, self.config.hidden
        actor = GaussianActor(*sizes, key=key_actor)
        critics = Critic(*sizes, key=key_first), Critic(*sizes, key=key_second)
        targets = jax.tree.map(jnp.copy, critics)
        alpha = 1.0 if self.config.temperature is None else self.config.temperature
        log_alpha = jnp.log(jnp.asarray(alpha, jnp.float32))
        init = self.optimizer.init
        opts = init(actor), init(critics), init(log_alpha)
        return SACState(actor, critics, targets, log_alpha, *opts, unscaled(self.n_obs))

    def policy(self, state: SACState, obs: Float[Array, "n o"], *, key: Key) -> Float[Array, "n a"]:
        """Draw an action for each observation."""
        return tanh_gaussian_sample(*jax.vmap(state.actor)(state.scales.obs.normalize(obs)), key=key)[0]

    def best(self, state: SACState, obs: Float[Array, "n o"]) -> Float[Array, "n a"]:
        """The squashed mean for each observation."""
        return jnp.tanh(jax.vmap(state.actor)(state.scales.obs.normalize(obs))[0])

    def rescaled(self, state: SACState, replay: Replay) -> SACState:
        """With the scales of the real transitions so far, where the settings ask for them.

        Where the unit of reward was known before, values and temperature stay what they were, in that unit; where it
        was not, networks and a temperature to be learned begin, or go on, at unit scale. The first layers see the
        observations at the new scale with the weights that they have: the states of random actions often lie close
        together, and weights that kept their outputs would be far too great for the states that come later.
        """
        if not self.config.normalize:
            return state
        old, new = state.scales, fit_scales(replay, self.config.discount)
        # Rewards may cease to vary once those that did have left the replay.
        unit = jnp.where(old.known & ~new.known, old.unit, new.unit)
        new = new._replace(unit=unit, known=old.known | new.known)

        def preserved(critic: Critic) -> Critic:
            return eqx.tree_at(lambda critic: critic.net, critic, preserve_outputs(critic.net, old, new))

        log_alpha = state.log_alpha
        if self.config.temperature is None:
            log_alpha += jnp.where(old.known, 0.0, jnp.log(new.unit / old.unit))
        critics, targets = ((preserved(first), preserved(second)) for first, second in (state.critics, state.targets))
        return state._replace(critics=critics, targets=targets, log_alpha=log_alpha, scales=new)

    def learn_many(
        self, state: SACState, draw: Callable[[Key], Transition], n: int, *, key: Key
    ) -> tuple[SACState, Info]:
        """``n`` steps of `learn`, each on a batch that ``draw`` draws afresh; what the last one has to say."""

        def body(state: SACState, key: Key) -> tuple[SACState, Info]:
            key_batch, key_learn = jax.random.split(key)
            return self.learn(state, draw(key_batch), key=key_learn)

        # Two updates per turn of the loop: the CPU overlaps the end of one with the beginning of the next.
        state, infos = jax.lax.scan(body, state, jax.random.split(key, n), unroll=2)
        return state, jax.tree.map(lambda x: x[-1], infos)

    def learn(self, state: SACState, batch: Transition, *, key: Key) -> tuple[SACState, Info]:
        """One gradient step of critics, actor and temperature, in this order, and of the target critics."""
        key_target, key_actor = jax.random.split(key)
        scales, discount = state.scales, self.config.discount
        alpha = jnp.exp(state.log_alpha) / scales.unit
        batch = batch._replace(
            obs=scales.obs.normalize(batch.obs),
            next_obs=scales.obs.normalize(batch.next_obs),
            reward=scales.reward(batch.reward, batch.terminated, discount),
        )
        next_action, next_log_prob = tanh_gaussian_sample(*jax.vmap(state.actor)(batch.next_obs), key=key_target)
        q_next = q_values(state.targets, batch.next_obs, next_action)
        target = soft_target(batch.reward, batch.terminated, q_next, next_log_prob, alpha, discount)

        def critic_loss(critics: Twins) -> tuple[Array, Array]:
            q = q_values(critics, batch.obs, batch.action)
            return 0.5 * jnp.sum(jnp.mean((q - target) ** 2, axis=1)), q

        (loss_q, q), grads = jax.value_and_grad(critic_loss, has_aux=True)(state.critics)
        critics, critic_opt = self._descend(grads, state.critic_opt, state.critics)

        def actor_loss(actor: GaussianActor) -> tuple[Array, Array]:
            action, log_prob = tanh_gaussian_sample(*jax.vmap(actor)(batch.obs), key=key_actor)
            q_min = jnp.min(q_values(critics, batch.obs, action), axis=0)
            return jnp.mean(alpha * log_prob - q_min), log_prob

        (loss_pi, log_prob), grads = jax.value_and_grad(actor_loss, has_aux=True)(state.actor)
        actor, actor_opt = self._descend(grads, state.actor_opt, state.actor)
        entropy = -jnp.mean(log_prob)
        log_alpha, alpha_opt = state.log_alpha, state.alpha_opt
        if self.config.temperature is None:
            # The gradient of log(alpha) (H - target): the authors' code drops the paper's factor alpha, so that a small
            # temperature is not a slow one.
            log_alpha, alpha_opt = self._descend(entropy - self.target_entropy, alpha_opt, log_alpha)
        targets = optax.incremental_update(critics, state.targets, self.config.tau)
        told = {"q": scales.value + scales.unit * jnp.mean(q), "alpha": jnp.exp(state.log_alpha)}  # in units of reward
        info = {"critic_loss": loss_q, "actor_loss": loss_pi, "entropy": entropy, **told}
        return SACState(actor, critics, targets, log_alpha, actor_opt, critic_opt, alpha_opt, scales), info

    def _descend(self, grads, opt_state, params):
        updates, opt_state = self.optimizer.update(grads, opt_state, params)
        return optax.apply_updates(params, updates), opt_state


class SAC(Agent):
    """The agent; see `SACConfig` for its settings and `forethought.agents.base.Agent` for its methods."""

    def __init__(self, config: SACConfig, spec: EnvSpec):
        self.config, self.spec = config, spec
        self.learner = ActorCritic(config, spec)
        self.replay_capacity, self.random_steps = config.replay_capacity, config.random_steps

    def init(self, *, key: Key) -> SACState:
        """Fresh networks."""
        return self.learner.init(key=key)

    def decide(self, state: SACState, carry: Seen, *, key: Key, explore: bool):
        """Sampled while exploring; else the squashed mean."""
        action = self.learner.policy(state, carry.obs, key=key) if explore else self.learner.best(state, carry.obs)
        return action, carry, ()

    def acts_with(self, state: SACState) -> tuple[GaussianActor, Normalizer]:
        """The actor, and the scale at which it sees."""
        return state.actor, state.scales.obs

    def portable(self, state: SACState) -> Portable:
        """The squashed mean."""
        return Portable.network(state.actor.net, self.learner.n_action, state.scales.obs)

    def phases(self) -> tuple[Phase, ...]:
        """``updates_per_step`` updates on real transitions after each step; before them now and then the scales."""
        c = self.config
        update = Phase("update", 1, self.update, updates=c.updates_per_step, start=c.random_steps)
        scale = Phase("rescale", _RESCALE_EVERY, self.rescale, start=max(c.random_steps, 1))
        return (scale, update) if c.normalize else (update,)

    def rescale(self, state: SACState, replay: Replay, *, step: Array, key: Key) -> tuple[SACState, Replay, Info]:
        """The scales of the transitions so far."""
        return self.learner.rescaled(state, replay), replay, {}

    def update(self, state: SACState, replay: Replay, *, step: Array, key: Key) -> tuple[SACState, Replay, Info]:
        """``updates_per_step`` gradient steps, each on a fresh batch from the replay."""
        c = self.config

        def draw(key: Key) -> Transition:
            return replay.sample(c.batch_size, key=key)

        state, info = self.learner.learn_many(state, draw, c.updates_per_step, key=key)
        return state, replay, info
