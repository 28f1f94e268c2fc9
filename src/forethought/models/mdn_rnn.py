"""V and M of World Models as one world model (Ha & Schmidhuber 2018, arXiv 1803.10122).

V makes of each image a z, M foretells the next one::

    h_{t+1}, c_{t+1} = LSTM(h_t, c_t, [z_t, a_t])
    z_{t+1} ~ a mixture of Gaussians for each of its numbers, read off h_{t+1}        imagined
    z_{t+1} ~ q(z | image)                                                            seen

The reward and whether the world ends at t + 1 are read off h_{t+1} too. An episode begins with h = c = 0.
"""

from functools import partial
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, UInt8

from forethought.nets.mixture import Mixture
from forethought.nets.mlp import Linear, glorot_uniform
from forethought.nets.recurrent import LSTM
from forethought.nets.sight import Sight, shown
from forethought.nets.vae import VAE
from forethought.types import Box, Discrete, Key, Outcome, PyTree


class MDNBelief(NamedTuple):
    """Of n worlds: what is seen or dreamed now, and what M remembers of all before."""

    z: Float[Array, "n z"]
    h: Float[Array, "n h"]
    c: Float[Array, "n h"]


class Coded(NamedTuple):
    """A moment as M learns from it: what V makes of the image, and how the world came there; leaves [*b, ...].

    ``known`` is False where there is no such moment.
    """

    mean: Float[Array, "*b z"]
    log_std: Float[Array, "*b z"]
    action: Float[Array, "*b a"]
    reward: Float[Array, "*b"]
    first: Bool[Array, "*b"]
    terminated: Bool[Array, "*b"]
    known: Bool[Array, "*b"]

    def sample(self, *, key: Key) -> Float[Array, "*b z"]:
        """One z of each ``q(z | image)``."""
        return self.mean + jnp.exp(self.log_std) * jax.random.normal(key, self.mean.shape)


class Foretold(NamedTuple):
    """What M says of the next moment: z, the reward, and the logit of an end of the world (None: not learned)."""

    z: Mixture
    reward: Float[Array, "*b"]
    ending: Float[Array, "*b"] | None


class MemoryLoss(NamedTuple):
    """Means over the moments that were foretold, and what is learned from.

    Attributes:
        nll: ``-ln p(z)`` for each number of z; of moments where the world ended it is not asked, for nothing follows.
        reward: squared error; 0 where it is not learned.
        ending: cross-entropy in nats, that of an end counted ``ending_weight`` times.
        total: their sum, but that of rewards divided by their mean square, where that is above 1.
    """

    nll: Float[Array, ""]
    reward: Float[Array, ""]
    ending: Float[Array, ""]
    total: Float[Array, ""]


class Memory(eqx.Module):
    """M, an LSTM whose output is read as mixture densities (MDN-RNN). Unbatched.

    Attributes:
        reward: None where the reward is 1 for every step alive.
        ending: None where the world never ends.
    """

    lstm: LSTM
    mixture: Linear
    reward: Linear | None
    ending: Linear | None
    components: int = eqx.field(static=True)

    def __init__(
        self,
        n_latent: int,
        n_action: int,
        hidden: int = 256,
        components: int = 5,
        *,
        reward: bool = True,
        ending: bool = True,
        key: Key,
    ):
        """``reward`` and ``ending``: whether they are learned."""
        key_lstm, key_mixture, key_reward, key_ending = jax.random.split(key, 4)
        linear = partial(Linear, init=glorot_uniform)
        self.lstm = LSTM(n_latent + n_action, hidden, key=key_lstm, init=glorot_uniform)
        self.mixture, self.components = linear(hidden, 3 * components * n_latent, key=key_mixture), components
        self.reward = linear(hidden, 1, key=key_reward) if reward else None
        self.ending = linear(hidden, 1, key=key_ending) if ending else None

    @property
    def hidden(self) -> int:
        """Numbers of h, and of c."""
        return self.mixture.weight.shape[-2]

    def foretell(self, h: Float[Array, " h"]) -> Foretold:
        """What follows, read off the h after the action."""
        reward = jnp.array(1.0) if self.reward is None else self.reward(h)[0]
        ending = None if self.ending is None else self.ending(h)[0]
        return Foretold(Mixture.of(self.mixture(h), self.components), reward, ending)

    def along(self, z: Float[Array, "t z"], action: Float[Array, "t a"], first: Bool[Array, " t"]) -> Foretold:
        """What is said of the moment after each of t moments, of the z there and the action taken there.

        ``first``: which of the t moments begin an episode; nothing of those before them is remembered.
        """

        def step(state: tuple[Array, Array], now: tuple[Array, Array]) -> tuple[tuple[Array, Array], Array]:
            x, begins = now
            state = jax.tree.map(lambda s: jnp.where(begins, 0.0, s), state)
            state = self.lstm(state, x)
            return state, state[0]

        nothing = jnp.zeros(self.hidden), jnp.zeros(self.hidden)
        _, h = jax.lax.scan(step, nothing, (jnp.concatenate([z, action], axis=-1), first))
        return jax.vmap(self.foretell)(h)

    def loss(self, window: Coded, *, key: Key, ending_weight: float = 1.0) -> MemoryLoss:
        """Of windows of successive moments, leaves [t, n, ...]; each is foretold from those before it."""
        z, along = window.sample(key=key), jax.vmap(self.along, in_axes=1, out_axes=1)
        said = along(z[:-1], window.action[1:], window.first[:-1])
        led = jax.tree.map(lambda x: x[1:], window)
        asked = (led.known & window.known[:-1] & ~led.first).astype(jnp.float32)
        going_on = asked * ~led.terminated
        nll = _mean(-jnp.mean(said.z.log_prob(z[1:]), axis=-1), going_on)
        reward = jnp.array(0.0) if self.reward is None else _mean((said.reward - led.reward) ** 2, asked)
        scale = jnp.maximum(1.0, _mean(led.reward**2, asked))  # else they would drown z
        ending = jnp.array(0.0)
        if said.ending is not None:
            ended = led.terminated.astype(jnp.float32)
            weight = 1.0 + (ending_weight - 1.0) * ended
            ending = _mean(weight * optax.sigmoid_binary_cross_entropy(said.ending, ended), asked)
        return MemoryLoss(nll, reward, ending, nll + reward / scale + ending)


