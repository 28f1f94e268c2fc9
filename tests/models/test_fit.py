import dataclasses
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from forethought.errors import UsageError
from forethought.models import fit as fit_module
from forethought.models.ensemble import Ensemble, EnsembleBelief
from forethought.models.fit import (
    FitConfig,
    Weights,
    begin,
    finish,
    fit,
    gaussian_nll,
    init,
    loss,
    make_batch,
    proceed,
    update,
)
from forethought.models.holdout import is_held_out
from forethought.replay.moments import holding
from small import ensemble, full_replay, predict_all, weights_of

pytestmark = pytest.mark.learned


def held(capacity, size, holdout_ratio=0.2, max_holdout=5000):
    return np.asarray(is_held_out(jnp.arange(capacity), jnp.array(size), holdout_ratio, max_holdout))[:size]


def test_the_share_held_out():
    for size, config, share in (
        (20_000, {}, 0.2),
        (20_000, {"holdout_ratio": 0.05}, 0.05),
        (200_000, {}, 5000 / 200_000),
        (20_000, {"max_holdout": 100}, 100 / 20_000),
    ):
        spread = np.sqrt(size * share * (1 - share))
        assert abs(held(size, size, **config).sum() - size * share) < 4 * spread


def test_what_is_held_out_was_never_trained_on_before():
    """As the replay fills, a slot goes from held out to trained on at most once, never the other way."""
    config = {"max_holdout": 200, "holdout_ratio": 0.3}
    earlier = None
    for size in (10, 100, 600, 700, 1000, 3000, 10_000):
        now = held(10_000, size, **config)
        if earlier is not None:
            assert not np.any(now[: earlier.size] & ~earlier)
        earlier = now


def test_neighbouring_slots_are_held_out_independently():
    now = held(50_000, 50_000, max_holdout=50_000)
    for lag in (1, 2, 3, 8):
        both = np.mean(now[:-lag] & now[lag:])
        assert both == pytest.approx(0.04, abs=0.005)


@pytest.fixture(scope="module")
def linear():
    """A linear-Gaussian world: three members fitted to it, with the data."""
    n, rng = 3000, np.random.default_rng(1)
    obs, action = rng.normal(size=(n, 2)) * [1.0, 30.0] + [0.0, 500.0], rng.uniform(-1, 1, size=(n, 1))
    change = np.stack([0.3 * obs[:, 0] + 0.5 * action[:, 0], 2.0 - 4.0 * obs[:, 0]], axis=1)
    noise = np.array([0.1, 2.0])
    reward = obs[:, 0] - action[:, 0] + 0.3 * rng.normal(size=n)
    next_obs = obs + change + noise * rng.normal(size=(n, 2))
    replay = full_replay(n, obs=obs, action=action, reward=reward, next_obs=next_obs)
    config = FitConfig(learning_rate=5e-3, batch_size=64, patience=8, max_epochs=40, min_gain=0.003)
    model = ensemble(hidden=(16,))
    fitted, info = jax.jit(partial(fit, config=config))(init(model, config), replay, key=jax.random.key(0))
    truth = np.concatenate([(obs[:, :1] - action), change], axis=1)
    return fitted.model, info, replay, config, truth, np.array([0.3, *noise])


def test_a_linear_gaussian_world_is_recovered_with_its_noise(linear):
    model, _, replay, _, truth, noise = linear
    mean, std, _ = predict_all(model, replay)
    for m in np.asarray(model.elites):
        assert np.all(np.sqrt(np.mean((mean[m] - truth) ** 2, axis=0)) < 0.5 * noise)
        np.testing.assert_allclose(np.median(std[m], axis=0), noise, rtol=0.2)


