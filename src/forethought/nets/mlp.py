"""Dense networks whose every leaf is an array.

Sizes and activations are static fields, so plain ``jax.jit``, ``grad``, ``vmap``, ``scan`` and buffer donation work on
them without filters. A network is written for one example; ``jax.vmap`` gives it a batch, an ensemble, or both.
"""

import math
from collections.abc import Callable, Sequence
from typing import Literal, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from forethought.types import Key, PyTree

Layer: TypeAlias = tuple[Float[Array, "*k i o"], Float[Array, " o"]]  # weights and biases
Initializer: TypeAlias = Callable[[Key, tuple[int, ...]], Layer]  # of shapes that end with the inputs and the outputs
Activation: TypeAlias = Callable[[Array], Array]
NormKind: TypeAlias = Literal["rms", "layer"]
Precision: TypeAlias = Literal["float32", "bfloat16"]  # of products


def fans(shape: tuple[int, ...]) -> tuple[int, int]:
    """Weights that lead to a number, and those that lead from one: each pixel of a kernel [k, k, i, o] counts."""
    pixels = math.prod(shape[:-2])
    return pixels * shape[-2], pixels * shape[-1]


def fan_in_uniform(key: Key, shape: tuple[int, ...]) -> Layer:
    """Weights uniform in +-1/sqrt(fan in), PyTorch's default, with which most SAC results were obtained."""
    bound = fans(shape)[0] ** -0.5
    return jax.random.uniform(key, shape, minval=-bound, maxval=bound), jnp.zeros(shape[-1])


def pytorch_default(key: Key, shape: tuple[int, ...]) -> Layer:
    """As `fan_in_uniform`, and so the biases: they put the kinks of ReLUs apart."""
    weight, _ = fan_in_uniform(key, shape)
    bound = fans(shape)[0] ** -0.5
    return weight, jax.random.uniform(jax.random.fold_in(key, 1), shape[-1:], minval=-bound, maxval=bound)


def truncated_normal(key: Key, shape: tuple[int, ...]) -> Layer:
    """Weights normal, cut at two standard deviations, standard deviation 1/(2 sqrt(fan in)).

    The initialisation of the ensembles of PETS (Chua et al. 2018, official code) and MBPO.
    """
    return jax.random.truncated_normal(key, -2.0, 2.0, shape) / (2.0 * fans(shape)[0] ** 0.5), jnp.zeros(shape[-1])


def lecun(scale: float = 1.0) -> Initializer:
    """Weights normal, cut at two standard deviations, of variance ``scale^2 / fan in`` (Dreamer V3); 0 for none."""

    def init(key: Key, shape: tuple[int, ...]) -> Layer:
        return _cut_normal(key, shape, scale * fans(shape)[0] ** -0.5)

    return init


def glorot_normal(key: Key, shape: tuple[int, ...]) -> Layer:
    """As `lecun`, of variance ``2 / (fan in + fan out)`` (Dreamer V3 of 2023)."""
    return _cut_normal(key, shape, (2.0 / sum(fans(shape))) ** 0.5)


def _cut_normal(key: Key, shape: tuple[int, ...], deviation: float) -> Layer:
    normal = jax.random.truncated_normal(key, -2.0, 2.0, shape)
    return deviation / 0.87962566 * normal, jnp.zeros(shape[-1])  # which is what a normal number cut there has


def glorot_uniform(key: Key, shape: tuple[int, ...]) -> Layer:
    """Weights uniform in +-sqrt(6 / (fan in + fan out)), as Keras has it (PlaNet, Dreamer V1 and V2)."""
    bound = (6.0 / sum(fans(shape))) ** 0.5
    return jax.random.uniform(key, shape, minval=-bound, maxval=bound), jnp.zeros(shape[-1])


def orthogonal(scale: float) -> Initializer:
    """Weights: orthogonal columns or rows of length ``scale`` (Saxe et al. 2014), as PPO's published code has it."""
    weight = jax.nn.initializers.orthogonal(scale)
    return lambda key, shape: (weight(key, shape), jnp.zeros(shape[-1]))


class Linear(eqx.Module):
    """``y = x W + b`` with W of shape [in, out].

    The product is taken in the numbers of W (bfloat16, say) and summed in those of b.
    """

    weight: Float[Array, "i o"]
    bias: Float[Array, " o"]

    def __init__(self, n_in: int, n_out: int, *, key: Key, init: Initializer = fan_in_uniform):
        self.weight, self.bias = init(key, (n_in, n_out))

    def __call__(self, x: Float[Array, " i"]) -> Float[Array, " o"]:
        """Unbatched."""
        narrow = x.astype(self.weight.dtype)
        return jnp.matmul(narrow, self.weight, preferred_element_type=self.bias.dtype) + self.bias


