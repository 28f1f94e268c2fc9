"""Random orders: every number once, and every order as likely as any other."""

from itertools import permutations

import jax
import numpy as np
import pytest
from scipy import stats

from forethought.permutation import permutation


@pytest.mark.parametrize("n", [1, 2, 3, 64, 1000, 70_000])
def test_every_number_comes_once(n):
    order = np.asarray(permutation(jax.random.key(n), n))
    np.testing.assert_array_equal(np.sort(order), np.arange(n))
    assert n < 64 or not np.array_equal(order, np.arange(n))


@pytest.mark.learned
@pytest.mark.parametrize("n", [2, 4])
def test_every_order_is_as_likely(n):
    keys = jax.random.split(jax.random.key(0), 24_000)
    orders = np.asarray(jax.vmap(lambda key: permutation(key, n))(keys))
    counts = [np.sum(np.all(orders == one, axis=1)) for one in permutations(range(n))]
    assert stats.chisquare(counts).pvalue > 1e-4


@pytest.mark.learned
def test_equal_high_bits_are_no_reason_to_stay_in_order():
    """Of 70,000 numbers 15 bits of each draw are random, so that each has two neighbours with the same ones: were they
    left in their order, more would stand beside a greater one that is near.
    """
    n = 70_000
    order = np.asarray(permutation(jax.random.key(0), n))
    rises = np.sum(np.diff(order) > 0)
    assert abs(rises - (n - 1) / 2) < 5 * np.sqrt((n + 1) / 12)
