"""Pictures in place of what an environment gives, and the tasks that are seen."""

from dataclasses import replace

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import spaces

import forethought
import small
from forethought.envs import make
from forethought.envs.catch import Catch
from forethought.envs.gym_make import time_limit
from forethought.errors import EnvironmentFault, MissingExtra, UsageError
from forethought.training.baselines import play_baselines
from forethought.training.config import RunConfig
from forethought.types import Box, Discrete


class Drawn(gymnasium.Env):
    """What is seen is a number, what is drawn a picture of 8 x 12, the left half brighter by that number."""

    metadata = {"render_modes": ["rgb_array"]}  # noqa: RUF012 - Gymnasium declares it so
    observation_space = spaces.Box(0, 255, (1,))
    action_space = spaces.Discrete(2)

    drawn = 0  # by all of them

    def __init__(self, render_mode=None, shows="colours"):
        self.render_mode, self.shows = render_mode, shows

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.at = int(self.np_random.integers(100))
        return np.array([self.at]), {}

    def step(self, action):
        self.at += 1
        return np.array([self.at]), 0.0, False, False, {}

    def render(self):
        picture = np.zeros((8, 12, 3), np.uint8)
        picture[:, :6, 0] = self.at
        Drawn.drawn += 1
        pictures = {"colours": picture, "grey": picture[..., 0], "nothing": None, "floats": picture / 255.0}
        return pictures[self.shows]


def roll(world, n):
    rng = np.random.default_rng(0)
    return [world.step(small.actions(world, rng)) for _ in range(n)]


def test_what_is_drawn_is_seen():
    world = make("drawn", seeds=[0, 1], maker=Drawn, pixels=8)
    assert world.spec.obs == Box((8, 8, 3), "uint8")
    first, plain = world.reset(), make("drawn", seeds=[0, 1], maker=Drawn).reset()
    for seen, at in zip(first.obs, plain.obs[:, 0], strict=True):
        assert (seen[:, :4, 0] == at).all()
        assert (seen[:, 4:] == 0).all()
    roll(world, 3)
    state = world.get_state()
    again, notes = world.set_state(state)
    assert notes == []
    np.testing.assert_array_equal(again.obs, state["obs"])
    assert (again.obs[:, :, :4, 0] == plain.obs[:, :1, None] + 3).all()


def test_the_picture_of_an_observation_is_seen_without_the_rest():
    world = make("seeing:Seeing-v0", seeds=[0], pixels=12)
    assert world.spec.obs == Box((12, 12, 1), "uint8")
    seen, own = world.reset().obs[0], make("seeing:Seeing-v0", seeds=[0]).reset().obs["picture"][0]
    assert own.shape == (5, 6, 1)
    np.testing.assert_array_equal(seen, np.tile(own[:1].repeat(2, axis=1), (12, 1, 1)))


def test_what_draws_nothing_is_refused():
    with pytest.raises(UsageError, match=r"draws no pictures, which --pixels needs"):
        make("tests.training.faulty:Faulty-v0", env_kwargs={"fault": "none"}, seeds=[0], pixels=8)
    with pytest.raises(UsageError, match=r"drawn in no program of JAX; leave out --pixels"):
        make("gymnax/CartPole-v1", seeds=[0], pixels=8)
    with pytest.raises(UsageError, match="pixels is 4; a picture has 8 to 1024 a side"):
        make("Pendulum-v1", seeds=[0], pixels=4)
    for shows, said in (("nothing", "NoneType"), ("floats", r"ndarray of float64\[8, 12, 3\]")):
        world = make("drawn", seeds=[0], maker=Drawn, env_kwargs={"shows": shows}, pixels=8)
        with pytest.raises(EnvironmentFault, match=rf"drawn cannot be seen \(no picture was drawn but {said}"):
            world.reset()


