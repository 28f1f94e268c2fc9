"""Whether the members of a model disagree most where the model is most wrong."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from forethought.diagnostics.open_loop import root_mean_square
from forethought.diagnostics.outcomes import correlation
from forethought.models.base import Belief, Disagrees


@jax.jit
def rank_correlation(
    model: Disagrees[Belief], belief: Belief, action: Array, errors: Float[Array, "p s d"]
) -> Float[Array, ""]:
    """`spearman` of the model's disagreement and the size of its error ``|mean_p e_ps|``, over s steps."""
    return spearman(model.disagreement(belief, action), root_mean_square(jnp.mean(errors, axis=0)))


def spearman(x: Float[Array, " n"], y: Float[Array, " n"]) -> Float[Array, ""]:
    """Rank correlation: Pearson's correlation of the `ranks` (Spearman 1904); NaN where one never changes."""
    return correlation(ranks(x), ranks(y))


def ranks(x: Float[Array, " n"]) -> Float[Array, " n"]:
    """``rank_i = #{j: x_j < x_i} + (#{j: x_j = x_i} + 1) / 2``: equal numbers share the mean of their ranks."""
    ordered = jnp.sort(x)
    below = jnp.searchsorted(ordered, x, side="left")
    up_to = jnp.searchsorted(ordered, x, side="right")
    return 0.5 * (below + up_to + 1).astype(jnp.float32)
