"""Mixtures of Gaussians for each dimension of a latent (mixture density networks; Bishop 1994, Graves 2013)."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from forethought.types import Key

_HALF_LOG_2PI = 0.5 * math.log(2.0 * math.pi)


class Mixture(NamedTuple):
    """``p(x_d) = sum_k softmax(logits_d)_k N(x_d; mean_dk, exp(log_std_dk)^2)``, each dimension by itself."""

    logits: Float[Array, "*b d k"]
    mean: Float[Array, "*b d k"]
    log_std: Float[Array, "*b d k"]

    @classmethod
    def of(cls, out: Float[Array, "*b w"], components: int) -> "Mixture":
        """Of a network's 3 d k outputs."""
        return cls(*jnp.moveaxis(out.reshape(*out.shape[:-1], 3, -1, components), -3, 0))

    def log_prob(self, x: Float[Array, "*b d"]) -> Float[Array, "*b d"]:
        """Log density of each dimension."""
        z = (x[..., None] - self.mean) * jnp.exp(-self.log_std)
        of_each = -0.5 * z**2 - self.log_std - _HALF_LOG_2PI
        return jax.nn.logsumexp(jax.nn.log_softmax(self.logits) + of_each, axis=-1)

    def sample(self, *, key: Key, temperature: float | Array = 1.0) -> Float[Array, "*b d"]:
        """Draw. Above 1 a ``temperature`` makes the unlikely likelier: logits are divided by it, variances multiplied
        (Ha & Schmidhuber 2018, arXiv 1803.10122, section 4 and the published code).
        """
        key_which, key_noise = jax.random.split(key)
        which = jax.random.categorical(key_which, self.logits / temperature)[..., None]
        mean, log_std = (jnp.take_along_axis(x, which, axis=-1)[..., 0] for x in (self.mean, self.log_std))
        return mean + jnp.exp(log_std) * jnp.sqrt(temperature) * jax.random.normal(key_noise, mean.shape)
