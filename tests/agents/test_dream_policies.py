"""How the outputs of an actor are read, by the formulas of the published codes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import expit, softmax

from forethought.agents.dream.policies import (
    bounded_gaussian,
    categorical,
    mixed_categorical,
    one_hot,
    tanh_gaussian,
    truncated_gaussian,
)

RNG = np.random.default_rng(0)
MEAN, STD = RNG.normal(size=(2, 4, 3)) * 3.0
OUT = jnp.asarray(np.concatenate([MEAN, STD], axis=-1), jnp.float32)
CHOICES = jnp.asarray(MEAN, jnp.float32)


def test_v3_of_numbers():
    says = bounded_gaussian(OUT)
    np.testing.assert_allclose(says.mean, np.tanh(MEAN), rtol=1e-5)
    np.testing.assert_allclose(jnp.exp(says.log_std), 0.1 + 0.9 * expit(STD + 2.0), rtol=1e-5)


def test_v1_of_numbers():
    says = tanh_gaussian(OUT)
    np.testing.assert_allclose(says.mean, 5.0 * np.tanh(MEAN / 5.0), rtol=1e-5)
    np.testing.assert_allclose(says.std, np.log1p(np.exp(STD + np.log(np.exp(5.0) - 1.0))) + 1e-4, rtol=1e-5)
    assert float(tanh_gaussian(jnp.zeros(2)).std[0]) == pytest.approx(5.0, rel=1e-3)


def test_v2_of_numbers():
    says = truncated_gaussian(OUT)
    np.testing.assert_allclose(says.center, np.tanh(MEAN), rtol=1e-5)
    np.testing.assert_allclose(says.std, 2.0 * expit(STD / 2.0) + 0.1, rtol=1e-5)


def test_of_choices():
    p = softmax(MEAN, axis=-1)
    np.testing.assert_allclose(jax.nn.softmax(mixed_categorical(CHOICES).logits), 0.99 * p + 0.01 / 3, rtol=1e-4)
    np.testing.assert_allclose(jax.nn.softmax(categorical(CHOICES).logits), p, rtol=1e-4)
    np.testing.assert_allclose(jnp.exp(one_hot(CHOICES).logits[:, 0]), p, rtol=1e-4)
    drawn = one_hot(CHOICES).sample(key=jax.random.key(0))
    assert drawn.shape == CHOICES.shape
    np.testing.assert_allclose(drawn.sum(axis=-1), 1.0, rtol=1e-5)
