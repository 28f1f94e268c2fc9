"""Recurrent cells: unbatched, as all networks here."""

from typing import TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from forethought.nets.mlp import Dense, Initializer, Linear, Norm, fan_in_uniform, orthogonal, silu
from forethought.types import Key


class BlockLinear(eqx.Module):
    """g dense layers side by side, each on its own part of the input: a block-diagonal matrix, and a bias."""

    weight: Float[Array, "g i o"]
    bias: Float[Array, " o"]

    def __init__(self, n_in: int, n_out: int, blocks: int, *, key: Key, init: Initializer = fan_in_uniform):
        """Both widths are multiples of ``blocks``. Weights begin as those of one layer of all inputs would, as in the
        published code of Dreamer V3.
        """
        weight, _ = init(key, (n_in, n_out // blocks))
        self.weight, self.bias = weight.reshape(blocks, n_in // blocks, -1), jnp.zeros(n_out)

    def __call__(self, x: Float[Array, " n"]) -> Float[Array, " m"]:
        """Unbatched."""
        blocks, n_in, _ = self.weight.shape
        narrow = x.reshape(blocks, n_in).astype(self.weight.dtype)
        wide = jnp.einsum("gi,gio->go", narrow, self.weight, preferred_element_type=self.bias.dtype)
        return wide.reshape(-1) + self.bias


class GRU(eqx.Module):
    """``h' = u h + (1 - u) tanh(W [x, r h])`` with ``r, u = sigmoid(V [x, h])`` (Cho et al. 2014), the gates beginning
    open by 1, as TensorFlow 1 has it (PlaNet).
    """

    gates: Linear
    candidate: Linear

    def __init__(self, n_in: int, n: int, *, key: Key, init: Initializer = fan_in_uniform):
        key_gates, key_candidate = jax.random.split(key)
        self.gates = Linear(n_in + n, 2 * n, key=key_gates, init=init)
        self.candidate = Linear(n_in + n, n, key=key_candidate, init=init)

    def __call__(self, h: Float[Array, " n"], x: Float[Array, " i"]) -> Float[Array, " n"]:
        """The next state."""
        reset, update = jnp.split(jax.nn.sigmoid(self.gates(jnp.concatenate([x, h])) + 1.0), 2)
        return update * h + (1.0 - update) * jnp.tanh(self.candidate(jnp.concatenate([x, reset * h])))


class KerasGRU(eqx.Module):
    """``h' = u h + (1 - u) tanh(W x + r (V h) + b)``, which resets after the product, V beginning orthogonal, as Keras
    has it (Dreamer V1).
    """

    seen: Linear
    kept: Linear

    def __init__(self, n_in: int, n: int, *, key: Key, init: Initializer = fan_in_uniform):
        key_seen, key_kept = jax.random.split(key)
        self.seen = Linear(n_in, 3 * n, key=key_seen, init=init)
        self.kept = Linear(n, 3 * n, key=key_kept, init=orthogonal(1.0))

    def __call__(self, h: Float[Array, " n"], x: Float[Array, " i"]) -> Float[Array, " n"]:
        """The next state."""
        update, reset, candidate = zip(jnp.split(self.seen(x), 3), jnp.split(self.kept(h), 3), strict=True)
        u = jax.nn.sigmoid(sum(update))
        return u * h + (1.0 - u) * jnp.tanh(candidate[0] + jax.nn.sigmoid(sum(reset)) * candidate[1])


class NormedGRU(eqx.Module):
    """`gated` by one normalised dense layer of input and state (Dreamer V2, and V3 of 2023)."""

    gates: Linear
    norm: Norm

    def __init__(self, n_in: int, n: int, *, key: Key, eps: float = 1e-3, init: Initializer = fan_in_uniform):
        self.gates, self.norm = Linear(n_in + n, 3 * n, key=key, init=init), Norm(3 * n, "layer", eps)

    def __call__(self, h: Float[Array, " n"], x: Float[Array, " i"]) -> Float[Array, " n"]:
        """The next state."""
        return gated(h, *jnp.split(self.norm(self.gates(jnp.concatenate([x, h]))), 3))


def gated(
    h: Float[Array, "*n"], reset: Float[Array, "*n"], candidate: Float[Array, "*n"], update: Float[Array, "*n"]
) -> Float[Array, "*n"]:
    """``h' = u tanh(sigmoid(r) c) + (1 - u) h`` with ``u = sigmoid(. - 1)``, which begins nearly closed."""
    u = jax.nn.sigmoid(update - 1.0)
    return u * jnp.tanh(jax.nn.sigmoid(reset) * candidate) + (1.0 - u) * h


class BlockGRU(eqx.Module):
    """The recurrent core of Dreamer V3 (Nature 2025): g blocks that each see all of the inputs and their own part of
    the state.

    Each input becomes ``hidden`` numbers (dense, RMS norm, SiLU), and so does the state; beside its part of the state
    each block sees all of these, through one block layer of the state's width (normed, SiLU) into the three gates.
    """

    enter: tuple[Dense, ...]
    inner: tuple[BlockLinear, Norm]
    gates: BlockLinear
    blocks: int = eqx.field(static=True)

    def __init__(
        self, inputs: tuple[int, ...], n: int, hidden: int, blocks: int, *, key: Key, init: Initializer = fan_in_uniform
    ):
        """``inputs``: the width of each; n is a multiple of ``blocks``."""
        key_enter, key_inner, key_gates = jax.random.split(key, 3)
        widths = (n, *inputs)
        keys = jax.random.split(key_enter, len(widths))
        self.enter = tuple(
            Dense(w, hidden, silu, key=k, norm="rms", init=init) for w, k in zip(widths, keys, strict=True)
        )
        seen = n + blocks * len(widths) * hidden
        self.inner = BlockLinear(seen, n, blocks, key=key_inner, init=init), Norm(n)
        self.gates = BlockLinear(n, 3 * n, blocks, key=key_gates, init=init)
        self.blocks = blocks

    def __call__(self, h: Float[Array, " n"], *inputs: Array) -> Float[Array, " n"]:
        """The next state."""
        g = self.blocks
        told = [dense(x) for dense, x in zip(self.enter, (h, *inputs), strict=True)]
        beside = jnp.broadcast_to(jnp.concatenate(told), (g, sum(x.shape[0] for x in told)))
        dense, norm = self.inner
        mine = h.reshape(g, -1)
        x = silu(norm(dense(jnp.concatenate([mine, beside], axis=1).reshape(-1))))
        return gated(mine, *jnp.split(self.gates(x).reshape(g, -1), 3, axis=1)).reshape(-1)


LSTMState: TypeAlias = tuple[Float[Array, " n"], Float[Array, " n"]]  # h and c


class LSTM(eqx.Module):
    """``c' = f c + i g, h' = o tanh(c')`` (Hochreiter & Schmidhuber 1997), the forget gate beginning open by 1
    (Jozefowicz et al. 2015; the published code of World Models).
    """

    gates: Linear

    def __init__(self, n_in: int, n: int, *, key: Key, init: Initializer = fan_in_uniform):
        self.gates = Linear(n_in + n, 4 * n, key=key, init=init)

    def __call__(self, state: LSTMState, x: Float[Array, " i"]) -> LSTMState:
        """The next state."""
        h, c = state
        i, g, f, o = jnp.split(self.gates(jnp.concatenate([x, h])), 4)
        c = jax.nn.sigmoid(f + 1.0) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        return jax.nn.sigmoid(o) * jnp.tanh(c), c
