"""Whether the model knows what a step pays and when the world ends, one step ahead from real states."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from forethought.diagnostics.dreams import Dream
from forethought.diagnostics.episodes import Windows


class Outcomes(NamedTuple):
    """Evaluated over the first step of all windows.

    Attributes:
        reward_correlation: Pearson's, of the predicted reward (mean of the particles) and the real one; NaN where
            either never changes.
        reward_error: root mean square error over ``reward_std``.
        reward_std: standard deviation of the real rewards; where they never change their size, or 1 where that is 0.
        missed_endings: mean chance that the model gives to going on where the world ended; NaN where it never did.
        false_endings: mean chance that the model gives to ending where the world went on.
        endings: how often the world ended.
    """

    reward_correlation: Float[Array, ""]
    reward_error: Float[Array, ""]
    reward_std: Float[Array, ""]
    missed_endings: Float[Array, ""]
    false_endings: Float[Array, ""]
    endings: Float[Array, ""]


@jax.jit
def outcomes(dream: Dream, real: Windows) -> Outcomes:
    """See `Outcomes`; ``dream`` is the reenactment of ``real``."""
    paid, said = real.reward[0], jnp.mean(dream.reward[0], axis=0)
    scale = reward_scale(paid)
    ends, ended = jnp.mean(dream.ended[0], axis=0), real.ended[0]
    number = jnp.sum(ended)
    return Outcomes(
        correlation(said, paid),
        jnp.sqrt(jnp.mean((said - paid) ** 2)) / scale,
        scale,
        jnp.sum(jnp.where(ended, 1.0 - ends, 0.0)) / number,  # 0 / 0 is NaN
        jnp.sum(jnp.where(ended, 0.0, ends)) / jnp.maximum(ended.shape[0] - number, 1),
        number.astype(jnp.float32),
    )


@jax.jit
def reward_scale(reward: Float[Array, " n"]) -> Float[Array, ""]:
    """The standard deviation; where nothing changes, the size; where all is 0, 1."""
    std, size = jnp.std(reward), jnp.mean(jnp.abs(reward))
    return jnp.where(std > 1e-5 * size, std, jnp.where(size > 0.0, size, 1.0))


def correlation(x: Float[Array, " n"], y: Float[Array, " n"]) -> Float[Array, ""]:
    """Pearson's ``cov(x, y) / (std(x) std(y))``; NaN where one of them never changes (but for rounding)."""
    std_x, std_y = jnp.std(x), jnp.std(y)
    changes = (std_x > 1e-5 * jnp.mean(jnp.abs(x))) & (std_y > 1e-5 * jnp.mean(jnp.abs(y)))
    return jnp.where(changes, jnp.mean((x - jnp.mean(x)) * (y - jnp.mean(y))) / (std_x * std_y), jnp.nan)
