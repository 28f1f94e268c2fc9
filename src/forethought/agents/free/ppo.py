"""Proximal policy optimization (Schulman et al. 2017, arXiv 1707.06347): on-policy, no model of the world."""

from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from forethought.agents.base import Agent, Output, Phase, Portable, Seen
from forethought.errors import UsageError, require_above, require_within
from forethought.models.normalizer import ObsScale, RewardScale
from forethought.nets.distributions import Categorical
from forethought.nets.encoder import Layout, require_layout
from forethought.nets.policies import EncodedMLP, StochasticPolicy
from forethought.permutation import permutation
from forethought.replay.moments import Replay
from forethought.returns import advantages
from forethought.settings import Settings, require_widths
from forethought.types import Discrete, EnvSpec, Info, Key, PyTree, Transition, is_vector
from forethought.wording import plural

_RANGE = 10.0  # standard deviations that observations are cut at, where they are normalised


@dataclass(frozen=True)
class PPOConfig(Settings):
    """Proximal policy optimization. Defaults are those of arXiv 1707.06347, table 3 (continuous control), and of the
    code that it was published with where the paper is silent.
    """

    hidden: tuple[int, ...] = (64, 64)
    """Widths of the hidden layers (tanh) of policy and value."""
    conv: Layout = ()
    """Convolutions of images before them, each (channels, side of the kernel, stride); empty: by the image's size."""
    rollout_steps: int = 2048
    """Steps of each environment between two updates (the paper's T)."""
    epochs: int = 10
    """Passes over the steps in an update."""
    minibatches: int = 32
    """Parts that the steps are dealt into in each pass: 64 steps each with one environment."""
    learning_rate: float = 3e-4
    """Adam step size."""
    anneal: bool = True
    """Whether the step size falls linearly to 0 over the run."""
    discount: float = 0.99
    """Factor per step on what follows."""
    gae_lambda: float = 0.95
    """Of the generalized advantages: 0 trusts the value of the next step, 1 the rewards alone."""
    clip: float = 0.2
    """How far the ratio of new to old probability may gain from 1."""
    value_weight: float = 0.5
    """Of the squared error of the value in the loss."""
    entropy_weight: float = 0.0
    """Of the entropy of the policy, which is paid for."""
    max_grad_norm: float = 0.5
    """Gradients longer than this are shortened to it."""
    normalize: bool = False
    """Whether vectors are seen at unit scale, and rewards divided by the deviation of returns, both of all that was
    met so far."""

    def check(self) -> None:
        """Counts, shares and bounds."""
        require_widths("hidden", self.hidden)
        require_layout("conv", self.conv)
        for name in ("rollout_steps", "epochs", "minibatches"):
            require_within(name, getattr(self, name), 1)
        for name in ("learning_rate", "clip", "max_grad_norm"):
            require_above(name, getattr(self, name), 0)
        for name in ("discount", "gae_lambda"):
            require_within(name, getattr(self, name), 0.0, 1.0)
        for name in ("value_weight", "entropy_weight"):
            require_within(name, getattr(self, name), 0.0)


class Nets(NamedTuple):
    """What is learned."""

    policy: StochasticPolicy
    value: EncodedMLP


class PPOState(NamedTuple):
    """Everything that changes."""

    nets: Nets
    opt: optax.OptState
    obs: ObsScale
    rewards: RewardScale


class Steps(NamedTuple):
    """The steps of an update, [b, ...]."""

    obs: PyTree
    says: dict[str, PyTree]  # see `PPO.decide`
    advantage: Float[Array, " b"]
    returns: Float[Array, " b"]


