"""Whether a model that sees into latents still knows there what it has just seen."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from forethought.diagnostics.open_loop import quantiles, root_mean_square


class Recall(NamedTuple):
    """What is decoded from a belief that has just seen an observation, beside that observation; over s moments.

    With ``e = (decoded - seen) / std``::

        error      |e_s| / sqrt(d)        quantiles over the moments, as those of `OpenLoop`: a dream of 0 steps
        left_open  mean_s sum_d e_sd^2 / sum_d var_d, of each quantity by itself: 1 is to know nothing but its mean

    ``left_open`` is NaN for quantities that never change.
    """

    error: Float[Array, " 3"]
    left_open: Float[Array, " g"]


def recall(
    decoded: Float[Array, "s d"],
    seen: Float[Array, "s d"],
    std: Float[Array, " d"],
    counts: Bool[Array, " d"],
    groups: Int[np.ndarray, " d"],
) -> Recall:
    """See `Recall`; ``counts`` says which dimensions change, ``groups`` which quantity each belongs to."""
    errors = (decoded - seen) / std
    errors = jnp.where(jnp.isfinite(errors), errors, jnp.inf)

    def together(x: Float[Array, "s d"]) -> Float[Array, " g"]:
        return jax.ops.segment_sum(jnp.where(counts, jnp.mean(x, axis=0), 0.0), groups, int(groups.max()) + 1)

    number = together(jnp.ones_like(errors))
    left_open = jnp.where(number > 0.0, together(errors**2) / jnp.maximum(number, 1.0), jnp.nan)
    return Recall(quantiles(root_mean_square(errors, counts)[None])[0], left_open)