def test_grey_pictures_that_are_drawn_become_coloured_ones():
    seen, grey = (
        make("drawn", seeds=[0], maker=Drawn, env_kwargs={"shows": shows}, pixels=8).reset().obs
        for shows in ("colours", "grey")
    )
    assert seen[..., 0].max() > 0
    np.testing.assert_array_equal(grey, seen[..., :1].repeat(3, axis=-1))


@pytest.mark.parametrize("shape", [(20, 20, 4), (20, 20, 2), (20, 20, 9)])
def test_pictures_whose_channels_are_no_colours_are_refused(shape):
    class Stacked(Drawn):
        observation_space = spaces.Box(0, 255, shape, np.uint8)

    with pytest.raises(UsageError, match=f"have {shape[2]} channels, which are no colours; leave out --pixels"):
        make("stacked", seeds=[0], maker=Stacked, pixels=8)


def test_nothing_is_drawn_in_the_middle_of_a_repeated_action():
    world = make("drawn", seeds=[0], maker=Drawn, pixels=8, action_repeat=5)
    world.reset()
    Drawn.drawn = 0
    step = roll(world, 3)[-1]
    assert Drawn.drawn == 3
    assert step.frames[0] == 5
    plain = make("drawn", seeds=[0], maker=Drawn)
    plain.reset()
    assert step.reached.obs[0, 0, 0, 0] == roll(plain, 15)[-1].reached.obs[0, 0]


def test_baselines_are_played_without_pictures():
    config = RunConfig(algorithm="ppo", env="CartPole-v1", steps=100, pixels=8, eval_episodes=2, agent={})
    world = make("CartPole-v1", seeds=[0], pixels=8)
    seen, plain = (
        play_baselines(replace(config, pixels=pixels), world.codec, controller=controller)
        for pixels, controller in ((8, lambda picture: int(picture.shape == (8, 8, 3))), (0, None))
    )
    assert {name: seen[name] for name in plain} == plain
    assert seen["your controller"].mean < 12  # it was shown the picture, and so always pushed to the right


def test_a_run_sees_pictures_and_is_evaluated_by_them(tmp_path):
    agent = {"hidden": (8,), "conv": ((4, 3, 2),), "rollout_steps": 16, "epochs": 1, "minibatches": 1}
    run = forethought.train(
        "ppo", "forethought/Catch-v0", pixels=12, steps=32, run=tmp_path / "run", agent=agent, eval_episodes=1
    )
    assert forethought.load(run.path).agent.spec.obs == Box((12, 12, 3), "uint8")
    assert forethought.evaluate(run.path, episodes=2).returns.shape == (1, 2)
    with pytest.raises(UsageError, match=r"has image observations \(Box\(12, 12, 3\)\)"):
        forethought.train("mbpo", "Pendulum-v1", pixels=12, steps=32, run=tmp_path / "no")


@pytest.mark.parametrize("size", [0, 16])
def test_catch_pays_as_bsuite_does(size):
    """Random actions earn -0.60 (Osband et al. 2019), those that go below the ball 1; an episode has 9 steps."""
    env, n = Catch(size), 4000
    assert env.spec.obs == (Box((16, 16, 1), "uint8") if size else Box((50,)))
    assert env.spec.action == Discrete(3)

    def play(key, best):
        key_reset, key_act = jax.random.split(key)
        state, _ = env.reset(env.init(key), key_reset)

        def step(state, key):
            towards = 1 + jnp.sign(state.column - state.paddle)
            action = jnp.where(best, towards, jax.random.randint(key, (), 0, 3))
            state, obs, reward, ended = env.step(state, action, key)
            return state, (obs, reward, ended)

        return jax.lax.scan(step, state, jax.random.split(key_act, 9))[1]

    keys = jax.random.split(jax.random.key(0), n)
    obs, reward, ended = jax.vmap(play, (0, None))(keys, False)
    assert np.array_equal(ended, np.tile(np.arange(9) == 8, (n, 1)))
    assert (reward[:, :-1] == 0).all()
    assert float(reward.sum(axis=1).mean()) == pytest.approx(-0.60, abs=0.06)
    assert float(jax.vmap(play, (0, None))(keys[:50], True)[1].sum(axis=1).min()) == 1.0
    if size:
        lit = np.asarray(obs[:, 0] == 255).reshape(n, -1).sum(axis=1)
        assert obs.dtype == np.uint8
        assert lit.min() > 0
        with pytest.raises(UsageError, match="size is 9; use at least 10"):
            Catch(9)