class PPO(Agent):
    """The agent; see `PPOConfig` for its settings and `forethought.agents.base.Agent` for its methods.

    The replay holds the steps since the last update and no others.
    """

    random_steps = 0

    def __init__(self, config: PPOConfig, spec: EnvSpec):
        self.config, self.spec, self.obs = config, spec, spec.obs

    @property
    def replay_capacity(self) -> int:  # type: ignore[override]
        """The steps of one update."""
        return self.config.rollout_steps * self.setting.num_envs

    def check_setting(self) -> None:
        """Raises `UsageError` where an update has fewer steps than parts, or the run ends before the first one."""
        steps, parts = self.replay_capacity, self.config.minibatches
        if parts > steps:
            raise UsageError(f"an update has {steps:,} steps, too few for --agent.minibatches {parts}; lower that")
        if self.setting.steps < steps:
            raise UsageError(
                f"{self.setting.steps:,} steps end before the first update, which takes {steps:,} "
                f"({self.config.rollout_steps:,} of each of {plural(self.setting.num_envs, 'environment')}): nothing "
                "would be learned; raise --steps or lower --agent.rollout-steps"
            )

    @property
    def optimizer(self) -> optax.GradientTransformation:
        """Adam on shortened gradients, of all parameters as one vector: there are many, and most are small."""
        c = self.config
        updates = max(1, self.setting.steps // self.replay_capacity) * c.epochs * c.minibatches
        rate = optax.linear_schedule(c.learning_rate, 0.0, updates) if c.anneal else c.learning_rate
        return optax.flatten(optax.chain(optax.clip_by_global_norm(c.max_grad_norm), optax.adam(rate, eps=1e-5)))

    def init(self, *, key: Key) -> PPOState:
        """Fresh networks."""
        key_policy, key_value = jax.random.split(key)
        c, obs = self.config, self.obs
        policy = StochasticPolicy(obs, self.spec.action, c.hidden, c.conv, key=key_policy)
        nets = Nets(policy, EncodedMLP(obs, c.hidden, c.conv, 1, 1.0, key=key_value))
        scales = ObsScale.unseen(obs, _RANGE), RewardScale.unseen(self.setting.num_envs)
        return PPOState(nets, self.optimizer.init(nets), *scales)

    def decide(self, state: PPOState, carry: Seen, *, key: Key, explore: bool):
        """Drawn while learning, else the mode.

        Extras: the draw before it was cut off at the bounds, its log-probability, what was legal, and 1 for "own":
        where another has acted, it is 0.
        """
        says = state.nets.policy(self._seen(state, carry.obs), carry.legal)
        drawn = says.sample(key=key) if explore else says.mode()
        action = drawn if isinstance(says, Categorical) else jnp.clip(drawn, -1.0, 1.0)
        own = jnp.ones(action.shape[0])
        return action, carry, {"drawn": drawn, "log_prob": says.log_prob(drawn), "legal": carry.legal, "own": own}

    def acts_with(self, state: PPOState) -> tuple[StochasticPolicy, ObsScale]:
        """The policy, and the scale at which it sees."""
        return state.nets.policy, state.obs

    def portable(self, state: PPOState) -> Portable:
        """The mean cut off at the bounds, or the likeliest choice."""
        output: Output = "argmax" if isinstance(self.spec.action, Discrete) else "clip"
        net = state.nets.policy.net
        if not (self.config.normalize and is_vector(self.obs)):
            return Portable.network(net.net, None, output=output, encoder=net.encoder)
        return Portable.network(net.net, None, state.obs.met.normalizer(), output=output, limit=_RANGE)

    def phases(self) -> tuple[Phase, ...]:
        """One update each time the replay is full."""
        c, every = self.config, self.replay_capacity
        return (Phase("update", every, self.update, updates=c.epochs * c.minibatches, start=every),)

    def update(self, state: PPOState, replay: Replay, *, step: Array, key: Key) -> tuple[PPOState, Replay, Info]:
        """``epochs`` passes over the newest steps, in ``minibatches`` drawn anew in each."""
        c, n = self.config, self.setting.num_envs
        rows = replay.last(self.replay_capacity)
        lived = jax.tree.map(lambda x: x.reshape(c.rollout_steps, n, *x.shape[1:]), rows)
        state, steps = self._targets(state, lived)
        size = self.replay_capacity // c.minibatches

        def minibatch(at: tuple[Nets, optax.OptState], index: Array) -> tuple[Any, Info]:
            nets, opt = at
            part = jax.tree.map(lambda x: x[index], steps)
            grads, info = jax.grad(partial(self.loss, part), has_aux=True)(nets)
            updates, opt = self.optimizer.update(grads, opt, nets)
            return (optax.apply_updates(nets, updates), opt), info

        def epoch(at: tuple[Nets, optax.OptState], key: Key) -> tuple[Any, Info]:
            order = permutation(key, self.replay_capacity)[: size * c.minibatches]
            return jax.lax.scan(minibatch, at, order.reshape(-1, size))

        (nets, opt), infos = jax.lax.scan(epoch, (state.nets, state.opt), jax.random.split(key, c.epochs))
        # What is seen changes its scale between two updates, and not within one: the first ratio is exactly 1.
        met = state.obs.add(rows.obs) if c.normalize else state.obs
        state = state._replace(nets=nets, opt=opt, obs=met)
        return state, replay, jax.tree.map(lambda x: jnp.mean(x[-1]), infos)

    def loss(self, steps: Steps, nets: Nets) -> tuple[Array, Info]:
        """Equations 7 and 9: ``-E min(r A, clip(r) A) + c_1 E (v - G)^2 / 2 - c_2 E H``, A normalised in the batch.

        Over the steps whose action was the agent's own: of another's nothing is known that a ratio could be taken to.
        """
        c, said, own = self.config, steps.says, steps.says["own"]

        def mean(x: Float[Array, " b"]) -> Float[Array, ""]:
            return jnp.sum(x * own) / jnp.maximum(jnp.sum(own), 1.0)

        says = nets.policy(steps.obs, said["legal"])
        log_ratio = says.log_prob(said["drawn"]) - said["log_prob"]
        ratio = jnp.exp(log_ratio)
        centred = steps.advantage - mean(steps.advantage)
        advantage = centred / (jnp.sqrt(mean(centred**2)) + 1e-8)
        gain = jnp.minimum(ratio * advantage, jnp.clip(ratio, 1.0 - c.clip, 1.0 + c.clip) * advantage)
        value_loss = 0.5 * mean((self._value(nets, steps.obs) - steps.returns) ** 2)
        entropy = mean(says.entropy())
        loss = -mean(gain) + c.value_weight * value_loss - c.entropy_weight * entropy
        kl = mean(ratio - 1.0 - log_ratio)  # of the old from the new policy (Schulman 2020, "Approximating KL")
        clipped = mean((jnp.abs(ratio - 1.0) > c.clip).astype(jnp.float32))
        told = {"surrogate": mean(gain), "value_loss": value_loss, "entropy": entropy}
        return loss, {**told, "kl": kl, "clipped": clipped}

    def _targets(self, state: PPOState, lived: Transition) -> tuple[PPOState, Steps]:
        """Advantages and returns of the steps [t, n, ...], flattened; the scale of rewards is that of these, too."""
        c, value = self.config, jax.vmap(partial(self._value, state.nets))
        seen, led = self._seen(state, lived.obs), self._seen(state, lived.next_obs)
        ended, going_on = lived.terminated | lived.truncated, c.discount * (1.0 - lived.terminated)
        rewards, reward = state.rewards, lived.reward
        if c.normalize:
            rewards = rewards.add(reward, ended, c.discount)
            reward = reward / rewards.std()
        v = value(seen)
        advantage = advantages(reward, going_on, v, value(led), ended, c.gae_lambda)
        steps = Steps(seen, lived.extras, advantage, advantage + v)
        return state._replace(rewards=rewards), jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), steps)

    def _value(self, nets: Nets, obs: PyTree) -> Float[Array, " n"]:
        return nets.value(obs)[:, 0]

    def _seen(self, state: PPOState, obs: PyTree) -> PyTree:
        return state.obs(obs) if self.config.normalize else obs