def test_the_statistics_are_those_of_the_training_rows(linear):
    model, _, replay, config, _, _ = linear
    t, trained = replay.all(), ~held(3000, 3000, holdout_ratio=config.holdout_ratio)
    x = np.concatenate([t.obs, t.action], axis=1)[trained]
    y = np.concatenate([np.asarray(t.reward)[:, None], t.next_obs - t.obs], axis=1)[trained]
    for fitted, data in ((model.inputs, x), (model.outputs, y)):
        np.testing.assert_allclose(fitted.mean, data.mean(axis=0), rtol=1e-3, atol=1e-3)
        np.testing.assert_allclose(fitted.std, data.std(axis=0), rtol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("propagation", ["ts1", "ts_inf", "expectation"])
def test_what_never_changed_is_foretold_exactly(propagation):
    """A reward of 1 for each step and an observation that stands still; planners would follow any slope in them."""
    rng = np.random.default_rng(1)
    obs = np.stack([rng.normal(size=200), np.full(200, 7.0)], axis=1)
    moved = obs + np.stack([rng.normal(size=200), np.zeros(200)], axis=1)
    replay = full_replay(200, obs=obs, next_obs=moved, reward=np.ones(200))
    model = Ensemble(2, 1, key=jax.random.key(0), members=3, elites=2, hidden=(8,), propagation=propagation)
    start = init(model, FitConfig(max_epochs=2))
    model = fit(start, replay, FitConfig(max_epochs=2), key=jax.random.key(1))[0].model
    assert model.varies.tolist() == [0.0, 1.0, 0.0]
    belief = EnsembleBelief(jnp.asarray(obs[:50], jnp.float32))
    after, outcome = model.predictor().step(belief, jnp.ones((50, 1)), key=jax.random.key(2))
    assert outcome.reward.tolist() == [1.0] * 50
    assert after.obs[:, 1].tolist() == [7.0] * 50
    assert np.ptp(np.asarray(after.obs - belief.obs)[:, 0]) > 0.0


def test_elites_are_the_best_on_what_is_held_out(linear):
    """The hold-out has more rows than one chunk of the score, so the chunks are summed here too."""
    model, info, replay, _, _, _ = linear
    out = held(3000, 3000)
    assert out.sum() > 512
    _, _, said = predict_all(model, replay)
    t = replay.all()
    y = model.outputs.normalize(jnp.concatenate([t.reward[:, None], t.next_obs - t.obs], axis=-1))
    mse = np.asarray((said.mean - y) ** 2)[:, out].mean(axis=(1, 2))
    nll = np.asarray(gaussian_nll(jnp.broadcast_to(y, said.mean.shape), said.mean, said.logvar))[:, out]
    assert model.elites.tolist() == np.argsort(mse)[:2].tolist()
    elites = np.asarray(model.elites)
    assert float(info["holdout_mse"]) == pytest.approx(mse[elites].mean(), rel=1e-3)
    # The bounds are shared and keep moving after a member's best epoch, so its log-variance may have moved a little.
    assert float(info["holdout_nll"]) == pytest.approx(nll.mean(axis=(1, 2))[elites].mean(), abs=0.1)


SHORT = FitConfig(batch_size=16, max_epochs=3, patience=100)


@pytest.fixture(scope="module")
def short_fit():
    return jax.jit(partial(fit, config=SHORT))


@pytest.mark.slow
def test_held_out_rows_leave_no_trace_in_training(short_fit):
    n, state = 120, init(ensemble(), SHORT)
    out = held(n, n)
    replay = full_replay(n)

    def changed(where):
        t = replay.all()
        reward = jnp.where(where, t.reward + 5.0, t.reward)
        next_obs = jnp.where(where[:, None], t.next_obs * 3.0, t.next_obs)
        return holding(t._replace(reward=reward, next_obs=next_obs), len(reward))

    def after(replay):
        fitted, info = short_fit(state, replay, key=jax.random.key(1))
        assert int(info["epochs"]) == 3
        # The moments of Adam and the statistics follow the path of training; the best weights may be of any epoch.
        return fitted.opt_state, fitted.model.inputs, fitted.model.outputs, info["train_nll"]

    as_it_was = after(replay)
    jax.tree.map(np.testing.assert_array_equal, as_it_was, after(changed(jnp.asarray(out))))
    one_trained = np.flatnonzero(~out)[:1]
    differs = jax.tree.map(lambda a, b: bool(np.any(a != b)), as_it_was, after(changed(jnp.arange(n) == one_trained)))
    assert differs[-1]


def test_the_first_epoch_gives_weights_whatever_the_holdout_says():
    config = FitConfig(batch_size=16, max_epochs=1)
    state, replay = init(ensemble(), config), full_replay(120)
    out = jnp.asarray(held(120, 120))
    worse = holding(replay.all()._replace(reward=replay.all().reward + 9.0 * out), 120)
    run = jax.jit(partial(fit, config=config))
    a, b = (run(state, r, key=jax.random.key(1))[0] for r in (replay, worse))
    jax.tree.map(np.testing.assert_array_equal, weights_of(a.model), weights_of(b.model))
    assert np.any(a.model.members.layers[0].weight != state.model.members.layers[0].weight)


def test_free_slots_are_not_data(short_fit):
    """A replay that is half full fits to its rows alone."""
    state, replay = init(ensemble(), SHORT), full_replay(120)
    junk = jax.tree.map(lambda d: d.at[60:].set(jnp.asarray(77, d.dtype)), replay.all())
    halves = [eqx.tree_at(lambda r: r.ends.size, r, jnp.array(60)) for r in (replay, holding(junk, 120))]
    a, b = (short_fit(state, half, key=jax.random.key(1)) for half in halves)
    jax.tree.map(np.testing.assert_array_equal, a, b)


def test_patience_ends_the_fit():
    """No second epoch gains 99 %: it ends after the first and patience + 1 more."""
    config = FitConfig(batch_size=16, max_epochs=50, patience=2, min_gain=0.99, learning_rate=1e-5)
    _, info = jax.jit(partial(fit, config=config))(init(ensemble(), config), full_replay(120), key=jax.random.key(0))
    assert int(info["epochs"]) == 1 + 2 + 1


def test_patience_counts_updates_too():
    """Nor does any here; but it must have made seven epochs' updates in vain, and then one epoch more."""
    n_batches = -(-int((~held(120, 120)).sum()) // 16)
    config = FitConfig(
        batch_size=16,
        max_epochs=50,
        patience=2,
        patience_updates=7 * n_batches,
        min_gain=0.99,
        learning_rate=1e-5,
    )
    _, info = jax.jit(partial(fit, config=config))(init(ensemble(), config), full_replay(120), key=jax.random.key(0))
    assert int(info["epochs"]) == 1 + 7 + 1


def test_the_optimizer_goes_on_from_fit_to_fit(short_fit):
    state, replay = init(ensemble(), SHORT), full_replay(120)
    n_batches = -(-int((~held(120, 120)).sum()) // 16)
    for fits in (1, 2):
        state, _ = short_fit(state, replay, key=jax.random.key(fits))
        assert int(state.opt_state[0].count) == fits * 3 * n_batches


def norms(of: Weights) -> np.ndarray:
    """Of three members and of the bounds: the four norms that are cut apart."""
    of_members = [np.asarray(x).reshape(3, -1) for x in jax.tree.leaves(of.members)]
    of_bounds = np.concatenate([of.max_logvar, of.min_logvar])
    return np.append(np.linalg.norm(np.concatenate(of_members, axis=1), axis=1), np.linalg.norm(of_bounds))


@pytest.mark.slow
@pytest.mark.parametrize("limit", [0.05, 1e6])
def test_the_gradient_of_an_update_is_cut(limit):
    """After one step the first moment of Adam is a tenth of what is left of the gradient."""
    config, model = FitConfig(max_gradient=limit, weight_decay=(0.0,)), ensemble(hidden=(4,))
    batch = make_batch(model, jax.tree.map(lambda x: jnp.broadcast_to(x, (3, *x.shape)), full_replay(8).all()))
    weights = weights_of(model)
    _, (adam, *_), _ = update(weights, init(model, config).opt_state, model, batch, config)
    uncut = norms(jax.grad(lambda w: loss(w, model, batch, config)[0])(weights))
    assert np.all(uncut[:3] > 1.0)
    np.testing.assert_allclose(norms(adam.mu), 0.1 * np.minimum(uncut, limit), rtol=1e-4)


@pytest.mark.slow
def test_every_member_trains_on_one_fixed_resample_of_its_own(monkeypatch):
    n, batch_size, epochs = 150, 21, 12
    drawn = []
    original = fit_module.make_batch

    def spying(model, rows):
        if rows.reward.shape == (3, batch_size):
            jax.debug.callback(lambda r: drawn.append(np.asarray(r)), rows.reward)
        return original(model, rows)

    monkeypatch.setattr(fit_module, "make_batch", spying)
    config = FitConfig(batch_size=batch_size, max_epochs=epochs, patience=100)
    replay = full_replay(n, reward=np.arange(n) / 1.0)
    fit(init(ensemble(), config), replay, config, key=jax.random.key(0))
    jax.effects_barrier()
    trained = set(np.flatnonzero(~held(n, n)).tolist())
    rows = np.concatenate(drawn, axis=1).astype(int)
    assert rows.shape[1] == epochs * -(-len(trained) // batch_size) * batch_size
    members = [set(row.tolist()) for row in rows]
    for seen in members:
        assert seen <= trained
        # A resample with replacement holds 1 - 1/e of the rows; fresh draws in every epoch would reach them all.
        assert len(seen) / len(trained) == pytest.approx(1 - np.exp(-1), abs=0.12)
    for a, b in ((0, 1), (0, 2), (1, 2)):
        # Independent resamples share (1 - 1/e)^2 of the rows.
        assert len(members[a] & members[b]) / len(trained) == pytest.approx((1 - np.exp(-1)) ** 2, abs=0.15)
    assert not np.array_equal(rows[0], rows[1])


@pytest.mark.slow
def test_termination_is_learned_from_data():
    n, rng = 600, np.random.default_rng(0)
    obs = rng.uniform(-1, 1, size=(n, 2))
    # The best weights are those with the least error of all outputs, so the dynamics must take some learning too.
    replay = full_replay(n, obs=obs, next_obs=obs + np.sin(3 * obs), reward=obs[:, 1], terminated=obs[:, 0] > 0.0)
    config = FitConfig(learning_rate=1e-2, batch_size=64, max_epochs=25, patience=100)
    model = ensemble(termination=None, hidden=(8,))
    fitted, _ = jax.jit(partial(fit, config=config))(init(model, config), replay, key=jax.random.key(0))
    _, _, said = predict_all(fitted.model, replay)
    probability = np.asarray(jax.nn.sigmoid(said.end_logit)).mean(axis=0)
    assert probability[obs[:, 0] > 0.5].min() > 0.85
    assert probability[obs[:, 0] < -0.5].max() < 0.15


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"holdout_ratio": 1.0}, "holdout_ratio is 1.0; it must be between 0.0 and 0.9"),
        ({"min_gain": 1.0}, "min_gain is 1.0"),
        ({"beta": 1.5}, "beta is 1.5"),
        ({"batch_size": 0}, "batch_size is 0; it must be at least 1"),
    ],
)
def test_settings_that_no_fit_can_have(settings, said):
    with pytest.raises(UsageError, match=said):
        FitConfig(**settings)


