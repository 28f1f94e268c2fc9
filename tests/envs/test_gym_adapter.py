import jax
import numpy as np
import pytest
from gymnasium import spaces

from forethought.envs import env_spec, make
from forethought.envs.contract import episode_seed
from forethought.errors import CheckpointError, TrainingDiverged, UsageError
from forethought.types import Box, Discrete


def actions_for(env, rng):
    n = env.num_slots
    if isinstance(env.spec.action, Discrete):
        return rng.integers(0, env.spec.action.n, n).astype(np.int32)
    return rng.uniform(-1, 1, (n, *env.spec.action.shape)).astype(np.float32)


def roll(env, n, seed=0):
    rng = np.random.default_rng(seed)
    return [env.step(actions_for(env, rng)) for _ in range(n)]


def test_pendulum_truncates_at_200_and_keeps_the_final_observation():
    env = make("Pendulum-v1", seeds=[3])
    assert env.spec.max_episode_steps == 200
    env.reset()
    *before, last = roll(env, 200)
    assert not any(step.reached.truncated[0] or step.reached.terminated[0] for step in before)
    assert last.reached.truncated[0]
    assert not last.reached.terminated[0]
    assert not np.array_equal(last.now.obs, last.reached.obs)
    native = env._first.unwrapped
    np.testing.assert_array_equal(last.now.obs[0], native._get_obs().astype(np.float32))
    assert last.reached.obs[0, 2] == pytest.approx(
        before[-1].reached.obs[0, 2], abs=2.0
    )  # one step on, not a new start


def test_cartpole_terminates_and_is_not_truncated():
    env = make("CartPole-v1", seeds=[0])
    env.reset()
    for _ in range(30):
        step = env.step(np.array([1]))
        if step.reached.terminated[0]:
            break
    assert step.reached.terminated[0]
    assert not step.reached.truncated[0]
    assert abs(step.reached.obs[0, 2]) > 0.2  # the pole has fallen ...
    assert abs(step.now.obs[0, 2]) < 0.05  # ... and stands again


def test_both_endings_at_once_are_both_kept(pliable):
    env = make(pliable(max_episode_steps=3, length=3), seeds=[0])
    env.reset()
    step = roll(env, 3)[-1]
    assert step.reached.terminated[0]
    assert step.reached.truncated[0]
    assert (step.now.first[0], step.now.reward[0], step.now.prev_action[0, 0]) == (True, 0.0, 0.0)


def test_step_has_the_promised_types():
    env = make("CartPole-v1", seeds=[0, 1], envs_per_seed=2)
    assert env.num_slots == 4
    obs = env.reset().obs
    step = roll(env, 1)[0]
    assert obs.shape == step.now.obs.shape == step.reached.obs.shape == (4, 4)
    for moment in (env.reset(), step.reached, step.now):
        assert [array.dtype for array in moment[:6]] == [np.float32, np.int32, np.float32, bool, bool, bool]
        assert {len(array) for array in moment[:6]} == {4}
        assert moment[6:] == ((), ())  # no rules, no players
    assert step.frames.dtype == np.int32
    assert env.spec.obs == Box((4,))
    assert env.spec.action == Discrete(2)


def test_actions_are_rescaled_to_the_bounds_exactly(pliable):
    low, high = np.array([-0.1, 1e-3], np.float32), np.array([0.3, 7.7], np.float32)
    env = make(pliable(action_space=spaces.Box(low, high, dtype=np.float32)), seeds=[0])
    assert env.spec.action_low == tuple(low.astype(float).tolist())
    env.reset()
    for action in (-1.0, 1.0, 5.0, 0.0):
        env.step(np.full((1, 2), action))
    received = env._first.unwrapped.received
    np.testing.assert_array_equal(received[0], low)
    np.testing.assert_array_equal(received[1], high)
    np.testing.assert_array_equal(received[2], high)
    np.testing.assert_allclose(received[3], (low + high) / 2, rtol=1e-6)
    assert received[0].dtype == np.float32


