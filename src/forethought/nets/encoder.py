"""What makes of an observation the numbers that a dense network takes: convolutions of an image, a vector as it is."""

import itertools
import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Num

from forethought.errors import UsageError, require_within
from forethought.nets.mlp import Initializer, fan_in_uniform
from forethought.types import Box, Key

Layout = tuple[tuple[int, int, int], ...]  # of each layer: channels, side of the kernel, stride

# Young & Tian 2019 (arXiv 1903.03176) for their games of 10 x 10, and Mnih et al. 2015 for 84 x 84.
SMALL: Layout = ((16, 3, 1),)
LARGE: Layout = ((32, 8, 4), (64, 4, 2), (64, 3, 1))
_LARGE_FROM = 36  # pixels a side: what LARGE makes one number of


class Conv(eqx.Module):
    """A convolution of an image [h, w, c] with kernels [k, k, c, c'] and no padding."""

    weight: Float[Array, "k k c d"]
    bias: Float[Array, " d"]
    stride: int = eqx.field(static=True)

    def __init__(self, n_in: int, n_out: int, side: int, stride: int, *, key: Key, init: Initializer = fan_in_uniform):
        flat, self.bias = init(key, (side * side * n_in, n_out))
        self.weight, self.stride = flat.reshape(side, side, n_in, n_out), stride

    def __call__(self, x: Float[Array, "h w c"]) -> Float[Array, "i j d"]:
        """Unbatched. One product with the patches: on a CPU XLA's own convolution is slow within loops, and slower
        still where seeds lie side by side.
        """
        side, _, _, n_out = self.weight.shape
        rows, columns = (self.stride * ((n - side) // self.stride) + 1 for n in x.shape[:2])
        offsets = itertools.product(range(side), repeat=2)
        patches = [x[i : i + rows : self.stride, j : j + columns : self.stride] for i, j in offsets]
        return jnp.concatenate(patches, axis=-1) @ self.weight.reshape(-1, n_out) + self.bias


class Encoder(eqx.Module):
    """Convolutions with ReLU and then a row; nothing at all for a vector.

    Whole numbers are pixels, and become shares of 255.

    Attributes:
        size: how many numbers come out.
    """

    layers: tuple[Conv, ...]
    size: int = eqx.field(static=True)
    scale: float = eqx.field(static=True)

    def __init__(self, space: Box, layout: Layout = (), *, key: Key, init: Initializer = fan_in_uniform):
        """An empty ``layout`` chooses by the image's size. Raises `UsageError` where the image is too small for it."""
        shape = space.shape
        self.scale = 1.0 / 255.0 if np.dtype(space.dtype).kind in "iu" else 1.0
        layers = []
        if len(shape) == 3:
            layout = layout or (LARGE if min(shape[:2]) >= _LARGE_FROM else SMALL)
            for (channels, side, stride), key_layer in zip(layout, jax.random.split(key, len(layout)), strict=True):
                if min(shape[:2]) < side:
                    raise UsageError(
                        f"images of {'x'.join(map(str, space.shape))} are too small for the convolutions {layout}; "
                        "choose others with --agent.conv"
                    )
                layers.append(Conv(shape[2], channels, side, stride, key=key_layer, init=init))
                shape = (*((n - side) // stride + 1 for n in shape[:2]), channels)
        self.layers, self.size = tuple(layers), math.prod(shape)

    def __call__(self, obs: Num[Array, "*shape"]) -> Float[Array, " f"]:
        """Unbatched."""
        x = obs.astype(jnp.float32) * self.scale if self.scale != 1.0 else obs
        for layer in self.layers:
            x = jax.nn.relu(layer(x))
        return x.reshape(-1)


def require_layout(name: str, layout: Layout) -> None:
    """Raise `UsageError` unless each layer has positive channels, side and stride."""
    for layer in layout:
        for number in layer:
            require_within(name, number, 1)
