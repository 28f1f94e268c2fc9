"""What all that learn in a latent model have in common: how they believe, what they draw, and when they learn."""

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from forethought.agents.base import Agent, Phase, Portable, random_action
from forethought.errors import UsageError, require_within
from forethought.imagine import Policy, imagine
from forethought.models.base import WorldModel
from forethought.models.latent import LatentModel
from forethought.models.rssm import LatentBelief
from forethought.nets.mlp import Precision, narrowed
from forethought.replay.moments import Replay
from forethought.settings import Settings
from forethought.types import Box, EnvSpec, Info, Key, PyTree, TimeStep
from forethought.wording import plural

Nets = TypeVar("Nets", bound=Any)  # a named tuple of networks


@dataclass(frozen=True)
class DreamConfig(Settings):
    """What all of them may be told."""

    batch_size: int = 16
    """Windows of moments in an update."""
    batch_length: int = 64
    """Moments of each of them."""
    train_every: int = 1
    """Environment steps between two rounds of updates."""
    updates: int = 1
    """Updates of a round."""
    pretrain: int = 0
    """Updates besides, before the first round."""
    random_steps: int = 1024
    """Environment steps with random actions before the first update."""
    replay_capacity: int = 1_000_000
    """Transitions kept."""
    precision: Precision = "float32"
    """Of products in updates: bfloat16 rounds by up to 0.4 %, and is faster where the processor has units for it."""

    def check(self) -> None:
        """Counts."""
        for name in ("batch_size", "train_every", "updates", "replay_capacity"):
            require_within(name, getattr(self, name), 1)
        require_within("batch_length", self.batch_length, 2)
        for name in ("random_steps", "pretrain"):
            require_within(name, getattr(self, name), 0)


class LearnsFromWindows(Agent):
    """An agent with a latent model, which it learns on windows of moments.

    States have the model as ``model``. A subclass says how it is made, what an update is, and how to act on it.
    """

    has_memory = True
    config: Any

    def __init__(self, config: Any, spec: EnvSpec):
        self.config, self.spec = config, spec
        self.replay_capacity, self.random_steps = config.replay_capacity, config.random_steps
        model = jax.eval_shape(lambda: self.build(key=jax.random.key(0)))
        self.sizes = model.rssm.n_deter, model.rssm.n_stoch

    @abstractmethod
    def build(self, *, key: Key) -> LatentModel:
        """A fresh model."""

    @abstractmethod
    def learn(self, state: Any, replay: Replay, *, key: Key) -> tuple[Any, Replay, Info]:
        """One update."""

    @property
    def start(self) -> int:
        """Environment steps before the first update: as many as make a window in each environment."""
        return max(self.config.random_steps, self.config.batch_length * self.setting.num_envs)

    @property
    def _environments(self) -> str:
        return plural(self.setting.num_envs, "environment")

    def check_setting(self) -> None:
        """Raises `UsageError` where the run ends before the first update, or no window finds room."""
        moments = self.config.batch_length * self.setting.num_envs
        if self.config.replay_capacity < moments:
            raise UsageError(
                f"windows of {self.config.batch_length} moments of {self._environments} do not fit "
                f"into a replay of {self.config.replay_capacity:,}; raise --agent.replay-capacity to {moments:,}, or "
                "lower --agent.batch-length"
            )
        if self.setting.steps < self.start:
            raise UsageError(
                f"{self.setting.steps:,} steps end before the first update: windows of {self.config.batch_length} "
                f"moments of {self._environments} and {self.config.random_steps:,} random "
                f"steps come before it, {self.start:,} in all; raise --steps, or lower --agent.batch-length and "
                "--agent.random-steps"
            )

    def check_data(self, rows: int, pretrain: bool) -> None:
        """Raises `UsageError` where they make no window in each environment, and steps cannot add to them."""
        lane, length = rows // self.setting.num_envs, self.config.batch_length
        if pretrain and lane < length:
            raise UsageError(
                f"to learn before the first step takes windows of {length} moments, and the {rows:,} transitions given "
                f"are {lane:,} to each of {self._environments}; give more, lower --agent.batch-length, "
                "or leave out --pretrain"
            )

    def unseen(self, n: int) -> LatentBelief:
        """What is believed before anything was seen."""
        return LatentBelief(*(jnp.zeros((n, size)) for size in self.sizes))

    def world_model(self, state: Any) -> WorldModel:
        """The latent model."""
        return state.model

    def phases(self) -> tuple[Phase, ...]:
        """Rounds of updates from `start` on, after those of ``pretrain``."""
        c = self.config
        update = Phase("update", c.train_every, self.update, updates=c.updates, start=self.start)
        if not c.pretrain:
            return (update,)
        once = max(self.setting.steps, self.start + 1)
        first = Phase("pretrain", once, self.one, updates=1, start=self.start, times=c.pretrain)
        return (first, update)

    def one(self, state: Any, replay: Replay, *, step: Array, key: Key) -> tuple[Any, Replay, Info]:
        """One update."""
        return self.learn(state, replay, key=key)

    def update(self, state: Any, replay: Replay, *, step: Array, key: Key) -> tuple[Any, Replay, Info]:
        """Those of a round, one after the other; what the last one has to say."""

        def learn(at: tuple[Any, Replay], key: Key) -> tuple[tuple[Any, Replay], Info]:
            state, replay, info = self.learn(*at, key=key)
            return (state, replay), info

        (state, replay), infos = jax.lax.scan(learn, (state, replay), jax.random.split(key, self.config.updates))
        return state, replay, jax.tree.map(lambda x: x[-1], infos)

    def explored(self, action: PyTree, noise: float, *, key: Key) -> PyTree:
        """An action as it is carried out: noise of that deviation added to numbers, or a share of choices random."""
        key_noise, key_which = jax.random.split(key)
        if isinstance(self.spec.action, Box):
            return jnp.clip(action + noise * jax.random.normal(key_noise, action.shape), -1.0, 1.0)
        chosen = jnp.argmax(action, axis=-1).astype(jnp.int32) if action.ndim == 2 else action
        anything = random_action(self.spec.action, chosen.shape[0], key_noise)
        return jnp.where(jax.random.uniform(key_which, chosen.shape) < noise, anything, chosen)

    def draw(self, replay: Replay, *, key: Key) -> tuple[Int[Array, " n"], TimeStep]:
        """The places of windows, and their moments [t, n, ...]."""
        places = replay.sample_windows(self.config.batch_size, self.config.batch_length, key=key)
        return places, replay.windows(places, self.config.batch_length)


