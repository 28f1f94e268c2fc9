"""Noise that is correlated over time."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from forethought.types import Key


def coloured_noise(beta: float, shape: tuple[int, ...], steps: int, *, key: Key) -> Float[Array, "*b t"]:
    """Gaussian noise of unit variance with a power spectral density of ``1 / f^beta`` along the last axis.

    Timmer & Koenig 1995, "On generating power law noise": independent normal amplitudes of each frequency, scaled by
    ``f^(-beta/2)`` (the mean as the lowest frequency), transformed back.
    """
    if steps == 1:
        return jax.random.normal(key, (*shape, 1))
    frequency = jnp.fft.rfftfreq(steps)
    scale = jnp.maximum(frequency, 1.0 / steps) ** (-beta / 2.0)
    real, imaginary = jax.random.normal(key, (2, *shape, frequency.shape[0])) * scale
    # The mean has no phase, nor has the highest frequency where the number of steps is even: all their power is real.
    alone = jnp.zeros(frequency.shape[0], bool).at[0].set(True)
    if steps % 2 == 0:
        alone = alone.at[-1].set(True)
    real, imaginary = jnp.where(alone, real * 2.0**0.5, real), jnp.where(alone, 0.0, imaginary)
    # Variance of irfft: each lone term counts once, every other one twice, over steps^2.
    variance = 2.0 * jnp.sum(jnp.where(alone, 1.0, 2.0) * scale**2) / steps**2
    return jnp.fft.irfft(real + 1j * imaginary, n=steps) / jnp.sqrt(variance)
