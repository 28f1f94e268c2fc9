"""What a policy or a plan earns in imagination and in reality, over the same steps from the same states."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from forethought.diagnostics.dreams import Dream
from forethought.diagnostics.episodes import Windows


class ValueGap(NamedTuple):
    """Undiscounted returns over ``steps`` steps; one per start.

    Attributes:
        imagined: mean over the particles.
        real: what was really earned there.
        scale: standard deviation of real returns over that many steps, over all held-out episodes.
        steps: the number of steps.
        closed_loop: whether the policy acted in imagination; else the real actions were carried out.
    """

    imagined: Float[Array, " s"]
    real: Float[Array, " s"]
    scale: Float[Array, ""]
    steps: int
    closed_loop: bool

    @property
    def gap(self) -> float:
        """Mean of imagined less real return: above 0, the model promises too much."""
        return float(np.mean(np.asarray(self.imagined) - np.asarray(self.real)))

    @property
    def error(self) -> float:
        """Standard error of the gap, as if the starts were independent."""
        return float(np.std(np.asarray(self.imagined) - np.asarray(self.real)) / len(self.real) ** 0.5)


@jax.jit
def imagined_return(dream: Dream) -> Float[Array, " s"]:
    """Mean over the particles of ``sum_t r_t`` until the imagined world ends."""
    return jnp.mean(jnp.sum(jnp.where(dream.alive, dream.reward, 0.0), axis=0), axis=0)


@jax.jit
def real_return(real: Windows) -> Float[Array, " s"]:
    """``sum_t r_t`` of each window, until the world ends."""
    return jnp.sum(jnp.where(real.valid, real.reward, 0.0), axis=0)
