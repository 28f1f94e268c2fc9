"""What World Models evolves: the linear policy, what it is judged by, and trials in the world."""

import jax
import jax.numpy as jnp
import numpy as np

from forethought.agents.dream.evolved import LinearPolicy, Trials, dreamt, judged
from forethought.agents.dream.policies import Held
from forethought.planning.cma_es import CMAES
from forethought.types import Box, Discrete, Outcome
from handmade import OnALine, places

KEY = jax.random.key(0)


def test_numbers_are_squashed_and_one_sided_ones_are_none_for_half_of_all_outputs():
    policy = LinearPolicy(1, Box((2,)), one_sided=(1,))
    parameters = jnp.array([1.0, 0.0, 0.0, -0.5])  # a row of weights and bias for each number
    np.testing.assert_allclose(policy(parameters, jnp.array([0.5])), [np.tanh(0.5), -1.0], rtol=1e-6)
    parameters = parameters.at[3].set(0.5)
    np.testing.assert_allclose(policy(parameters, jnp.array([0.5]))[1], 2.0 * np.tanh(0.5) - 1.0, rtol=1e-6)


def test_choices_in_order_are_made_by_thirds():
    policy = LinearPolicy(1, Discrete(3), order=(2, 0, 1))
    chosen = [int(policy.of_outputs(jnp.arctanh(jnp.array([u])))) for u in (-0.99, -0.34, -0.32, 0.32, 0.34, 0.99)]
    assert chosen == [2, 2, 0, 0, 1, 1]
    assert int(policy.of_outputs(jnp.array([50.0]))) == 1
    greatest = LinearPolicy(1, Discrete(3))
    assert int(greatest.of_outputs(jnp.array([0.0, 3.0, 2.0]))) == 1


def test_values_that_rounding_alone_tells_apart_are_equal():
    value = judged(jnp.array([[100.0], [100.00001], [100.1], [-3.0]]))
    assert float(value[0]) == float(value[1]) < float(value[2])
    np.testing.assert_allclose(value, [100.0, 100.0, 100.1, -3.0], atol=2e-3)
    assert np.all(np.asarray(judged(jnp.zeros((3, 2)))) == 0.0)


def test_trials_count_whole_episodes_of_their_own_candidate():
    search = CMAES(2, 4, 0.5)
    cloud = search.begin(jnp.zeros(2))
    trials = Trials.begin(search.ask(cloud, key=KEY), 4)
    reward = jnp.array([1.0, 2.0, 3.0, 4.0])
    over = [[0, 0, 0, 0], [1, 1, 0, 0], [1, 0, 1, 0], [0, 1, 0, 1], [0, 0, 1, 1]]
    seen = []
    for i, ended in enumerate(over):
        ended = jnp.array(ended, bool)
        trials = trials.after(reward, ended, 1)
        seen.append((trials.earned.tolist(), trials.ended.tolist()))
        cloud, trials = trials.next_generation(search, cloud, ended, 1, key=jax.random.fold_in(KEY, i))
    # The first episode of each was under way before: its return belongs to nobody.
    assert seen[1] == ([0.0] * 4, [0] * 4)
    assert seen[2] == ([1.0, 0.0, 0.0, 0.0], [1, 0, 0, 0])
    assert seen[3] == ([1.0, 4.0, 0.0, 0.0], [1, 1, 0, 0])
    assert seen[4] == ([1.0, 4.0, 6.0, 4.0], [1, 1, 1, 1])
    assert int(cloud.generation) == 1
    assert trials.ended.tolist() == [0] * 4
    assert trials.own.tolist() == [False, False, True, True]  # those whose episode ended with this step
    assert float(trials.value) == 15.0 / 4.0
    begun = search.begin(jnp.zeros(2))
    moved = search.tell(begun, search.ask(begun, key=KEY), jnp.array([1.0, 4.0, 6.0, 4.0]))
    np.testing.assert_allclose(cloud.mean, moved.mean)


def test_several_environments_of_a_candidate_share_its_episodes():
    trials = Trials.begin(jnp.zeros((2, 3)), 4)._replace(own=jnp.ones(4, bool))
    trials = trials.after(jnp.array([1.0, 2.0, 3.0, 4.0]), jnp.ones(4, bool), 2)
    assert trials.ended.tolist() == [2, 2]
    assert trials.earned.tolist() == [4.0, 6.0]
    trials = trials.after(jnp.ones(4), jnp.ones(4, bool), 3)  # room for one of the two that end at once
    assert trials.ended.tolist() == [3, 3]
    assert trials.earned.tolist() == [5.0, 7.0]


def test_what_is_held_is_drawn_anew_when_its_time_is_over_or_an_episode_begins():
    held = Held(jnp.array([1, 2, 3]), jnp.array([2, 0, 5]))
    moved = held.next(jnp.array([7, 8, 9]), jnp.array([False, False, True]), 4, key=KEY)
    assert moved.action.tolist() == [1, 8, 9]
    assert int(moved.left[0]) == 1
    assert np.all((np.asarray(moved.left[1:]) >= 0) & (np.asarray(moved.left[1:]) < 4))
    assert Held.none(jnp.ones((2, 3))).left.tolist() == [0, 0]


class Paying(OnALine):
    """Pays a hundred times of where it is, and what is done; ends beyond 2."""

    def step(self, belief, action, *, key):
        return belief, Outcome(100.0 * belief.x[:, 0] + action[:, 0], 1.0 * (belief.x[:, 0] < 2.0))


def test_every_candidate_is_tried_from_the_same_beginnings():
    policy, bias = LinearPolicy(1, Box((1,))), np.array([0.1, 0.2, 0.3])
    candidates = jnp.asarray(np.stack([0.0 * bias, bias], axis=1), jnp.float32)
    earned, lived = dreamt(Paying(), policy, candidates, places(1.0, 2.0), 2, key=KEY)
    once = np.array([100.0, 200.0]) + np.tanh(bias)[:, None]
    np.testing.assert_allclose(earned, once * [2, 1], rtol=1e-6)
    assert lived.tolist() == [[2, 1]] * 3
