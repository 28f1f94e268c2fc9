"""What policies say, against scipy and against draws."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from forethought.nets.distributions import Categorical, Gaussian, TanhGaussian, TruncatedGaussian

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


CENTER, STD = np.array([-0.9, -0.3, 0.0, 0.6, 1.0], np.float32), np.array([0.1, 0.4, 1.1, 2.1, 0.5], np.float32)
CUT = TruncatedGaussian(jnp.asarray(CENTER)[:, None], jnp.asarray(STD)[:, None])
SCIPYS = stats.truncnorm((-1 - CENTER) / STD, (1 - CENTER) / STD, loc=CENTER, scale=STD)


def test_a_truncated_gaussian_is_that_of_scipy():
    for at in (-0.99, -0.5, 0.1, 0.95):
        np.testing.assert_allclose(CUT.log_prob(jnp.full((5, 1), at)), SCIPYS.logpdf(at), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(CUT.entropy(), SCIPYS.entropy(), rtol=1e-3, atol=1e-4)
    np.testing.assert_array_equal(CUT.mode()[:, 0], CENTER)
    two = TruncatedGaussian(jnp.asarray(CENTER[None, :2]), jnp.asarray(STD[None, :2]))  # dimensions are independent
    np.testing.assert_allclose(two.entropy(), SCIPYS.entropy()[:2].sum(), rtol=1e-3)
    np.testing.assert_allclose(two.log_prob(jnp.full((1, 2), 0.1)), SCIPYS.logpdf(0.1)[:2].sum(), rtol=1e-4)


@pytest.mark.learned
def test_draws_of_a_truncated_gaussian_are_those_of_scipy():
    drawn = jax.vmap(lambda key: CUT.sample(key=key))(jax.random.split(KEY, 20_000))[..., 0]
    assert float(jnp.abs(drawn).max()) < 1.0
    np.testing.assert_allclose(drawn.mean(axis=0), SCIPYS.mean(), atol=0.02)
    np.testing.assert_allclose(drawn.std(axis=0), SCIPYS.std(), atol=0.02)
    for i in (0, 3):  # one cut on a side, one on both
        alone = stats.truncnorm((-1 - CENTER[i]) / STD[i], (1 - CENTER[i]) / STD[i], loc=CENTER[i], scale=STD[i])
        assert stats.kstest(np.asarray(drawn[:, i]), alone.cdf).pvalue > 1e-4


@pytest.mark.parametrize("kind", [TruncatedGaussian, TanhGaussian])
def test_draws_carry_the_pathwise_gradient(kind):
    """Of the same chance, by finite differences."""

    def drawn(mean, std):
        return kind(mean[:, None], std[:, None]).sample(key=KEY)[:, 0]

    at = jnp.asarray(CENTER), jnp.asarray(STD)
    for i in (0, 1):
        slope = jnp.diagonal(jax.jacobian(drawn, i)(*at))
        h = 2e-3
        up, down = (drawn(*(x + sign * h * (j == i) for j, x in enumerate(at))) for sign in (1, -1))
        np.testing.assert_allclose(slope, (up - down) / (2 * h), rtol=0.02, atol=2e-3)
    assert float(jnp.abs(jax.grad(lambda m: drawn(m, at[1]).sum())(at[0])).min()) > 1e-4


@pytest.mark.parametrize("quantity", ["log_prob", "entropy"])
def test_what_a_truncated_gaussian_says_has_the_gradient_of_scipys(quantity):
    def said(center, std):
        says = TruncatedGaussian(center[None], std[None])
        return says.entropy() if quantity == "entropy" else says.log_prob(jnp.array([0.3]))

    def scipys(center, std):
        cut = stats.truncnorm((-1 - center) / std, (1 - center) / std, loc=center, scale=std)
        return cut.entropy() if quantity == "entropy" else cut.logpdf(0.3)

    h = 1e-4
    for center, std in ((0.2, 0.4), (-0.6, 1.2)):
        slopes = jax.grad(said, (0, 1))(jnp.array(center), jnp.array(std))
        wanted = [
            (scipys(center + h, std) - scipys(center - h, std)) / (2 * h),
            (scipys(center, std + h) - scipys(center, std - h)) / (2 * h),
        ]
        np.testing.assert_allclose(slopes, wanted, rtol=0.01, atol=1e-3)


@pytest.mark.learned
def test_a_tanh_gaussian_is_a_squashed_one():
    says = TanhGaussian(jnp.full((20_000, 1), 0.4), jnp.full((20_000, 1), 0.8))
    drawn = np.arctanh(np.asarray(says.sample(key=KEY)))
    np.testing.assert_allclose([drawn.mean(), drawn.std()], [0.4, 0.8], atol=0.02)
    np.testing.assert_allclose(says.mode()[0], np.tanh(0.4), rtol=1e-6)