def test_a_task_of_deepmind_control_is_seen_as_numbers_or_drawn_small():
    pytest.importorskip("dm_control")
    world = make("dmc:cartpole-balance", seeds=[0])
    assert world.spec.id == "dm_control/cartpole-balance-v0"
    assert world.spec.obs == Box((5,))
    assert world.spec.max_episode_steps == 1000
    seen = make("dmc:cartpole-balance", seeds=[0], pixels=24)
    seen.reset()
    roll(seen, 3)
    state = seen.get_state()
    assert state["obs"].std() > 10
    assert seen.set_state(state)[1] == []
    aside = make("dmc:cartpole-balance", seeds=[0], pixels=24, env_kwargs={"render_kwargs": {"camera_id": 1}})
    other = aside.reset().obs
    assert other.shape == seen.reset().obs.shape
    assert not np.array_equal(other, seen.reset().obs)
    aside.close()
    world.close()
    seen.close()  # or it complains at the end of the process
    with pytest.raises(UsageError, match="there is no environment 'dm_control/cartpole-dance-v0'"):
        make("dmc:cartpole-dance", seeds=[0])


def test_a_step_of_atari_is_four_frames_and_no_more():
    pytest.importorskip("ale_py")
    pytest.importorskip("cv2")
    world = make("ALE/Pong-v5", seeds=[0])
    assert world.spec.obs == Box((84, 84, 1), "uint8")
    world.reset()
    ale = world._first.unwrapped.ale
    before = ale.getEpisodeFrameNumber()
    roll(world, 5)
    assert ale.getEpisodeFrameNumber() - before == 20
    assert world.spec.max_episode_steps == 27_000
    short = make("ALE/Pong-v5", seeds=[0], env_kwargs={"max_episode_steps": 25})
    short.reset()
    assert [i for i, step in enumerate(roll(short, 60), 1) if step.ended[0]] == [25, 50]
    for own in ({"frameskip": 4}, {"obs_type": "ram"}):
        with pytest.raises(UsageError, match="with four frames to a step; leave out frameskip and obs_type"):
            make("ALE/Pong-v5", seeds=[0], env_kwargs=own)
    assert make("ALE/Pong-v5", seeds=[0], pixels=64).spec.obs == Box((64, 64, 3), "uint8")


def test_doom_is_seen_by_its_screen_and_its_numbers():
    pytest.importorskip("vizdoom")
    world = make("VizdoomTakeCover-v1", seeds=[0])
    assert dict(world.spec.obs.named).keys() == {"gamevariables", "screen"}
    assert make("VizdoomTakeCover-v1", seeds=[0], pixels=64).spec.obs == Box((64, 64, 3), "uint8")


@pytest.mark.parametrize(
    ("env_id", "module", "extra"),
    [("dmc:walker-walk", "shimmy", "dmc"), ("VizdoomTakeCover-v1", "vizdoom.gymnasium_wrapper", "vizdoom")],
)
def test_what_is_missing_is_named_with_its_extra(env_id, module, extra, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, module, None)
    with pytest.raises(MissingExtra, match=rf"\[{extra}\]"):
        make(env_id, seeds=[0])


def test_whoever_draws_keeps_the_time_limit():
    assert make("forethought/Pendulum-v0", seeds=[0], pixels=16).spec.max_episode_steps == 200


@pytest.mark.parametrize(("own", "limit"), [(1000.0, 1000), (62.5, 63), (float("inf"), None)])
def test_the_time_limit_of_deepmind_control_is_its_own(own, limit):
    class Control(gymnasium.Env):
        _env = type("Inner", (), {"_step_limit": own})()

    assert time_limit(Control()) == limit