@pytest.mark.slow
def test_of_a_handful_of_transitions_one_is_held_out():
    config = FitConfig(batch_size=4, max_epochs=200, holdout_ratio=0.01)
    assert not jnp.any(is_held_out(jnp.arange(8), jnp.array(8), 0.01, 5000))  # by their numbers all would be trained on
    _, info = fit(init(ensemble(), config), full_replay(8), config, key=jax.random.key(0))
    assert float(info["holdout_mse"]) > 0.0
    assert int(info["epochs"]) < 200


@pytest.mark.slow
def test_a_constant_observation_stays_where_it_is():
    # A set-point of 207.4: were its rounding error taken for a spread, imagination would multiply it at every step.
    n, rng = 200, np.random.default_rng(0)
    obs = np.stack([rng.normal(size=n), np.full(n, 207.4)], axis=1)
    data = full_replay(n, obs=obs, next_obs=obs + np.stack([rng.normal(size=n), np.zeros(n)], axis=1))
    config = FitConfig(batch_size=32, max_epochs=20)
    state, _ = jax.jit(fit, static_argnums=2)(init(ensemble(), config), data, config, key=jax.random.key(0))
    model, belief = state.model.predictor(), EnsembleBelief(jnp.asarray(obs, jnp.float32))
    for i in range(4):
        belief, _ = model.step(belief, jnp.zeros((n, 1)), key=jax.random.key(i))
    assert float(jnp.max(jnp.abs(belief.obs[:, 1] - 207.4))) < 5.0


