"""What latent models see with, and what they draw: observations become an embedding, and features observations.

An image of 64 x 64 is seen and drawn as the papers do it; another one is halved until 4 to 7 pixels are left.
"""

import math
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from forethought.errors import UsageError
from forethought.nets.conv import Conv, TransposedConv, UpsampledConv, in_portions, max_pool
from forethought.nets.mlp import MLP, Activation, Dense, Initializer, Linear, Norm, NormKind
from forethought.nets.recurrent import BlockLinear
from forethought.nets.sight import Looks, Sight
from forethought.nets.twohot import symexp, symlog
from forethought.types import Key

_LEAST, _MOST = 3, 16  # pixels a side of the smallest image within
Layers: TypeAlias = tuple[tuple[Callable[[Array], Array], Norm | None], ...]  # convolutions


class Style(NamedTuple):
    """How the networks of a paper are made: the activation, what is normalised before it, and how weights begin, those
    of layers without an activation too where ``plain`` does not say otherwise.
    """

    activation: Activation
    norm: NormKind | None
    eps: float
    init: Initializer
    plain: Initializer | None = None

    def mlp(self, sizes: tuple[int, ...], key: Key, last: Initializer | None = None) -> MLP:
        """A network; the weights of its last layer may begin otherwise."""
        last = last or self.plain
        return MLP(sizes, self.activation, key=key, init=self.init, last=last, norm=self.norm, eps=self.eps)

    def dense(self, n_in: int, n_out: int, key: Key) -> Dense:
        """One layer."""
        return Dense(n_in, n_out, self.activation, key=key, norm=self.norm, eps=self.eps, init=self.init)

    def normed(self, n: int) -> Norm | None:
        """What n numbers are normalised by."""
        return None if self.norm is None else Norm(n, self.norm, self.eps)


class ConvEncoder(eqx.Module):
    """Convolutions, each pooled where ``pool`` says so, normalised and activated; then a row."""

    layers: Layers
    activation: Activation = eqx.field(static=True)
    pool: bool = eqx.field(static=True)

    def __call__(self, image: Float[Array, "n h w c"]) -> Float[Array, "n e"]:
        """Of images in [0, 1], shifted to [-0.5, 0.5]."""
        x = image - 0.5
        for conv, norm in self.layers:
            x = conv(x)
            x = max_pool(x) if self.pool else x
            x = self.activation(x if norm is None else norm(x))
        return x.reshape(x.shape[0], -1)


class DenseEntry(eqx.Module):
    """One linear layer of both (PlaNet to Dreamer V2)."""

    linear: Linear
    shape: tuple[int, int, int] = eqx.field(static=True)

    def __call__(self, deter: Float[Array, " h"], stoch: Float[Array, " z"]) -> Float[Array, "i j c"]:
        """Unbatched."""
        return self.linear(jnp.concatenate([deter, stoch])).reshape(self.shape)


