"""How those that live in a latent model act on its features: networks whose outputs are read as distributions."""

from collections.abc import Callable
from typing import Any, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from forethought.nets.distributions import Categorical, Gaussian
from forethought.nets.mlp import MLP, on_rows

Distribution: TypeAlias = Any  # with `sample`, `mode`, `log_prob` and `entropy`


class FeaturePolicy(eqx.Module):
    """A network of features, and how its outputs are read."""

    net: MLP
    read: Callable[[Array], Distribution] = eqx.field(static=True)

    def __call__(self, features: Float[Array, "*b f"]) -> Distribution:
        """Of features with any leading axes."""
        return self.read(on_rows(self.net, features))


def bounded_gaussian(out: Float[Array, "*b w"]) -> Gaussian:
    """``N(tanh(m), s^2)`` with ``s = 0.1 + 0.9 sigmoid(. + 2)`` (Dreamer V3)."""
    mean, std = jnp.split(out, 2, axis=-1)
    return Gaussian(jnp.tanh(mean), jnp.log(0.1 + 0.9 * jax.nn.sigmoid(std + 2.0)))


def mixed_categorical(out: Float[Array, "*b n"]) -> Categorical:
    """Of 99 % softmax and 1 % uniform, below which no choice falls (Dreamer V3)."""
    return Categorical(jnp.log(0.99 * jax.nn.softmax(out) + 0.01 / out.shape[-1]))
