"""How far the model drifts from what really happened, by the number of imagined steps."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from forethought.diagnostics.dreams import Dream, spread
from forethought.diagnostics.episodes import Windows

QUANTILES = (0.1, 0.5, 0.9)


class OpenLoop(NamedTuple):
    """Errors after 1 .. h imagined steps, in standard deviations of the observations; quantiles over the starts.

    With ``e_hps`` the error of particle p after h steps from start s (`signed_errors`) and d dimensions::

        mean      |mean_p e_hps| / sqrt(d)          of the mean of the particles
        particle  |e_hps| / sqrt(d)                 of single particles (quantiles over these, too)
        still     |obs_0 - obs_h| / std / sqrt(d)   of the prediction that nothing changes
        spread    sqrt(sum_d var_p e_hpsd / d)      what the model expects of its error: the spread of its particles
        reward    |mean_p r_hps - r_hs| / std(r)    of the reward of the step that leads there

    An error of 1 is that of a guess at the mean of all observations. Dimensions that never move, neither in reality nor
    in the model, are left out: of d, too. ``by_dimension`` and ``still_by_dimension`` are medians over the starts of
    ``mean`` and ``still``, each dimension alone.
    """

    mean: Float[Array, "h 3"]
    particle: Float[Array, "h 3"]
    still: Float[Array, "h 3"]
    spread: Float[Array, "h 3"]
    reward: Float[Array, "h 3"]
    by_dimension: Float[Array, "h d"]
    still_by_dimension: Float[Array, "h d"]


@jax.jit
def open_loop_error(
    errors: Float[Array, "h p s d"],
    dream: Dream,
    real: Windows,
    std: Float[Array, " d"],
    reward_std: Float[Array, ""],
    counts: Bool[Array, " d"],
) -> OpenLoop:
    """See `OpenLoop`; ``errors`` are those of ``dream``, the reenactment of ``real``, and ``counts`` what counts."""
    mean = jnp.mean(errors, axis=1)
    still = jnp.where(real.valid[..., None], (real.obs[:1] - real.obs[1:]) / std, jnp.nan)
    reward = jnp.abs(jnp.mean(dream.reward, axis=1) - real.reward) / reward_std
    return OpenLoop(
        quantiles(root_mean_square(mean, counts)),
        quantiles(root_mean_square(errors, counts)),
        quantiles(root_mean_square(still, counts)),
        quantiles(root_mean_square(spread(errors, axis=1), counts)),
        quantiles(jnp.where(real.valid, reward, jnp.nan)),
        jnp.nanmedian(jnp.abs(mean), axis=1),
        jnp.nanmedian(jnp.abs(still), axis=1),
    )


class Foretold(NamedTuple):
    """How much of the change of each dimension in one step is foretold, over all single steps.

    With e the signed errors and ``still = (obs_0 - obs_1) / std``, in mean squares, so that rare jumps count as they
    do in a likelihood::

        left_open  mean_s (mean_p e_ps)^2 / mean_s still_s^2     1: as much as "nothing changes" leaves open
        expected   mean_s var_p e_ps / mean_s (mean_p e_ps)^2    1: the model knows how far it may be wrong
        surprise   mean_s ((mean_p e_ps)^2 / var_p e_ps)         1: and where; what makes a log density low

    NaN where a dimension never changes, or is never wrong. The pixels of a picture are one of the g quantities.
    """

    left_open: Float[Array, " g"]
    expected: Float[Array, " g"]
    surprise: Float[Array, " g"]


def foretold(
    errors: Float[Array, "p s d"], real: Windows, std: Float[Array, " d"], groups: Int[np.ndarray, " d"] | None = None
) -> Foretold:
    """See `Foretold`; the errors are those after one step. ``groups`` of dimensions are each told of as one."""
    of = np.arange(errors.shape[-1]) if groups is None else groups
    return _foretold(errors, real, std, of, n=int(of.max()) + 1)


@partial(jax.jit, static_argnames="n")
def _foretold(
    errors: Float[Array, "p s d"], real: Windows, std: Float[Array, " d"], groups: Int[Array, " d"], n: int
) -> Foretold:
    def together(x: Float[Array, "s d"]) -> Float[Array, " g"]:
        return jax.ops.segment_sum(jnp.nanmean(x, axis=0), groups, n)

    square, variance = jnp.mean(errors, axis=0) ** 2, spread(errors, axis=0) ** 2
    still, error = together(((real.obs[0] - real.obs[1]) / std) ** 2), together(square)
    surprise = together(square / jnp.maximum(variance, jnp.finfo(jnp.float32).tiny)) / together(jnp.ones_like(square))
    return Foretold(
        jnp.where(still > 0.0, error / still, jnp.nan),
        jnp.where(error > 0.0, together(variance) / error, jnp.nan),
        jnp.where(error > 0.0, surprise, jnp.nan),
    )


def root_mean_square(x: Float[Array, "*b d"], counts: Bool[Array, " d"] | None = None) -> Float[Array, "*b"]:
    """``sqrt(mean_d x_d^2)`` over the dimensions that count."""
    counted = jnp.ones(x.shape[-1], bool) if counts is None else counts
    return jnp.sqrt(jnp.sum(jnp.where(counted, x**2, 0.0), axis=-1) / jnp.maximum(jnp.sum(counted), 1))


def quantiles(x: Float[Array, "h *s"]) -> Float[Array, "h 3"]:  # noqa: F821
    """The `QUANTILES` at each step; NaN is left out."""
    # The nearest value: between a finite and an infinite one there is nothing to interpolate.
    flat = x.reshape(x.shape[0], -1)
    return jnp.nanquantile(flat, jnp.array(QUANTILES), axis=1, method="nearest").T