class Norm(eqx.Module):
    """Along the last axis, computed in float32: ``rms`` divides by the root mean square (Zhang & Sennrich 2019),
    ``layer`` takes off the mean before and adds an offset after (Ba et al. 2016).
    """

    scale: Float[Array, " n"]
    offset: Float[Array, " n"] | None
    eps: float = eqx.field(static=True)

    def __init__(self, n: int, kind: NormKind = "rms", eps: float = 1e-4):
        self.scale, self.offset, self.eps = jnp.ones(n), jnp.zeros(n) if kind == "layer" else None, eps

    def __call__(self, x: Float[Array, "*b n"]) -> Float[Array, "*b n"]:
        """Of each vector by itself."""
        wide = x.astype(jnp.float32)
        if self.offset is not None:
            wide -= jnp.mean(wide, axis=-1, keepdims=True)
        wide *= jax.lax.rsqrt(jnp.mean(wide**2, axis=-1, keepdims=True) + self.eps) * self.scale
        return (wide if self.offset is None else wide + self.offset).astype(x.dtype)


class Dense(eqx.Module):
    """``activation(norm(x W + b))``; without a norm where ``norm`` is None."""

    linear: Linear
    norm: Norm | None
    activation: Activation = eqx.field(static=True)

    def __init__(
        self,
        n_in: int,
        n_out: int,
        activation: Activation,
        *,
        key: Key,
        norm: NormKind | None = None,
        eps: float = 1e-4,
        init: Initializer = fan_in_uniform,
    ):
        self.linear, self.activation = Linear(n_in, n_out, key=key, init=init), activation
        self.norm = None if norm is None else Norm(n_out, norm, eps)

    def __call__(self, x: Float[Array, " i"]) -> Float[Array, " o"]:
        """Unbatched."""
        x = self.linear(x)
        return self.activation(x if self.norm is None else self.norm(x))


class MLP(eqx.Module):
    """Linear layers with an activation between them and none after the last.

    Args:
        sizes: width of the input, of each hidden layer, and of the output.
        activation: a named function of one array (a fresh lambda would recompile for each network).
        init: weights and biases of a layer.
        last: those of the last layer, where they are others.
        norm: what hidden layers are normalised by before they are activated; None for nothing.
        eps: of the norm.
    """

    layers: tuple[Linear, ...]
    norms: tuple[Norm, ...]
    activation: Activation = eqx.field(static=True)

    def __init__(
        self,
        sizes: Sequence[int],
        activation: Activation,
        *,
        key: Key,
        init: Initializer = fan_in_uniform,
        last: Initializer | None = None,
        norm: NormKind | None = None,
        eps: float = 1e-4,
    ):
        keys = jax.random.split(key, len(sizes) - 1)
        inits = [init] * (len(sizes) - 2) + [last or init]
        rows = zip(sizes, sizes[1:], keys, inits, strict=False)
        self.layers = tuple(Linear(i, o, key=k, init=init) for i, o, k, init in rows)
        self.norms = () if norm is None else tuple(Norm(n, norm, eps) for n in sizes[1:-1])
        self.activation = activation

    def __call__(self, x: Float[Array, " i"]) -> Float[Array, " o"]:
        """Unbatched."""
        return self.layers[-1](self.features(x))

    def features(self, x: Float[Array, " i"]) -> Float[Array, " h"]:
        """What the last layer is given."""
        for i, layer in enumerate(self.layers[:-1]):
            x = layer(x)
            x = self.activation(self.norms[i](x) if self.norms else x)
        return x


def narrowed(tree: PyTree, precision: Precision) -> PyTree:
    """With the weights of all layers as such numbers: products are taken in them, all else stays as it is."""
    if precision == "float32":
        return tree
    return jax.tree.map(lambda x: x.astype(precision) if x.ndim >= 2 and x.dtype == jnp.float32 else x, tree)


def on_rows(net: Callable[[Array], Array], features: Float[Array, "*b f"]) -> Float[Array, "*b o"]:
    """A network of features with any leading axes, as one product."""
    out = jax.vmap(net)(features.reshape(-1, features.shape[-1]))
    return out.reshape(*features.shape[:-1], -1)


def silu(x: Float[Array, "*b"]) -> Float[Array, "*b"]:
    """``x sigmoid(x)``, as ``(1 + tanh(x / 2)) x / 2``: XLA's CPU backend has a fast tanh, but no fast sigmoid."""
    half = 0.5 * x
    return half + half * jnp.tanh(half)
