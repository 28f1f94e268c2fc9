"""Whether the members of a model disagree most where the model is most wrong."""

import jax
import jax.numpy as jnp
from jax.scipy.stats import rankdata
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
    """Rank correlation: Pearson's correlation of the ranks, of which equal numbers share the mean (Spearman 1904).

    NaN where one never changes.
    """
    return correlation(rankdata(x), rankdata(y))
