"""Convolutions of images [h, w, c]: plain, transposed, and of an image that was made larger first.

Each is written twice, and both agree to rounding. On a CPU, where XLA's own are slow and within loops far
slower still, they are one matrix product: the image is cut into blocks of S x S pixels, and P x P pixels of the
output are a linear function of m x m blocks: ``y[P n + p] = sum_{a, i} x[S n + a - before] taps[p, a, i] w[i]`` on
each axis. Blocks of thin images hold several pixels: the product then has zeros in it, and far less is moved.
Either the blocks that an output reads are laid side by side before the product, or what a block adds to all that read
it is added up after it, which is the transpose of the former. Elsewhere they are XLA's own.
"""

import itertools
import math
from abc import abstractmethod
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Array, Float

from forethought.nets.mlp import Initializer, fan_in_uniform
from forethought.types import Key

_PORTION = 16  # images at most
_MOST_OF_BLOCK = 64  # numbers that a block of several pixels may hold
_MOVE = 200  # multiplications that take as long as moving a number
_KEPT = "convolved"  # what is not worked out anew for gradients
Size = tuple[int, ...]  # pixels of each axis


class Taps(NamedTuple):
    """Which pixel meets which weight; ``table`` is the ``taps`` above. Of one axis, the other is the same."""

    table: np.ndarray  # [P, A, k], A = m S
    block: int  # S
    before: int
    skip: int = 0  # pixels of the output that are computed and not wanted


