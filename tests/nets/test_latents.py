"""Latents against scipy, against sums by hand, and the gradients that are let through."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from forethought.nets.latents import Normals, OneHots, kl_losses

RNG = np.random.default_rng(0)
KEY = jax.random.key(0)
OUT = jnp.asarray(RNG.normal(size=(4, 12)), jnp.float32)


def test_normals_are_those_of_scipy():
    one, other = Normals.of(OUT), Normals.of(OUT[::-1])
    np.testing.assert_allclose(one.std, np.log1p(np.exp(OUT[:, 6:])) + 0.1, rtol=1e-5)
    expected = stats.norm(np.asarray(one.mean), np.asarray(one.std))
    np.testing.assert_allclose(one.entropy(), expected.entropy().sum(axis=1), rtol=1e-5)
    drawn = np.asarray(expected.rvs((200_000, 4, 6), random_state=0))
    apart = expected.logpdf(drawn) - stats.norm(np.asarray(other.mean), np.asarray(other.std)).logpdf(drawn)
    np.testing.assert_allclose(one.kl(other), apart.sum(axis=2).mean(axis=0), rtol=0.02)
    np.testing.assert_allclose(one.kl(one), 0.0, atol=1e-5)


def test_one_hots_are_those_of_scipy():
    one, other = OneHots.of(OUT, 4), OneHots.of(OUT[::-1], 4)
    p, q = (np.asarray(jax.nn.softmax(x.reshape(4, 3, 4))) for x in (OUT, OUT[::-1]))
    np.testing.assert_allclose(one.entropy(), stats.entropy(p, axis=2).sum(axis=1), rtol=1e-5)
    np.testing.assert_allclose(one.kl(other), stats.entropy(p, q, axis=2).sum(axis=1), rtol=1e-4)
    np.testing.assert_array_equal(one.mode().reshape(4, 3, 4), np.eye(4)[p.argmax(axis=2)])


def test_no_class_falls_below_its_share_of_the_uniform_distribution():
    sure = OneHots.of(jnp.array([100.0, 0.0, 0.0, 0.0]), 4, unimix=0.01)
    np.testing.assert_allclose(jnp.exp(sure.logits[0]), [0.9925, 0.0025, 0.0025, 0.0025], rtol=1e-4)


@pytest.mark.learned
def test_draws_are_one_hot_and_as_likely_as_they_are_said_to_be():
    drawn = OneHots.of(jnp.broadcast_to(OUT[0], (20_000, 12)), 4).sample(key=KEY).reshape(-1, 3, 4)
    np.testing.assert_allclose(np.sort(drawn, axis=-1), np.tile([0, 0, 0, 1], (20_000, 3, 1)), atol=1e-6)
    np.testing.assert_allclose(drawn.mean(axis=0), jax.nn.softmax(OUT[0].reshape(3, 4)), atol=0.015)


def test_the_gradient_goes_straight_through():
    """It is that of the probabilities, whatever was drawn."""
    weight = jnp.arange(12.0)
    through = jax.grad(lambda out: OneHots.of(out, 4, 0.01).sample(key=KEY) @ weight)(OUT[0])
    of_p = jax.grad(lambda out: jnp.exp(OneHots.of(out, 4, 0.01).logits).reshape(-1) @ weight)(OUT[0])
    np.testing.assert_allclose(through, of_p, rtol=1e-4, atol=1e-6)
    assert np.abs(through).max() > 0.01


@pytest.mark.parametrize("of", [Normals.of, lambda out: OneHots.of(out, 4)], ids=["normals", "one-hots"])
def test_each_loss_teaches_one_side_and_leaves_the_free_nats_alone(of):
    def losses(post, prior, free):
        dynamics, representation = kl_losses(of(post), of(prior), free)
        return jnp.sum(dynamics), jnp.sum(representation)

    value = of(OUT).kl(of(OUT[::-1]))
    np.testing.assert_allclose(losses(OUT, OUT[::-1], 0.0), [value.sum()] * 2, rtol=1e-5)
    grads = [jax.grad(lambda *x, i=i: losses(*x, 0.0)[i], (0, 1))(OUT, OUT[::-1]) for i in (0, 1)]
    assert [[bool(np.any(x)) for x in of_loss] for of_loss in grads] == [[False, True], [True, False]]
    much = float(value.max()) + 1.0
    assert float(losses(OUT, OUT[::-1], much)[0]) == pytest.approx(4 * much)
    assert not np.any(jax.grad(lambda *x: losses(*x, much)[0], 1)(OUT, OUT[::-1]))
