"""Summaries over seeds, and how sure a handful of seeds allows anybody to be.

The source is Agarwal et al. 2021, "Deep Reinforcement Learning at the Edge of the Statistical Precipice"
(arXiv 2108.13264): report an interval next to every score, and prefer the interquartile mean to the mean (one lucky
seed moves it) and to the median (which ignores all but one or two seeds).
"""

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from forethought.errors import UsageError

Reduced: TypeAlias = np.ndarray | np.floating  # numpy makes a number of an array without axes
Statistic: TypeAlias = Callable[[np.ndarray], Reduced]  # reduces the last axis


class Curve(NamedTuple):
    """A statistic over seeds at every step, with its interval; ``low`` and ``high`` are NaN with a single seed."""

    centre: Float[np.ndarray, " steps"]
    low: Float[np.ndarray, " steps"]
    high: Float[np.ndarray, " steps"]


def mean(values: ArrayLike) -> Reduced:
    """Return the arithmetic mean over the last axis: ``[..., seeds] -> [...]``.

    NaN stays NaN: a seed that diverged is a result, and leaving it out would flatter the algorithm.

    Raises:
        UsageError: the last axis is empty or missing.
    """
    return np.mean(_scores(values), axis=-1)


def iqm(values: ArrayLike) -> Reduced:
    """Return the interquartile mean over the last axis: ``[..., seeds] -> [...]``.

    With the values sorted, ``x_0 <= ... <= x_{n-1}``, and each one given the interval ``[i, i + 1]``::

        iqm = sum_i w_i x_i / sum_i w_i,    w_i = length of [i, i + 1] inside [n / 4, 3 n / 4]

    so exactly the middle half of the weight counts, at every n. Where n is a multiple of 4 this is
    ``scipy.stats.trim_mean(x, 0.25)``, the form used by Agarwal et al. 2021; elsewhere ``trim_mean`` drops only
    ``floor(n / 4)`` values at each end, which for n < 4 drops none at all. NaN stays NaN; an infinite value counts like
    any other, so it does not matter where its weight is 0.

    Raises:
        UsageError: the last axis is empty or missing.
    """
    ordered = np.sort(_scores(values), axis=-1)
    n = ordered.shape[-1]
    left = np.arange(n)
    weights = np.clip(np.minimum(left + 1, 0.75 * n) - np.maximum(left, 0.25 * n), 0.0, None)
    # Infinities without weight must not become 0 * inf = NaN; a NaN must not be lost where its weight is 0.
    counted = np.where(np.isinf(ordered) & (weights == 0.0), 0.0, ordered)
    return counted @ (weights / weights.sum())


def bootstrap_interval(
    values: ArrayLike, statistic: Statistic = mean, level: float = 0.95, resamples: int = 2000, seed: int = 0
) -> tuple[float, float]:
    """Return the percentile bootstrap interval ``(low, high)`` of a statistic over seeds.

    The seeds are drawn with replacement ``resamples`` times, the statistic is taken of each draw, and the interval runs
    between the quantiles ``(1 - level) / 2`` and ``(1 + level) / 2`` of what came out (Agarwal et al. 2021, section
    4.1, for a single task). The draws come from ``seed``, so the same values always give the same interval.

    With few seeds the interval is too narrow, because no resample reaches beyond the values that were seen: for normal
    scores the nominal 95 % interval of the mean covers the truth about 50 % of the time with 2 seeds, 75 % with 3
    (where it is simply the lowest to the highest seed), 83 % with 5, 89 % with 10 and 93 % with 20.

    Args:
        values: one score per seed, shape [seeds], in the unit of the interval.
        statistic: reduces the last axis, such as `mean` or `iqm`.
        level: nominal coverage, strictly between 0 and 1.
        resamples: number of draws.
        seed: seed of the draws.

    Returns:
        ``(nan, nan)`` with a single seed or where a score is NaN. An end may be infinite where scores are.

    Raises:
        UsageError: ``values`` is not one non-empty axis, or ``level`` or ``resamples`` is out of range.
    """
    scores = _scores(values)
    if scores.ndim != 1:
        raise UsageError(f"values has shape {scores.shape}; pass one score per seed, shape [seeds]")
    _, low, high = curve(scores[None], statistic, level, resamples, seed)
    return float(low[0]), float(high[0])


def curve(
    points: ArrayLike, statistic: Statistic = mean, level: float = 0.95, resamples: int = 2000, seed: int = 0
) -> Curve:
    """Return a statistic over seeds at every step with its pointwise interval (see `bootstrap_interval`).

    Every step uses the same draws of seeds, so the band is as smooth as the curves are. The interval holds for each
    step by itself, not for the curve as a whole.

    Args:
        points: scores, shape [steps, seeds].
        statistic: reduces the last axis.
        level: nominal coverage, strictly between 0 and 1.
        resamples: number of draws.
        seed: seed of the draws.

    Raises:
        UsageError: ``points`` has not two axes or no seeds, or ``level`` or ``resamples`` is out of range.
    """
    scores = _scores(points)
    if scores.ndim != 2:
        raise UsageError(f"points has shape {scores.shape}; pass shape [steps, seeds]")
    if not 0 < level < 1:
        raise UsageError(f"level is {level}; pass a number between 0 and 1, such as 0.95")
    if resamples < 1:
        raise UsageError(f"resamples is {resamples}; pass at least 1")
    steps, seeds = scores.shape
    centre = np.asarray(statistic(scores), dtype=float)
    bounds = np.full((steps, 2), np.nan)
    if seeds > 1:
        draws = np.random.default_rng(seed).integers(0, seeds, size=(resamples, seeds))
        tails = [(1 - level) / 2, (1 + level) / 2]
        # One step at a time: [steps, resamples, seeds] at once would not fit for a long run.
        for step in np.flatnonzero(~np.isnan(scores).any(axis=1)):
            drawn = statistic(scores[step][draws])
            if np.isfinite(drawn).all():
                bounds[step] = np.quantile(drawn, tails)
            else:  # nothing lies between a finite value and an infinite one: the outer of the two is the end
                bounds[step, 0] = np.quantile(drawn, tails[0], method="lower")
                bounds[step, 1] = np.quantile(drawn, tails[1], method="higher")
    return Curve(centre, bounds[:, 0], bounds[:, 1])


def _scores(values: ArrayLike) -> np.ndarray:
    """Return the values as floats, refusing an empty axis of seeds."""
    scores = np.asarray(values, dtype=float)
    if scores.ndim == 0 or scores.shape[-1] == 0:
        raise UsageError(f"scores have shape {scores.shape}; pass at least one seed on the last axis")
    return scores
