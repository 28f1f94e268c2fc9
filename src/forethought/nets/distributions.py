"""What a policy says of its next action, for discrete and for continuous ones."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
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


def of_legal(scores: Float[Array, "n a"], legal: PyTree) -> Float[Array, "n a"]:
    """Scores that no illegal action can win by: the least number there is, for -inf has no gradient but NaN."""
    return scores if isinstance(legal, tuple) else jnp.where(legal, scores, jnp.finfo(scores.dtype).min)