@pytest.mark.slow
def test_without_a_hold_out_every_epoch_is_taken_and_the_last_weights_stay():
    config = FitConfig(batch_size=16, holdout_ratio=0.0, max_epochs=9, patience=1)
    state, info = fit(init(ensemble(), config), full_replay(64), config, key=jax.random.key(0))
    assert int(info["epochs"]) == 9
    shorter = dataclasses.replace(config, max_epochs=8)
    before, _ = fit(init(ensemble(), shorter), full_replay(64), shorter, key=jax.random.key(0))
    last = state.model.members.layers[0].weight
    assert np.all(np.any(last != before.model.members.layers[0].weight, axis=(1, 2)))


CUT = FitConfig(batch_size=16, max_epochs=12, patience=1, calibrate=True)


@pytest.fixture(scope="module")
def two_seeds():
    """Two seeds that share a replay, and the parts of a fit over both."""
    keys = jnp.stack([jax.random.key(seed) for seed in (0, 1)])
    models = jax.vmap(lambda key: init(Ensemble(2, 1, key=key, members=3, elites=2, hidden=(4,)), CUT))(keys)
    parts = (
        jax.jit(jax.vmap(partial(begin, config=CUT), (0, None))),
        jax.jit(jax.vmap(lambda f, r, n, key: proceed(f, r, CUT, n, key=key), (0, None, None, 0)), donate_argnums=0),
        jax.jit(jax.vmap(partial(finish, config=CUT), (0, None))),
    )
    return models, full_replay(100), keys, parts