class LatentAgent(LearnsFromWindows):
    """One whose carry is what its model believes, and that acts by a network, which states have as ``nets.actor``."""

    def init_actor(self, n: int) -> LatentBelief:
        """See `unseen`."""
        return self.unseen(n)

    def observe(self, state: Any, carry: LatentBelief, time_step: TimeStep, *, key: Key) -> LatentBelief:
        """The model's belief."""
        first = jnp.asarray(time_step.first)
        return state.model.observe(carry, time_step.prev_action, time_step.obs, first, key=key)

    def acts_with(self, state: Any) -> PyTree:
        """Model and actor."""
        return state.nets.model, state.nets.actor

    def portable(self, state: Any) -> Portable:
        """Raises `UsageError`."""
        raise UsageError(
            "the policy reads what the model believes; write it as .stablehlo, which takes the model along"
        )

    def policy_within(self, state: Any) -> Policy:
        """It acts on beliefs, and features are all of a belief."""

        def act(features: Float[Array, "n f"], key: Key) -> PyTree:
            belief = LatentBelief(*jnp.split(features, [self.sizes[0]], axis=-1))
            return self.decide(state, belief, key=key, explore=False)[0]

        return act


class Dreamt(NamedTuple):
    """h steps imagined from n beliefs.

    Attributes:
        features: of h + 1 moments.
        action: in each but the last.
        reward: of the step after each but the last.
        continues: the probability that the world goes on after it.
    """

    features: Float[Array, "h1 n f"]
    action: PyTree
    reward: Float[Array, "h n"]
    continues: Float[Array, "h n"]


def dream(model: LatentModel, policy: Policy, belief: LatentBelief, horizon: int, *, key: Key) -> Dreamt:
    """Let a policy live in the model, from beliefs with any leading axes."""
    start = jax.tree.map(lambda x: x.reshape(-1, x.shape[-1]), belief)
    _, imagined = imagine(model, policy, start, horizon, key=key)
    steps = imagined.transition
    features = jnp.concatenate([steps.obs, steps.next_obs[-1:]])
    return Dreamt(features, steps.action, steps.reward, imagined.continues)


def gradient(
    loss: Callable[[PyTree], tuple[Array, PyTree]],
    optimizer: Any,
    params: PyTree,
    opt: PyTree,
    precision: Precision = "float32",
) -> tuple[PyTree, PyTree, PyTree]:
    """One step down a loss with something beside it: parameters, state of the optimizer, and that."""
    grads, beside = jax.grad(lambda params: loss(narrowed(params, precision)), has_aux=True)(params)
    change, opt = optimizer.update(grads, opt, params)
    return optax.apply_updates(params, change), opt, beside


def descended(
    loss: Callable[[Nets], tuple[Array, PyTree]],
    optimizers: tuple[Any, ...],
    nets: Nets,
    opts: Nets,
    precision: Precision,
) -> tuple[Nets, Nets, PyTree]:
    """As `gradient`, with an optimizer for each of several networks."""
    grads, beside = jax.grad(lambda nets: loss(narrowed(nets, precision)), has_aux=True)(nets)
    steps = [o.update(*args) for o, *args in zip(optimizers, grads, opts, nets, strict=True)]
    kind = type(nets)
    moved = kind(*(optax.apply_updates(net, change) for net, (change, _) in zip(nets, steps, strict=True)))
    return moved, kind(*(opt for _, opt in steps)), beside
