"""Deep Q-networks (Mnih et al. 2015, Nature 518) with what was added to them: double, dueling, n-step, prioritized."""

from dataclasses import dataclass
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from forethought.agents.base import Agent, Phase, Portable, Seen, random_action
from forethought.errors import require_above, require_within
from forethought.nets.distributions import of_legal
from forethought.nets.encoder import Encoder, Layout, require_layout
from forethought.nets.mlp import MLP, Linear, pytorch_default
from forethought.replay import ring
from forethought.replay.moments import Replay
from forethought.returns import n_step_returns
from forethought.settings import Settings, require_widths
from forethought.types import Discrete, EnvSpec, Info, Key, PyTree, Space, TimeStep

_LEAST_PRIORITY = 1e-6  # so that what was foretold exactly is drawn again some day


@dataclass(frozen=True)
class DQNConfig(Settings):
    """Deep Q-learning. Defaults are those of Mnih et al. 2015, extended data table 1, but for Adam, which later code
    has in the place of RMSProp, and for networks of vectors.
    """

    hidden: tuple[int, ...] = (256, 256)
    """Widths of the hidden layers (ReLU)."""
    conv: Layout = ()
    """Convolutions of images before them, each (channels, side of the kernel, stride); empty: by the image's size."""
    learning_rate: float = 1e-4
    """Adam step size."""
    discount: float = 0.99
    """Factor per step on what follows."""
    batch_size: int = 32
    """Transitions per update."""
    train_every: int = 4
    """Environment steps between two rounds of updates."""
    updates: int = 1
    """Gradient steps of a round."""
    target_every: int = 10_000
    """Gradient steps after which the target network becomes a copy of the online one."""
    epsilon_first: float = 1.0
    """Chance of a uniformly random action after the random steps."""
    epsilon_last: float = 0.1
    """The same at its end."""
    epsilon_steps: int = 1_000_000
    """Environment steps over which it falls linearly, counted from the first one."""
    max_grad_norm: float = 10.0
    """Gradients longer than this are shortened to it."""
    double: bool = False
    """Whether the online network chooses the action that the target network values (van Hasselt et al. 2016)."""
    dueling: bool = False
    """Whether the values of a state and the advantages of its actions are apart (Wang et al. 2016)."""
    n_step: int = 1
    """Rewards that a target sums before it bootstraps."""
    prioritized: bool = False
    """Whether transitions are drawn by their last error (Schaul et al. 2016, proportional)."""
    alpha: float = 0.6
    """Exponent of the priorities: 0 draws uniformly."""
    beta: float = 0.4
    """Exponent of the weights that make up for that, at the beginning; it rises to 1 over the run."""
    random_steps: int = 50_000
    """Environment steps with uniformly random actions before the first update."""
    replay_capacity: int = 1_000_000
    """Transitions kept."""

    def check(self) -> None:
        """Counts, shares and bounds."""
        require_widths("hidden", self.hidden)
        require_layout("conv", self.conv)
        counts = "batch_size", "train_every", "updates", "target_every", "epsilon_steps", "n_step", "replay_capacity"
        for name in counts:
            require_within(name, getattr(self, name), 1)
        for name in ("learning_rate", "max_grad_norm"):
            require_above(name, getattr(self, name), 0)
        for name in ("discount", "epsilon_first", "epsilon_last", "alpha", "beta"):
            require_within(name, getattr(self, name), 0.0, 1.0)
        require_within("random_steps", self.random_steps, 0)


class QNetwork(eqx.Module):
    """``Q(s, a)`` for every action; with a value ``V`` beside the ``A``s of the net it is ``V + A - mean_a A``."""

    encoder: Encoder
    net: MLP
    value: Linear | None

    def __init__(self, config: DQNConfig, obs: Space, n_actions: int, *, key: Key):
        key_net, key_value, key_encoder = jax.random.split(key, 3)
        init = pytorch_default  # without biases of different sizes a small network learns CartPole on one seed of two
        self.encoder = Encoder(obs, config.conv, key=key_encoder, init=init)
        self.net = MLP((self.encoder.size, *config.hidden, n_actions), jax.nn.relu, key=key_net, init=init)
        self.value = Linear(config.hidden[-1], 1, key=key_value, init=init) if config.dueling else None

    def __call__(self, obs: PyTree) -> Float[Array, "b a"]:
        """On a batch."""
        features = jax.vmap(lambda x: self.net.features(self.encoder(x)))(obs)
        q = jax.vmap(self.net.layers[-1])(features)
        return q if self.value is None else jax.vmap(self.value)(features) + q - jnp.mean(q, axis=1, keepdims=True)