class MDNRNN(eqx.Module):
    """V and M together: a `forethought.models.base.WorldModel` of images.

    Attributes:
        temperature: of the dream (`Mixture.sample`); M has learned the world at 1.
        cell: whether a policy reads c beside z and h.
    """

    vision: VAE
    memory: Memory
    temperature: Float[Array, ""]
    action: Box | Discrete = eqx.field(static=True)
    cell: bool = eqx.field(static=True, default=False)

    def initial(self, n: int) -> MDNBelief:
        """Zeros."""
        nothing = jnp.zeros((n, self.memory.hidden))
        return MDNBelief(jnp.zeros((n, self.vision.n_latent)), nothing, nothing)

    def observe(
        self, belief: MDNBelief, action: PyTree, obs: UInt8[Array, "n h w c"], first: Bool[Array, " n"], *, key: Key
    ) -> MDNBelief:
        """The z of what is seen, drawn as in training, and what is remembered of the z and the action before it."""
        h, c = self._ahead(belief, action)
        mean, log_std = self.vision.encode(obs)
        z = mean + jnp.exp(log_std) * jax.random.normal(key, mean.shape)
        kept = ~first[:, None]
        return MDNBelief(z, jnp.where(kept, h, 0.0), jnp.where(kept, c, 0.0))

    def step(self, belief: MDNBelief, action: PyTree, *, key: Key) -> tuple[MDNBelief, Outcome]:
        """A z from the mixture, its reward, and the probability that the world goes on."""
        h, c = self._ahead(belief, action)
        said = jax.vmap(self.memory.foretell)(h)
        z = said.z.sample(key=key, temperature=self.temperature)
        continues = jnp.ones_like(said.reward) if said.ending is None else jax.nn.sigmoid(-said.ending)
        return MDNBelief(z, h, c), Outcome(said.reward, continues)

    def features(self, belief: MDNBelief) -> Float[Array, "n f"]:
        """z and h, and c where it is read."""
        return jnp.concatenate([belief.z, belief.h, *([belief.c] if self.cell else [])], axis=-1)

    def decode(self, belief: MDNBelief) -> UInt8[Array, "n h w c"]:
        """The pictures of them."""
        images = self.vision.decode(belief.z)
        return jax.vmap(lambda image: shown(Box(image.shape, "uint8"), Sight((), image)))(images)

    def as_vectors(self, action: PyTree) -> Float[Array, "*b a"]:
        """Choices as rows of an identity matrix."""
        return jax.nn.one_hot(action, self.action.n) if isinstance(self.action, Discrete) else action

    def _ahead(self, belief: MDNBelief, action: PyTree) -> tuple[Float[Array, "n h"], Float[Array, "n h"]]:
        x = jnp.concatenate([belief.z, self.as_vectors(action)], axis=-1)
        return jax.vmap(self.memory.lstm)((belief.h, belief.c), x)


def _mean(x: Float[Array, "t n"], weight: Float[Array, "t n"]) -> Float[Array, ""]:
    return jnp.sum(x * weight) / jnp.maximum(jnp.sum(weight), 1.0)
