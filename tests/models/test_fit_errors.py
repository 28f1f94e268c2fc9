"""What a fit tells of the errors that it leaves, output by output, and how they become the one number it follows."""

from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from forethought.models import fit as fit_module
from forethought.models.ensemble import Ensemble
from forethought.models.fit import FitConfig, fit, init
from forethought.models.holdout import training_rows
from small import ensemble, full_replay, predict_all

pytestmark = pytest.mark.learned


def hard_reward(n, seed, n_noise):
    """A reward that bends, beside observations of which some are linear and some are noise."""
    rng = np.random.default_rng(seed)
    obs, action = rng.normal(size=(n + 1, 2 + n_noise)), rng.uniform(-1, 1, size=(n, 1))
    x, next_obs = obs[:-1], obs[1:].copy()
    next_obs[:, :2] = x[:, :2] + 0.1 * action
    reward = np.abs(x[:, 0] - 0.5 * action[:, 0]) + np.sin(2 * x[:, 1]) * action[:, 0]
    return full_replay(n, n_obs=2 + n_noise, obs=x, action=action, reward=reward, next_obs=next_obs)


def test_without_a_hold_out_errors_are_those_of_training():
    config = FitConfig(batch_size=16, holdout_ratio=0.0, max_epochs=3)
    _, info = fit(init(ensemble(), config), full_replay(64), config, key=jax.random.key(0))
    assert "holdout_mse_outputs" not in info
    assert np.all(np.asarray(info["train_mse_outputs"]) > 0.1)


@pytest.mark.slow
def test_a_termination_that_is_not_learned_is_told_from_one_that_is():
    rng, n = np.random.default_rng(0), 400
    config = FitConfig(learning_rate=1e-2, batch_size=32, max_epochs=20, patience=100)
    found = {}
    for name, ended in (("seen", lambda obs: obs[:, 0] > 0.5), ("random", lambda obs: rng.uniform(size=n) < 0.3)):
        obs = rng.uniform(-1, 1, size=(n, 2))
        replay = full_replay(n, obs=obs, terminated=ended(obs))
        model = ensemble(termination=None, hidden=(8,))
        _, info = jax.jit(partial(fit, config=config))(init(model, config), replay, key=jax.random.key(0))
        found[name] = float(info["holdout_termination"])
    assert found["seen"] < 0.5 < 0.85 < found["random"]
    short, replay = (
        FitConfig(batch_size=16, max_epochs=3),
        full_replay(64),
    )  # nothing ever ended: there is nothing to learn
    _, info = fit(init(ensemble(termination=None), short), replay, short, key=jax.random.key(0))
    assert float(info["holdout_termination"]) == 0.0


def test_what_cannot_be_learned_does_not_drown_the_rest():
    """Three hold-out errors: one falls by a tenth, one stands, noise rises; only the geometric mean calls it a gain."""
    model = ensemble()
    before, after = jnp.array([[0.5, 1.0, 1.2]] * 3), jnp.array([[0.45, 1.0, 1.27]] * 3)
    zero = jnp.zeros(3)
    mean, geometric = (
        [np.asarray(fit_module._error(mse, zero, model, select)) for mse in (before, after)]
        for select in ("mean", "geometric")
    )
    np.testing.assert_allclose(mean[0], 0.9, rtol=1e-5)
    np.testing.assert_allclose(geometric[0], (0.5 * 1.2) ** (1 / 3), rtol=1e-3)
    assert np.all(mean[1] > mean[0])
    assert np.all(geometric[1] < 0.99 * geometric[0])


def test_an_ending_that_is_learned_is_part_of_the_error():
    """All members foretell the same; the one that misses the endings is the worst."""
    mse, ending = jnp.array([[0.5, 0.5, 0.5]] * 3), jnp.array([0.1, 0.5, 0.9])
    learned, known = ensemble(termination=None), ensemble()
    np.testing.assert_allclose(fit_module._error(mse, ending, learned, "mean"), [0.6, 1.0, 1.4], rtol=1e-5)
    geometric = (0.5**3 * np.asarray(ending)) ** 0.25
    np.testing.assert_allclose(fit_module._error(mse, ending, learned, "geometric"), geometric, rtol=2e-3)
    for select in ("mean", "geometric"):
        np.testing.assert_allclose(fit_module._error(mse, ending, known, select), 0.5, rtol=1e-3)


def test_what_varies_only_where_nothing_is_trained_counts_as_constant():
    config, n = FitConfig(), 50
    trained = np.asarray(training_rows(full_replay(n), config.holdout_ratio, config.max_holdout))
    assert 0 < trained.sum() < n
    for varied, expected in ((~trained, 0.0), (trained, 1.0)):
        replay = full_replay(n, reward=np.where(varied, np.arange(n), 1.0))
        model = fit_module.begin(init(ensemble(), config), replay, config).model
        np.testing.assert_array_equal(model.varies, [expected, 1.0, 1.0])


def test_the_entropy_of_endings_is_that_of_the_rows_that_are_there():
    replay = full_replay(8, terminated=np.arange(8) < 4)
    half = eqx.tree_at(lambda r: r.ends.size, replay, jnp.array(6))  # 4 of 6 ended
    entropy = -(4 / 6 * np.log(4 / 6) + 2 / 6 * np.log(2 / 6))
    assert float(fit_module._entropy_of_endings(half)) == pytest.approx(entropy, rel=1e-5)
    late = full_replay(8, terminated=np.arange(8) >= 6)  # what is there never ended
    late = eqx.tree_at(lambda r: r.ends.size, late, jnp.array(6))
    assert float(fit_module._entropy_of_endings(late)) == np.inf


def test_what_never_varies_is_no_part_of_the_geometric_mean():
    model = eqx.tree_at(lambda e: e.varies, ensemble(), jnp.array([1.0, 0.0, 1.0]))
    error = fit_module._error(jnp.array([[0.4, 0.0, 0.9]] * 3), jnp.zeros(3), model, "geometric")
    np.testing.assert_allclose(error, 0.6, rtol=1e-3)


@pytest.mark.slow
def test_the_defaults_for_own_environments_learn_a_reward_that_the_papers_settings_miss():
    """240 transitions to train on: with batches of 256 five epochs are five updates."""
    config = {
        "papers": FitConfig(),
        "own": FitConfig(batch_size=64, patience_updates=200, beta=0.5, select="geometric"),
    }
    left = {}
    for name, c in config.items():
        run = jax.jit(partial(fit, config=c))
        errors = []
        for seed in range(2):
            replay, unseen = hard_reward(300, seed, 2), hard_reward(300, seed + 50, 2)
            model = Ensemble(4, 1, key=jax.random.key(seed))
            fitted, _ = run(init(model, c), replay, key=jax.random.key(seed + 7))
            mean, _, _ = predict_all(fitted.model.predictor(), unseen)
            reward = np.asarray(unseen.all().reward)
            errors.append(np.mean((mean.mean(axis=0)[:, 0] - reward) ** 2) / np.var(reward))
        left[name] = np.mean(errors)
    assert left["own"] < 0.6 < 0.75 < left["papers"]
