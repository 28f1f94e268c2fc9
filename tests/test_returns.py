"""Targets of values against sums written out by hand."""

import jax.numpy as jnp
import numpy as np
import pytest

from forethought.errors import UsageError
from forethought.returns import advantages, lambda_returns, n_step_returns

G, T = 0.9, 6
RNG = np.random.default_rng(0)
REWARD, NEXT_VALUE = map(jnp.asarray, RNG.normal(size=(2, T, 3)).astype(np.float32))
ON, OPEN = jnp.full((T, 3), G), jnp.zeros((T, 3), bool)
BROKEN, ENDED = ON.at[1].set(0.0), OPEN.at[jnp.array([1, 3])].set(True)  # step 1 terminates, step 3 is truncated


def by_hand(t, n, reward=REWARD[:, 0], discount=ON[:, 0], value=NEXT_VALUE[:, 0], ended=OPEN[:, 0]):
    """The sum of n rewards from t on, or of fewer where an episode or the rows end, and the value after them."""
    total, factor = 0.0, 1.0
    for i in range(t, min(t + n, T)):
        total += factor * reward[i]
        factor *= discount[i]
        if ended[i] or i == min(t + n, T) - 1:
            return total + factor * value[i]
    raise AssertionError


@pytest.mark.parametrize("n", [1, 2, 3, 5, 6, 20])
def test_n_step_returns(n):
    found = n_step_returns(REWARD, ON, NEXT_VALUE, OPEN, n)
    np.testing.assert_allclose(found[:, 0], [by_hand(t, n) for t in range(T)], rtol=1e-5)


@pytest.mark.parametrize("n", [1, 2, 4, 9])
def test_nothing_is_taken_from_the_next_episode(n):
    """What terminates bootstraps from nothing, what is truncated from where it led."""
    found = n_step_returns(REWARD, BROKEN, NEXT_VALUE, ENDED, n)
    expected = [by_hand(t, n, discount=BROKEN[:, 0], ended=ENDED[:, 0]) for t in range(T)]
    np.testing.assert_allclose(found[:, 0], expected, rtol=1e-5)
    np.testing.assert_allclose(found[1], REWARD[1])
    np.testing.assert_allclose(found[3], REWARD[3] + G * NEXT_VALUE[3], rtol=1e-6)


def test_lambda_returns_are_the_mixture_of_n_step_returns():
    """``(1 - l) sum_n l^(n-1) G^n``, the rest on the longest one; with episodes that end on the way."""
    lambda_ = 0.7
    for d, e in ((ON, OPEN), (BROKEN, ENDED)):
        mixture = sum((1 - lambda_) * lambda_**n * n_step_returns(REWARD, d, NEXT_VALUE, e, n + 1) for n in range(T))
        mixture += lambda_**T * n_step_returns(REWARD, d, NEXT_VALUE, e, T)
        np.testing.assert_allclose(lambda_returns(REWARD, d, NEXT_VALUE, e, lambda_), mixture, rtol=1e-5, atol=1e-6)


def test_lambda_returns_of_two_steps_by_hand():
    reward, value = jnp.array([1.0, 2.0]), jnp.array([10.0, 20.0])
    found = lambda_returns(reward, jnp.full(2, 0.5), value, jnp.zeros(2, bool), 0.8)
    last = 2.0 + 0.5 * 20.0
    np.testing.assert_allclose(found, [1.0 + 0.5 * (0.2 * 10.0 + 0.8 * last), last])


@pytest.mark.parametrize("lambda_", [0.0, 0.95, 1.0])
def test_advantages_are_the_sums_of_temporal_differences(lambda_):
    """Along two episodes: values that follow one another are the same numbers, but for where one ends."""
    discount, ended, reward = BROKEN[:, 0], ENDED[:, 0], REWARD[:, 0]
    value = jnp.asarray(RNG.normal(size=T).astype(np.float32))
    next_value = jnp.append(value[1:], 0.3).at[jnp.array([1, 3])].set(jnp.array([-7.0, 4.0]))
    delta = reward + discount * next_value - value
    expected, after = np.zeros(T), 0.0
    for t in reversed(range(T)):
        expected[t] = after = delta[t] + discount[t] * lambda_ * (0.0 if ended[t] else after)
    found = advantages(reward, discount, value, next_value, ended, lambda_)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_where_the_turn_passes_the_return_of_the_other_is_lost():
    """Two players, one of whom wins 1 with the last of four moves: +1 for whoever makes it, -1 for the other."""
    reward, discount = jnp.array([0.0, 0.0, 0.0, 1.0]), jnp.array([-1.0, -1.0, -1.0, 0.0])
    ended = jnp.array([False, False, False, True])
    np.testing.assert_allclose(n_step_returns(reward, discount, jnp.zeros(4), ended, 4), [-1.0, 1.0, -1.0, 1.0])
    np.testing.assert_allclose(lambda_returns(reward, discount, jnp.zeros(4), ended, 1.0), [-1.0, 1.0, -1.0, 1.0])


def test_what_makes_no_sense_is_refused():
    with pytest.raises(UsageError, match="n is 0"):
        n_step_returns(REWARD, ON, NEXT_VALUE, OPEN, 0)
    with pytest.raises(UsageError, match="lambda_ is"):
        lambda_returns(REWARD, ON, NEXT_VALUE, OPEN, 1.5)
