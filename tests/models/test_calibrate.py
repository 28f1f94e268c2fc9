"""The spread of an ensemble's predictions, against quantiles and coverage counted by hand."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from forethought.errors import UsageError
from forethought.models.calibrate import fitted_spread
from forethought.models.ensemble import Ensemble, EnsembleBelief, Prediction
from forethought.models.fit import FitConfig, fit, init
from forethought.models.termination import never
from forethought.replay.moments import holding
from forethought.types import Transition

pytestmark = pytest.mark.learned

N = 1500


def said(mean, std):
    mean, std = jnp.asarray(mean, jnp.float32), jnp.asarray(std, jnp.float32)
    return Prediction(mean, 2.0 * jnp.log(std), jnp.zeros(mean.shape[:-1]))


def test_one_member_is_widened_or_narrowed_to_the_quantile():
    """With one member of mean 0 and deviation 1, 90 % lie within s 1.645: s is the 90 % quantile of |y| over 1.645."""
    y = np.random.default_rng(0).standard_t(3, size=(N, 2)).astype(np.float32) * [0.4, 2.0]
    found = fitted_spread(said(np.zeros((1, N, 2)), np.ones((1, N, 2))), jnp.asarray(y), jnp.ones(N, bool))
    expected = np.quantile(np.abs(y), 0.9, axis=0) / stats.norm.ppf(0.95)
    np.testing.assert_allclose(found, expected, rtol=0.01)


def test_the_mixture_holds_nine_tenths_afterwards():
    """Three members that are each right about their own error are too wide together."""
    rng = np.random.default_rng(1)
    mean = rng.normal(size=(3, N, 1))
    y = rng.normal(size=(N, 1)) * 0.3  # their mean is better than any of them
    std = np.full((3, N, 1), np.sqrt(1.0 + 0.09))

    def covered(spread):
        u = np.mean(stats.norm.cdf((y - mean) / (spread * std)), axis=0)
        return np.mean(np.abs(u - 0.5) <= 0.45)

    found = float(fitted_spread(said(mean, std), jnp.asarray(y, jnp.float32), jnp.ones(N, bool))[0])
    assert covered(1.0) > 0.98
    assert 0.1 < found < 1.0
    assert covered(found) == pytest.approx(0.9, abs=0.01)


def test_only_rows_that_count_do_and_a_handful_changes_nothing():
    y = jnp.concatenate([jnp.full((100, 1), 0.5), jnp.full((900, 1), 50.0)])
    one = said(np.zeros((1, 1000, 1)), np.ones((1, 1000, 1)))
    counted = fitted_spread(one, y, jnp.arange(1000) < 100)
    np.testing.assert_allclose(counted, 0.5 / stats.norm.ppf(0.95), rtol=1e-3)
    assert fitted_spread(one, y, jnp.arange(1000) < 20).tolist() == [1.0]


def small(n_obs=2):
    return Ensemble(n_obs, 1, key=jax.random.key(0), members=3, elites=2, hidden=(16,), termination=never)


def noisy_replay(n):
    """next_obs - obs is Student-t noise of a scale that depends on the first observation; the reward is 0."""
    rng = np.random.default_rng(2)
    obs = rng.normal(size=(n, 2))
    change = rng.standard_t(4, size=(n, 2)) * (0.1 + np.abs(obs[:, :1]))
    none = np.zeros(n, bool)
    rows = Transition(obs, rng.uniform(-1, 1, size=(n, 1)), np.zeros(n), obs + change, none, none)
    rows = jax.tree.map(lambda x: jnp.asarray(x, bool if x.dtype == bool else jnp.float32), rows)
    return holding(rows, n)


@pytest.mark.slow
def test_a_fit_that_calibrates_covers_data_it_has_never_seen():
    config = FitConfig(calibrate=True, max_epochs=3, holdout_ratio=0.4)
    state, _ = jax.jit(lambda s, r, k: fit(s, r, config, key=k))(
        init(small(), config), noisy_replay(4000), jax.random.key(1)
    )
    model, fresh = state.model.predictor(), noisy_replay(6000).all()
    fresh = jax.tree.map(lambda x: x[4000:], fresh)
    belief = EnsembleBelief(jnp.repeat(fresh.obs[None], 40, axis=0).reshape(-1, 2))
    action = jnp.repeat(fresh.action[None], 40, axis=0).reshape(-1, 1)
    drawn = model.step(belief, action, key=jax.random.key(2))[0].obs.reshape(40, -1, 2)
    rank = np.mean(np.asarray(drawn) < np.asarray(fresh.next_obs), axis=0)
    assert np.all(np.asarray(state.model.spread) != 1.0)
    assert np.mean(np.abs(rank - 0.5) <= 0.45) == pytest.approx(0.9, abs=0.03)


@pytest.mark.slow
def test_the_spread_widens_the_noise_and_the_density_alike():
    """Three times the spread is the same as ln 9 more log-variance, in samples and in densities."""
    model = eqx.tree_at(lambda e: e.min_logvar, small(), jnp.full(3, -30.0))  # far from the bound it changes nothing
    wide = eqx.tree_at(lambda e: e.spread, model, jnp.full(3, 3.0))
    last = model.members.layers[-1].bias
    more = last.at[:, 3:6].add(np.log(9.0)), jnp.full(3, 50.0)
    shifted = eqx.tree_at(lambda e: (e.members.layers[-1].bias, e.max_logvar), model, more)
    plain = eqx.tree_at(lambda e: e.max_logvar, wide, jnp.full(3, 50.0))
    belief, action = EnsembleBelief(jnp.array([[0.3, -1.0], [2.0, 0.1]])), jnp.array([[0.1], [0.9]])
    key = jax.random.key(0)
    np.testing.assert_allclose(
        plain.step(belief, action, key=key)[0].obs, shifted.step(belief, action, key=key)[0].obs, rtol=1e-4
    )
    seen = jnp.array([[0.5, -1.5], [2.0, 3.0]])
    np.testing.assert_allclose(
        plain.log_density(belief, action, seen), shifted.log_density(belief, action, seen), rtol=1e-4
    )


def test_calibration_needs_a_hold_out():
    with pytest.raises(UsageError, match=r"calibrate needs held-out transitions; set fit\.holdout_ratio above 0"):
        FitConfig(calibrate=True, holdout_ratio=0.0)