def fit_in_pieces(two_seeds, lengths, second_gains=True):
    """The fit, cut after so many epochs each time; and how many pieces it took."""
    models, replay, keys, (begin, proceed, finish) = two_seeds
    fitting, pieces, going = begin(models, replay), 0, True
    if not second_gains:  # than no error none is less
        fitting = fitting._replace(score=jax.tree.map(lambda x: x.at[1].set(0.0), fitting.score))
    while going:
        fitting, left = proceed(fitting, replay, lengths[pieces % len(lengths)], keys)
        going, pieces = bool(jnp.any(left)), pieces + 1
    return finish(fitting, replay), pieces


@pytest.mark.slow
def test_where_a_fit_is_cut_changes_no_bit(two_seeds):
    """Also for two seeds of which one stops earlier: it waits, untouched, for the other."""
    whole, pieces = fit_in_pieces(two_seeds, [1000], second_gains=False)
    late, early = whole[1]["epochs"].tolist()
    assert (pieces, early) == (1, 2)  # patience forgives one epoch
    assert late > 2  # the first epoch always gains
    for lengths, expected in (([1], late), ([3], -(-late // 3)), ([1, 2, 4, 1000], None)):
        cut, pieces = fit_in_pieces(two_seeds, lengths, second_gains=False)
        jax.tree.map(np.testing.assert_array_equal, cut, whole)
        assert expected is None or pieces == expected


@pytest.mark.slow
def test_a_fit_in_pieces_is_the_fit(two_seeds):
    models, replay, keys, _ = two_seeds
    at_once = jax.jit(jax.vmap(lambda s, r, key: fit(s, r, CUT, key=key), (0, None, 0)))(models, replay, keys)
    jax.tree.map(np.testing.assert_array_equal, fit_in_pieces(two_seeds, [1])[0], at_once)


def test_errors_are_told_for_each_output(linear):
    model, info, replay, _, _, _ = linear
    out = held(3000, 3000)
    _, _, said = predict_all(model, replay)
    t = replay.all()
    y = model.outputs.normalize(jnp.concatenate([t.reward[:, None], t.next_obs - t.obs], axis=-1))
    mse = np.asarray((said.mean - y) ** 2)[np.asarray(model.elites)][:, out].mean(axis=(0, 1))
    np.testing.assert_allclose(info["holdout_mse_outputs"], mse, rtol=1e-3)
    assert mse.shape == (3,)
