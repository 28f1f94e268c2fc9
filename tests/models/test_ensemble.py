from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from forethought.models.ensemble import Ensemble, EnsembleBelief, ts1, ts_inf
from forethought.models.normalizer import Normalizer
from handmade import adding, constant, small_ensemble

step = jax.jit(Ensemble.step)


@pytest.mark.parametrize("n", [1, 5, 6, 7])
def test_each_particle_follows_one_member_with_reward_and_change_together(n):
    obs = jnp.arange(n, dtype=jnp.float32)[:, None] * 100.0
    belief, outcome = step(adding(), EnsembleBelief(obs), jnp.zeros((n, 1)), key=jax.random.key(n))
    moved = np.asarray(belief.obs - obs)[:, 0]
    assert belief.obs.shape == (n, 1)
    assert set(np.round(moved).tolist()) <= {1.0, 2.0, 3.0}
    np.testing.assert_allclose(moved, np.round(moved), atol=1e-4)
    np.testing.assert_allclose(outcome.reward, 10.0 * moved, rtol=1e-4)
    assert outcome.continues.tolist() == [1.0] * n


def test_ts_infinity_keeps_members_and_ts1_changes_them():
    n, rounds = 60, 6
    for propagation, kept in (("ts_inf", True), ("ts1", False)):
        model, belief, moves = adding(propagation=propagation), EnsembleBelief(jnp.zeros((n, 1))), []
        for i in range(rounds):
            after, _ = step(model, belief, jnp.zeros((n, 1)), key=jax.random.key(i))
            moves.append(np.round(np.asarray(after.obs - belief.obs))[:, 0])
            belief = after
        moves = np.stack(moves)
        assert np.all(moves == moves[0]) == kept
        if kept:
            assert moves[0].tolist() == [1.0] * 20 + [2.0] * 20 + [3.0] * 20
        else:
            # Every round uses every member equally often, whatever the turn of each column.
            assert all(np.sum(row == member) == 20 for row in moves for member in (1, 2, 3))


def test_ts1_is_uniform_for_every_particle_and_independent_over_time():
    members, rounds = 3, 3000
    turns = jax.vmap(lambda key: ts1(members, 2, key))(jax.random.split(jax.random.key(0), rounds))
    met = np.asarray(turns.back)  # [rounds, particle's row, column]: the member that the particle meets
    for row, column in np.ndindex(met.shape[1:]):
        series = met[:, row, column]
        assert stats.chisquare(np.bincount(series, minlength=members)).pvalue > 1e-3
        pairs = np.bincount(series[:-1] * members + series[1:], minlength=members**2)
        assert stats.chisquare(pairs).pvalue > 1e-3
    across = np.bincount(met[:, 0, 0] * members + met[:, 0, 1], minlength=members**2)
    assert stats.chisquare(across).pvalue > 1e-3


@pytest.mark.parametrize("deal", [ts1, ts_inf])
def test_particles_come_back_to_their_places(deal):
    turn = deal(4, 5, jax.random.key(3))
    particles = jnp.arange(20).reshape(4, 5)
    there = jnp.take_along_axis(particles, turn.to_members, axis=0)
    np.testing.assert_array_equal(jnp.take_along_axis(there, turn.back, axis=0), particles)


def square(obs, action, next_obs):
    return next_obs[:, 0] ** 2


@pytest.mark.slow
@pytest.mark.parametrize(
    ("propagation", "places", "learned_rewards"),
    [
        ("ts1", {1.0, 2.0}, {10.0, 20.0}),
        ("ts_inf", {1.0, 2.0}, {10.0, 20.0}),
        ("expectation", {1.5}, {15.0}),
    ],
)
def test_two_members_under_every_propagation(propagation, places, learned_rewards):
    """One adds 1 and pays 10, the other adds 2 and pays 20; the known reward is the square of the next place."""
    start, action, key = EnsembleBelief(jnp.zeros((40, 1))), jnp.zeros((40, 1)), jax.random.key(0)
    belief, outcome = step(adding(2, propagation=propagation), start, action, key=key)
    assert set(np.round(np.float64(belief.obs[:, 0]), 4)) == places
    assert set(np.round(np.float64(outcome.reward), 3)) == learned_rewards
    belief, outcome = step(adding(2, propagation=propagation, reward=square), start, action, key=key)
    assert set(np.round(np.float64(belief.obs[:, 0]), 4)) == places
    np.testing.assert_allclose(outcome.reward, belief.obs[:, 0] ** 2)
    assert outcome.continues.tolist() == [1.0] * 40


def test_a_known_reward_sees_what_was_done_and_where_it_led():
    def all_three(obs, action, next_obs):
        return 100.0 * obs[:, 0] + 10.0 * action[:, 0] + next_obs[:, 0]

    model = adding(2, propagation="ts_inf", reward=all_three)
    _, outcome = step(model, EnsembleBelief(jnp.full((2, 1), 3.0)), jnp.full((2, 1), 0.5), key=jax.random.key(0))
    np.testing.assert_allclose(outcome.reward, [300 + 5 + 4, 300 + 5 + 5], rtol=1e-6)


