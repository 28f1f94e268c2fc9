"""Blocks of steps on the device are the steps of the host, to the bit, wherever they are cut."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import forethought
import small
from forethought.envs import JaxVector
from forethought.errors import EnvironmentFault
from forethought.training import journal, trainer
from forethought.training.block import FROM_STEP, StepLog
from forethought.training.config import RunConfig
from forethought.training.evaluate import evaluate
from forethought.training.journal import Episodes
from forethought.types import Box, EnvSpec

PENDULUM = "forethought/Pendulum-v0"


def lived(name, env, steps, num_envs, cuts, seeds=(0, 1)):
    """A learner after so many steps, in blocks of at most ``cuts`` turns, or by the host where there are none."""
    world = small.envs.make(env, seeds=seeds, envs_per_seed=num_envs)
    learner = small.Learner(small.make_agent(name, world.spec), seeds, num_envs, steps)
    world.reset()
    told = []
    while learner.env_steps < steps:
        most = -(-(steps - learner.env_steps) // num_envs)
        block = learner.run_block(world, min(most, cuts[len(told) % len(cuts)])) if cuts else None
        if block is None:
            small.advance(learner, world, world.now())
        else:
            told.append(block)
    return learner, world, told


def same(one, other):
    (left, world_left, _), (right, world_right, _) = one, other
    for name in ("env_steps", "learned", "updates", "frames"):
        assert getattr(left, name) == getattr(right, name)
    jax.tree.map(np.testing.assert_array_equal, left.state, right.state)
    jax.tree.map(np.testing.assert_array_equal, left.replay, right.replay)
    jax.tree.map(np.testing.assert_array_equal, world_left.now(), world_right.now())
    np.testing.assert_array_equal(left.act(world_left.now()), right.act(world_right.now()))
    for phase in left.phases:
        assert left.metrics(phase.name) == right.metrics(phase.name)


def test_where_a_run_is_cut_changes_no_bit():
    whole, cut = (lived("sac", PENDULUM, 60, 3, cuts) for cuts in ((100,), (1, 2, 5)))
    assert len(whole[2]) < len(cut[2])
    same(whole, cut)
    assert whole[0].updates > 0


@pytest.mark.parametrize(
    ("name", "env", "steps", "num_envs"),
    [
        ("sac", PENDULUM, 40, 1),
        ("dyna-q", "forethought/DynaMaze-v0", 60, 3),
        pytest.param("mbpo", "forethought/ProbeAction-v0", 44, 1, marks=pytest.mark.slow),
        pytest.param("poplin-p", "forethought/ProbeAction-v0", 40, 2, marks=pytest.mark.slow),
        pytest.param("prioritized-sweeping", "forethought/DynaMaze-v0", 60, 1, marks=pytest.mark.slow),
    ],
)
def test_blocks_are_the_steps_of_the_host(name, env, steps, num_envs):
    """Rounding apart: both are compiled from the same functions, but not in one piece."""
    (blocks, _, told), (host, _, nothing) = (lived(name, env, steps, num_envs, cuts) for cuts in ((7,), ()))
    assert told
    assert not nothing
    assert (blocks.env_steps, blocks.learned, blocks.updates) == (host.env_steps, host.learned, host.updates)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), blocks.state, host.state)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), blocks.replay, host.replay)


def test_what_is_rare_is_the_hosts():
    """MBPO fits at steps 16, 24, ...: no block goes over one of them."""
    world = small.envs.make("forethought/ProbeAction-v0", seeds=[0])
    learner = small.Learner(small.make_agent("mbpo", world.spec), [0], 1, 60)
    world.reset()
    blocks = []
    while learner.env_steps < 15:
        told = learner.run_block(world, 100)
        assert told is not None
        blocks.append(learner.env_steps)
    assert blocks == [15]
    assert learner.run_block(world, 100) is None
    small.advance(learner, world, world.now())
    assert learner.fits == 1


def test_episodes_are_counted_as_one_by_one():
    rng = np.random.default_rng(0)
    told = StepLog(rng.normal(size=(50, 3)).astype(np.float32), rng.random((50, 3)) < 0.1, np.ones((50, 3), np.int32))
    one = Episodes(np.zeros(3), np.zeros(3, np.int64))
    expected = []
    for t in range(50):
        one.returns += told.reward[t]
        one.lengths += 1
        for slot in np.flatnonzero(told.ended[t]):
            expected.append((t, int(slot), float(one.returns[slot]), int(one.lengths[slot])))
            one.returns[slot], one.lengths[slot] = 0.0, 0
    for cuts in ((50,), (7, 1, 42)):
        block, found, begin = Episodes(np.zeros(3), np.zeros(3, np.int64)), [], 0
        for rows in cuts:
            part = StepLog(*(x[begin : begin + rows] for x in told))
            found += [(t + begin, *rest) for t, *rest in block.add_block(part)]
            begin += rows
        assert found == expected
        np.testing.assert_array_equal(block.returns, one.returns)
        np.testing.assert_array_equal(block.lengths, one.lengths)
        assert block.finished == len(expected) > 5


def test_of_many_episodes_their_mean_is_told(tmp_path, monkeypatch):
    """The probe ends each episode after one step: 40 of each seed in a block, but for a line of its own each."""
    monkeypatch.setattr(trainer, "FROM_STEP", 0)
    lines = {}
    for most in (1000, 50):
        monkeypatch.setattr(journal, "_MOST_LINES", most)
        run = forethought.train(
            *("dyna-q", "forethought/ProbeAction-v0"),
            steps=80,
            seeds=2,
            num_envs=4,
            run=tmp_path / f"run-{most}",
            env_kwargs={"obs": "discrete", "action": "discrete"},
            eval_every=1000,
            eval_episodes=1,
            log_every=1000,
            baselines=False,
        )
        records = map(json.loads, (run.path / "metrics.jsonl").read_text().splitlines())
        lines[most] = [record for record in records if record["kind"] == "episode"]
    assert len(lines[1000]) == 2 * 80 / 1
    assert len(lines[50]) < 100
    for seed in (0, 1):
        alone = [r["return"] for r in lines[1000] if r["seed"] == seed]
        told = [(r["return"], r.get("count", 1)) for r in lines[50] if r["seed"] == seed]
        assert sum(count for _, count in told) == len(alone) == 80
        np.testing.assert_allclose(sum(mean * count for mean, count in told), sum(alone), rtol=1e-6)
        assert max(count for _, count in told) > 1
    assert lines[50][-1]["env_steps"] == 80


@dataclass(frozen=True)
class Breaking:
    """Counts to 20 and then shows what is no number; episodes have 8 steps."""

    at: int = 20

    @property
    def spec(self):
        return EnvSpec("Breaking-v0", Box((1,)), Box((1,)), 8, 1, (-1.0,), (1.0,))

    def init(self, key):
        return jnp.float32(0)

    def reset(self, state, key):
        return state, state[None]

    def step(self, state, action, key):
        state = state + 1
        return state, jnp.where(state < self.at, state, jnp.nan)[None], action[0], jnp.bool_(False)

    def render(self, state):
        return np.zeros((2, 2, 3), np.uint8)


@pytest.mark.parametrize("from_step", [0, 1000])
def test_a_step_that_is_not_finite_has_not_happened(tmp_path, monkeypatch, from_step):
    monkeypatch.setattr(trainer, "FROM_STEP", from_step)
    options = {"agent": small.SETTINGS["sac"], "eval_every": 100, "eval_episodes": 1, "baselines": False}
    with pytest.raises(
        EnvironmentFault, match=r"nan in dimension 0 .* followed step 3 of the episode in environment 0 of seed 0"
    ):
        forethought.train("sac", Breaking(), steps=60, run=tmp_path / "run", **options)
    run = forethought.transitions(tmp_path / "run")
    assert run.obs[:, 0].tolist() == list(range(19))
    assert np.all(np.isfinite(run.next_obs))


def test_a_vector_stands_where_the_last_whole_step_led():
    world = JaxVector(Breaking(5), seeds=[0])
    learner = small.Learner(small.make_agent("sac", world.spec), [0], 1, 60)
    world.reset()
    told = learner.run_block(world, 100)
    assert told is not None
    assert len(told.ended) == learner.env_steps == learner.learned == 4
    assert world.now().obs.tolist() == [[4.0]]
    assert learner.run_block(world, 100) is None  # the host is to say what is wrong
    with pytest.raises(EnvironmentFault):
        small.advance(learner, world, world.now())
    assert learner.env_steps == 4


@pytest.mark.slow
def test_blocks_begin_at_a_step_that_does_not_depend_on_where_a_run_is_cut(tmp_path, monkeypatch):
    monkeypatch.setattr(trainer, "FROM_STEP", 30)
    blocks, live = [], small.Learner.run_block

    def counted(learner, world, most):
        began, told = learner.env_steps, live(learner, world, most)
        blocks.append((began, learner.env_steps))
        return told

    monkeypatch.setattr(small.Learner, "run_block", counted)
    options = {"agent": small.SETTINGS["sac"], "eval_every": 100, "eval_episodes": 1, "log_every": 50}
    whole = forethought.train("sac", PENDULUM, steps=60, run=tmp_path / "whole", **options)
    assert min(blocks)[0] == 30
    assert max(blocks)[1] == 60
    cut = forethought.train("sac", PENDULUM, steps=20, run=tmp_path / "cut", **options)
    cut = forethought.resume(forethought.resume(cut.path, steps=45).path, steps=60)
    for left, right in zip(*(jax.tree.leaves(forethought.load(run.path).state) for run in (whole, cut)), strict=True):
        np.testing.assert_array_equal(left, right)


@pytest.mark.parametrize("name", ["dyna-q", pytest.param("cem", marks=pytest.mark.slow)])
def test_an_evaluation_on_the_device_is_one_on_the_host(name):
    env = small.WORLDS[name]
    config = RunConfig(algorithm=name, env=env, steps=100, seeds=2, agent={})
    learner = small.Learner(small.make_agent(name, small.envs.env_spec(env)), config.seed_list, 1, 100)
    act, carry = learner.exploiting(3)
    found = [
        evaluate(actor, carry, config, episodes=3, stream="test", env_steps=FROM_STEP)
        for actor in (act, lambda now, carry, t: act(now, carry, t))
    ]
    np.testing.assert_allclose(found[0].returns, found[1].returns, rtol=1e-5)
    np.testing.assert_array_equal(found[0].lengths, found[1].lengths)
    assert found[0].lengths.min() > 0


@pytest.mark.slow
def test_blocks_run_where_the_learner_is():
    """As beside a GPU, where step by step the world lives on the processor."""
    two = {
        **os.environ,
        "XLA_FLAGS": "--xla_force_host_platform_device_count=2",
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    script = Path(__file__).with_name("on_another_device.py")
    done = subprocess.run([sys.executable, str(script)], env=two, capture_output=True, text=True)
    assert done.stdout.split("\n")[:2] == ["{1}", "{0}"], done.stderr[-2000:]


def test_what_has_run_before_is_neither_compiled_nor_traced_again(monkeypatch):
    """Steps by the host and blocks of every length: an agent that was traced at each step cost 40 ms."""
    learner, world, _ = lived("sac", PENDULUM, 40, 2, (3,))
    small.advance(learner, world, world.now())
    compiled, traced = learner.clock.seconds["compile"], []
    kept = learner.agent.init
    monkeypatch.setattr(learner.agent, "init", lambda *, key: traced.append(key) or kept(key=key))
    for most in (1, 2, 4, 5, 7):
        assert len(learner.run_block(world, most).ended) == most
        small.advance(learner, world, world.now())
    assert learner.clock.seconds["compile"] == compiled
    assert not traced
