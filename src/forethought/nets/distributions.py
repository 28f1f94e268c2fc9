"""What a policy says of its next action, for discrete and for continuous ones."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.special import ndtr, ndtri
from jaxtyping import Array, Float, Int

from forethought.nets.heads import gaussian_log_prob
from forethought.types import Key, PyTree

_HALF_LOG_2PI_E = 0.5 * math.log(2.0 * math.pi * math.e)


class Categorical(NamedTuple):
    """``p(a) = softmax(logits)_a`` over n choices."""

    logits: Float[Array, "*b n"]

    def sample(self, *, key: Key) -> Int[Array, "*b"]:
        """Draw."""
        return jax.random.categorical(key, self.logits).astype(jnp.int32)

    def mode(self) -> Int[Array, "*b"]:
        """The likeliest choice."""
        return jnp.argmax(self.logits, axis=-1).astype(jnp.int32)

    def log_prob(self, action: Int[Array, "*b"]) -> Float[Array, "*b"]:
        """``log p(action)``."""
        chosen = jax.nn.one_hot(action, self.logits.shape[-1])  # a product: the gradient of a gather is a loop
        return jnp.sum(chosen * jax.nn.log_softmax(self.logits), axis=-1)

    def entropy(self) -> Float[Array, "*b"]:
        """``-sum_a p(a) log p(a)``, in nats."""
        log_p = jax.nn.log_softmax(self.logits)
        return -jnp.sum(jnp.exp(log_p) * log_p, axis=-1)


class Gaussian(NamedTuple):
    """``N(mean, diag(exp(log_std)^2))``; actions beyond the box are cut off where they are carried out."""

    mean: Float[Array, "*b d"]
    log_std: Float[Array, "*b d"]

    def sample(self, *, key: Key) -> Float[Array, "*b d"]:
        """Draw."""
        return self.mean + jnp.exp(self.log_std) * jax.random.normal(key, self.mean.shape)

    def mode(self) -> Float[Array, "*b d"]:
        """The mean."""
        return self.mean

    def log_prob(self, action: Float[Array, "*b d"]) -> Float[Array, "*b"]:
        """``log N(action)``, of the action as it was drawn."""
        return gaussian_log_prob(action, self.mean, self.log_std)

    def entropy(self) -> Float[Array, "*b"]:
        """``sum_d (log_std_d + log(2 pi e) / 2)``, in nats."""
        return jnp.sum(self.log_std + _HALF_LOG_2PI_E, axis=-1)


class TanhGaussian(NamedTuple):
    """``tanh(u)`` of ``u ~ N(mean, std^2)`` (Dreamer V1); draws carry the pathwise gradient."""

    mean: Float[Array, "*b d"]
    std: Float[Array, "*b d"]

    def sample(self, *, key: Key) -> Float[Array, "*b d"]:
        """Draw."""
        return jnp.tanh(self.mean + self.std * jax.random.normal(key, self.mean.shape))

    def mode(self) -> Float[Array, "*b d"]:
        """The squashed mean, which is the median."""
        return jnp.tanh(self.mean)


class TruncatedGaussian(NamedTuple):
    """``N(mean, std^2)`` cut off at -1 and 1 and scaled up to make up for it (Dreamer V2)."""

    center: Float[Array, "*b d"]
    std: Float[Array, "*b d"]

    def sample(self, *, key: Key) -> Float[Array, "*b d"]:
        """Draw by the inverse of the distribution function, with the pathwise gradient."""
        low, high = self._bounds()
        below, above = ndtr(low), ndtr(high)
        share = below + jax.random.uniform(key, self.center.shape, minval=1e-6, maxval=1.0 - 1e-6) * (above - below)
        drawn = self.center + self.std * ndtri(share)
        return drawn + jax.lax.stop_gradient(jnp.clip(drawn, -1.0 + 1e-6, 1.0 - 1e-6) - drawn)

    def mode(self) -> Float[Array, "*b d"]:
        """The likeliest."""
        return jnp.clip(self.center, -1.0, 1.0)

    def log_prob(self, action: Float[Array, "*b d"]) -> Float[Array, "*b"]:
        """``log N(a) - log (Phi(high) - Phi(low))``, of actions within the bounds."""
        log_mass = jnp.sum(jnp.log(self._mass()), axis=-1)
        return gaussian_log_prob(action, self.center, jnp.log(self.std)) - log_mass

    def entropy(self) -> Float[Array, "*b"]:
        """``sum_d log(sqrt(2 pi e) std Z) + (a phi(a) - b phi(b)) / 2 Z`` with the bounds a and b in units of std."""
        (low, high), mass = self._bounds(), self._mass()
        edges = (low * _density(low) - high * _density(high)) / (2.0 * mass)
        return jnp.sum(_HALF_LOG_2PI_E + jnp.log(self.std * mass) + edges, axis=-1)

    def _bounds(self) -> tuple[Float[Array, "*b d"], Float[Array, "*b d"]]:
        return (-1.0 - self.center) / self.std, (1.0 - self.center) / self.std

    def _mass(self) -> Float[Array, "*b d"]:
        low, high = self._bounds()
        return ndtr(high) - ndtr(low)


def _density(x: Float[Array, "*b"]) -> Float[Array, "*b"]:
    return jnp.exp(-0.5 * x**2) / math.sqrt(2.0 * math.pi)


def of_legal(scores: Float[Array, "n a"], legal: PyTree) -> Float[Array, "n a"]:
    """Scores that no illegal action can win by: the least number there is, for -inf has no gradient but NaN."""
    return scores if isinstance(legal, tuple) else jnp.where(legal, scores, jnp.finfo(scores.dtype).min)
