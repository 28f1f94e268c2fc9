"""What the numbers of observations and actions are called."""

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from forethought import envs
from forethought.envs import SpaceCodec
from forethought.errors import UsageError
from forethought.report.read import RunLog

BOX = spaces.Box(-1.0, 1.0, (2,))


class House(gymnasium.Env):
    observation_space, action_space = BOX, spaces.Discrete(2)
    observation_names = ("indoor", "outdoor")
    action_names = ("off", "heat")

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros(2, np.float32), {}

    def step(self, action):
        return np.zeros(2, np.float32), 0.0, False, False, {}


def names(codec):
    return codec.obs_names, codec.action_names


def test_an_environment_says_how_its_numbers_are_called():
    gymnasium.register("NamedHouse-v0", entry_point=House)
    try:
        world = envs.make("NamedHouse-v0", seeds=[0])
        assert names(world.codec) == (("indoor", "outdoor"), ("off", "heat"))
        House.observation_names = ("one too few",)  # means something else there
        assert names(envs.make("NamedHouse-v0", seeds=[0]).codec) == ((), ())
    finally:
        del gymnasium.registry["NamedHouse-v0"]
    assert names(envs.make("forethought/Pendulum-v0", seeds=[0]).codec)[0] == ("cos angle", "sin angle", "speed")


def test_the_keys_of_a_dict_are_names():
    space = spaces.Dict({"b": spaces.Box(-1.0, 1.0, (2,)), "a": spaces.Box(-1.0, 1.0, (1,))})
    codec = SpaceCodec.from_spaces(space, BOX)
    assert codec.obs_names == ("a", "b[0]", "b[1]")
    assert SpaceCodec.from_json(codec.to_json()) == codec


def test_the_users_names_come_first_and_must_fit():
    codec = SpaceCodec.from_spaces(BOX, BOX).named(("x", "y"))
    assert names(codec) == (("x", "y"), ())
    assert names(codec.named(("u", "v"), ("left", "right"))) == (("u", "v"), ("left", "right"))
    assert names(codec.named()) == names(codec)
    with pytest.raises(UsageError, match="obs_names has 3 names; 2 are needed, one for each number"):
        codec.named(("a", "b", "c"))
    with pytest.raises(UsageError, match="action_names takes a list of words, not 'ab'"):
        codec.named((), "ab")


def test_a_report_calls_a_number_by_its_name_or_its_place(tmp_path):
    def run(config):
        return RunLog(tmp_path, "r", config, {}, None, (), ())

    named = run({"spaces": {"obs_names": ["x", "y"]}})
    assert (named.obs_name(1), named.obs_name(2)) == ("y", "observation 2")
    assert run({}).obs_name(0) == "observation 0"
