"""Centring and scaling by the statistics of the data, as an explicit pytree."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

# A dimension that never moves but for rounding, in units of its own size or by dust around zero, is not blown up.
_ROUNDING, _DUST = 1e-6, 1e-12


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
    smallest = jnp.maximum(_ROUNDING * jnp.abs(origin + mean), _DUST)
    return Normalizer(origin + mean, jnp.where(std < smallest, 1.0, std))