def test_discrete_start_is_added_to_actions_and_taken_from_observations(pliable):
    space = spaces.Discrete(12, start=5)
    env_id = pliable(
        observation_space=space, action_space=spaces.Discrete(3, start=-1), observe=lambda self: 5 + self.steps
    )
    env = make(env_id, seeds=[0])
    assert env.spec.obs == Discrete(12)
    assert env.reset().obs.tolist() == [0]
    step = env.step(np.array([0]))
    assert step.now.obs.tolist() == [1]
    assert step.now.obs.dtype == np.int32
    assert env._first.unwrapped.received == [-1]


def test_dict_observations_are_flattened_in_key_order(pliable):
    box = spaces.Box(-9, 9, (), np.float64)
    space = spaces.Dict({"b": spaces.Box(-9, 9, (2, 2), np.float64), "a": box})
    env_id = pliable(
        observation_space=space, observe=lambda self: {"b": np.arange(4.0).reshape(2, 2), "a": np.float64(7.0)}
    )
    assert make(env_id, seeds=[0]).reset().obs.tolist() == [[7.0, 0.0, 1.0, 2.0, 3.0]]
    assert env_spec(env_id).obs == Box((5,))


def test_images_stay_images(pliable):
    space = spaces.Box(0, 255, (4, 5, 3), np.uint8)
    env = make(pliable(observation_space=space, observe=lambda self: np.full((4, 5, 3), 200, np.uint8)), seeds=[0])
    obs = env.reset().obs
    assert env.spec.obs == Box((4, 5, 3), "uint8")
    assert obs.dtype == np.uint8
    assert (obs == 200).all()


def test_action_repeat_sums_rewards_and_stops_at_the_end_of_the_episode(pliable):
    env = make(pliable(length=10), seeds=[0], action_repeat=4)
    env.reset()
    steps = roll(env, 3)
    assert [step.frames[0] for step in steps] == [4, 4, 2]
    assert [step.reached.reward[0] for step in steps] == [4.0, 4.0, 2.0]
    assert [step.reached.terminated[0] for step in steps] == [False, False, True]
    assert steps[-1].reached.obs[0, 0] == 10.0
    assert steps[-1].now.obs[0, 0] == 0.0
    assert env_spec("Pendulum-v1", action_repeat=3).max_episode_steps == 67


@pytest.mark.parametrize("env_id", ["Pendulum-v1", "CartPole-v1"])
def test_a_seed_behaves_alike_whatever_runs_beside_it(env_id):
    together = make(env_id, seeds=[5, 7, 9], envs_per_seed=2)
    alone = make(env_id, seeds=[7], envs_per_seed=2)
    assert np.array_equal(together.reset().obs[2:4], alone.reset().obs)
    rng = np.random.default_rng(1)
    for _ in range(60):
        action = actions_for(together, rng)
        wide, narrow = together.step(action), alone.step(action[2:4])
        jax.tree.map(lambda a, b: np.testing.assert_array_equal(a[2:4], b), wide, narrow)


def test_streams_slots_and_episodes_are_seeded_apart_and_stably():
    seeds = {
        episode_seed(s, stream, j, e) for s in (0, 1) for stream in ("train", "eval") for j in (0, 1) for e in (0, 1)
    }
    assert len(seeds) == 16
    assert all(0 <= seed < 2**31 for seed in seeds)
    assert episode_seed(0, "train", 0, 0) == 1550685491  # a change of this number breaks every stored run


def test_reset_begins_again_from_the_first_episode():
    env = make("Pendulum-v1", seeds=[0])
    first = env.reset().obs
    roll(env, 250)
    np.testing.assert_array_equal(env.reset().obs, first)


