import jax
import jax.numpy as jnp
import numpy as np
import pytest

import small
from forethought.agents.base import random_action
from forethought.training.program import Program
from forethought.training.seeds import over_seeds, purpose_key
from forethought.types import Box, Discrete


@pytest.mark.parametrize("k", [1, 2])
def test_over_seeds_is_a_loop_over_the_seeds(k):
    def fn(x, tree, shared):
        return {"out": x @ tree["w"] + shared}, x.sum()

    x = jnp.arange(k * 6.0).reshape(k, 2, 3)
    w = jnp.arange(k * 3.0).reshape(k, 3)
    both, total = over_seeds(fn, k, (0, 0, None))(x, {"w": w}, 10.0)
    for i in range(k):
        alone, total_alone = fn(x[i], {"w": w[i]}, 10.0)
        np.testing.assert_allclose(both["out"][i], alone["out"])
        assert float(total[i]) == float(total_alone)
    assert both["out"].shape == (k, 2)


def test_keys_depend_on_seed_purpose_and_step():
    keys = {
        tuple(jax.random.key_data(purpose_key(jax.random.key(seed), purpose, step)).tolist())
        for seed in (0, 1)
        for purpose in ("act", "update")
        for step in (0, 1, 2)
    }
    assert len(keys) == 12
    again = purpose_key(jax.random.key(1), "act", jnp.array(2))
    assert tuple(jax.random.key_data(again).tolist()) in keys


def test_random_actions_fill_their_space():
    box = np.asarray(random_action(Box((2,)), 2000, jax.random.key(0)))
    assert box.shape == (2000, 2)
    assert np.abs(box).max() <= 1.0
    np.testing.assert_allclose(box.mean(axis=0), 0.0, atol=0.05)
    np.testing.assert_allclose(box.std(axis=0), 1 / np.sqrt(3), rtol=0.05)
    assert np.bincount(random_action(Discrete(3), 3000, jax.random.key(0))).min() > 900


@pytest.mark.parametrize(
    ("wanted", "steps", "num_envs", "capacity"),
    [(100, 1000, 1, 100), (100, 40, 1, 40), (100, 40, 3, 42), (2, 40, 3, 3)],
)
def test_the_replay_is_as_large_as_needed_and_divides_by_the_environments(wanted, steps, num_envs, capacity):
    spec = small.envs.env_spec("forethought/ProbeAction-v0")
    program = Program(small.make_agent("sac", spec, replay_capacity=wanted), [0, 1], num_envs, steps)
    assert program.replay_capacity == capacity
    replay = program.init_replay()
    assert replay.rows.obs.shape == (2, 2 * capacity, 1)
    assert int(replay.ends.limit) == replay.capacity == capacity


def test_seeds_begin_differently_and_as_they_would_alone():
    spec = small.envs.env_spec("forethought/ProbeAction-v0")
    agent = small.make_agent("sac", spec)
    both, alone = (Program(agent, seeds, 1, 10).init_state() for seeds in ([3, 4], [4]))
    for b, a in zip(jax.tree.leaves(both.actor), jax.tree.leaves(alone.actor), strict=True):
        np.testing.assert_array_equal(b[1], a[0])
    assert not np.array_equal(*both.actor.net.layers[0].weight)
