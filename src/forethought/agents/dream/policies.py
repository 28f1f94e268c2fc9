"""How those that live in a latent model act on its features: networks whose outputs are read as distributions."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from forethought.nets.distributions import Categorical, Gaussian, TanhGaussian, TruncatedGaussian
from forethought.nets.latents import OneHots
from forethought.nets.mlp import MLP, on_rows
from forethought.types import Key

Distribution: TypeAlias = Any  # with `sample`, `mode`, `log_prob` and `entropy`


class FeaturePolicy(eqx.Module):
    """A network of features, and how its outputs are read."""

    net: MLP
    read: Callable[[Array], Distribution] = eqx.field(static=True)

    def __call__(self, features: Float[Array, "*b f"]) -> Distribution:
        """Of features with any leading axes."""
        return self.read(on_rows(self.net, features))


class Held(NamedTuple):
    """A random action of each of n environments, held for ``left`` steps more."""

    action: Array
    left: Int[Array, " n"]

    @classmethod
    def none(cls, action: Array) -> "Held":
        """Nothing is held; ``action``: n of its kind."""
        return cls(jnp.zeros_like(action), jnp.zeros(action.shape[0], jnp.int32))

    def next(self, drawn: Array, first: Bool[Array, " n"], longest: int, *, key: Key) -> "Held":
        """The same as before, or, in a new episode and where the time is over, what was drawn, for 1 to ``longest``
        steps.
        """
        anew = first | (self.left == 0)
        action = jnp.where(anew.reshape(-1, *[1] * (drawn.ndim - 1)), drawn, self.action)
        time = jax.random.randint(key, self.left.shape, 1, longest + 1)
        return Held(action, jnp.where(anew, time, self.left) - 1)


def bounded_gaussian(out: Float[Array, "*b w"]) -> Gaussian:
    """``N(tanh(m), s^2)`` with ``s = 0.1 + 0.9 sigmoid(. + 2)`` (Dreamer V3)."""
    mean, std = jnp.split(out, 2, axis=-1)
    return Gaussian(jnp.tanh(mean), jnp.log(0.1 + 0.9 * jax.nn.sigmoid(std + 2.0)))


def mixed_categorical(out: Float[Array, "*b n"]) -> Categorical:
    """Of 99 % softmax and 1 % uniform, below which no choice falls (Dreamer V3)."""
    return Categorical(jnp.log(0.99 * jax.nn.softmax(out) + 0.01 / out.shape[-1]))


def tanh_gaussian(out: Float[Array, "*b w"]) -> TanhGaussian:
    """``tanh(N(5 tanh(m / 5), s^2))`` with ``s = softplus(. + c) + 0.0001``, which begins near 5 (Dreamer V1)."""
    mean, std = jnp.split(out, 2, axis=-1)
    return TanhGaussian(5.0 * jnp.tanh(mean / 5.0), jax.nn.softplus(std + math.log(math.expm1(5.0))) + 1e-4)


def truncated_gaussian(out: Float[Array, "*b w"]) -> TruncatedGaussian:
    """``N(tanh(m), s^2)`` between -1 and 1 with ``s = 2 sigmoid(. / 2) + 0.1`` (Dreamer V2)."""
    mean, std = jnp.split(out, 2, axis=-1)
    return TruncatedGaussian(jnp.tanh(mean), 2.0 * jax.nn.sigmoid(std / 2.0) + 0.1)


def one_hot(out: Float[Array, "*b n"]) -> OneHots:
    """A choice as a row of an identity matrix, through which the gradient goes straight (Dreamer V1)."""
    return OneHots.of(out, out.shape[-1])


def categorical(out: Float[Array, "*b n"]) -> Categorical:
    """Of the softmax (Dreamer V2)."""
    return Categorical(out)
