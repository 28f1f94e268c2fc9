"""Convolutions of images [h, w, c]: plain, transposed, and of an image that was made larger first.

Each is written twice, and both agree to rounding. On a CPU, where XLA's own are slow and within loops far
slower still, they are one matrix product: the image is cut into blocks of S x S pixels, and P x P pixels of the
output are a linear function of m x m blocks: ``y[P n + p] = sum_{a, i} x[S n + a - before] taps[p, a, i] w[i]`` on
each axis. Blocks of thin images hold several pixels: the product then has zeros in it, and far less is moved.
Elsewhere they are XLA's own.
"""

import itertools
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from forethought.nets.mlp import Initializer, fan_in_uniform
from forethought.types import Key

_PORTION = 16  # images at most
_MOST_OF_BLOCK = 64  # numbers that a block of several pixels may hold


class Taps(NamedTuple):
    """Which pixel meets which weight; ``table`` is the ``taps`` above. Of one axis, the other is the same."""

    table: np.ndarray  # [P, A, k], A = m S
    block: int  # S
    before: int
    skip: int = 0  # pixels of the output that are computed and not wanted


class Conv(eqx.Module):
    """``y = w * x + b`` with kernels [k, k, c, c'], ``padding`` pixels of 0 on each side."""

    weight: Float[Array, "k k c d"]
    bias: Float[Array, " d"]
    stride: int = eqx.field(static=True)
    padding: int = eqx.field(static=True)

    def __init__(
        self,
        n_in: int,
        n_out: int,
        side: int,
        stride: int,
        padding: int = 0,
        *,
        key: Key,
        init: Initializer = fan_in_uniform,
    ):
        self.weight, self.bias = init(key, (side, side, n_in, n_out))
        self.stride, self.padding = stride, padding

    def __call__(self, x: Float[Array, "h w c"]) -> Float[Array, "i j d"]:
        """Unbatched."""
        side, *_, n_in, _ = self.weight.shape
        sizes = tuple((n + 2 * self.padding - side) // self.stride + 1 for n in x.shape[:2])
        outputs = _pixels(n_in) if self.stride == 1 else 1
        block = outputs * self.stride
        a, p, i = np.ogrid[: -(-((outputs - 1) * self.stride + side) // block) * block, :outputs, :side]
        taps = Taps((a == p * self.stride + i).transpose(1, 0, 2), block, self.padding)
        own = partial(_xla, strides=self.stride, padding=(self.padding, self.padding))
        return _by_platform(partial(blocked, taps=taps, sizes=sizes), own, x, self.weight) + self.bias


class TransposedConv(eqx.Module):
    """Each pixel adds ``stride`` pixels further a kernel [k, k, c, c'] times itself; ``crop`` pixels of each side are
    left out: ``s (n - 1) + k - 2 crop`` remain.
    """

    weight: Float[Array, "k k c d"]
    bias: Float[Array, " d"]
    stride: int = eqx.field(static=True)
    crop: int = eqx.field(static=True)

    def __init__(
        self,
        n_in: int,
        n_out: int,
        side: int,
        stride: int,
        crop: int = 0,
        *,
        key: Key,
        init: Initializer = fan_in_uniform,
    ):
        self.weight, self.bias = init(key, (side, side, n_in, n_out))
        self.stride, self.crop = stride, crop

    def __call__(self, x: Float[Array, "h w c"]) -> Float[Array, "i j d"]:
        """Unbatched."""
        (side, *_, n_in, _), s = self.weight.shape, self.stride
        sizes = tuple(s * (n - 1) + side - 2 * self.crop for n in x.shape[:2])
        block = _pixels(n_in)
        p, i = np.ogrid[: s * block, :side]
        taps = _taps((p - i) // s, (p - i) % s == 0, block)._replace(skip=self.crop)
        if x.shape[:2] == (1, 1) and self.crop == 0:  # a dense layer: no need to look at what lies beside it
            return jnp.einsum("c,ijcd->ijd", x[0, 0].astype(self.weight.dtype), self.weight) + self.bias
        own = partial(_xla, spread=s, padding=(side - 1 - self.crop,) * 2, flip=True)
        return _by_platform(partial(blocked, taps=taps, sizes=sizes), own, x, self.weight) + self.bias


class UpsampledConv(eqx.Module):
    """Every pixel becomes 2 x 2 of its kind; a convolution of odd sides that keeps the size follows."""

    weight: Float[Array, "k k c d"]
    bias: Float[Array, " d"]

    def __init__(self, n_in: int, n_out: int, side: int, *, key: Key, init: Initializer = fan_in_uniform):
        self.weight, self.bias = init(key, (side, side, n_in, n_out))

    def __call__(self, x: Float[Array, "h w c"]) -> Float[Array, "i j d"]:
        """Unbatched."""
        side, *_, n_in, _ = self.weight.shape
        block, radius = _pixels(n_in), side // 2
        p, i = np.ogrid[: 2 * block, :side]
        from_ = (p + i - radius) // 2
        sizes = tuple(2 * n for n in x.shape[:2])

        def own(x: Array, weight: Array) -> Array:
            return _xla(x.repeat(2, 0).repeat(2, 1), weight, padding=(radius, radius))

        taps = _taps(from_, np.ones_like(from_, bool), block)
        return _by_platform(partial(blocked, taps=taps, sizes=sizes), own, x, self.weight) + self.bias


def max_pool(x: Float[Array, "h w c"]) -> Float[Array, "i j c"]:
    """The greatest of each 2 x 2 pixels; the sides are even."""
    h, w, c = x.shape
    x = x.reshape(h // 2, 2, w // 2, 2 * c)
    x = jnp.maximum(x[:, 0], x[:, 1])
    return jnp.maximum(x[..., :c], x[..., c:])


def blocked(
    x: Float[Array, "h w c"], weight: Float[Array, "k k c d"], taps: Taps, sizes: tuple[int, ...]
) -> Float[Array, "i j d"]:
    """As one product; see above."""
    table, s, before, skip = taps
    (n_out, window, side), (*_, c, d) = table.shape, weight.shape
    m, spread = window // s, jnp.asarray(table, weight.dtype)
    blocks = [-(-(n + skip) // n_out) for n in sizes]
    big = weight if table.shape == (1, side, side) else jnp.einsum("pai,qbj,ijcd->abcpqd", spread, spread, weight)
    big = big.reshape(m, s, m, s, c, n_out**2 * d).swapaxes(1, 2).reshape(m, m, s * s * c, n_out**2 * d)
    at = list(itertools.product(range(m), repeat=2))
    x = _into_blocks(_padded(x, before, [(n + m - 1) * s for n in blocks]), s)
    rows = jnp.concatenate([x[i : i + blocks[0], j : j + blocks[1]] for i, j in at], axis=-1)
    y = rows @ big.reshape(-1, big.shape[-1])
    return _out_of_blocks(y, n_out)[skip : skip + sizes[0], skip : skip + sizes[1]]


def _padded(x: Float[Array, "h w c"], before: int, sizes: list[int]) -> Float[Array, "i j c"]:
    pads = [(before, size - had - before, 0) for size, had in zip(sizes, x.shape[:2], strict=True)]
    return jax.lax.pad(x, jnp.zeros((), x.dtype), [*pads, (0, 0, 0)])


def _into_blocks(x: Float[Array, "h w c"], s: int) -> Float[Array, "i j e"]:
    h, w, c = x.shape
    return x if s == 1 else x.reshape(h // s, s, w // s, s * c).swapaxes(1, 2).reshape(h // s, w // s, s * s * c)


def _out_of_blocks(x: Float[Array, "i j e"], p: int) -> Float[Array, "h w c"]:
    h, w, c = x.shape
    return x if p == 1 else x.reshape(h, w, p, -1).swapaxes(1, 2).reshape(h * p, w * p, c // p**2)


def _taps(from_: np.ndarray, met: np.ndarray, block: int) -> Taps:
    """Of the pixel, counted from a block's first, that each output of a block reads with each weight, where it does."""
    before = max(0, -int(from_[met].min()))
    window = -(-(int(from_[met].max()) + before + 1) // block) * block
    table = (np.arange(window)[None, :, None] == (from_ + before)[:, None, :]) & met[:, None, :]
    return Taps(table, block, before)


def _pixels(n: int) -> int:
    """A side of a block: of as many pixels of n numbers as it may hold, a power of two."""
    side = 1
    while (2 * side) ** 2 * n <= _MOST_OF_BLOCK:
        side *= 2
    return side


def _xla(
    x: Float[Array, "h w c"],
    weight: Float[Array, "k k c d"],
    *,
    strides: int = 1,
    spread: int = 1,
    padding: tuple[int, int] = (0, 0),
    flip: bool = False,
) -> Float[Array, "i j d"]:
    weight = weight[::-1, ::-1] if flip else weight
    numbers, pads = ("NHWC", "HWIO", "NHWC"), (padding, padding)
    return jax.lax.conv_general_dilated(
        x[None], weight, (strides, strides), pads, lhs_dilation=(spread, spread), dimension_numbers=numbers
    )[0]


def _by_platform(product, own, x: Array, weight: Array) -> Array:
    return jax.lax.platform_dependent(x.astype(weight.dtype), weight, cpu=product, default=own)


def in_portions(function: Callable[[Array], Array], images: Float[Array, "n h w c"]) -> Float[Array, "n ..."]:
    """A function of each image.

    On a CPU a few of them are done at once: what lies between the layers then stays in the caches, and is found anew
    for the gradient, for which only what products give is kept.
    """
    n = images.shape[0]
    size = max(d for d in range(1, min(n, _PORTION) + 1) if n % d == 0)

    def portions(images: Array) -> Array:
        some = jax.checkpoint(jax.vmap(function), policy=jax.checkpoint_policies.dots_saveable)
        cut = images.reshape(n // size, size, *images.shape[1:])
        out = jax.lax.scan(lambda _, now: ((), some(now)), (), cut)[1]
        return out.reshape(n, *out.shape[2:])

    if size == n or size < _PORTION // 4:
        return jax.vmap(function)(images)
    return jax.lax.platform_dependent(images, cpu=portions, default=jax.vmap(function))
