import sys
import warnings

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.error import DependencyNotInstalled

from forethought.envs import gym_make, make
from forethought.envs.contract import episode_seed
from forethought.errors import EnvironmentFault, MissingExtra, UsageError


def run(env_id, steps=6, **arguments):
    env = make(env_id, seeds=[0, 1], **arguments)
    env.reset()
    for _ in range(steps):
        env.step(np.zeros((2, 1), np.float32))


def assert_one_line(error):
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("env_id", "words"),
    [
        ("CartPol-v1", "did you mean 'CartPole-v"),
        ("CartPole-v7", "'CartPole-v1'"),
        ("Pendulum-v0", "'Pendulum-v1'"),
        ("nowhere/Zzzqx-v3", r"pprint_registry\(\) lists"),
        ("forethought/DinaMaze-v0", "did you mean 'forethought/DynaMaze-v0'"),
        ("not an id", "Malformed"),
        ("no_such_module_xyz:Env-v0", "No module named .*; install it, or .* PYTHONPATH$"),
        ("HalfCheetah-v3", "gymnasium-robotics"),
    ],
)
def test_unknown_ids_get_a_way_out(env_id, words):
    with pytest.raises(UsageError, match=words) as error:
        make(env_id, seeds=[0])
    assert_one_line(error)


@pytest.mark.parametrize(
    ("env_id", "file"),
    [("house", "house.py"), ("house.py", "house.py"), ("villa", "villa/__init__.py"), ("villa.room", "villa/room.py")],
)
def test_a_module_of_the_current_folder_is_no_id_and_says_how_to_name_one(env_id, file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_text("raise SystemExit('imported')")
    name = env_id.removesuffix(".py")
    ways = f"write {name}:Name-v0 with a name that it registers, or {name}:Name with one of a class"
    with pytest.raises(UsageError, match=f"^there is no environment '{env_id}'; {file} is a module: {ways}$"):
        make(env_id, seeds=[0])


def test_an_id_in_a_module_of_ones_own_is_imported(tmp_path, monkeypatch):
    text = "import gymnasium\nfrom gymnasium.envs.classic_control import PendulumEnv\n"
    (tmp_path / "my_worlds.py").write_text(text + "gymnasium.register('Own-v0', entry_point=PendulumEnv)\n")
    monkeypatch.syspath_prepend(tmp_path)
    env = make("my_worlds:Own-v0", seeds=[0])
    assert env.spec.id == "my_worlds:Own-v0"
    assert env.spec.max_episode_steps is None
    del gymnasium.registry["Own-v0"]
    with pytest.raises(UsageError, match="there is no environment 'my_worlds:Owl-v0'"):
        make("my_worlds:Owl-v0", seeds=[0])


@pytest.mark.parametrize(
    ("env_id", "module", "extra"),
    [("ALE/Pong-v5", "ale_py", "atari"), ("dm_control/walker-walk-v0", "shimmy", "dmc")],
)
def test_namespaces_of_missing_packages(monkeypatch, env_id, module, extra):
    monkeypatch.setitem(sys.modules, module, None)  # importing it now raises ImportError
    with pytest.raises(MissingExtra, match=rf"{env_id}.*pip install .*\[{extra}\]") as error:
        make(env_id, seeds=[0])
    assert_one_line(error)


@pytest.mark.parametrize(
    ("raised", "module", "extra"),
    [
        (DependencyNotInstalled('MuJoCo is not installed, run `pip install "gymnasium[mujoco]"`'), "mujoco", "mujoco"),
        (DependencyNotInstalled("Box2D is not installed, run `pip install swig`"), "Box2D", "box2d"),
        (ModuleNotFoundError("No module named 'dm_control'"), "dm_control", "dmc"),
    ],
)
def test_missing_dependencies_name_their_extra(pliable, monkeypatch, raised, module, extra):
    find_spec = gym_make.importlib.util.find_spec
    monkeypatch.setattr(gym_make.importlib.util, "find_spec", lambda name: None if name == module else find_spec(name))

    def fail(self):
        raise raised

    with pytest.raises(MissingExtra, match=rf"pip install .*\[{extra}\]"):
        make(pliable(__init__=fail), seeds=[0])


def test_other_missing_packages_are_named(pliable):
    def fail(self):
        raise ModuleNotFoundError("No module named 'quux'")

    with pytest.raises(UsageError, match="No module named 'quux'"):
        make(pliable(__init__=fail), seeds=[0])


@pytest.mark.parametrize("env_id", ["CartPole-v1", "forethought/DynaMaze-v0"])
def test_unknown_env_kwargs_are_shown(env_id):
    with pytest.raises(UsageError, match=r"does not take env_kwargs \{'colour': 'red'\}"):
        make(env_id, seeds=[0], env_kwargs={"colour": "red"})


def test_a_constructor_that_fails_is_the_environments_fault(pliable):
    def fail(self):
        raise RuntimeError("no\nroom")

    with pytest.raises(EnvironmentFault, match="raised RuntimeError while it was made: no room") as error:
        make(pliable(__init__=fail), seeds=[0])
    assert isinstance(error.value.__cause__, RuntimeError)


@pytest.mark.parametrize(
    ("space", "words"),
    [
        (spaces.Box(-np.inf, np.inf, (2,)), "dimension 0 .* no finite bounds .*TransformAction"),
        (spaces.Box(np.array([-1, -1]), np.array([1, np.inf]), dtype=np.float64), "dimension 1 .* no finite bounds"),
        (spaces.Box(-np.finfo(np.float32).max, 1.0, (1,)), "dimension 0 .* no finite bounds"),
        (spaces.Box(np.array([-1.0, 2.0]), np.array([1.0, 2.0]), dtype=np.float64), "dimension 1 .* low < high"),
        (spaces.MultiBinary(3), r"MultiBinary\(3\) is not supported; supported are Box and Discrete"),
    ],
)
def test_action_spaces_that_cannot_be_served(pliable, space, words):
    with pytest.raises(UsageError, match=words) as error:
        make(pliable(action_space=space), seeds=[0])
    assert_one_line(error)


def test_bounds_that_are_nan_or_reversed_are_refused(pliable):
    space = spaces.Box(-1.0, 1.0, (1,))
    space.low = np.array([np.nan], np.float32)
    with pytest.raises(UsageError, match="no finite bounds"):
        make(pliable(action_space=space), seeds=[0])
    space.low = np.array([2.0], np.float32)
    with pytest.raises(UsageError, match="leaves no choice"):
        make(pliable(action_space=space), seeds=[0])


@pytest.mark.parametrize(
    "space",
    [
        spaces.MultiDiscrete([2, 3]),
        spaces.Dict(a=spaces.Discrete(2, start=1)),
        spaces.Dict(a=spaces.Dict(b=spaces.Discrete(2))),
        spaces.Tuple([spaces.Discrete(2)]),
    ],
)
def test_observation_spaces_that_cannot_be_served(pliable, space):
    with pytest.raises(UsageError, match=r"supported are Box, Discrete .* and Dict of these"):
        make(pliable(observation_space=space), seeds=[0])


@pytest.mark.parametrize(
    ("space", "said"),
    [
        (spaces.Dict({1: spaces.Discrete(2), 2: spaces.Box(0, 1, (2,))}), "keys .* must be words"),
        (spaces.Dict({"": spaces.Discrete(2), "a": spaces.Box(0, 1, (2,))}), "keys .* must be words"),
        (
            spaces.Dict(a=spaces.Box(0, 1, (0,)), b=spaces.Box(0, 1, (2,))),
            "part 'a' of the observation space .* no num",
        ),
        (spaces.Dict({}), "observation space .* holds no number"),
        (
            spaces.Box(0, 255, (4, 84, 84), np.uint8),
            r"channels first; put them last, with .*numpy.moveaxis",
        ),
    ],
)
def test_parts_that_cannot_be_told_apart_or_seen_are_refused(pliable, space, said):
    with pytest.raises(UsageError, match=said):
        make(pliable(observation_space=space), seeds=[0])


def broken_at_3(value):
    return lambda self: value if self.steps == 3 else np.array([self.steps, 0.0], np.float32)


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (
            {"observe": broken_at_3(np.array([0.0, np.nan]))},
            "an observation with nan in dimension 1 at step 3 of episode 0",
        ),
        ({"observe": broken_at_3(np.array([np.inf, 0.0]))}, "an observation with inf in dimension 0 at step 3"),
        ({"observe": broken_at_3(np.zeros(5))}, r"observation space .*shape \(2,\).* got \(5,\)\) at step 3"),
        ({"observe": broken_at_3(np.zeros((4, 2)))}, r"observation space \(a batch of shape \(4,\)\) at step 3"),
        ({"observe": broken_at_3("hello")}, "observation space .*array of real numbers, got 'hello'"),
        (
            {"pay": lambda self: float("nan") if self.steps == 3 else 0.0},
            "the reward nan at step 3 of episode 0 in environment 0 of seed 0",
        ),
        (
            {"pay": lambda self: 1 / (3 - self.steps)},
            r"raised ZeroDivisionError .* at step 3 of episode 0 in environment 0 of seed 0",
        ),
        ({"pay": lambda self: None}, r"contract \(the reward must be a number, got None\) at step 1"),
    ],
)
def test_faults_name_the_place_and_how_to_see_them_again(pliable, overrides, words):
    env_id = pliable(**overrides)
    with pytest.raises(EnvironmentFault, match=words) as error:
        run(env_id)
    assert str(error.value).startswith(env_id)
    assert f"to see it again: reset(seed={episode_seed(0, 'train', 0, 0)}) and the same actions" in str(error.value)
    assert_one_line(error)