class _Convolution(eqx.Module):
    """``y = w * x + b``."""

    weight: Float[Array, "..."]
    bias: Float[Array, " d"]

    @property
    def kernel(self) -> Float[Array, "k k c d"]:
        """The weights, from c channels to d."""
        return self.weight

    @abstractmethod
    def taps(self) -> Taps:
        """As a product."""

    @abstractmethod
    def size(self, had: Size) -> Size:
        """Of the output."""

    @abstractmethod
    def own(self, x: Float[Array, "n h w c"]) -> Float[Array, "n i j d"]:
        """Of XLA, without the bias."""

    def ready(self, had: Size) -> "Product":
        """As a product, for images of this size."""
        kernel, taps, size = self.kernel, self.taps(), self.size(had)
        s, outputs = taps.block, taps.table.shape[0]
        blocks = tuple(-(-(n + taps.skip) // outputs) for n in size)
        e, f = s * s * kernel.shape[2], outputs**2 * kernel.shape[3]
        held = math.prod(-(-(n + taps.before % s) // s) for n in had)
        scatter = held * (e * f + _MOVE * f) < math.prod(blocks) * (e * f + _MOVE * e)
        return Product(_weights(kernel, taps, scatter), self.bias, (s, taps.before, outputs, taps.skip), size, scatter)

    def __call__(self, x: Float[Array, "*n h w c"]) -> Float[Array, "*n i j d"]:
        """Of images with any leading axes."""
        *lead, h, w, c = x.shape
        x = x.reshape(-1, h, w, c).astype(self.weight.dtype)
        product = _by_platform(lambda net, x: net.ready((h, w)).product(x), lambda net, x: net.own(x), self, x)
        return (product + self.bias).reshape(*lead, *product.shape[1:])


class Conv(_Convolution):
    """``padding`` pixels of 0 on each side."""

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

    def taps(self) -> Taps:
        """Of ``y[n] = sum_i x[stride n + i - padding] w[i]``."""
        side, _, n_in, _ = self.weight.shape
        outputs = _pixels(n_in) if self.stride == 1 else 1
        block = outputs * self.stride
        a, p, i = np.ogrid[: -(-((outputs - 1) * self.stride + side) // block) * block, :outputs, :side]
        return Taps((a == p * self.stride + i).transpose(1, 0, 2), block, self.padding)

    def size(self, had: Size) -> Size:
        """Of the output."""
        return tuple((n + 2 * self.padding - self.weight.shape[0]) // self.stride + 1 for n in had)

    def own(self, x: Float[Array, "n h w c"]) -> Float[Array, "n i j d"]:
        """Of XLA, without the bias."""
        return _xla(x, self.weight, self.padding, strides=self.stride)


class TransposedConv(_Convolution):
    """Each pixel adds ``stride`` pixels further a kernel times itself; ``crop`` pixels of each side are left out:
    ``s (n - 1) + k - 2 crop`` remain. Weights are kept as [c, k, k, d], which is what one pixel is multiplied by.
    """

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
        weight, self.bias = init(key, (side, side, n_in, n_out))
        self.weight = weight.transpose(2, 0, 1, 3)
        self.stride, self.crop = stride, crop

    @property
    def kernel(self) -> Float[Array, "k k c d"]:
        """The weights, from c channels to d."""
        return self.weight.transpose(1, 2, 0, 3)

    def taps(self) -> Taps:
        """Of ``y[stride n + i - crop] = sum x[n] w[i]``."""
        n_in, side, *_ = self.weight.shape
        block, s = _pixels(n_in), self.stride
        p, i = np.ogrid[: s * block, :side]
        return _taps((p - i) // s, (p - i) % s == 0, block)._replace(skip=self.crop)

    def size(self, had: Size) -> Size:
        """Of the output."""
        return tuple(self.stride * (n - 1) + self.weight.shape[1] - 2 * self.crop for n in had)

    def own(self, x: Float[Array, "n h w c"]) -> Float[Array, "n i j d"]:
        """Of XLA, without the bias."""
        kernel = self.kernel[::-1, ::-1]
        return _xla(x, kernel, kernel.shape[0] - 1 - self.crop, spread=self.stride)

    def __call__(self, x: Float[Array, "*n h w c"]) -> Float[Array, "*n i j d"]:
        """Of images with any leading axes."""
        *lead, h, w, _ = x.shape
        if (h, w) == (1, 1) and self.crop == 0:  # a dense layer: no need to look at what lies beside it
            c, *drawn = self.weight.shape
            x = x.reshape(-1, c).astype(self.weight.dtype) @ self.weight.reshape(c, -1)
            return x.reshape(*lead, *drawn) + self.bias
        return super().__call__(x)


class UpsampledConv(_Convolution):
    """Every pixel becomes 2 x 2 of its kind; a convolution of odd sides that keeps the size follows."""

    def __init__(self, n_in: int, n_out: int, side: int, *, key: Key, init: Initializer = fan_in_uniform):
        self.weight, self.bias = init(key, (side, side, n_in, n_out))

    def taps(self) -> Taps:
        """Of ``y[n] = sum_i x[(n + i - radius) // 2] w[i]``."""
        side, _, n_in, _ = self.weight.shape
        block = _pixels(n_in)
        p, i = np.ogrid[: 2 * block, :side]
        from_ = (p + i - side // 2) // 2
        return _taps(from_, np.ones_like(from_, bool), block)

    def size(self, had: Size) -> Size:
        """Of the output."""
        return tuple(2 * n for n in had)

    def own(self, x: Float[Array, "n h w c"]) -> Float[Array, "n i j d"]:
        """Of XLA, without the bias."""
        return _xla(x.repeat(2, 1).repeat(2, 2), self.weight, self.weight.shape[0] // 2)


class Product(eqx.Module):
    """A convolution of images of one size, written as a product; its weights are those of `_weights`."""

    weight: Float[Array, "..."]
    bias: Float[Array, " d"]
    layout: tuple[int, int, int, int] = eqx.field(static=True)  # S, before, P, skip
    size: Size = eqx.field(static=True)  # of the output
    scatter: bool = eqx.field(static=True)

    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n i j d"]:
        """Of n images."""
        return self.product(x.astype(self.weight.dtype)) + self.bias

    def product(self, x: Float[Array, "n h w c"]) -> Float[Array, "n i j d"]:
        """Without the bias."""
        (_, _, outputs, skip), (h, w) = self.layout, self.size
        blocks = tuple(-(-(n + skip) // outputs) for n in self.size)
        y = _out_of_blocks(self._scattered(x, blocks) if self.scatter else self._gathered(x, blocks), outputs)
        y = y[:, skip : skip + h, skip : skip + w]
        return checkpoint_name(y, _KEPT)

    def _times(self, rows: Float[Array, "r i"], weight: Float[Array, "i o"]) -> Float[Array, "r o"]:
        """Summed in the numbers of the bias, as `Linear` does."""
        return jnp.matmul(rows, weight, preferred_element_type=self.bias.dtype)

    def _gathered(self, x: Float[Array, "n h w c"], blocks: Size) -> Float[Array, "n a b f"]:
        """Each output block of those that it reads."""
        s, before, *_ = self.layout
        m, _, e, f = self.weight.shape
        x = _into_blocks(_padded(x, before, [(n + m - 1) * s for n in blocks]), s)
        at = itertools.product(range(m), repeat=2)
        rows = jnp.concatenate([x[:, i : i + blocks[0], j : j + blocks[1]] for i, j in at], axis=-1)
        # Products of two axes each: of more, XLA would lay the rows anew for the gradient towards the weights.
        return self._times(rows.reshape(-1, m * m * e), self.weight.reshape(-1, f)).reshape(-1, *blocks, f)

    def _scattered(self, x: Float[Array, "n h w c"], blocks: Size) -> Float[Array, "n a b f"]:
        """What each block adds to all that read it."""
        s, before, *_ = self.layout
        e, m, _, f = self.weight.shape
        lead, off = divmod(before, s)
        held = [min(-(-(n + off) // s), b + m - 1 - lead) for n, b in zip(x.shape[1:3], blocks, strict=True)]
        x = _into_blocks(_padded(x, off, [n * s for n in held]), s)
        given = self._times(x.reshape(-1, e), self.weight.reshape(e, -1)).reshape(-1, *held, m * m * f)
        y = jnp.zeros((x.shape[0], *blocks, f), given.dtype)
        # Split, and not sliced, so that the gradient is laid side by side and not added up.
        parts = jax.lax.split(given, [f] * m**2, axis=3)
        for part, at in zip(parts, itertools.product(range(m), repeat=2), strict=True):
            pads = [(lead - i, b - n - lead + i, 0) for i, b, n in zip(at, blocks, held, strict=True)]
            y += jax.lax.pad(part, jnp.zeros((), part.dtype), [(0, 0, 0), *pads, (0, 0, 0)])
        return y


def max_pool(x: Float[Array, "*n h w c"]) -> Float[Array, "*n i j c"]:
    """The greatest of each 2 x 2 pixels; the sides are even."""
    *lead, h, w, c = x.shape
    x = x.reshape(*lead, h // 2, 2, w // 2, 2 * c)
    x = jnp.maximum(x[..., 0, :, :], x[..., 1, :, :])
    return jnp.maximum(x[..., :c], x[..., c:])


def _weights(weight: Float[Array, "k k c d"], taps: Taps, scatter: bool) -> Float[Array, "..."]:
    """From each number of a block to each of an output block: [m, m, e, f], or [e, m, m, f]."""
    table, s, *_ = taps
    (n_out, window, side), (*_, c, d) = table.shape, weight.shape
    m, spread = window // s, jnp.asarray(table, weight.dtype)
    big = weight if table.shape == (1, side, side) else jnp.einsum("pai,qbj,ijcd->abcpqd", spread, spread, weight)
    order = (1, 3, 4, 0, 2, 5) if scatter else (0, 2, 1, 3, 4, 5)
    big = big.reshape(m, s, m, s, c, n_out**2 * d).transpose(order)
    return big.reshape((-1, m, m, big.shape[-1]) if scatter else (m, m, -1, big.shape[-1]))


def _padded(x: Float[Array, "n h w c"], before: int, sizes: list[int]) -> Float[Array, "n i j c"]:
    pads = [(before, size - had - before, 0) for size, had in zip(sizes, x.shape[1:3], strict=True)]
    return jax.lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), *pads, (0, 0, 0)])


def _into_blocks(x: Float[Array, "n h w c"], s: int) -> Float[Array, "n i j e"]:
    n, h, w, c = x.shape
    return x if s == 1 else x.reshape(n, h // s, s, w // s, s * c).swapaxes(2, 3).reshape(n, h // s, w // s, s * s * c)


def _out_of_blocks(x: Float[Array, "n i j e"], p: int) -> Float[Array, "n h w c"]:
    n, h, w, c = x.shape
    return x if p == 1 else x.reshape(n, h, w, p, -1).swapaxes(2, 3).reshape(n, h * p, w * p, c // p**2)


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
    x: Float[Array, "n h w c"], weight: Float[Array, "k k c d"], padding: int, *, strides: int = 1, spread: int = 1
) -> Float[Array, "n i j d"]:
    numbers, pads = ("NHWC", "HWIO", "NHWC"), [(padding, padding)] * 2
    return jax.lax.conv_general_dilated(
        x, weight, (strides, strides), pads, lhs_dilation=(spread, spread), dimension_numbers=numbers
    )


def _by_platform(product: Callable[..., Array], own: Callable[..., Array], *args: Any) -> Array:
    return jax.lax.platform_dependent(*args, cpu=product, default=own)


def in_portions(
    function: Callable[[Any, Array], Array], net: Any, images: Float[Array, "n h w c"]
) -> Float[Array, "n ..."]:
    """``function(net, images)``, a function of each image.

    On a CPU a few of them are done at once: what lies between the layers then stays in the caches, and is found anew
    for the gradient, for which only what products give is kept.
    """
    n = images.shape[0]
    size = max(d for d in range(1, min(n, _PORTION) + 1) if n % d == 0)

    def portions(net: Any, images: Array) -> Array:
        cut = images.reshape(n // size, size, *images.shape[1:])
        net = _readied(function, net, cut[0])
        some = jax.checkpoint(function, policy=jax.checkpoint_policies.save_only_these_names(_KEPT))
        out = jax.lax.scan(lambda _, now: ((), some(net, now)), (), cut)[1]
        return out.reshape(n, *out.shape[2:])

    if size == n or size < _PORTION // 4:
        return function(net, images)
    return _by_platform(portions, function, net, images)


def _readied(function: Callable[[Any, Array], Array], net: Any, images: Float[Array, "n h w c"]) -> Any:
    """The net with products instead of its convolutions, for the sizes of images that each of them meets."""
    parts, shape = jax.tree.flatten(net, is_leaf=lambda part: isinstance(part, _Convolution))
    met: dict[int, Size] = {}

    def watched(i: int, conv: _Convolution) -> Callable[[Array], Array]:
        def call(x: Array) -> Array:
            met[i] = x.shape[-3:-1]
            return conv(x)

        return call

    spied = [watched(i, part) if isinstance(part, _Convolution) else part for i, part in enumerate(parts)]
    jax.eval_shape(lambda images: function(jax.tree.unflatten(shape, spied), images), images)
    ready = [part.ready(met[i]) if i in met else part for i, part in enumerate(parts)]
    return jax.tree.unflatten(shape, ready)