@pytest.mark.parametrize(("env_id", "steps"), [("Pendulum-v1", 230), ("InvertedPendulum-v5", 37), ("CartPole-v1", 50)])
def test_state_restores_exactly_in_the_middle_of_an_episode(env_id, steps):
    env = make(env_id, seeds=[0, 1])
    env.reset()
    roll(env, steps)
    state = env.get_state()
    assert all(isinstance(value, np.ndarray) for value in state.values())
    later = roll(env, 60, seed=1)
    fresh = make(env_id, seeds=[0, 1])
    now, notes = fresh.set_state(state)
    assert notes == []
    for name in ("obs", "prev_action", "reward", "first"):
        np.testing.assert_array_equal(getattr(now, name), state[name])
    for a, b in zip(later, roll(fresh, 60, seed=1), strict=True):
        jax.tree.map(np.testing.assert_array_equal, a, b)


def test_state_right_after_reset_restores():
    env = make("Pendulum-v1", seeds=[0])
    first = env.reset().obs
    now, notes = make("Pendulum-v1", seeds=[0]).set_state(env.get_state())
    assert notes == []
    np.testing.assert_array_equal(now.obs, first)
    assert now.first.all()


def test_an_environment_with_hidden_chance_is_warned_of_and_starts_anew(pliable):
    chance = np.random.default_rng(0)
    env_id = pliable(observe=lambda self: np.array([self.steps, chance.uniform()], np.float32))
    env = make(env_id, seeds=[0, 1])
    env.reset()
    roll(env, 4)
    now, notes = env.set_state(env.get_state())
    assert len(notes) == 2
    assert notes[1].startswith(
        f"{env_id}, environment 0 of seed 1, could not be restored: another observation was reached"
    )
    assert now.obs[:, 0].tolist() == [0.0, 0.0]
    assert now.first.all()
    assert not now.reward.any()
    assert env.get_state()["episode"].tolist() == [1, 1]


def test_an_environment_that_changed_and_ends_earlier_is_warned_of(pliable):
    lengths = [10]
    env_id = pliable(length=property(lambda self: lengths[0]))
    env = make(env_id, seeds=[0])
    env.reset()
    roll(env, 6)
    state = env.get_state()
    lengths[0] = 3
    _, notes = env.set_state(state)
    assert "the episode ended early" in notes[0]


def test_actions_changed_in_place_by_the_environment_are_replayed_unchanged(pliable):
    def spoil(self, action):
        self.steps += 1
        self.last = float(action[0])
        action[:] = 0.0
        return np.array([self.steps, self.last], np.float32), 0.0, False, False, {}

    env = make(pliable(step=spoil), seeds=[0])
    env.reset()
    roll(env, 3)
    _, notes = env.set_state(env.get_state())
    assert notes == []


def test_a_state_of_other_slots_is_refused():
    env = make("CartPole-v1", seeds=[0])
    env.reset()
    with pytest.raises(CheckpointError, match="are not those of 2 such environments"):
        make("CartPole-v1", seeds=[0, 1]).set_state(env.get_state())
    with pytest.raises(CheckpointError, match="saved with other seeds"):
        make("CartPole-v1", seeds=[1]).set_state(env.get_state())


def test_nan_actions_are_the_policys_fault():
    env = make("Pendulum-v1", seeds=[0, 7], envs_per_seed=2)
    env.reset()
    with pytest.raises(TrainingDiverged, match="nan for Pendulum-v1, environment 1 of seed 7; train anew"):
        env.step(np.array([[0.0], [0.0], [0.0], [np.nan]]))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"seeds": []}, "at least one seed"),
        ({"seeds": [-1]}, "none of them negative"),
        ({"seeds": [0], "envs_per_seed": 0}, "envs_per_seed is 0"),
        ({"seeds": [0], "action_repeat": 0}, "action_repeat is 0"),
    ],
)
def test_impossible_numbers_are_refused(arguments, words):
    with pytest.raises(UsageError, match=words):
        make("CartPole-v1", **arguments)


def test_rendering_only_where_asked_for():
    env = make("CartPole-v1", seeds=[0, 1], render=True)
    env.reset()
    picture = env.render()
    assert picture.dtype == np.uint8
    assert picture.ndim == 3
    env.close()
    env.close()
    assert make("CartPole-v1", seeds=[0]).render() is None
