import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from dreamers import KEY
from scipy import stats

from forethought.diagnostics.calibration import (
    LEVELS,
    NOMINAL,
    calibration,
    is_point,
    negative_log_density,
    ranks_of_reality,
    total_variation,
)
from forethought.diagnostics.outcomes import correlation
from forethought.diagnostics.ranking import spearman
from forethought.models.ensemble import Ensemble, EnsembleBelief

pytestmark = pytest.mark.learned


def gaussian(sd_model=1.0, sd_world=1.0, bias=0.0, particles=200, n=4000, d=2):
    """Errors of particles N(bias, sd_model) about a world N(0, sd_world)."""
    key_model, key_world = jax.random.split(KEY)
    world = sd_world * jax.random.normal(key_world, (1, n, d))
    return bias + sd_model * jax.random.normal(key_model, (particles, n, d)) - world


def test_a_true_model_is_calibrated():
    found = calibration(gaussian(), jnp.float32(1), key=KEY)
    np.testing.assert_allclose(found.coverage, LEVELS, atol=0.015)
    np.testing.assert_allclose(found.reliability, NOMINAL, atol=0.015)
    np.testing.assert_allclose(found.coverage_by_dimension, 0.9, atol=0.02)
    assert float(found.factor) == pytest.approx(1.0, abs=0.05)


def test_a_tenth_of_the_spread_holds_what_a_gaussian_says():
    found = calibration(gaussian(sd_model=0.1), jnp.float32(1), key=KEY)
    wide = stats.norm.ppf(0.5 + 0.5 * np.array(LEVELS))
    np.testing.assert_allclose(found.coverage, 2 * stats.norm.cdf(0.1 * wide) - 1, atol=0.02)
    assert float(found.factor) == pytest.approx(10.0, rel=0.05)


def test_ranks_are_uniform_also_where_all_is_the_same():
    u = np.asarray(ranks_of_reality(jnp.zeros((5, 4000, 1)), key=KEY)).ravel()
    assert stats.kstest(u, "uniform").pvalue > 0.01
    assert is_point(jnp.ones((5, 3, 1)))
    assert is_point(1e-5 * gaussian(particles=3, n=4))  # less than counts as wrong
    assert not is_point(gaussian(particles=3, n=4))


def test_a_rank_is_the_share_of_particles_below():
    errors = jnp.array([-3.0, -2.0, -1.0, 5.0])[:, None, None]  # three below reality, one above
    u = float(ranks_of_reality(errors, key=KEY)[0, 0])
    assert 3 / 5 <= u <= 4 / 5
    assert np.isnan(ranks_of_reality(jnp.full((4, 1, 1), jnp.nan), key=KEY)).all()


def variation(errors, context=None):
    n = errors.shape[1]
    context = jax.random.normal(jax.random.key(5), (n, 2)) if context is None else context
    return float(total_variation(errors, context, jnp.arange(n) % 10, key=KEY))


def test_total_variation_is_proven_from_below():
    assert variation(gaussian(n=2000)) < 0.03
    assert 0.7 < variation(gaussian(bias=20.0, n=2000)) < 0.81  # all in one of five bins, less what chance makes
    shifted = variation(gaussian(bias=1.0, n=2000))
    true = 2 * stats.norm.cdf(0.5) - 1  # of N(0, 1) and N(1, 1)
    assert 0.8 * true < shifted < true


@pytest.mark.slow
@pytest.mark.parametrize("dimensions", [3, 17, 45])
def test_many_dimensions_of_a_true_model_prove_nothing(dimensions):
    """The greatest of many is held against what chance makes of the greatest of as many."""
    assert variation(gaussian(particles=60, n=1024, d=dimensions)) < 0.015


@pytest.mark.slow
def test_a_vague_model_is_right_on_the_whole_and_wrong_where_it_stands():
    """The world does what the context says; the model only knows how that is distributed."""
    world = jax.random.normal(KEY, (2000, 1))
    errors = jax.random.normal(jax.random.key(1), (100, 2000, 1)) - world
    np.testing.assert_allclose(calibration(errors, jnp.float32(1), key=KEY).coverage, LEVELS, atol=0.03)
    assert variation(errors) < 0.03  # the context says nothing
    assert variation(errors, context=world) > 0.5


@pytest.mark.slow
def test_density_of_a_mixture():
    model = Ensemble(2, 1, key=KEY, members=3, elites=3, hidden=(4,))
    keys = jax.random.split(KEY, 3)
    obs, action, after = (jax.random.normal(k, (5, n)) for k, n in zip(keys, (2, 1, 2), strict=True))
    said = model.predict(jnp.broadcast_to(jnp.concatenate([obs, action], axis=1), (3, 5, 3)))
    mean, std = np.asarray(said.mean)[..., 1:], np.exp(0.5 * np.asarray(said.logvar)[..., 1:])
    density = stats.norm.pdf(np.asarray(after - obs), mean, std).prod(axis=-1).mean(axis=0)
    np.testing.assert_allclose(model.log_density(EnsembleBelief(obs), action, after), np.log(density), rtol=1e-4)
    scale = np.array([2.0, 5.0])
    nats = negative_log_density(
        model, EnsembleBelief(obs), action, after, jnp.asarray(scale, jnp.float32), jnp.ones(2, bool)
    )
    assert float(nats) == pytest.approx(-np.mean(np.log(density * scale.prod())) / 2, rel=1e-4)


def test_what_is_foretold_exactly_has_no_density():
    model = eqx.tree_at(
        lambda e: e.varies, Ensemble(2, 1, key=KEY, members=2, elites=2, hidden=(4,)), jnp.array([1.0, 1, 0])
    )
    obs, action = jax.random.normal(KEY, (5, 2)), jnp.zeros((5, 1))
    said = model.predict(jnp.broadcast_to(jnp.concatenate([obs, action], axis=1), (2, 5, 3)))
    mean, std = np.asarray(said.mean)[..., 1], np.exp(0.5 * np.asarray(said.logvar)[..., 1])
    density = stats.norm.pdf(0.3, mean, std).mean(axis=0)
    after, scale, moves = obs.at[:, 0].add(0.3), jnp.array([2.0, 5.0]), jnp.array([True, False])
    nats = negative_log_density(model, EnsembleBelief(obs), action, after, scale, moves)
    assert float(nats) == pytest.approx(-np.mean(np.log(2.0 * density)), rel=1e-4)


def test_spearman_is_that_of_scipy():
    rng = np.random.default_rng(0)
    x = rng.integers(0, 10, 200).astype(np.float32)  # with ties
    y = (x + 3 * rng.normal(size=200)).astype(np.float32)
    assert float(spearman(jnp.asarray(x), jnp.asarray(y))) == pytest.approx(stats.spearmanr(x, y)[0], abs=1e-5)
    assert np.isnan(spearman(jnp.ones(5), jnp.arange(5.0)))


def test_correlation_is_that_of_numpy():
    x, y = np.random.default_rng(0).normal(size=(2, 50)).astype(np.float32)
    assert float(correlation(jnp.asarray(x), jnp.asarray(y))) == pytest.approx(np.corrcoef(x, y)[0, 1], abs=1e-5)
    assert np.isnan(correlation(jnp.full(9, 0.1), jnp.arange(9.0)))