def test_faults_in_a_reset(pliable):
    def fail(self, *, seed=None, options=None):
        raise KeyError("map")

    with pytest.raises(EnvironmentFault, match=r"raised KeyError \('map'\) at step 0 of episode 0") as error:
        run(pliable(reset=fail))
    assert isinstance(error.value.__cause__, KeyError)


def test_a_first_observation_of_a_later_episode_is_checked_too(pliable):
    resets = []

    def observe(self):
        resets.append(self.steps)
        return np.array([np.nan if resets.count(0) > 2 else self.steps, 0.0], np.float32)

    with pytest.raises(EnvironmentFault, match="nan in dimension 0 at step 0 of episode 1 in environment 0 of seed 0"):
        run(pliable(observe=observe, length=2))


def test_integers_out_of_range(pliable):
    env_id = pliable(observation_space=spaces.Discrete(3), observe=lambda self: self.steps)
    with pytest.raises(EnvironmentFault, match=r"must lie in 0..2, got 3\) at step 3"):
        run(env_id)


def test_values_beyond_the_declared_bounds_are_warned_of_once(pliable):
    space = spaces.Box(-1.0, np.array([9.0, 2.0], np.float32), (2,), np.float32)
    env_id = pliable(observation_space=space, observe=lambda self: np.array([0.0, self.steps], np.float32))
    with pytest.warns(UserWarning, match=r"returned 3 in dimension 1 .* beyond its declared high 2") as caught:
        run(env_id, steps=9)
    assert len(caught) == 1


def test_rounding_at_the_bounds_is_no_reason_to_warn(pliable):
    space = spaces.Box(-1.0, 1.0, (2,), np.float32)
    env_id = pliable(observation_space=space, observe=lambda self: np.array([1.00001, -1.00001]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run(env_id)


def test_gymnasiums_own_warnings_are_off():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run("Pendulum-v1")
        make("CartPole-v0", seeds=[0])  # an outdated version, of which Gymnasium warns