def test_expectation_is_the_same_for_every_key():
    """Also with noise of standard deviation 1 and an end of probability 1/2 in every member."""
    start, action = EnsembleBelief(jnp.arange(5.0)[:, None]), jnp.zeros((5, 1))
    options = {"logvar": 0.0, "members": 2, "end": 0.0, "termination": None}
    for propagation, same in (("expectation", True), ("ts1", False)):
        model = constant([[1.0, 2.0], [3.0, 6.0]], propagation=propagation, **options)
        once, again = (step(model, start, action, key=jax.random.key(seed)) for seed in (0, 1))
        assert np.array_equal(once[0].obs, again[0].obs) == same
        if same:
            np.testing.assert_allclose(once[0].obs, start.obs + 4.0, rtol=1e-6)
            np.testing.assert_allclose(once[1].reward, 2.0, rtol=1e-6)


def test_expectation_ends_where_the_mean_logit_says_so():
    """Logits -1 and 3, then -3 and 1: an end by their mean of 1, none by that of -1."""
    for logits, continues in (((-1.0, 3.0), 0.0), ((-3.0, 1.0), 1.0)):
        model = constant([[0.0, 0.0]] * 2, members=2, termination=None, propagation="expectation")
        ends = jnp.array(logits)
        model = eqx.tree_at(lambda e: e.members.layers[-1].bias, model, replace_fn=lambda b, e=ends: b.at[:, -1].set(e))
        _, outcome = step(model, EnsembleBelief(jnp.zeros((7, 1))), jnp.zeros((7, 1)), key=jax.random.key(0))
        assert outcome.continues.tolist() == [continues] * 7


def test_the_spread_is_that_of_the_log_variance():
    model = constant([[0.0, 2.0]] * 2, logvar=np.log(0.25), members=2)
    belief, outcome = step(model, EnsembleBelief(jnp.zeros((4000, 1))), jnp.zeros((4000, 1)), key=jax.random.key(0))
    change, reward = np.asarray(belief.obs)[:, 0], np.asarray(outcome.reward)
    assert change.mean() == pytest.approx(2.0, abs=0.03)
    assert change.std() == pytest.approx(0.5, rel=0.04)
    assert reward.std() == pytest.approx(0.5, rel=0.04)
    assert abs(np.corrcoef(change, reward)[0, 1]) < 0.05


def test_units_are_those_of_the_data():
    """With output statistics (mean, std), a normalised output of 1 is mean + std in the world."""
    model = constant([[1.0, 1.0]] * 3)
    outputs = Normalizer(jnp.array([5.0, -3.0]), jnp.array([2.0, 0.5]))
    model = eqx.tree_at(lambda e: e.outputs, model, outputs)
    belief, outcome = step(model, EnsembleBelief(jnp.ones((3, 1))), jnp.zeros((3, 1)), key=jax.random.key(0))
    np.testing.assert_allclose(outcome.reward, 7.0, rtol=1e-5)
    np.testing.assert_allclose(belief.obs, 1.0 - 2.5, rtol=1e-5)


def test_inputs_are_normalised_before_the_members_see_them():
    model = small_ensemble()
    inputs = Normalizer(jnp.array([10.0, 0.5]), jnp.array([4.0, 0.25]))
    shifted = eqx.tree_at(lambda e: e.inputs, model, inputs)
    near = EnsembleBelief(jnp.array([[0.2], [-1.0]]))
    far = EnsembleBelief(near.obs * 4.0 + 10.0)
    action = jnp.array([[0.3], [-0.3]])
    expected = model.disagreement(near, action)
    np.testing.assert_allclose(shifted.disagreement(far, action * 0.25 + 0.5), expected, rtol=1e-4)


def test_the_log_variance_is_bounded_softly_and_rises_throughout():
    """l -> max - softplus(max - l) -> min + softplus(. - min): between the bounds, up to log(1 + e^-(max - min))."""
    model = small_ensemble(1)
    raw = jnp.linspace(-60.0, 60.0, 241)

    def at(said):
        pushed = eqx.tree_at(
            lambda e: (e.members.layers[-1].weight, e.members.layers[-1].bias),
            model,
            (jnp.zeros((1, 4, 5)), jnp.array([[0.0, 0.0, said, said, 0.0]])),
        )
        return pushed.predict(jnp.zeros((1, 1, 2))).logvar[0, 0, 0]

    bounded = np.asarray(jax.jit(jax.vmap(at))(raw), np.float64)
    by_hand = 0.5 - np.logaddexp(0.0, 0.5 - np.asarray(raw, np.float64))
    by_hand = -10.0 + np.logaddexp(0.0, by_hand + 10.0)
    np.testing.assert_allclose(bounded, by_hand, atol=1e-4)
    assert np.all(np.diff(bounded) >= 0)
    assert np.all(np.diff(bounded[(raw > -9) & (raw < 0)]) > 0)
    assert bounded[0] == pytest.approx(-10.0, abs=1e-4)
    assert bounded[-1] == pytest.approx(0.5, abs=1e-4)


