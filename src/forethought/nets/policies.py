"""What on-policy learners act with, and the networks below it."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from forethought.nets.distributions import Categorical, Gaussian, of_legal
from forethought.nets.encoder import Encoder, Layout
from forethought.nets.mlp import MLP, orthogonal
from forethought.types import Box, Discrete, Key, PyTree, Space


class EncodedMLP(eqx.Module):
    """An encoder of its own and a dense network (tanh) with ``n`` outputs, which begin about ``scale`` large."""

    encoder: Encoder
    net: MLP

    def __init__(self, obs: Space, hidden: tuple[int, ...], conv: Layout, n: int, scale: float, *, key: Key):
        key_encoder, key_net = jax.random.split(key)
        init = orthogonal(2.0**0.5)
        self.encoder = Encoder(obs, conv, key=key_encoder, init=init)
        self.net = MLP((self.encoder.size, *hidden, n), jnp.tanh, key=key_net, init=init, last=orthogonal(scale))

    def __call__(self, obs: PyTree) -> Float[Array, "n a"]:
        """On a batch."""
        return jax.vmap(lambda x: self.net(self.encoder(x)))(obs)


class StochasticPolicy(eqx.Module):
    """Logits, or means with a deviation that does not depend on what is seen."""

    net: EncodedMLP
    log_std: Float[Array, " a"] | None

    def __init__(self, obs: Space, action: Box | Discrete, hidden: tuple[int, ...], conv: Layout, *, key: Key):
        n = action.n if isinstance(action, Discrete) else action.shape[0]
        self.net = EncodedMLP(obs, hidden, conv, n, 0.01, key=key)
        self.log_std = None if isinstance(action, Discrete) else jnp.zeros(n)

    def __call__(self, obs: PyTree, legal: PyTree = ()) -> Categorical | Gaussian:
        """On a batch; nothing illegal is ever drawn."""
        out = self.net(obs)
        if self.log_std is None:
            return Categorical(of_legal(out, legal))
        return Gaussian(out, jnp.broadcast_to(self.log_std, out.shape))
