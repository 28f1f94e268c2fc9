import jax
import jax.numpy as jnp
import numpy as np
import pytest

from forethought.models.tabular import TabularBelief, TabularModel
from forethought.types import Transition

N_STATES, N_ACTIONS = 4, 2


def lived(s, a, r, s_next, terminated=False):
    return Transition(
        jnp.int32(s), jnp.int32(a), jnp.float32(r), jnp.int32(s_next), jnp.array(terminated), jnp.array(False)
    )


learn = jax.jit(TabularModel.learn)


def after(*transitions, **options):
    model = TabularModel(N_STATES, N_ACTIONS, **options)
    for t in transitions:
        model = learn(model, lived(*t))
    return model


def known(model, s, a):
    """{(next state, ended): (probability, mean reward)} of a pair."""
    p = np.asarray(model.probability())[s, a]
    return {
        (int(model.next_state[s, a, k]), bool(model.ended[s, a, k])): (float(p[k]), float(model.reward[s, a, k]))
        for k in range(len(p))
        if p[k] > 0
    }


def test_counts_become_probabilities_and_mean_rewards():
    model = after((0, 1, 1.0, 2), (0, 1, 3.0, 2), (0, 1, 0.0, 3), (0, 1, 7.0, 2, True), (1, 0, 5.0, 0))
    said = known(model, 0, 1)
    assert said == {(2, False): (0.5, 2.0), (3, False): (0.25, 0.0), (2, True): (0.25, 7.0)}
    assert known(model, 1, 0) == {(0, False): (1.0, 5.0)}
    assert known(model, 0, 0) == {}


def test_the_lists_of_what_was_visited():
    model = after((3, 1, 0, 0), (0, 0, 0, 1), (3, 1, 0, 2), (3, 0, 0, 1), (0, 0, 9, 3))
    assert model.pairs[: int(model.n_pairs)].tolist() == [7, 0, 6]
    assert model.states[: int(model.n_states)].tolist() == [3, 0]


def test_without_memory_only_the_last_outcome_counts():
    model = after((0, 0, 1.0, 1), (0, 0, 1.0, 2), (0, 1, 4.0, 3), (0, 0, 5.0, 2, True), decay=0.0)
    assert known(model, 0, 0) == {(2, True): (1.0, 5.0)}
    assert known(model, 0, 1) == {(3, False): (1.0, 4.0)}
    assert int(model.n_pairs) == 2


def test_decay_halves_what_is_older():
    model = after((0, 0, 0.0, 1), (0, 0, 0.0, 2), (0, 0, 6.0, 1), decay=0.5)
    # Counts: 1 -> 0.5, 1 -> 0.25 + 1, 0.5. Reward of the first: (0 * 0.25 + 6) / 1.25.
    said = known(model, 0, 0)
    assert said[1, False] == (pytest.approx(1.25 / 1.75), pytest.approx(4.8))
    assert said[2, False] == (pytest.approx(0.5 / 1.75), 0.0)


def test_where_outcomes_are_many_the_rarest_gives_way():
    model = after((0, 0, 1.0, 1), (0, 0, 1.0, 1), (0, 0, 2.0, 2), (0, 0, 3.0, 3), outcomes=2)
    assert known(model, 0, 0) == {(1, False): (pytest.approx(2 / 3), 1.0), (3, False): (pytest.approx(1 / 3), 3.0)}


def test_outcomes_are_drawn_with_their_probabilities():
    model = after((0, 1, 1.0, 2), (0, 1, 1.0, 2), (0, 1, 1.0, 2), (0, 1, 5.0, 3, True))
    n = 2000
    belief, outcome = model.step(TabularBelief(jnp.zeros(n, int)), jnp.ones(n, int), key=jax.random.key(0))
    to_three = np.asarray(belief.state) == 3
    assert to_three.mean() == pytest.approx(0.25, abs=0.04)
    assert set(np.asarray(belief.state).tolist()) == {2, 3}
    np.testing.assert_array_equal(outcome.reward, np.where(to_three, 5.0, 1.0))
    np.testing.assert_array_equal(outcome.continues, 1.0 - to_three)


def test_an_untried_pair_stays_where_it_is():
    model = after((0, 1, 1.0, 2, True))
    t = model.sample_outcomes(jnp.array([3, 0]), jnp.array([0, 1]), key=jax.random.key(0))
    assert [x.tolist() for x in (t.obs, t.action, t.next_obs)] == [[3, 0], [0, 1], [3, 2]]
    assert [x.tolist() for x in (t.reward, t.terminated, t.truncated)] == [[0.0, 1.0], [False, True], [False, False]]


def test_pairs_and_states_are_drawn_uniformly_from_the_visited_ones():
    model = after((3, 1, 0, 0), (0, 0, 0, 1), (3, 1, 0, 2), (3, 0, 0, 1))
    s, a = model.sample_pairs(3000, key=jax.random.key(0))
    counts = np.bincount(np.asarray(s) * N_ACTIONS + np.asarray(a), minlength=8)
    np.testing.assert_allclose(counts / 3000, [1 / 3, 0, 0, 0, 0, 0, 1 / 3, 1 / 3], atol=0.04)
    states = np.bincount(np.asarray(model.sample_states(3000, key=jax.random.key(0))), minlength=4)
    np.testing.assert_allclose(states / 3000, [0.5, 0, 0, 0.5], atol=0.04)
