import warnings
from dataclasses import dataclass

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from forethought.envs import JaxVector, functional, make
from forethought.envs.catalog import FUNCTIONAL
from forethought.errors import CheckpointError, EnvironmentFault
from forethought.types import Box, Discrete, EnvSpec


@dataclass(frozen=True)
class Walk:
    """Counts its steps by the action plus noise; ends beyond 3, or after ``limit`` steps; counts its episodes."""

    limit: int | None = None
    noise: float = 0.0

    @property
    def spec(self):
        return EnvSpec("Walk", Box((2,)), Box((1,)), self.limit, 1, (-1.0,), (1.0,))

    def init(self, key):
        return {"x": jnp.float32(0), "episodes": jnp.int32(0)}

    def reset(self, state, key):
        state = {"x": self.noise * jax.random.normal(key), "episodes": state["episodes"] + 1}
        return state, self._obs(state)

    def step(self, state, action, key):
        state = {**state, "x": state["x"] + action[0] + self.noise * jax.random.normal(key)}
        return state, self._obs(state), action[0], state["x"] > 3

    def render(self, state):
        return np.zeros((2, 2, 3), np.uint8)

    def _obs(self, state):
        return jnp.stack([state["x"], state["episodes"].astype(jnp.float32)])


def roll(env, n, seed=0):
    rng = np.random.default_rng(seed)
    actions = [rng.uniform(-1, 1, (env.num_slots, 1)).astype(np.float32) for _ in range(n)]
    return [env.step(action) for action in actions]


def assert_steps_equal(left, right):
    for a, b in zip(left, right, strict=True):
        jax.tree.map(np.testing.assert_array_equal, a, b)


def test_the_final_observation_is_kept_and_the_state_may_span_episodes():
    env = JaxVector(Walk(), seeds=[0])
    assert env.reset().obs.tolist() == [[0.0, 1.0]]
    steps = [env.step(np.ones((1, 1))) for _ in range(4)]
    assert [step.reached.terminated[0] for step in steps] == [False, False, False, True]
    assert not any(step.reached.truncated[0] for step in steps)
    assert steps[-1].reached.obs.tolist() == [[4.0, 1.0]]
    assert steps[-1].now.obs.tolist() == [[0.0, 2.0]]
    for moment in (steps[0].reached, steps[0].now):
        assert [array.dtype for array in moment[:6]] == [np.float32, np.float32, np.float32, bool, bool, bool]
        assert moment[6:] == ((), ())  # no rules, no players
    assert steps[0].frames.dtype == np.int32
    # What led to each moment, and where an episode begins nothing did.
    assert [step.now.first[0] for step in steps] == [False, False, False, True]
    assert [step.now.prev_action[0, 0] for step in steps] == [1.0, 1.0, 1.0, 0.0]
    assert [step.now.reward[0] for step in steps] == [1.0, 1.0, 1.0, 0.0]
    assert not any(step.now.terminated[0] or step.reached.first[0] for step in steps)
    assert steps[-1].reached.prev_action[0, 0] == 1.0


def test_the_time_limit_truncates_and_does_not_terminate():
    env = JaxVector(Walk(limit=3), seeds=[0])
    env.reset()
    steps = [env.step(np.zeros((1, 1))) for _ in range(7)]
    assert [bool(step.reached.truncated[0]) for step in steps] == [False, False, True] * 2 + [False]
    assert not any(step.reached.terminated[0] for step in steps)


def test_action_repeat_stops_inside_and_counts_frames():
    env = JaxVector(Walk(limit=10), seeds=[0, 1], action_repeat=3)
    assert env.spec.max_episode_steps == 4
    assert env.spec.action_repeat == 3
    env.reset()
    action = np.array([[1.0], [0.5]])
    first, second, third, fourth = (env.step(action) for _ in range(4))
    assert first.frames.tolist() == [3, 3]
    assert first.reached.reward.tolist() == [3.0, 1.5]
    assert second.frames.tolist() == [1, 3]  # slot 0 came to 4 > 3 in its first repeat
    assert second.reached.reward.tolist() == [1.0, 1.5]
    assert second.reached.terminated.tolist() == [True, False]
    assert second.reached.obs[0].tolist() == [4.0, 1.0]
    assert third.reached.obs[:, 0].tolist() == [3.0, 3.5]
    assert third.reached.terminated.tolist() == [False, True]
    assert third.frames.tolist() == [3, 1]
    assert fourth.reached.terminated.tolist() == [True, False]
    limited = JaxVector(Walk(limit=10), seeds=[0], action_repeat=4)
    limited.reset()
    steps = [limited.step(np.zeros((1, 1))) for _ in range(3)]
    assert [step.frames[0] for step in steps] == [4, 4, 2]
    assert [step.reached.truncated[0] for step in steps] == [False, False, True]


