"""Environments of Brax's form."""

import sys

import jax
import numpy as np
import pytest

import small
from forethought.envs import env_spec, make
from forethought.envs.catalog import functional_env
from forethought.errors import MissingExtra, UsageError
from forethought.types import Box

PACKAGES = [("brax/ant", "brax", "brax"), ("playground/CartpoleBalance", "mujoco_playground", "playground")]


@pytest.mark.parametrize(("env_id", "package", "extra"), PACKAGES)
def test_a_missing_package_is_named(monkeypatch, env_id, package, extra):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtra, match=rf"{env_id} .* pip install .*\[{extra}\]'"):
        make(env_id, seeds=[0])


@pytest.fixture(scope="module")
def brax():
    return pytest.importorskip("brax.envs")


def test_what_an_agent_knows_of_them(brax):
    spec = env_spec("brax/inverted_pendulum")
    assert (spec.obs, spec.action, spec.max_episode_steps) == (Box((4,)), Box((1,)), 1000)
    assert make("brax/inverted_pendulum", seeds=[0], env_kwargs={"episode_length": 50}).spec.max_episode_steps == 50
    with pytest.raises(UsageError, match="brax has no environment 'pendulum'; did you mean"):
        make("brax/pendulum", seeds=[0])
    with pytest.raises(UsageError, match=r"does not take env_kwargs \{'gravity': 1\}"):
        make("brax/inverted_pendulum", seeds=[0], env_kwargs={"gravity": 1})


@pytest.mark.slow
def test_it_moves_as_brax_moves_it(brax):
    ours, theirs = functional_env("brax/inverted_pendulum"), brax.get_environment("inverted_pendulum")
    key = jax.random.key(3)
    state, obs = ours.reset(None, key)
    other = theirs.reset(jax.random.key_data(key))
    np.testing.assert_array_equal(obs, other.obs)
    step, their_step = jax.jit(ours.step), jax.jit(theirs.step)
    for action in (0.5, -2.0, 1.0):
        state, obs, reward, terminated = step(state, np.array([action], np.float32), key)
        other = their_step(other, np.array([np.clip(action, -1, 1)], np.float32))
        np.testing.assert_allclose(obs, other.obs, rtol=1e-5, atol=1e-6)
        assert (float(reward), bool(terminated)) == (float(other.reward), bool(other.done))


@pytest.mark.slow
def test_it_is_learned_in_and_its_state_is_kept(brax):
    learner = small.train("sac", "brax/inverted_pendulum", steps=40, num_envs=2)
    assert learner.updates > 0
    world = make("brax/inverted_pendulum", seeds=[0, 1])
    world.reset()
    world.step(np.zeros((2, 1), np.float32))
    again = make("brax/inverted_pendulum", seeds=[0, 1])
    now, _ = again.set_state(world.get_state())
    for one, other in zip(jax.tree.leaves(now), jax.tree.leaves(world.now()), strict=True):
        np.testing.assert_array_equal(one, other)
    one, other = (w.step(np.ones((2, 1), np.float32)) for w in (world, again))
    np.testing.assert_array_equal(one.reached.obs, other.reached.obs)
