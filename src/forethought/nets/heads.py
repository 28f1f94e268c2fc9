"""Distributions that networks put out, as pure functions of their parameters."""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from forethought.types import Key

_LOG_2 = math.log(2.0)
_LOG_2PI = math.log(2.0 * math.pi)


def gaussian_log_prob(
    x: Float[Array, "*b d"], mean: Float[Array, "*b d"], log_std: Float[Array, "*b d"]
) -> Float[Array, "*b"]:
    """``log N(x; mean, diag(exp(log_std)^2))``, summed over the last axis."""
    z = (x - mean) * jnp.exp(-log_std)
    return -0.5 * jnp.sum(z * z + 2.0 * log_std + _LOG_2PI, axis=-1)


def tanh_gaussian_sample(
    mean: Float[Array, "*b d"], log_std: Float[Array, "*b d"], *, key: Key
) -> tuple[Float[Array, "*b d"], Float[Array, "*b"]]:
    """Draw ``a = tanh(u), u ~ N(mean, std)`` with its log-density; both carry the pathwise gradient.

    ``log p(a) = log N(u) - sum log(1 - tanh(u)^2)`` (Haarnoja et al. 2018, arXiv 1812.05905, appendix C), with the
    last term written as ``2 (log 2 - u - softplus(-2u))``, which does not overflow.
    """
    noise = jax.random.normal(key, mean.shape)
    u = mean + jnp.exp(log_std) * noise
    log_normal = -0.5 * jnp.sum(noise * noise + 2.0 * log_std + _LOG_2PI, axis=-1)
    squash = jnp.sum(2.0 * (_LOG_2 - u - jax.nn.softplus(-2.0 * u)), axis=-1)
    return jnp.tanh(u), log_normal - squash
