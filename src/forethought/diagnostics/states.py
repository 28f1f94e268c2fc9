"""Open-loop error and visits where states are numbers without a distance."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from forethought.diagnostics.dreams import Dream
from forethought.diagnostics.episodes import Windows


class WrongStates(NamedTuple):
    """Shares after 1 .. h imagined steps, means over the starts.

    Attributes:
        wrong: particles that are in another state than the real one, ``P(s_model != s_real)``.
        expected: pairs of particles in different states, ``P(s_model != s'_model)``: what ``wrong`` is for a model
            that is right about a world of chance.
        still: ``P(s_0 != s_real)``, the error of the prediction that nothing changes.
    """

    wrong: Float[Array, " h"]
    expected: Float[Array, " h"]
    still: Float[Array, " h"]


@jax.jit
def wrong_states(dream: Dream, real: Windows) -> WrongStates:
    """See `WrongStates`; ``dream`` is the reenactment of ``real``."""

    def share(yes: Array) -> Array:
        return jnp.nanmean(jnp.where(real.valid, yes, jnp.nan), axis=1)

    return WrongStates(
        share(jnp.mean(dream.obs != real.obs[1:, None], axis=1)),
        share(jnp.mean(dream.obs != jnp.roll(dream.obs, 1, axis=1), axis=1)),
        share(real.obs[:1] != real.obs[1:]),
    )


def visit_distance(x: Int[np.ndarray, " n"], y: Int[np.ndarray, " m"]) -> float:
    """Total variation of two distributions over states, ``1/2 sum_s |p(s) - q(s)|``, from samples."""
    n = int(max(x.max(), y.max())) + 1
    return 0.5 * float(np.abs(np.bincount(x, minlength=n) / len(x) - np.bincount(y, minlength=n) / len(y)).sum())
