"""Centring and scaling by the statistics of the data, as an explicit pytree."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

# A dimension that never moves but for rounding, in units of its own size or by dust around zero, is not blown up.
_ROUNDING, _DUST = 1e-6, 1e-12
_BLOCK = 1024  # rows that are summed at once


class Normalizer(eqx.Module):
    """``normalize(x) = (x - mean) / std`` per dimension."""

    mean: Float[Array, " d"]
    std: Float[Array, " d"]

    def normalize(self, x: Float[Array, "*b d"]) -> Float[Array, "*b d"]:
        """To zero mean and unit standard deviation."""
        return (x - self.mean) / self.std

    def restore(self, x: Float[Array, "*b d"]) -> Float[Array, "*b d"]:
        """The inverse of `normalize`."""
        return x * self.std + self.mean


def identity(dim: int) -> Normalizer:
    """Before any data was seen."""
    return Normalizer(jnp.zeros(dim), jnp.ones(dim))


def fit_columns(x: Float[Array, "n d"], size: Int[Array, ""]) -> Normalizer:
    """As `fit_normalizer` of the first ``size`` rows, to the same bits whatever room there is after them.

    Sums are taken over blocks of one length, so that a run that is extended goes on as one that was longer from the
    start, and the cost follows the rows and not the room.
    """
    row = jnp.arange(_BLOCK)

    def mean(of: Callable[[Array], Array]) -> Float[Array, " d"]:
        def add(i: Array, total: Array) -> Array:
            at = i * _BLOCK + row
            block = of(x[jnp.minimum(at, x.shape[0] - 1)])
            return total + jnp.sum(jnp.where((at < size)[:, None], block, 0.0), axis=0)

        blocks = (size + _BLOCK - 1) // _BLOCK
        return jax.lax.fori_loop(0, blocks, add, jnp.zeros(x.shape[1])) / jnp.maximum(size, 1)

    origin = x[0]
    offset = mean(lambda block: block - origin)
    return _scaled(origin + offset, jnp.sqrt(mean(lambda block: (block - origin - offset) ** 2)))


def fit_normalizer(x: Float[Array, "n d"], keep: Bool[Array, " n"]) -> Normalizer:
    """Statistics of the rows that are kept. A constant dimension is centred and keeps its unit.

    Two passes, both relative to one of the rows: in float32 the one-pass formula loses a small spread around a large
    mean, and the mean of equal large numbers is not quite that number, which would pass for a tiny spread.
    """
    weight = keep[:, None] / jnp.maximum(jnp.sum(keep), 1)
    origin = x[jnp.argmax(keep)]
    offset = x - origin
    mean = jnp.sum(offset * weight, axis=0)
    std = jnp.sqrt(jnp.sum((offset - mean) ** 2 * weight, axis=0))
    return _scaled(origin + mean, std)


def _scaled(mean: Float[Array, " d"], std: Float[Array, " d"]) -> Normalizer:
    smallest = jnp.maximum(_ROUNDING * jnp.abs(mean), _DUST)
    return Normalizer(mean, jnp.where(std < smallest, 1.0, std))