class BlockEntry(eqx.Module):
    """A block layer of h beside two dense ones of z, added up and normalised (Dreamer V3, Nature 2025)."""

    of_deter: BlockLinear
    of_stoch: tuple[Dense, Linear]
    norm: Norm
    activation: Activation = eqx.field(static=True)
    shape: tuple[int, int, int] = eqx.field(static=True)

    def __call__(self, deter: Float[Array, " h"], stoch: Float[Array, " z"]) -> Float[Array, "i j c"]:
        """Unbatched. Each block draws channels of its own."""
        h, w, c = self.shape
        blocks = self.of_deter.weight.shape[0]
        mine = self.of_deter(deter).reshape(blocks, h, w, c // blocks)
        dense, linear = self.of_stoch
        return self.activation(
            self.norm(jnp.moveaxis(mine, 0, 2).reshape(h, w, c) + linear(dense(stoch)).reshape(h, w, c))
        )


class ConvDecoder(eqx.Module):
    """What becomes of h and z a small image, and layers that make it larger."""

    enter: DenseEntry | BlockEntry
    layers: Layers
    activation: Activation = eqx.field(static=True)
    output: Activation = eqx.field(static=True)

    def begin(self, deter: Float[Array, "n h"], stoch: Float[Array, "n z"]) -> Float[Array, "n i j c"]:
        """What the layers make larger; where that is one pixel, what the first of them made of it."""
        x = jax.vmap(self.enter)(deter, stoch)
        return self._grown(x, self.layers[:1]) if self._from_pixel else x

    def finish(self, x: Float[Array, "n h w c"]) -> Float[Array, "n i j d"]:
        """Images in [0, 1], as far as ``output`` holds them there."""
        x = self._grown(x, self.layers[self._from_pixel : -1])
        return self.output(self.layers[-1][0](x))

    @property
    def _from_pixel(self) -> bool:
        return self.enter.shape[:2] == (1, 1)

    def _grown(self, x: Float[Array, "n h w c"], layers: Layers) -> Float[Array, "n i j d"]:
        for conv, norm in layers:
            x = conv(x)
            x = self.activation(x if norm is None else norm(x))
        return x


class Squash(NamedTuple):
    """How Dreamer V3 sees vectors: numbers as their symlog, and choices (see `Looks`) as they are.

    Numbers are drawn as their symlog too, with squared errors, choices as logits, with less their log-probability.
    """

    choices: tuple[tuple[int, int], ...]

    def seen(self, vector: Float[Array, "*n d"]) -> Float[Array, "*n d"]:
        """As the encoder takes it."""
        return jnp.where(self._chosen(vector), vector, symlog(vector))

    def error(self, told: Float[Array, "*n d"], vector: Float[Array, "*n d"]) -> Float[Array, "*n"]:
        """Of what was drawn, summed."""
        squared = jnp.where(self._chosen(vector), 0.0, (told - self.seen(vector)) ** 2)
        likely = (
            jnp.sum(vector[..., i : i + n] * jax.nn.log_softmax(told[..., i : i + n]), axis=-1) for i, n in self.choices
        )
        return sum((-x for x in likely), jnp.sum(squared, axis=-1))

    def plain(self, told: Float[Array, "*n d"]) -> Float[Array, "*n d"]:
        """What was drawn, numbers in their units."""
        return jnp.where(self._chosen(told), told, symexp(told))

    def _chosen(self, vector: Array) -> Array:
        place = jnp.arange(vector.shape[-1])
        return sum(((i <= place) & (place < i + n) for i, n in self.choices), jnp.zeros(place.shape, bool))


class ObsEncoder(eqx.Module):
    """The embedding of an observation: that of its image, that of its vector, or one after the other.

    Attributes:
        vector: dense layers, first to last.
        size: how many numbers come out.
        squash: how vectors are seen in Dreamer V3.
    """

    image: ConvEncoder | None
    vector: tuple[Dense, ...]
    size: int = eqx.field(static=True)
    squash: Squash | None = eqx.field(static=True)

    @classmethod
    def of(
        cls, looks: Looks, image: ConvEncoder | None, vector: tuple[Dense, ...], squash: Squash | None = None
    ) -> "ObsEncoder":
        """Of its parts."""
        whole = cls(image, vector, 0, squash)
        seen = Sight(jnp.zeros((1, looks.vector)), () if looks.image is None else jnp.zeros((1, *looks.image)))
        return cls(image, vector, jax.eval_shape(whole, seen).shape[1], squash)

    def __call__(self, seen: Sight) -> Float[Array, "n e"]:
        """Of n observations."""
        rows = []
        if self.vector:
            x = seen.vector if self.squash is None else self.squash.seen(seen.vector)
            for layer in self.vector:
                x = jax.vmap(layer)(x)
            rows.append(x)
        if self.image is not None:
            rows.append(in_portions(ConvEncoder.__call__, self.image, seen.image))
        return jnp.concatenate(rows, axis=-1)


class ObsDecoder(eqx.Module):
    """The mean of an observation, given h and z; ``squash``: how vectors are drawn in Dreamer V3."""

    image: ConvDecoder | None
    vector: MLP | None
    squash: Squash | None = eqx.field(static=True)

    def __call__(self, deter: Float[Array, "n h"], stoch: Float[Array, "n z"]) -> Sight:
        """Of n beliefs."""
        vector: Array | tuple[()] = ()
        image: Array | tuple[()] = ()
        if self.vector is not None:
            vector = jax.vmap(self.vector)(jnp.concatenate([deter, stoch], axis=-1))
        if self.image is not None:
            image = in_portions(ConvDecoder.finish, self.image, self.image.begin(deter, stoch))
        return Sight(vector, image)

    def errors(self, told: Sight, seen: Sight) -> dict[str, Float[Array, " n"]]:
        """Squared ones of each observation, summed over the numbers of the image, and over those of the vector; in
        Dreamer V3 the error of a vector is that of `Squash`.
        """
        errors = {}
        if self.squash is not None and self.vector is not None:
            errors["vector"] = self.squash.error(told.vector, seen.vector)
        elif self.vector is not None:
            errors["vector"] = jnp.sum((told.vector - seen.vector) ** 2, axis=-1)
        if self.image is not None:
            errors["image"] = jnp.sum((told.image - seen.image) ** 2, axis=(1, 2, 3))
        return errors

    def plain(self, told: Sight) -> Sight:
        """In the units of the observation."""
        if self.squash is None or self.vector is None:
            return told
        return told._replace(vector=self.squash.plain(told.vector))


def strided(looks: Looks, style: Style, depth: int, same: bool, key: Key) -> ConvEncoder | None:
    """Kernels of 4 and strides of 2, of ``depth`` channels and twice as many in each layer (PlaNet to Dreamer V2); with
    ``same`` they halve exactly (Dreamer V3 of 2023).
    """
    if looks.image is None:
        return None
    as_published = looks.image[:2] == (64, 64) and not same
    n = 4 if as_published else halvings(looks.image)
    widths, keys = [depth * 2**i for i in range(n)], jax.random.split(key, n)
    inputs = [looks.image[2], *widths]
    layers = tuple(
        (Conv(i, o, 4, 2, 0 if as_published else 1, key=k, init=style.init), style.normed(o))
        for i, o, k in zip(inputs, widths, keys, strict=False)
    )
    return ConvEncoder(layers, style.activation, False)


def transposed(looks: Looks, style: Style, depth: int, n_belief: int, same: bool, key: Key) -> ConvDecoder | None:
    """The mirror of `strided`: of 64 x 64 kernels of 5, 5, 6 and 6 from one pixel on."""
    if looks.image is None:
        return None
    as_published = looks.image[:2] == (64, 64) and not same
    n = 4 if as_published else halvings(looks.image)
    sides, crop = ((5, 5, 6, 6), 0) if as_published else ((4,) * n, 1)
    small = (1, 1) if as_published else tuple(s // 2**n for s in looks.image[:2])
    shape = (*small, 32 * depth if as_published else depth * 2 ** (n - 1))
    key_enter, *keys = jax.random.split(key, n + 1)
    widths = [shape[2], *(depth * 2**i for i in reversed(range(n - 1))), looks.image[2]]
    plain = style.plain or style.init
    layers = tuple(
        (TransposedConv(i, o, side, 2, crop, key=k, init=init), style.normed(o))
        for i, o, side, k, init in zip(widths, widths[1:], sides, keys, [style.init] * (n - 1) + [plain], strict=False)
    )
    enter = DenseEntry(Linear(n_belief, shape[0] * shape[1] * shape[2], key=key_enter, init=plain), shape)
    return ConvDecoder(enter, _without_last_norm(layers), style.activation, from_middle)


def pooled(looks: Looks, style: Style, depth: int, key: Key) -> ConvEncoder | None:
    """Kernels of 5 that keep the size, then the greatest of each 2 x 2 pixels (Dreamer V3, Nature 2025)."""
    if looks.image is None:
        return None
    n = halvings(looks.image)
    widths, keys = _multiples(depth, n), jax.random.split(key, n)
    inputs = [looks.image[2], *widths]
    layers = tuple(
        (Conv(i, o, 5, 1, 2, key=k, init=style.init), style.normed(o))
        for i, o, k in zip(inputs, widths, keys, strict=False)
    )
    return ConvEncoder(layers, style.activation, True)


def upsampled(
    looks: Looks, style: Style, depth: int, units: int, sizes: tuple[int, int], blocks: int, key: Key
) -> ConvDecoder | None:
    """The mirror of `pooled`; ``sizes`` are those of h and z, ``units`` half of what z becomes within. Of ``blocks``
    there are fewer where they could not have equally many channels.
    """
    if looks.image is None:
        return None
    n, (n_deter, n_stoch) = halvings(looks.image), sizes
    widths = _multiples(depth, n)
    shape = looks.image[0] // 2**n, looks.image[1] // 2**n, widths[-1]
    size = shape[0] * shape[1] * shape[2]
    key_deter, key_stoch, key_last, *keys = jax.random.split(key, n + 3)
    of_stoch = style.dense(n_stoch, 2 * units, key_stoch), Linear(2 * units, size, key=key_last, init=style.init)
    of_deter = BlockLinear(n_deter, size, math.gcd(blocks, shape[2]), key=key_deter, init=style.init)
    enter = BlockEntry(of_deter, of_stoch, Norm(shape[2]), style.activation, shape)
    outputs = [*reversed(widths[:-1]), looks.image[2]]
    layers = tuple(
        (UpsampledConv(i, o, 5, key=k, init=style.init), style.normed(o))
        for i, o, k in zip([widths[-1], *outputs], outputs, keys, strict=False)
    )
    return ConvDecoder(enter, _without_last_norm(layers), style.activation, jax.nn.sigmoid)


def dense_layers(n_in: int, hidden: tuple[int, ...], style: Style, key: Key) -> tuple[Dense, ...]:
    """Dense layers one after the other; none where there is nothing to see."""
    if n_in == 0:
        return ()
    keys = jax.random.split(key, len(hidden))
    return tuple(style.dense(i, o, k) for i, o, k in zip((n_in, *hidden), hidden, keys, strict=False))


def halvings(image: tuple[int, int, int]) -> int:
    """How often an image is halved: four times, or until a side has less than eight pixels or is odd.

    Raises `UsageError` where more than 16 pixels, or fewer than 3, would be left.
    """
    sides, n = image[:2], 0
    while n < 4 and all(s % 2 == 0 and s >= 8 for s in sides):
        sides, n = (sides[0] // 2, sides[1] // 2), n + 1
    if not all(_LEAST <= s <= _MOST for s in sides) or n == 0:
        size = "x".join(map(str, image))
        raise UsageError(
            f"images of {size} cannot be halved until {_LEAST} to {_MOST} pixels a side are left, as the encoder does; "
            "choose another size, such as --pixels 64"
        )
    return n


def from_middle(x: Float[Array, "*b"]) -> Float[Array, "*b"]:
    """What is drawn about 0, as a share of 255."""
    return x + 0.5


def _multiples(depth: int, n: int) -> list[int]:
    return [depth * m for m in (2, 3, 4, 4)[:n]]


def _without_last_norm(layers: Layers) -> Layers:
    return (*layers[:-1], (layers[-1][0], None))
