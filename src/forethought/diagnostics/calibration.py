"""Whether the model knows how far it may be wrong."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from forethought.diagnostics.dreams import spread
from forethought.models.base import Belief, GivesDensity
from forethought.types import Key

LEVELS = (0.5, 0.8, 0.9, 0.95)
NOMINAL = tuple(round(0.05 * i, 2) for i in range(1, 20))
# Errors below this share of the standard deviation of the data are none: rounding is not the model's fault. Over-
# confidence that fine goes unnoticed: a model half as wide as it should be seems right from a width of 1e-4 down.
RESOLUTION = 1e-4
COARSE = 0.1  # the same where observations are decoded, which is never exact
BINS = 5
_DRAWS = 16  # of what chance makes of a true model

_NORMAL_MEDIAN = 0.6745  # of |x| where x is standard normal


class Calibration(NamedTuple):
    """Predicted against real frequencies after each of k numbers of steps, over all starts and dimensions.

    But for dimensions that are foretold exactly (`is_inexact`), such as a goal that stays where it is: nothing can be
    said of confidence there, and they would hide what is wrong with the others.

    Attributes:
        steps: the numbers of steps; the first is 1.
        coverage: share of the real values inside of the central intervals of the `LEVELS`.
        reliability: share of the real values below the predicted quantiles `NOMINAL`.
        factor: median |error of the mean| over what the spread of the particles lets expect; above 1 is over-confident.
        coverage_by_dimension: of the 90 % interval; NaN where all is foretold exactly.
    """

    steps: Float[Array, " k"]
    coverage: Float[Array, "k 4"]
    reliability: Float[Array, "k 19"]
    factor: Float[Array, " k"]
    coverage_by_dimension: Float[Array, "k d"]


@jax.jit
def calibration(errors: Float[Array, "p s d"], steps: Array, *, key: Key) -> Calibration:
    """See `Calibration`, without its axis k; ``errors`` are those after so many ``steps``.

    ``coverage(c) = P(|u - 1/2| <= c / 2)`` and ``reliability(q) = P(u <= q)``, u as in `ranks_of_reality`.
    """
    u = ranks_of_reality(errors, key=key)
    inexact = is_inexact(errors)
    known = ~jnp.isnan(u) & inexact
    inside = jnp.where(known[..., None], jnp.abs(u[..., None] - 0.5) <= jnp.array(LEVELS) / 2.0, jnp.nan)
    below = jnp.where(known[..., None], u[..., None] <= jnp.array(NOMINAL), jnp.nan)
    expected = jnp.nanmedian(jnp.where(inexact, spread(errors, axis=0), jnp.nan))
    missed = jnp.nanmedian(jnp.where(inexact, jnp.abs(jnp.mean(errors, axis=0)), jnp.nan))
    return Calibration(
        steps,
        jnp.nanmean(inside, axis=(0, 1)),
        jnp.nanmean(below, axis=(0, 1)),
        missed / jnp.maximum(_NORMAL_MEDIAN * expected, 1e-9),
        jnp.nanmean(inside[..., LEVELS.index(0.9)], axis=0),
    )


def ranks_of_reality(errors: Float[Array, "p s d"], *, key: Key) -> Float[Array, "s d"]:
    """Where reality lies among the particles: the probability integral transform, ``u = F(real)``.

    With b of p particles below reality and c at it (nearer than `RESOLUTION`), ``u = (b + v (c + 1)) / (p + 1)``, v
    uniform in [0, 1]. Where reality is distributed as the particles are, u is exactly uniform (Gneiting, Balabdaoui &
    Raftery 2007, "Probabilistic forecasts, calibration and sharpness"; ties are broken at random). NaN stays NaN.
    """
    p = errors.shape[0]
    below = jnp.sum(errors < -RESOLUTION, axis=0)
    at = jnp.sum(jnp.abs(errors) <= RESOLUTION, axis=0)
    u = (below + jax.random.uniform(key, below.shape) * (at + 1)) / (p + 1)
    return jnp.where(jnp.isnan(errors[0]), jnp.nan, u)


@jax.jit
def negative_log_density(
    model: GivesDensity[Belief],
    belief: Belief,
    action: Array,
    obs: Float[Array, "n d"],
    std: Float[Array, " d"],
    moves: Bool[Array, " d"],
) -> Float[Array, ""]:
    """``-1/d mean_n ln p(obs_n / std | belief_n, action_n)``: nats per dimension, in standard deviations of the data.

    The density of ``obs / std`` is that of ``obs`` times the product of the standard deviations; d counts the
    dimensions that move, since the others have no density.
    """
    scale = jnp.sum(jnp.where(moves, jnp.log(std), 0.0))
    return -(jnp.mean(model.log_density(belief, action, obs)) + scale) / jnp.maximum(jnp.sum(moves), 1)


def is_inexact(errors: Float[Array, "*b d"], least: float = RESOLUTION) -> Bool[Array, " d"]:
    """Whether each dimension is ever wrong by more than the least that counts."""
    return jnp.any(jnp.abs(errors) > least, axis=tuple(range(errors.ndim - 1)))


def is_point(errors: Float[Array, "p s d"]) -> bool:
    """Whether there is no spread to evaluate: all particles are the same, or nothing is ever wrong."""
    same = np.all(np.asarray(errors) == np.asarray(errors[:1]))
    return bool(same) or not bool(jnp.any(is_inexact(errors)))


@jax.jit
def total_variation(
    errors: Float[Array, "p s d"], context: Float[Array, "s c"], episode: Int[Array, " s"], *, key: Key
) -> Float[Array, ""]:
    """What the data prove of the total variation between the model's next state and the real one, at least.

    For a true model ``u = F(real)`` (`ranks_of_reality`) is uniform whatever is known of the state and action that it
    began from; and no function of two distributions sets them further apart than they are. So with u in B equal bins,
    b its bin and c that of the step of another episode whose ``context`` (state and action, of comparable scale) is
    nearest::

        1/2 sum_{c, b} |P(c, b) - P(c) / B|  <=  E_s TV(p(. | s, a), p_model(. | s, a))

    in every dimension. Returned is the greatest of these, less what chance makes of it where every u is uniform: the
    mean over some draws. In a world without noise a model that adds some is all wrong in this sense, however little.
    """
    key_ranks, key_chance = jax.random.split(key)
    u = ranks_of_reality(errors, key=key_ranks)
    square = jnp.sum(context**2, axis=1)
    apart = square[:, None] + square - 2.0 * context @ context.T
    nearest = jnp.argmin(jnp.where(episode[:, None] == episode, jnp.inf, apart), axis=1)

    def uneven(u: Float[Array, "s d"]) -> Float[Array, ""]:
        own = jax.nn.one_hot(jnp.clip((u * BINS).astype(jnp.int32), 0, BINS - 1), BINS)
        both = jnp.einsum("sdc,sdb->dcb", own[nearest], own) / u.shape[0]
        given = jnp.sum(both, axis=2, keepdims=True)
        return jnp.max(0.5 * jnp.sum(jnp.abs(both - given / BINS), axis=(1, 2)))

    drawn = jax.lax.map(lambda key: uneven(jax.random.uniform(key, u.shape)), jax.random.split(key_chance, _DRAWS))
    return jnp.clip(uneven(u) - jnp.mean(drawn), 0.0, 1.0)