class DQNState(NamedTuple):
    """Everything that changes."""

    online: QNetwork
    target: QNetwork
    opt: optax.OptState
    updates: Int[Array, ""]
    step: Int[Array, ""]  # environment steps at the last round of updates


class DQN(Agent):
    """The agent; see `DQNConfig` for its settings and `forethought.agents.base.Agent` for its methods."""

    def __init__(self, config: DQNConfig, spec: EnvSpec):
        assert isinstance(spec.action, Discrete)
        self.config, self.spec = config, spec
        self.n_actions = spec.action.n
        self.replay_capacity, self.random_steps = config.replay_capacity, config.random_steps
        self.optimizer = optax.chain(optax.clip_by_global_norm(config.max_grad_norm), optax.adam(config.learning_rate))

    def init(self, *, key: Key) -> DQNState:
        """Fresh networks; the target is a copy, not an alias."""
        c = self.config
        online = QNetwork(c, self.spec.obs, self.n_actions, key=key)
        target = jax.tree.map(jnp.copy, online)
        return DQNState(online, target, self.optimizer.init(online), jnp.array(0), jnp.array(0))

    def notes(self) -> PyTree:
        """The priority of the transition that begins in a row, to the power alpha; 0 before its error is known."""
        return jnp.array(0.0) if self.config.prioritized else ()

    def decide(self, state: DQNState, carry: Seen, *, key: Key, explore: bool):
        """Epsilon-greedy while learning, greedy when evaluated."""
        greedy = jnp.argmax(of_legal(state.online(carry.obs), carry.legal), axis=1).astype(jnp.int32)
        if not explore:
            return greedy, carry, ()
        key_any, key_which = jax.random.split(key)
        anything = random_action(self.spec.action, greedy.shape[0], key_any, carry.legal)
        by_chance = jax.random.uniform(key_which, greedy.shape) < self.epsilon(state.step)
        return jnp.where(by_chance, anything, greedy), carry, ()

    def epsilon(self, step: Array) -> Array:
        """Chance of a random action."""
        c = self.config
        share = jnp.clip(step / c.epsilon_steps, 0.0, 1.0)  # steps before the first are negative
        return c.epsilon_first + share * (c.epsilon_last - c.epsilon_first)

    def acts_with(self, state: DQNState) -> QNetwork:
        """The online network."""
        return state.online

    def portable(self, state: DQNState) -> Portable:
        """The action with the greatest value: whatever a state is worth, the advantages say which that is."""
        return Portable.network(state.online.net, None, output="argmax", encoder=state.online.encoder)

    def phases(self) -> tuple[Phase, ...]:
        """``updates`` gradient steps every ``train_every`` environment steps, as soon as there is a whole window."""
        c = self.config
        start = max(c.random_steps, c.n_step * self.setting.num_envs)
        return (Phase("update", c.train_every, self.update, updates=c.updates, start=start),)

    def update(self, state: DQNState, replay: Replay, *, step: Array, key: Key) -> tuple[DQNState, Replay, Info]:
        """Gradient steps, each on a fresh batch."""

        def learn(at: tuple[DQNState, Replay], key: Key) -> tuple[tuple[DQNState, Replay], Info]:
            state, replay, info = self.learn(*at, key=key)
            return (state, replay), info

        keys = jax.random.split(key, self.config.updates)
        (state, replay), infos = jax.lax.scan(learn, (state._replace(step=step), replay), keys)
        return state, replay, {**jax.tree.map(lambda x: x[-1], infos), "epsilon": self.epsilon(step)}

    def learn(self, state: DQNState, replay: Replay, *, key: Key) -> tuple[DQNState, Replay, Info]:
        """One gradient step on the Huber loss of the temporal differences, and now and then a new target network."""
        c = self.config
        places, weight = self._draw(state, replay, key=key)
        window = replay.windows(places, c.n_step + 1)
        obs, action = jax.tree.map(lambda x: x[0], window.obs), window.prev_action[1]
        target = self.target(state, window)

        def loss(online: QNetwork) -> tuple[Array, Array]:
            q = jnp.take_along_axis(online(obs), action[:, None], axis=1)[:, 0]
            return jnp.mean(weight * optax.huber_loss(q, target)), q

        (value, q), grads = jax.value_and_grad(loss, has_aux=True)(state.online)
        change, opt = self.optimizer.update(grads, state.opt, state.online)
        online, updates = optax.apply_updates(state.online, change), state.updates + 1
        anew = updates % c.target_every == 0
        copied = jax.tree.map(lambda new, old: jnp.where(anew, new, old), online, state.target)
        if c.prioritized:
            replay = replay.note(places, (jnp.abs(q - target) + _LEAST_PRIORITY) ** c.alpha)
        state = state._replace(online=online, target=copied, opt=opt, updates=updates)
        return state, replay, {"td_loss": value, "q": jnp.mean(q)}

    def target(self, state: DQNState, window: TimeStep) -> Float[Array, " b"]:
        """``sum_{i<n} gamma^i r_i + gamma^n max_a Q'(s_n, a)`` along windows of n + 1 moments [n + 1, b, ...].

        The greatest of the legal ones. A window that meets the end of an episode has fewer rewards, and bootstraps
        there unless the world terminated.
        With ``double`` it is ``Q'(s_n, argmax_a Q(s_n, a))``.
        """
        c = self.config
        led = jax.tree.map(lambda x: x[1:], window)
        ended = (led.terminated | led.truncated).at[:-1].max(led.first[1:])  # some are broken off without either
        before = jnp.cumsum(ended, axis=0) - ended
        last = jnp.sum(before == 0, axis=0) - 1  # the step after which it bootstraps
        reached, legal = jax.tree.map(lambda x: x[last, jnp.arange(last.shape[0])], (led.obs, led.legal))
        values = state.target(reached)
        best = jnp.argmax(of_legal(state.online(reached) if c.double else values, legal), axis=1)
        value = jnp.take_along_axis(values, best[:, None], axis=1)[:, 0]
        placed = jnp.where(jnp.arange(c.n_step)[:, None] == last, value, 0.0)
        going_on = c.discount * (1.0 - led.terminated)
        return jax.lax.stop_gradient(n_step_returns(led.reward, going_on, placed, ended, c.n_step)[0])

    def _draw(self, state: DQNState, replay: Replay, *, key: Key) -> tuple[Int[Array, " b"], Float[Array, " b"]]:
        """Where windows begin, and the weights of their losses: windows that would run over the newest row are out."""
        c = self.config
        too_new = (c.n_step - 1) * self.setting.num_envs
        count = jnp.maximum(replay.size - too_new, 1)
        if not c.prioritized:
            age = too_new + jax.random.randint(key, (c.batch_size,), 0, count)
            return replay.after(ring.newest(replay.ends, age), -1), jnp.ones(c.batch_size)
        begins = replay.after(replay.ends.data, -1)
        age = (replay.ends.cursor - 1 - jnp.arange(replay.capacity)) % replay.ends.limit
        noted, drawable = replay.notes[begins], (age >= too_new) & (age < replay.size)
        greatest = jnp.max(jnp.where(drawable, noted, 0.0))
        unknown = jnp.where(greatest > 0.0, greatest, 1.0)  # to be drawn as soon as any other
        mass = jnp.where(drawable, jnp.where(noted > 0.0, noted, unknown), 0.0)
        sums = jnp.cumsum(mass)
        drawn = jnp.searchsorted(sums, jax.random.uniform(key, (c.batch_size,), maxval=sums[-1]), side="right")
        chosen = jnp.minimum(drawn, replay.capacity - 1)
        chosen = jnp.where(mass[chosen] > 0.0, chosen, jnp.argmax(mass))  # sums in float32 need not rise
        beta = c.beta + (1.0 - c.beta) * jnp.clip(state.step / self.setting.steps, 0.0, 1.0)
        weight = (count * mass[chosen] / sums[-1]) ** -beta
        return begins[chosen], weight / jnp.max(weight)
