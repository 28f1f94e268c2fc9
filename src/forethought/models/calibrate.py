"""The width of an ensemble's predictions, set right on transitions that no member has trained on."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from forethought.models.ensemble import Prediction

_COVERAGE = 0.9  # of the central interval that is set right
# As a factor, and its inverse. Where the errors of the members have little in common, what they disagree about covers
# nine tenths alone, and coverage would let the spread of each go to nothing.
_WIDEST = 4.0
_HALVINGS = 20  # of the interval between the two, on a logarithmic scale
_FEWEST = 50  # rows below which nothing is changed: their coverage says too little


def fitted_spread(said: Prediction, y: Float[Array, "n y"], counts: Bool[Array, " n"]) -> Float[Array, " y"]:
    """The factor s on all standard deviations with which the central 90 % of the mixture hold 90 % of the rows.

    ``said`` is what every member says of each of the n rows, ``y`` what happened, both in normalised units. Per output,
    with the mixture ``F(y) = 1/M sum_m Phi((y - mean_m) / (s std_m))``, s solves ``P(|F(y) - 1/2| <= 0.45) = 0.9``.

    Members that each tell their own error rightly are too wide together: the mean of several is better than any of
    them, and their disagreement comes on top of the spread of each (Rahaman & Thiery 2021, "Uncertainty quantification
    and deep ensembles"). Intervals are one thing and densities another: where errors have heavy tails, intervals that
    are right in the middle give the rare large errors little probability. s is kept within 1/4 and 4.
    """
    std = jnp.exp(0.5 * said.logvar)
    n = jnp.sum(counts)

    def covered(spread: Float[Array, " y"]) -> Float[Array, " y"]:
        u = jnp.mean(jax.scipy.stats.norm.cdf((y - said.mean) / (spread * std)), axis=0)
        inside = (jnp.abs(u - 0.5) <= 0.5 * _COVERAGE) & counts[:, None]
        return jnp.sum(inside, axis=0) / jnp.maximum(n, 1)

    def halve(_: Array, ends: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = ends
        middle = 0.5 * (low + high)
        wide = covered(jnp.exp(middle)) > _COVERAGE
        return jnp.where(wide, low, middle), jnp.where(wide, middle, high)

    end = jnp.full(y.shape[1], jnp.log(_WIDEST))
    low, high = jax.lax.fori_loop(0, _HALVINGS, halve, (-end, end))
    return jnp.where(n < _FEWEST, 1.0, jnp.exp(0.5 * (low + high)))
