"""What an environment returns of the wrong kind is named for what it is, nothing of it is guessed."""

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from forethought.envs import SpaceCodec, make
from forethought.envs.contract import slot_seeds
from forethought.envs.gym import MOST_GYM_SLOTS
from forethought.envs.kinds import as_flag, as_reward
from forethought.errors import EnvironmentFault, UsageError

OBS = np.zeros(2, np.float32)


def run(returned, reset=lambda self, *, seed=None, options=None: (OBS, {}), limit=None, repeat=1):
    """One step of an environment that returns this."""

    class Wrong(gymnasium.Env):
        observation_space = spaces.Box(-1.0, 1.0, (2,), np.float32)
        action_space = spaces.Box(-1.0, 1.0, (1,), np.float32)

        def step(self, action):
            return returned

    Wrong.reset = reset
    gymnasium.register("Wrong-v0", entry_point=Wrong, max_episode_steps=limit)
    try:
        env = make("Wrong-v0", seeds=[0], action_repeat=repeat)
        env.reset()
        return env.step(np.zeros((1, 1), np.float32))
    finally:
        del gymnasium.registry["Wrong-v0"]


@pytest.mark.parametrize(
    ("returned", "said"),
    [
        ((OBS, None, False, False, {}), "the reward must be a number, got None"),
        ((OBS, "1.5", False, False, {}), "the reward must be a number, got '1.5'"),
        ((OBS, [1.0, 2.0], False, False, {}), "the reward must be a number, got [1.0, 2.0]"),
        ((OBS, 1j, False, False, {}), "the reward must be a number, got 1j"),
        ((OBS, [[1.0], []], False, False, {}), "the reward must be a number, got [[1.0], []]"),
        ((OBS, 1e39, False, False, {}), "returned the reward 1e+39, which float32 does not hold"),
        ((OBS, -np.inf, False, False, {}), "returned the reward -inf at step 1"),
        ((OBS, 0.0, None, False, {}), "terminated must be True or False, got None"),
        ((OBS, 0.0, "False", False, {}), "terminated must be True or False, got 'False'"),
        ((OBS, 0.0, np.array([True, False]), False, {}), "terminated must be True or False, got array([ True, False])"),
        ((OBS, 0.0, 0.5, False, {}), "terminated must be True or False, got 0.5"),
        ((OBS, 0.0, 2, False, {}), "terminated must be True or False, got 2"),
        ((OBS, 0.0, False, {}, {}), "truncated must be True or False, got {}"),
        ((OBS * 1j, 0.0, False, False, {}), "array of real numbers, got array([0.+0.j, 0.+0.j]"),
        ((["a", "b"], 0.0, False, False, {}), "array of real numbers, got ['a', 'b']"),
        (([1.0, None], 0.0, False, False, {}), "array of real numbers, got [1.0, None]"),
        ((np.array([1e39, 0.0]), 0.0, False, False, {}), "an observation with inf in dimension 0"),
        ((OBS, 0.0, False, {}), "returned 4 values from step, not (observation, reward, terminated, truncated, info): "
         "this is the API of the old Gym package"),
        ((OBS, 0.0), "returned 2 values from step"),
        (OBS, "returned 1 values from step"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("limit", [None, 9])
def test_a_step_of_the_wrong_kind(returned, said, limit):
    if limit and said.startswith("returned 1"):
        said = "returned 2 values from step"  # Gymnasium's time limit unpacks what it gets
    with pytest.raises(EnvironmentFault) as error:
        run(returned, limit=limit)
    assert said in str(error.value)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 400


def test_rewards_are_summed_before_they_are_judged():
    with pytest.raises(EnvironmentFault, match=r"the reward 4e\+38, which float32 does not hold"):
        run((OBS, 2e38, False, False, {}), repeat=2)


@pytest.mark.parametrize(("reward", "flag"), [(np.float64(2.0), np.True_), (np.array([2]), np.array([1])), (2, 1)])
def test_one_number_in_an_array_is_a_number(reward, flag):
    step = run((OBS, reward, flag, False, {}))
    assert (step.reached.reward[0], step.reached.terminated[0], step.reached.truncated[0]) == (2.0, True, False)
    assert (as_reward(np.array([[3.0]])), as_flag("x", np.array([[False]]))) == (3.0, False)


def no_arguments(self):
    return OBS


def alone(self, *, seed=None, options=None):
    return OBS


def pair(self, *, seed=None, options=None):
    return (0.0, 0.0)


@pytest.mark.parametrize(
    ("reset", "said"),
    [
        (no_arguments, "has a reset without the arguments seed and options: this is the API of the old Gym"),
        (alone, "returned array([0., 0.], dtype=float32) from reset, which is not (observation, info): this is the"),
        (pair, "returned (0.0, 0.0) from reset, which is not (observation, info)"),
    ],
)
@pytest.mark.parametrize("limit", [None, 9])
def test_a_reset_of_the_old_gym(reset, said, limit):
    with pytest.raises(EnvironmentFault) as error:
        run((OBS, 0.0, False, False, {}), reset=reset, limit=limit)
    assert said in str(error.value)


def test_an_unpacking_of_the_environments_own_is_its_own_fault():
    def reset(self, *, seed=None, options=None):
        _, _, _, _, _ = 1, 2, 3, *()

    with pytest.raises(EnvironmentFault, match=r"raised ValueError \(not enough values to unpack"):
        run(None, reset=reset)


def test_a_class_that_is_no_environment():
    gymnasium.register("None-v0", entry_point=lambda **kwargs: object())
    try:
        with pytest.raises(EnvironmentFault, match=r"None-v0 is no gymnasium\.Env; derive its class from that"):
            make("None-v0", seeds=[0], env_kwargs={"max_episode_steps": 3})
    finally:
        del gymnasium.registry["None-v0"]


def test_an_exception_of_many_words_is_cut():
    def reset(self, *, seed=None, options=None):
        raise RuntimeError("long " * 1000)

    with pytest.raises(EnvironmentFault) as error:
        run(None, reset=reset)
    assert len(str(error.value)) < 600


def test_spaces_without_a_number():
    one, none = spaces.Box(-1.0, 1.0, (1,)), spaces.Box(-1.0, 1.0, (0,))
    for obs, action, said in (
        (none, one, "the observation space .* holds no number"),
        (one, none, "the action space .* holds no number"),
        (spaces.Dict(a=none), one, "the observation space .* holds no number"),
        (None, one, "the observation space is None, no space of Gymnasium"),
        (one, 3, "the action space is 3, no space of Gymnasium"),
    ):
        with pytest.raises(UsageError, match=said):
            SpaceCodec.from_spaces(obs, action)


def test_spaces_of_the_old_gym_are_named():
    space = type("Box", (), {"__module__": "gym.spaces.box"})()
    with pytest.raises(UsageError, match=r"of the old Gym package, no space of Gymnasium; use gymnasium\.spaces"):
        SpaceCodec.from_spaces(space, spaces.Discrete(2))


def test_a_large_space_is_not_spelled_out():
    high = np.full(3000, np.inf)
    with pytest.raises(UsageError, match="dimension 0 of the action space") as error:
        SpaceCodec.from_spaces(spaces.Box(-1.0, 1.0, (1,)), spaces.Box(-np.arange(1.0, 3001), high, dtype=np.float64))
    assert len(str(error.value)) < 400


def test_images_hold_whole_numbers():
    codec = SpaceCodec.from_spaces(spaces.Box(0, 255, (4, 4, 3), np.uint8), spaces.Discrete(2))
    assert codec.obs_to_agent(np.full((4, 4, 3), 255.0)).max() == 255
    for wrong in (np.full((4, 4, 3), 0.5), np.full((4, 4, 3), 300), np.full((4, 4, 3), -1)):
        with pytest.raises(UsageError, match="is an image, whole numbers from 0 to 255"):
            codec.obs_to_agent(wrong)


@pytest.mark.parametrize("action", [None, "left", 0.5, [1j], 7, [[1], [2, 3]]])
def test_what_is_no_discrete_action(action):
    codec = SpaceCodec.from_spaces(spaces.Discrete(3), spaces.Discrete(3))
    with pytest.raises(UsageError, match="the action must"):
        codec.action_from_env(action)


def test_more_environments_than_can_be_made_are_refused_at_once():
    with pytest.raises(UsageError, match=r"30,000,000,000 environments at once, of 3 seeds, are more than the 20,000"):
        slot_seeds([0, 1, 2], 10**10, MOST_GYM_SLOTS)
    with pytest.raises(UsageError, match="environments at once, of 1 seed, are"):
        make("forethought/DynaMaze-v0", seeds=[0], envs_per_seed=10**9)
    with pytest.raises(UsageError, match="none of them negative") as error:
        make("forethought/DynaMaze-v0", seeds=range(-1, 10_000))
    assert len(str(error.value)) < 200
