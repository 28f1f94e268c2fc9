"""What makes of an observation the numbers that a dense network takes."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Num

from forethought.errors import UsageError, require_within
from forethought.nets.conv import Conv
from forethought.nets.mlp import Initializer, fan_in_uniform
from forethought.types import Box, Discrete, Key, Parts, PyTree, Space, is_image, item_dtype, item_shape, per_part

Layout = tuple[tuple[int, int, int], ...]  # of each layer: channels, side of the kernel, stride

# Young & Tian 2019 (arXiv 1903.03176) for their games of 10 x 10, and Mnih et al. 2015 for 84 x 84.
SMALL: Layout = ((16, 3, 1),)
LARGE: Layout = ((32, 8, 4), (64, 4, 2), (64, 3, 1))
_LARGE_FROM = 36  # pixels a side: what LARGE makes one number of


class Encoder(eqx.Module):
    """Of an image convolutions with ReLU, as a row; a vector as it is; of a number the row of an identity matrix; of
    several parts one after the other.

    Numbers of an image become shares of 255.

    Attributes:
        size: how many numbers come out.
    """

    layers: PyTree  # of each part those of its image; () of what is none
    space: Space = eqx.field(static=True)
    size: int = eqx.field(static=True)

    def __init__(self, space: Space, layout: Layout = (), *, key: Key, init: Initializer = fan_in_uniform):
        """An empty ``layout`` chooses by the image's size. Raises `UsageError` where the image is too small for it."""
        parts = [name for name, _ in space.named] if isinstance(space, Parts) else []
        keys: Any = dict(zip(parts, jax.random.split(key, len(parts)), strict=True)) if parts else key
        self.layers = per_part(lambda part, key: _convolutions(part, layout, key, init), space, keys)
        seen = per_part(lambda part: jax.ShapeDtypeStruct(item_shape(part), item_dtype(part)), space)
        self.space, self.size = space, 0
        self.size = jax.eval_shape(self.__call__, seen).shape[0]

    def __call__(self, obs: PyTree) -> Float[Array, " f"]:
        """Unbatched."""
        rows = per_part(_row, self.space, obs, self.layers)
        return jnp.concatenate(list(rows.values())) if isinstance(rows, dict) else rows


def _row(space: Box | Discrete, obs: Num[Array, "*shape"], layers: tuple[Conv, ...]) -> Float[Array, " f"]:
    if isinstance(space, Discrete):
        return jax.nn.one_hot(obs, space.n)
    x = obs.astype(jnp.float32) * (1.0 / 255.0) if space.dtype == "uint8" else obs
    for layer in layers:
        x = jax.nn.relu(layer(x))
    return x.reshape(-1)


def _convolutions(space: Box | Discrete, layout: Layout, key: Key, init: Initializer) -> tuple[Conv, ...]:
    if not is_image(space):
        return ()
    *size, n_in = item_shape(space)
    layers, layout = [], layout or (LARGE if min(size) >= _LARGE_FROM else SMALL)
    for (channels, side, stride), key_layer in zip(layout, jax.random.split(key, len(layout)), strict=True):
        if min(size) < side:
            raise UsageError(
                f"images of {'x'.join(map(str, item_shape(space)))} are too small for the convolutions {layout}; "
                "choose others with --agent.conv"
            )
        layers.append(Conv(n_in, channels, side, stride, key=key_layer, init=init))
        size, n_in = [(n - side) // stride + 1 for n in size], channels
    return tuple(layers)


def require_layout(name: str, layout: Layout) -> None:
    """Raise `UsageError` unless each layer has positive channels, side and stride."""
    for layer in layout:
        for number in layer:
            require_within(name, number, 1)
