"""V of World Models: a convolutional variational autoencoder (Ha & Schmidhuber 2018, arXiv 1803.10122, appendix A.1).

An image of side n is encoded by convolutions of side 4 and stride 2, and decoded by transposed ones that give back n
exactly: from the outside in they have side 6 where n is even and 5 where it is odd, which leaves n / 2 - 2 or
(n - 3) / 2. Of 64 pixels these are the published 1, 5, 13, 30, 64.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, UInt8

from forethought.errors import UsageError
from forethought.nets.conv import Conv, TransposedConv, in_portions
from forethought.nets.latents import Normals
from forethought.nets.mlp import Initializer, Linear, glorot_uniform
from forethought.types import Key

CHANNELS = (32, 64, 128, 256)
_SIDE = 4  # of the encoder's kernels
_LEAST = 5  # pixels a side


class VAELoss(NamedTuple):
    """Of each image of a batch: squared error summed over its numbers, in shares of 255; ``KL(q(z | x) || N(0, I))``
    before less than the tolerance was let be; and what is learned from.
    """

    error: Float[Array, "*b"]
    kl: Float[Array, "*b"]
    total: Float[Array, "*b"]


class VAE(eqx.Module):
    """``q(z | x)``, a Gaussian of independent numbers, and the image that z stands for.

    Attributes:
        n_latent: numbers of z.
    """

    encoder: tuple[Conv, ...]
    mean: Linear
    log_var: Linear
    enter: Linear
    decoder: tuple[TransposedConv, ...]
    n_latent: int = eqx.field(static=True)
    begin: tuple[int, int, int] = eqx.field(static=True)  # what the decoder begins with [h, w, c]

    def __init__(
        self,
        shape: tuple[int, ...],
        n_latent: int = 32,
        channels: tuple[int, ...] = CHANNELS,
        *,
        key: Key,
        init: Initializer = glorot_uniform,
    ):
        """Of images of this shape [h, w, c]; small ones get fewer layers than there are ``channels``.

        Raises `UsageError` for images that are not square, or smaller than 5 pixels a side.
        """
        require_suitable(shape)
        key_encoder, key_decoder, key_mean, key_var, key_enter = jax.random.split(key, 5)
        keys = jax.random.split(key_encoder, len(channels))
        layers, side, n_in = [], shape[0], shape[2]
        for n_out, k in zip(channels, keys, strict=True):
            if side >= _SIDE:
                layers.append(Conv(n_in, n_out, _SIDE, 2, key=k, init=init))
                side, n_in = (side - _SIDE) // 2 + 1, n_out
        self.encoder = tuple(layers)
        n_seen = side * side * n_in
        self.mean = Linear(n_seen, n_latent, key=key_mean, init=init)
        self.log_var = Linear(n_seen, n_latent, key=key_var, init=init)
        sides = _decoded_sides(shape[0], len(channels))
        widths = (*reversed(channels[: len(sides) - 2]), shape[2])
        first = max(4 * channels[-1] // sides[0] ** 2, channels[0])
        self.begin, self.n_latent = (sides[0], sides[0], first), n_latent
        self.enter = Linear(n_latent, first * sides[0] ** 2, key=key_enter, init=init)
        keys = jax.random.split(key_decoder, len(widths))
        rows = zip((first, *widths), widths, sides, sides[1:], keys, strict=False)
        self.decoder = tuple(TransposedConv(i, o, to - 2 * (at - 1), 2, key=k, init=init) for i, o, at, to, k in rows)

    def encode(self, image: UInt8[Array, "n h w c"]) -> tuple[Float[Array, "n z"], Float[Array, "n z"]]:
        """Means of ``q(z | x)``, and the logarithms of its standard deviations."""
        seen = in_portions(VAE._look, self, shares(image))
        return jax.vmap(self.mean)(seen), 0.5 * jax.vmap(self.log_var)(seen)

    def decode(self, z: Float[Array, "n z"]) -> Float[Array, "n h w c"]:
        """The images of z, in shares of 255: numbers in 0..1."""
        begun = self.decoder[0](jax.vmap(self.enter)(z).reshape(-1, *self.begin))
        return in_portions(VAE._draw, self, begun)

    def _look(self, x: Float[Array, "n h w c"]) -> Float[Array, "n e"]:
        for layer in self.encoder:
            x = jax.nn.relu(layer(x))
        return x.reshape(x.shape[0], -1)

    def _draw(self, x: Float[Array, "n i j d"]) -> Float[Array, "n h w c"]:
        for layer in self.decoder[1:]:
            x = layer(jax.nn.relu(x))
        return jax.nn.sigmoid(x)

    def loss(self, image: UInt8[Array, "n h w c"], *, key: Key, tolerance: float = 0.5) -> VAELoss:
        """``sum (x - decode(z))^2 + max(KL, tolerance n_latent)`` with one z drawn from each ``q(z | x)``.

        Less information than ``tolerance`` nats to each number of z costs nothing, and is not taught away.
        """
        mean, log_std = self.encode(image)
        q = Normals(mean, jnp.exp(log_std))
        error = jnp.sum((shares(image) - self.decode(q.sample(key=key))) ** 2, axis=(1, 2, 3))
        kl = 0.5 * jnp.sum(mean**2 + q.std**2 - 1.0 - 2.0 * log_std, axis=-1)
        return VAELoss(error, kl, error + jnp.maximum(kl, tolerance * self.n_latent))


def shares(image: UInt8[Array, "*b h w c"]) -> Float[Array, "*b h w c"]:
    """Of 255."""
    return image.astype(jnp.float32) * (1.0 / 255.0)


def require_suitable(shape: tuple[int, ...]) -> None:
    """Raise `UsageError` for images that the autoencoder cannot give back."""
    if len(shape) != 3 or shape[0] != shape[1] or shape[0] < _LEAST:
        raise UsageError(
            f"images of {'x'.join(map(str, shape))} do not suit the autoencoder, which takes square ones of {_LEAST} "
            "pixels a side or more; make them so with --pixels 64"
        )


def _decoded_sides(side: int, most: int) -> list[int]:
    """Sides of what each layer of the decoder is given, and of the image."""
    sides = [side]
    while len(sides) <= most and sides[0] >= _LEAST:
        sides.insert(0, sides[0] // 2 - 2 if sides[0] % 2 == 0 else (sides[0] - 3) // 2)
    return sides
