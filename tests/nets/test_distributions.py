"""What policies say, against scipy and against draws."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from forethought.nets.distributions import Categorical, Gaussian

RNG = np.random.default_rng(0)
KEY = jax.random.key(0)


def test_a_categorical_is_that_of_scipy():
    logits = RNG.normal(size=(5, 4)).astype(np.float32)
    says, p = Categorical(jnp.asarray(logits)), np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    actions = np.array([0, 3, 1, 2, 2], np.int32)
    np.testing.assert_allclose(says.log_prob(jnp.asarray(actions)), np.log(p[np.arange(5), actions]), rtol=1e-5)
    np.testing.assert_allclose(says.entropy(), stats.entropy(p, axis=1), rtol=1e-5)
    np.testing.assert_array_equal(says.mode(), p.argmax(axis=1))
    assert says.mode().dtype == says.sample(key=KEY).dtype == jnp.int32


def test_a_gaussian_is_that_of_scipy():
    mean, log_std, action = RNG.normal(size=(3, 5, 2)).astype(np.float32)
    says = Gaussian(jnp.asarray(mean), jnp.asarray(log_std))
    expected = stats.norm(mean, np.exp(log_std))
    np.testing.assert_allclose(says.log_prob(jnp.asarray(action)), expected.logpdf(action).sum(axis=1), rtol=1e-4)
    np.testing.assert_allclose(says.entropy(), expected.entropy().sum(axis=1), rtol=1e-5)
    np.testing.assert_array_equal(says.mode(), mean)


@pytest.mark.learned
def test_draws_are_distributed_so():
    logits = jnp.log(jnp.array([0.7, 0.2, 0.1]))
    drawn = Categorical(jnp.broadcast_to(logits, (20_000, 3))).sample(key=KEY)
    np.testing.assert_allclose(np.bincount(drawn) / 20_000, [0.7, 0.2, 0.1], atol=0.015)
    drawn = Gaussian(jnp.full((20_000, 1), 2.0), jnp.full((20_000, 1), np.log(0.5))).sample(key=KEY)
    np.testing.assert_allclose([drawn.mean(), drawn.std()], [2.0, 0.5], atol=0.02)
