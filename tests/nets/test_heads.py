import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from forethought.nets.heads import gaussian_log_prob, tanh_gaussian_sample


def drawn_u(mean, log_std, key):
    """What the sample is before tanh, in float64."""
    noise = np.asarray(jax.random.normal(key, mean.shape), np.float64)
    return np.asarray(mean, np.float64) + np.exp(np.asarray(log_std, np.float64)) * noise


def log_density(u, mean, log_std):
    """Change of variables in float64: log N(u) - log |d tanh / du|, with 1 - tanh^2 = 1 / cosh^2."""
    std = np.exp(np.asarray(log_std, np.float64))
    log_cosh = np.logaddexp(u, -u) - np.log(2.0)
    return np.sum(stats.norm.logpdf(u, np.asarray(mean, np.float64), std) + 2.0 * log_cosh, axis=-1)


def test_gaussian_log_prob():
    x, mean = np.array([[0.3, -2.0], [1.0, 4.0]]), np.array([[0.0, -1.0], [1.5, 2.0]])
    log_std = np.array([[0.0, -0.7], [0.4, 1.0]])
    expected = stats.norm.logpdf(x, mean, np.exp(log_std)).sum(axis=1)
    said = gaussian_log_prob(*(jnp.asarray(a, jnp.float32) for a in (x, mean, log_std)))
    np.testing.assert_allclose(said, expected, rtol=1e-5)


def test_the_log_density_is_that_of_the_change_of_variables():
    key = jax.random.key(0)
    mean = jax.random.normal(jax.random.key(1), (200, 3))
    log_std = jax.random.uniform(jax.random.key(2), (200, 3), minval=-3.0, maxval=0.5)
    action, log_prob = tanh_gaussian_sample(mean, log_std, key=key)
    u = drawn_u(mean, log_std, key)
    np.testing.assert_allclose(action, np.tanh(u), atol=1e-5)
    np.testing.assert_allclose(log_prob, log_density(u, mean, log_std), atol=2e-4)


@pytest.mark.parametrize(("mean", "log_std"), [(0.0, 0.0), (0.7, -0.5), (-0.3, -2.0)])
def test_the_density_integrates_to_one(mean, log_std):
    """Quadrature over (-1, 1) on the sorted sample itself."""
    shape = (20_000, 1)
    action, log_prob = tanh_gaussian_sample(jnp.full(shape, mean), jnp.full(shape, log_std), key=jax.random.key(0))
    order = np.argsort(np.asarray(action)[:, 0])
    total = np.trapezoid(np.exp(np.asarray(log_prob, np.float64)[order]), np.asarray(action, np.float64)[order, 0])
    assert total == pytest.approx(1.0, abs=5e-3)


@pytest.mark.parametrize("mean", [-200.0, -30.0, 30.0, 200.0])
def test_far_out_everything_stays_finite_and_right(mean):
    mean, log_std, key = jnp.full((1, 1), mean), jnp.zeros((1, 1)), jax.random.key(3)
    action, log_prob = tanh_gaussian_sample(mean, log_std, key=key)
    assert abs(float(action[0, 0])) == 1.0
    np.testing.assert_allclose(log_prob, log_density(drawn_u(mean, log_std, key), mean, log_std), rtol=1e-5)
    grads = jax.grad(lambda m, s: tanh_gaussian_sample(m, s, key=key)[1].sum(), argnums=(0, 1))(mean, log_std)
    assert np.all(np.isfinite(grads))


def test_the_pathwise_gradients():
    """With u = m + exp(s) e: da/dm = 1 - a^2, d log p/dm = 2 a, d log p/ds = -1 + 2 a exp(s) e."""
    mean, log_std, key = jnp.array([[0.4, -1.1]]), jnp.array([[-0.6, 0.2]]), jax.random.key(5)

    def each(m, s):
        action, log_prob = tanh_gaussian_sample(m, s, key=key)
        return action.sum(), log_prob.sum()

    (da_dm, dlogp_dm), (_, dlogp_ds) = jax.jacobian(each, 0)(mean, log_std), jax.jacobian(each, 1)(mean, log_std)
    u = drawn_u(mean, log_std, key)
    a = np.tanh(u)
    np.testing.assert_allclose(da_dm, 1.0 - a**2, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(dlogp_dm, 2.0 * a, rtol=1e-4)
    np.testing.assert_allclose(dlogp_ds, -1.0 + 2.0 * a * (u - np.asarray(mean)), rtol=1e-4)
