"""Where a long imagined life leads, beside where a real one does."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Float, Int

from forethought.diagnostics.dreams import Dream
from forethought.diagnostics.episodes import Windows
from forethought.diagnostics.states import visit_distance

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
_FAR = 1e30  # stands for what is not finite


class LongRun(NamedTuple):
    """All states of imagined lives beside all states of real ones of the same length, dimension by dimension.

    Attributes:
        steps: imagined steps per life.
        closed_loop: whether the policy acted in imagination; else the real actions were carried out.
        distance: `wasserstein` distance over the standard deviation of the real observations. Where states are
            numbered, one entry: the total variation of the visits. Of a picture the mean over its pixels.
        chance: the same between two halves of the real episodes: what differs anyway.
        imagined, real: the `QUANTILES` of both, in the units of the observation; empty for numbered states.
    """

    steps: int
    closed_loop: bool
    distance: Float[np.ndarray, " d"]
    chance: Float[np.ndarray, " d"]
    imagined: Float[np.ndarray, "5 q"]
    real: Float[np.ndarray, "5 q"]


def long_run(
    dream: Dream,
    real: Windows,
    std: Float[Array, " d"],
    *,
    closed_loop: bool,
    groups: Int[np.ndarray, " d"] | None = None,
) -> LongRun:
    """See `LongRun`; ``real`` are whole episodes, ``dream`` begins where they do. ``groups`` of dimensions, such as the
    pixels of a picture, are each told of as one: their mean distance.
    """
    dreamt, alive = np.asarray(dream.obs), np.asarray(dream.alive)
    lived, there = np.asarray(real.obs)[1:], np.asarray(real.valid)
    half = there & (np.arange(there.shape[1]) % 2 == 0)
    x, y, one, other = dreamt[alive], lived[there], lived[half], lived[there & ~half]
    if dreamt.ndim == 3:  # numbered
        distance, chance = np.array([visit_distance(x, y)]), np.array([visit_distance(one, other)])
        nothing = np.zeros((len(QUANTILES), 0))
        return LongRun(len(there), closed_loop, distance, chance, nothing, nothing)
    x, scale = np.where(np.isfinite(x), np.clip(x, -_FAR, _FAR), _FAR), np.asarray(std)
    distance, chance = wasserstein(x, y) / scale, wasserstein(one, other) / scale
    if groups is not None:
        distance, chance = (np.bincount(groups, far) / np.bincount(groups) for far in (distance, chance))
    of_dreams, of_life = _quantiles(x, groups), _quantiles(y, groups)
    return LongRun(len(there), closed_loop, distance, chance, of_dreams, of_life)


def _quantiles(x: Float[np.ndarray, "n d"], groups: Int[np.ndarray, " d"] | None) -> Float[np.ndarray, "5 q"]:
    """Of each group of dimensions together."""
    if groups is None:
        return np.quantile(x, QUANTILES, axis=0)
    return np.stack([np.quantile(x[:, groups == i], QUANTILES) for i in range(groups.max() + 1)], axis=1)


def wasserstein(x: Float[np.ndarray, "n d"], y: Float[np.ndarray, "m d"]) -> Float[np.ndarray, " d"]:
    """The least mean way that mass has to move to make one distribution of the other, per dimension."""
    from scipy.stats import wasserstein_distance  # half a second, which no command but `diagnose` should wait for

    return np.array([wasserstein_distance(*both) for both in zip(x.T, y.T, strict=True)])
