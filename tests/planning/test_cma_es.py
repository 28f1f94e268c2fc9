"""CMA-ES against the package `cmaes`, and where it is to arrive."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from forethought.planning.cma_es import CMAES

KEY = jax.random.key(0)


def bowl(x):
    """Greatest at 1, 2, ..., 100 times steeper on the last axis than on the first."""
    d = x.shape[-1]
    return -jnp.sum(jnp.logspace(0, 2, d) * (x - jnp.arange(1.0, d + 1.0)) ** 2, axis=-1)


@pytest.mark.parametrize(("size", "population"), [(2, 4), (6, 10), (5, 40)])
def test_it_agrees_with_the_package_on_the_same_draws(size, population):
    cmaes = pytest.importorskip("cmaes")
    search = CMAES(size, population, 0.5)
    assert search.rest == 1
    mine, other = search.begin(jnp.ones(size)), cmaes.CMA(np.ones(size), 0.5, population_size=population, seed=0)
    for generation in range(30):
        candidates = search.ask(mine, key=jax.random.fold_in(KEY, generation))
        value = bowl(candidates)
        other.tell([(np.asarray(x, float), -float(v)) for x, v in zip(candidates, value, strict=True)])
        mine = search.tell(mine, candidates, value)
        np.testing.assert_allclose(mine.mean, other.mean, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(mine.std, other._sigma, rtol=1e-3)
        np.testing.assert_allclose(mine.cov, other._C, rtol=1e-3, atol=1e-3 * np.abs(other._C).max())


@pytest.mark.parametrize(("size", "population"), [(17, 4), (5, 16)])
def test_a_cloud_that_has_become_a_point_stays_there(size, population):
    """Long after it has arrived, its numbers are still numbers."""
    search = CMAES(size, population, 0.1)

    def generation(cloud, key):
        candidates = search.ask(cloud, key=key)
        return search.tell(cloud, candidates, -jnp.sum(candidates**2, axis=-1)), ()

    cloud, _ = jax.jit(lambda: jax.lax.scan(generation, search.begin(jnp.ones(size)), jax.random.split(KEY, 4000)))()
    assert all(bool(jnp.all(jnp.isfinite(x))) for x in jax.tree.leaves(cloud))
    assert float(cloud.std) < 1e-7
    still = search.tell(cloud, search.ask(cloud, key=KEY), jnp.arange(float(population)))
    assert all(bool(jnp.array_equal(a, b)) for a, b in zip(still, cloud, strict=True))


@pytest.mark.learned
@pytest.mark.parametrize("seed", range(3))
def test_it_finds_the_top_of_a_narrow_hill_and_its_shape(seed):
    search = CMAES(5, 16, 1.0)

    def generation(cloud, key):
        candidates = search.ask(cloud, key=key)
        return search.tell(cloud, candidates, bowl(candidates)), cloud.std

    cloud, _ = jax.lax.scan(generation, search.begin(jnp.zeros(5)), jax.random.split(jax.random.key(seed), 80))
    np.testing.assert_allclose(cloud.mean, np.arange(1.0, 6.0), atol=0.05)
    assert float(cloud.cov[0, 0] / cloud.cov[-1, -1]) > 20.0  # 100 times steeper is 100 times less of a variance


def test_candidates_have_the_spread_of_the_cloud():
    search = CMAES(2, 20_000, 0.5)
    root = jnp.array([[2.0, 0.5], [0.5, 1.0]])
    cloud = search.begin(jnp.array([1.0, -1.0]))._replace(root=root)
    drawn = np.asarray(search.ask(cloud, key=KEY))
    np.testing.assert_allclose(drawn.mean(axis=0), [1.0, -1.0], atol=0.03)
    np.testing.assert_allclose(np.cov(drawn.T), 0.25 * np.asarray(root @ root), rtol=0.05, atol=0.02)


def test_where_all_are_equal_the_first_are_preferred():
    search = CMAES(2, 6, 0.5)
    cloud = search.begin(jnp.zeros(2))
    candidates = search.ask(cloud, key=KEY)
    equal = search.tell(cloud, candidates, jnp.zeros(6))
    falling = search.tell(cloud, candidates, -jnp.arange(6.0))
    np.testing.assert_array_equal(equal.mean, falling.mean)


def test_many_numbers_are_turned_less_often():
    """The roots cost as the cube of the numbers; they are kept while the covariance hardly changes."""
    search = CMAES(200, 8, 0.5)
    assert search.rest > 1
    cloud = search.begin(jnp.zeros(200))
    for generation in range(1, search.rest + 1):
        candidates = search.ask(cloud, key=jax.random.fold_in(KEY, generation))
        cloud = search.tell(cloud, candidates, bowl(candidates))
        assert bool(jnp.all(cloud.root == jnp.eye(200))) == (generation < search.rest)
    np.testing.assert_allclose(cloud.root @ cloud.root, cloud.cov, atol=1e-4)
    np.testing.assert_allclose(cloud.root @ cloud.whiten, jnp.eye(200), atol=1e-4)
