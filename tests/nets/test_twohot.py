"""Numbers as classes, against hand computations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from forethought.nets.twohot import SymlogTwoHot, TwoHot, symexp, symexp_bins, symlog, two_hot

BINS = jnp.array([-10.0, -1.0, 0.0, 1.0, 10.0])


def test_symlog_is_undone_by_symexp():
    x = jnp.array([-1e6, -3.0, -1e-4, 0.0, 0.5, 7.0, 1e8])
    np.testing.assert_allclose(symexp(symlog(x)), x, rtol=1e-5)
    np.testing.assert_allclose(symlog(jnp.array([np.e - 1.0, 1.0 - np.e])), [1.0, -1.0], rtol=1e-6)


def test_bins_are_even_in_symlog_and_the_same_on_both_sides():
    bins = np.asarray(symexp_bins())
    assert bins.shape == (255,)
    assert bins[127] == 0.0
    np.testing.assert_array_equal(bins, -bins[::-1])
    np.testing.assert_allclose(np.diff(np.asarray(symlog(jnp.asarray(bins)))), 40.0 / 254, rtol=1e-3)
    np.testing.assert_allclose(bins[-1], np.expm1(20.0), rtol=1e-5)


@pytest.mark.parametrize(
    ("x", "weights"),
    [
        (0.25, [0, 0, 0.75, 0.25, 0]),
        (-5.5, [0.5, 0.5, 0, 0, 0]),
        (1.0, [0, 0, 0, 1, 0]),
        (10.0, [0, 0, 0, 0, 1]),
        (99.0, [0, 0, 0, 0, 1]),
        (-99.0, [1, 0, 0, 0, 0]),
    ],
)
def test_a_number_lies_between_its_two_bins(x, weights):
    np.testing.assert_allclose(two_hot(jnp.array(x), BINS), weights, atol=1e-6)


def test_whose_mean_it_is():
    x = jnp.linspace(-10.0, 10.0, 41).reshape(1, 41)
    np.testing.assert_allclose(two_hot(x, BINS) @ BINS, x, atol=1e-5)


def test_what_is_said_is_the_mean_over_the_bins():
    logits = jnp.log(jnp.array([0.1, 0.2, 0.3, 0.3, 0.1]))
    says = TwoHot(logits, BINS)
    np.testing.assert_allclose(says.mean(), -1.0 - 0.2 + 0.3 + 1.0, rtol=1e-5)
    np.testing.assert_allclose(says.log_prob(jnp.array(0.25)), np.log(0.3), rtol=1e-5)
    np.testing.assert_allclose(says.log_prob(jnp.array(-5.5)), 0.5 * np.log(0.1) + 0.5 * np.log(0.2), rtol=1e-5)


def test_equal_logits_say_exactly_nothing():
    """The greatest bins are 5e8: what sums from one end to the other leaves is no 0."""
    assert float(TwoHot(jnp.zeros((255,)), symexp_bins()).mean()) == 0.0


@pytest.mark.learned
def test_a_head_finds_the_number_that_it_is_shown():
    bins, target = symexp_bins(41), jnp.array([-300.0, 0.02, 4000.0])
    loss = jax.grad(lambda logits: -jnp.sum(TwoHot(logits, bins).log_prob(target)))
    logits = jax.lax.fori_loop(0, 3000, lambda _, x: x - loss(x), jnp.zeros((3, 41)))
    np.testing.assert_allclose(TwoHot(logits, bins).mean(), target, rtol=0.02, atol=0.01)


def test_as_in_2023_it_is_the_symlog_that_lies_between_two_bins():
    """Bins from -20 to 20, here one apart."""
    p = np.full(41, 1e-9)
    p[22:24] = 0.3, 0.7  # those of 2 and 3
    says = SymlogTwoHot(jnp.asarray(np.log(p), jnp.float32))
    np.testing.assert_allclose(says.mean(), np.exp(2.7) - 1.0, rtol=1e-5)
    expected = 0.75 * np.log(0.3) + 0.25 * np.log(0.7)
    np.testing.assert_allclose(says.log_prob(jnp.array(np.exp(2.25) - 1.0)), expected, rtol=1e-4)
