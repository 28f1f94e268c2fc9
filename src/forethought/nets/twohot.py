"""Numbers of any size as classes: symlog, and expectations over bins (Hafner et al. 2025, "Mastering diverse control
tasks through world models", Nature; arXiv 2301.04104).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

BINS = 255
_EDGE = 20.0  # symlog of the greatest number that has a bin


def symlog(x: Float[Array, "*b"]) -> Float[Array, "*b"]:
    """``sign(x) ln(1 + |x|)``."""
    return jnp.sign(x) * jnp.log1p(jnp.abs(x))


def symexp(x: Float[Array, "*b"]) -> Float[Array, "*b"]:
    """The inverse of `symlog`, ``sign(x) (exp|x| - 1)``."""
    return jnp.sign(x) * jnp.expm1(jnp.abs(x))


def symexp_bins(n: int = BINS) -> Float[Array, " n"]:
    """An odd number of numbers, evenly spaced in symlog from -20 to 20; exactly as many below 0 as above."""
    half = -np.expm1(np.linspace(_EDGE, 0.0, n // 2 + 1))
    return jnp.asarray(np.concatenate([half, -half[:-1][::-1]]), jnp.float32)


def two_hot(x: Float[Array, "*b"], bins: Float[Array, " n"]) -> Float[Array, "*b n"]:
    """Weights of the two bins around x, whose mean is x; all on the last one beyond it (equation 10)."""
    n = bins.shape[0]
    x = jnp.clip(x, bins[0], bins[-1])
    above = jnp.clip(jnp.searchsorted(bins, x, side="right"), 1, n - 1)
    low, high = bins[above - 1], bins[above]
    share = ((x - low) / (high - low))[..., None]
    return (1.0 - share) * jax.nn.one_hot(above - 1, n) + share * jax.nn.one_hot(above, n)


class TwoHot(NamedTuple):
    """A number, said as ``softmax(logits)`` over bins."""

    logits: Float[Array, "*b n"]
    bins: Float[Array, " n"]

    def mean(self) -> Float[Array, "*b"]:
        """``sum_i p_i bin_i``. Bins of equal size are added in pairs first: equal logits give exactly 0, which sums
        from one end to the other do not.
        """
        weighted, middle = jax.nn.softmax(self.logits) * self.bins, self.bins.shape[0] // 2
        pairs = weighted[..., :middle][..., ::-1] + weighted[..., middle + 1 :]
        return jnp.sum(pairs, axis=-1) + weighted[..., middle]

    def log_prob(self, x: Float[Array, "*b"]) -> Float[Array, "*b"]:
        """``sum_i twohot(x)_i log p_i`` (equation 9): less the cross-entropy."""
        return jnp.sum(jax.lax.stop_gradient(two_hot(x, self.bins)) * jax.nn.log_softmax(self.logits), axis=-1)


class SymlogTwoHot(NamedTuple):
    """A number whose symlog is said by `TwoHot` over bins from -20 to 20 that lie evenly (Dreamer V3 of 2023)."""

    logits: Float[Array, "*b n"]

    def mean(self) -> Float[Array, "*b"]:
        """``symexp(sum_i p_i bin_i)``."""
        return symexp(self._within().mean())

    def log_prob(self, x: Float[Array, "*b"]) -> Float[Array, "*b"]:
        """As `TwoHot.log_prob`, of the symlog."""
        return self._within().log_prob(symlog(x))

    def _within(self) -> TwoHot:
        return TwoHot(self.logits, jnp.linspace(-_EDGE, _EDGE, self.logits.shape[-1]))
