"""Environments as a user has them: ids without a version, classes, functions and objects."""

import functools
import threading

import gymnasium
import numpy as np
import pytest
from gymnasium.wrappers import RescaleAction, TimeLimit

from forethought.envs import env_spec, make, source_of
from forethought.envs.control import Pendulum
from forethought.envs.functional import JaxVector
from forethought.errors import UsageError
from tests.house import Cottage, House, make_house, shown_house

Local = type("Local", (House,), {"__module__": "__main__"})  # as in a notebook


def made(env, seeds=(0,), env_kwargs=None, **options):
    source = source_of(env)
    kwargs = {**(source.env_kwargs or {}), **(env_kwargs or {})}
    return make(source.id, seeds=list(seeds), env_kwargs=kwargs, maker=source.maker, **options)


@pytest.mark.parametrize(
    ("env_id", "full"),
    [
        ("Pendulum", "Pendulum-v1"),
        ("Pendulum-v1", "Pendulum-v1"),
        ("tests.house:Villa", "tests.house:Villa-v2"),
        ("tests.house:Villa-v0", "tests.house:Villa-v0"),
        ("tests.house:House", "tests.house:House"),  # the class
        ("forethought/DynaMaze", "forethought/DynaMaze-v0"),
        ("Nowhere", "Nowhere"),
        ("no_such_module:Env", "no_such_module:Env"),
        ("not an id", "not an id"),
    ],
)
def test_an_id_without_a_version_means_the_newest(env_id, full):
    assert source_of(env_id).id == full


@pytest.mark.parametrize(
    ("env", "name", "limit"),
    [
        (House, "tests.house:House", None),
        (make_house, "tests.house:make_house", 20),
        (House(), "tests.house:House", None),  # as its class makes it
        (TimeLimit(House(), 7), "tests.house:House", 7),
        (House(3.0), "tests.house:House(...)", None),
        (functools.partial(House, 3.0), "tests.house:House(...)", None),
        (Local(), "__main__:Local(...)", None),
        (Local, "__main__:Local", None),
        (RescaleAction(House(), 0, 1), "gymnasium.wrappers.transform_action:RescaleAction(House)", None),
        (gymnasium.make("Pendulum-v1"), "Pendulum-v1", 200),
        (gymnasium.make("Pendulum-v1", g=5.0, max_episode_steps=9), "Pendulum-v1", 9),
        (gymnasium.make("Villa-v2"), "tests.house:Villa-v2", 30),
        (gymnasium.spec("Pendulum-v1").make, "gymnasium.envs.registration:EnvSpec.make(...)", 200),
        (Pendulum(), "forethought/Pendulum-v0", 200),
        ("tests.house:House", "tests.house:House", None),
        ("tests.house:make_house", "tests.house:make_house", 20),
        ("tests.house:SMALL_HOUSE", "tests.house:SMALL_HOUSE", None),
    ],
)
def test_classes_functions_and_objects_are_named_and_made(env, name, limit):
    assert source_of(env).id == name
    world = made(env)
    assert (world.spec.id, world.spec.max_episode_steps) == (name, limit)
    world.reset()
    assert world.step(np.zeros((1, 1), np.float32)).reached.reward.shape == (1,)


def test_arguments_of_an_object_come_with_it():
    assert source_of(gymnasium.make("Pendulum-v1", g=5.0, render_mode="rgb_array")).env_kwargs == {"g": 5.0}
    assert source_of(TimeLimit(House(), 7)).env_kwargs == {"max_episode_steps": 7}
    assert source_of(House).env_kwargs is None  # the user's own count
    (first, second) = (made(env, env_kwargs=kwargs) for env, kwargs in ((House, {"size": 3.0}), (House(3.0), {})))
    np.testing.assert_array_equal(first.reset().obs, second.reset().obs)
    ahead = [world.step(np.ones((1, 1), np.float32)).now.obs for world in (first, second)]
    np.testing.assert_array_equal(*ahead)
    assert not np.array_equal(ahead[0], stepped(House()))


def stepped(env):
    world = made(env)
    world.reset()
    return world.step(np.ones((1, 1), np.float32)).now.obs


def test_an_object_is_copied_for_every_slot_and_left_as_it_is():
    house = House(3.0)
    world = made(house, seeds=(0, 1), envs_per_seed=2)
    obs = world.reset().obs
    world.step(np.ones((4, 1), np.float32))
    world.close()
    assert len(np.unique(obs[:, 0])) == 4
    assert (house.room, house._np_random) == (0.0, None)


def test_a_time_limit_may_be_set_on_any_of_them():
    for env in (House, House(3.0), "tests.house:House", make_house):
        assert made(env, env_kwargs={"max_episode_steps": 5}).spec.max_episode_steps == 5
    assert env_spec(TimeLimit(House(), 8), action_repeat=2).max_episode_steps == 4


def test_an_environment_written_in_jax_stays_one():
    world = made(Pendulum())
    assert isinstance(world, JaxVector)
    assert isinstance(made(Pendulum), JaxVector)
    assert made(Pendulum).spec.id == "forethought.envs.control:Pendulum"


def test_pictures_of_what_makes_them():
    for env in (House, shown_house, House(render_mode="rgb_array"), "tests.house:shown_house"):
        world = made(env, render=True)
        world.reset()
        assert world.render().shape == (16, 16, 3)
    for env in (House(3.0), Cottage(3.0), functools.partial(Cottage, 3.0)):
        with pytest.raises(UsageError, match="cannot be filmed: it was not made with render_mode='rgb_array'"):
            made(env, render=True)


class Wired(House):
    """Holds what cannot be copied."""

    def __init__(self):
        super().__init__()
        self.lock = threading.Lock()


@pytest.mark.parametrize(
    ("env", "said"),
    [
        (5, "int is no environment; give an id, a gymnasium.Env, or a class or function that makes one"),
        (None, "NoneType is no environment"),
        (
            Wired(),
            r"Wired cannot be copied \(TypeError: cannot pickle '_thread.lock' object\).*function that makes one",
        ),
        (Cottage, r"Cottage needs arguments \(.*'size'\); pass them as env_kwargs"),
        (dict, "dict made a dict, which is no gymnasium.Env"),
        ("tests.house:NUMBER", "there is no environment 'tests.house:NUMBER'"),
        ("tests.house:Hous", "there is no environment 'tests.house:Hous'; did you mean 'tests.house:House'"),
        ("__main__:Local", "no import leads to; pass it again, from Python: env=..."),
        ("tests.house:House(...)", "no import leads to; pass it again"),
        ("no_such_module:House", "No module named .*; install it"),
    ],
)
def test_what_is_none_is_refused_in_one_line(env, said):
    with pytest.raises(UsageError, match=said) as error:
        made(env)
    assert "\n" not in str(error.value)