def test_the_predictor_is_the_elites_alone():
    model = eqx.tree_at(lambda e: e.elites, adding(4, elites=2), jnp.array([3, 1]))
    predictor = model.predictor()
    assert predictor.n_members == 2
    assert predictor.predictor().elites.tolist() == [0, 1]
    belief, _ = step(predictor, EnsembleBelief(jnp.zeros((50, 1))), jnp.zeros((50, 1)), key=jax.random.key(0))
    assert set(np.round(np.asarray(belief.obs)[:, 0]).tolist()) == {4.0, 2.0}


@pytest.mark.slow
def test_a_predictor_in_bfloat16_rounds_between_hidden_layers_alone():
    """Products of 8 bits err by less than a hundredth of what is said; what is learned stays as it was."""
    options = {
        "key": jax.random.key(0),
        "members": 3,
        "elites": 2,
        "hidden": (64, 64, 64),
        "propagation": "expectation",
    }
    whole, narrow = Ensemble(4, 1, **options), Ensemble(4, 1, **options, precision="bfloat16")
    for layer, same in zip(narrow.members.layers, whole.members.layers, strict=True):
        np.testing.assert_array_equal(layer.weight, same.weight)
    (first, *middle, last), whole, narrow = narrow.predictor().members[0].layers, whole.predictor(), narrow.predictor()
    assert {first.weight.dtype, last.weight.dtype, first.bias.dtype, middle[0].bias.dtype} == {jnp.dtype("float32")}
    assert [layer.weight.dtype for layer in middle] == [jnp.bfloat16] * 2
    x = jax.random.normal(jax.random.key(1), (2, 500, 5))
    said, narrowly = whole.predict(x).mean, narrow.predict(x).mean
    error = jnp.sqrt(jnp.mean((said - narrowly) ** 2) / jnp.var(said))
    assert narrowly.dtype == jnp.float32
    assert 1e-4 < error < 0.01


def test_disagreement():
    belief, action = EnsembleBelief(jnp.array([[0.3], [2.0]])), jnp.array([[0.1], [0.9]])
    same = jax.tree.map(lambda x: jnp.broadcast_to(x[:1], x.shape), small_ensemble().members)
    assert float(jnp.max(eqx.tree_at(lambda e: e.members, small_ensemble(), same).disagreement(belief, action))) < 1e-6
    # Rewards 10, 20, 30 and changes 1, 2, 3: variances 200/3 and 2/3.
    expected = np.sqrt((200 / 3 + 2 / 3) / 2)
    np.testing.assert_allclose(adding().disagreement(belief, action), [expected] * 2, rtol=1e-5)


def test_a_known_termination_decides_from_the_next_observation():
    def beyond_two(obs, action, next_obs):
        return next_obs[:, 0] > 2.5

    model = adding(termination=beyond_two)
    belief, outcome = step(model, EnsembleBelief(jnp.zeros((30, 1))), jnp.zeros((30, 1)), key=jax.random.key(0))
    np.testing.assert_array_equal(outcome.continues, (np.asarray(belief.obs)[:, 0] < 2.5).astype(np.float32))
    assert 0.0 < float(outcome.continues.mean()) < 1.0


def test_a_learned_termination_is_drawn_with_its_probability():
    for probability in (0.2, 0.9):
        model = constant([[0.0, 0.0]] * 3, end=np.log(probability / (1 - probability)), termination=None)
        _, outcome = step(model, EnsembleBelief(jnp.zeros((3000, 1))), jnp.zeros((3000, 1)), key=jax.random.key(0))
        assert 1.0 - float(outcome.continues.mean()) == pytest.approx(probability, abs=0.03)


def test_the_termination_of_a_particle_is_that_of_the_member_it_meets():
    """Member 0 never ends and member 1 always does."""
    model = constant([[0.0, 1.0], [0.0, 2.0]], members=2, termination=None)
    model = eqx.tree_at(lambda e: e.members.layers[-1].bias, model, replace_fn=lambda b: b.at[1, -1].set(100.0))
    belief, outcome = step(model, EnsembleBelief(jnp.zeros((41, 1))), jnp.zeros((41, 1)), key=jax.random.key(0))
    np.testing.assert_array_equal(1.0 - outcome.continues, np.round(np.asarray(belief.obs)[:, 0]) == 2.0)


def test_beliefs_are_observations():
    model = small_ensemble()
    assert model.initial(3).obs.tolist() == [[0.0]] * 3
    seen = jnp.array([[4.0], [5.0]])
    observe = partial(model.observe, model.initial(2), jnp.zeros((2, 1)), seen, jnp.zeros(2, bool))
    np.testing.assert_array_equal(model.features(observe(key=jax.random.key(0))), seen)