def test_a_seed_behaves_alike_whatever_runs_beside_it():
    together = JaxVector(Walk(5, noise=1.0), seeds=[5, 7, 9], envs_per_seed=2)
    alone = JaxVector(Walk(5, noise=1.0), seeds=[7], envs_per_seed=2)
    first = together.reset().obs
    np.testing.assert_array_equal(first[2:4], alone.reset().obs)
    assert len(set(first[:, 0].tolist())) == 6
    for wide in roll(together, 1):
        narrow = alone.step(np.random.default_rng(0).uniform(-1, 1, (6, 1)).astype(np.float32)[2:4])
        jax.tree.map(lambda a, b: np.testing.assert_array_equal(a[2:4], b), wide, narrow)


def test_streams_differ_and_resets_repeat():
    train, evaluation = (JaxVector(Walk(noise=1.0), seeds=[0], stream=stream) for stream in ("train", "eval"))
    first = train.reset().obs
    assert not np.array_equal(first, evaluation.reset().obs)
    roll(train, 5)
    np.testing.assert_array_equal(train.reset().obs, first)


def test_state_restores_to_the_bit():
    env = JaxVector(Walk(7, noise=0.5), seeds=[0, 1, 2])
    env.reset()
    roll(env, 10)
    state = env.get_state()
    assert all(isinstance(leaf, np.ndarray) and len(leaf) == 3 for leaf in state.values())
    later = roll(env, 20, seed=1)
    fresh = JaxVector(Walk(7, noise=0.5), seeds=[0, 1, 2])
    now, notes = fresh.set_state(state)
    assert notes == []
    for name in ("obs", "prev_action", "reward", "first"):
        np.testing.assert_array_equal(getattr(now, name), state[f".now.{name}"])
    assert_steps_equal(later, roll(fresh, 20, seed=1))


def test_a_state_of_other_slots_is_refused():
    env = JaxVector(Walk(), seeds=[0])
    env.reset()
    with pytest.raises(CheckpointError, match="not one of Walk in 2 environments"):
        JaxVector(Walk(), seeds=[0, 1]).set_state(env.get_state())


def test_stepping_does_not_compile_again():
    env = JaxVector(Walk(11, noise=0.1), seeds=[0, 1])
    env.reset()
    roll(env, 1)
    compiled = functional._advance_all._cache_size()
    roll(env, 12)
    env.set_state(env.get_state())
    roll(env, 2)
    JaxVector(Walk(11, noise=0.1), seeds=[3, 4]).reset()
    assert functional._advance_all._cache_size() == compiled


def test_nan_from_the_environment_is_its_fault():
    env = JaxVector(Walk(noise=float("nan")), seeds=[5, 1])
    env.reset()
    with pytest.raises(
        EnvironmentFault, match=r"an observation with nan in dimension 0 .* environment 0 of seed 5; its"
    ):
        roll(env, 1)


@pytest.mark.parametrize("env_id", FUNCTIONAL)
def test_every_environment_is_a_gymnasium_one_too(env_id):
    env = gymnasium.make(env_id, disable_env_checker=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message=".*space m.* value is .*infinity")  # probes declare no bounds
        check_env(env.unwrapped)
    env.close()


@pytest.mark.parametrize("env_id", FUNCTIONAL)
def test_both_ways_to_run_one_agree(env_id):
    vector = make(env_id, seeds=[0], render=True)
    vector.reset()
    assert vector.render().dtype == np.uint8
    single = gymnasium.make(env_id, disable_env_checker=True)
    single.reset(seed=0)
    # The two draw differently, so that both begin where the first does.
    single.unwrapped._state = jax.tree.map(lambda leaf: leaf[0], vector._slots.env)
    rng = np.random.default_rng(0)
    for _ in range(20):
        discrete = isinstance(vector.spec.action, Discrete)
        action = rng.integers(0, 2, 1).astype(np.int32) if discrete else rng.uniform(-1, 1, (1, 1)).astype(np.float32)
        step = vector.step(action)
        obs, reward, terminated, truncated, _ = single.step(action[0])
        # Two programs, whose last bits compilers may round as they like.
        np.testing.assert_allclose(step.reached.obs[0], obs, rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(step.reached.reward[0], reward, rtol=1e-6, atol=1e-6)
        assert (step.reached.terminated[0], step.reached.truncated[0]) == (terminated, truncated)
        if terminated or truncated:
            break


def test_gymnasium_is_told_of_render_modes_that_do_not_exist():
    with pytest.raises(gymnasium.error.UnsupportedMode, match="rgb_array"):
        gymnasium.make("forethought/DynaMaze-v0", render_mode="human")
    picture = gymnasium.make("forethought/DynaMaze-v0", render_mode="rgb_array")
    picture.reset(seed=0)
    assert picture.render().shape == (96, 144, 3)
