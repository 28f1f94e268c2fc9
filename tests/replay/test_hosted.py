"""A replay in the host's memory is the same replay: forced here, where the device is the host itself."""

import re

import jax
import numpy as np
import pytest

import forethought
import small
from forethought.errors import UsageError
from forethought.replay import hosted, moments
from forethought.replay.moments import of_seed
from forethought.training import memory
from forethought.training.program import Program
from forethought.training.remedies import remedy
from forethought.training.segments import Segments
from forethought.types import Experience

pytestmark = pytest.mark.skipif(not hosted.possible(), reason="this JAX has no memory of the host beside the device's")
PENDULUM = "forethought/Pendulum-v0"


def same(one, other):
    jax.tree.map(np.testing.assert_array_equal, jax.tree.leaves(one), jax.tree.leaves(other))


def lived(env, seeds, num_envs, steps, in_blocks, **settings):
    world = small.envs.make(env, seeds=range(seeds), envs_per_seed=num_envs)
    name = "dqn" if "CartPole" in env else "sac"
    learner = small.Learner(small.make_agent(name, world.spec, **settings), range(seeds), num_envs, steps)
    world.reset()
    while learner.env_steps < steps:
        if not in_blocks or learner.run_block(world, 7) is None:
            small.advance(learner, world, world.now())
    return learner


@pytest.mark.parametrize(
    ("env", "seeds", "num_envs", "in_blocks", "settings"),
    [
        (PENDULUM, 1, 1, True, {}),
        *(
            pytest.param(*case, marks=pytest.mark.slow)
            for case in (
                (PENDULUM, 2, 1, True, {}),
                (PENDULUM, 2, 3, True, {}),
                ("Pendulum-v1", 1, 1, False, {}),
                ("CartPole-v1", 1, 2, False, {"n_step": 3, "prioritized": True}),
            )
        ),
    ],
)
def test_what_is_learned_is_the_same(env, seeds, num_envs, in_blocks, settings, monkeypatch):
    here = lived(env, seeds, num_envs, 48, in_blocks, **settings)
    monkeypatch.setattr(hosted, "needed", lambda n_bytes: True)
    there = lived(env, seeds, num_envs, 48, in_blocks, **settings)
    assert here.updates == there.updates > 0
    kinds = [{x.sharding.memory_kind for x in learner.replay.packed.values()} for learner in (here, there)]
    assert kinds == [{"device"}, {hosted.KIND}]
    same((here.state, here.replay), (there.state, there.replay))


@pytest.mark.slow
def test_a_run_is_saved_and_goes_on(tmp_path, monkeypatch):
    options = {"seeds": 2, "agent": small.SETTINGS["sac"], "eval_every": 20, "eval_episodes": 1, "log_every": 10}
    whole = forethought.train("sac", PENDULUM, steps=60, run=tmp_path / "whole", **options)
    monkeypatch.setattr(hosted, "needed", lambda n_bytes: True)
    forethought.train("sac", PENDULUM, steps=35, run=tmp_path / "part", **options)
    part = forethought.resume(forethought.resume(tmp_path / "part", steps=45).path, steps=60)
    same(whole.transitions().obs, part.transitions().obs)
    same(forethought.load(whole.path).state, forethought.load(part.path).state)
    monkeypatch.undo()
    same(part.transitions().obs, whole.transitions().obs)  # where it lies is no part of a run
    logged = forethought.train(
        "sac", PENDULUM, steps=20, run=tmp_path / "l", data=whole.transitions(seed=0), pretrain=3, **options
    )
    monkeypatch.setattr(hosted, "needed", lambda n_bytes: True)
    again = forethought.train(
        "sac", PENDULUM, steps=20, run=tmp_path / "m", data=whole.transitions(seed=0), pretrain=3, **options
    )
    same(forethought.load(logged.path).state, forethought.load(again.path).state)


@pytest.mark.parametrize(("seeds", "num_envs"), [(1, 1), pytest.param(2, 3, marks=pytest.mark.slow)])
def test_pictures_are_saved_and_come_back(seeds, num_envs, tmp_path, monkeypatch):
    """Of a replay that is full, in which episodes are forgotten: which rows begin one is read off them."""
    monkeypatch.setattr(hosted, "needed", lambda n_bytes: True)
    monkeypatch.setattr(moments, "_SPARE_LEAST", 8)
    world = small.envs.make("forethought/Catch-v0", seeds=range(seeds), envs_per_seed=num_envs, env_kwargs={"size": 48})
    agent = small.make_agent("dqn", world.spec, replay_capacity=24 * num_envs, random_steps=10**6)
    learner = small.Learner(agent, range(seeds), num_envs, 10**6)
    small.live(learner, world, 70 * num_envs)
    replay, empty = learner.replay, learner.program.init_replay()
    assert not replay.keeps_all
    assert (np.asarray(replay.written) > replay.room).all()
    back = Segments().load(tmp_path, *reversed(Segments().save(tmp_path, replay)), empty)
    assert {x.sharding.memory_kind for x in back.packed.values()} == {hosted.KIND}
    same(replay, back)
    given = of_seed(back, 0).last(20)
    there = learner.program.fill(learner.program.init_replay(), given)
    monkeypatch.setattr(hosted, "needed", lambda n_bytes: False)
    program = Program(agent, range(seeds), num_envs, 10**6)
    same(there, program.fill(program.init_replay(), given))


def test_it_lies_there_where_the_device_is_too_small(monkeypatch):
    class Device:
        platform = "gpu"

        def memory_stats(self):
            return {"bytes_limit": 1000, "bytes_in_use": 0}

        def addressable_memories(self):
            return jax.local_devices()[0].addressable_memories()

    monkeypatch.setattr(jax, "devices", lambda *args: [Device()])
    monkeypatch.delenv("XLA_PJRT_GPU_HOST_MEMORY_LIMIT_GB", raising=False)
    assert [hosted.needed(n) for n in (700, 900, 64 * 2**30)] == [False, True, True]
    with pytest.raises(UsageError, match="XLA_PJRT_GPU_HOST_MEMORY_LIMIT_GB=66"):
        hosted.needed(64 * 2**30 + 1)
    monkeypatch.setenv("XLA_PJRT_GPU_HOST_MEMORY_LIMIT_GB", "66")
    assert hosted.needed(64 * 2**30 + 1)


@pytest.mark.parametrize(("seeds", "num_envs"), [(1, 1), (2, 3)])
def test_the_host_returns_what_is_drawn_and_never_all_rows(seeds, num_envs, monkeypatch):
    """What it returns lies in the device's memory at first, also where it is sent back at once."""
    monkeypatch.setattr(hosted, "needed", lambda n_bytes: True)
    world = small.envs.make(PENDULUM, seeds=range(seeds), envs_per_seed=num_envs)
    agent = small.make_agent("sac", world.spec, replay_capacity=7920)
    learner = small.Learner(agent, range(seeds), num_envs, 10**6)
    now, action = world.reset(), learner.act(world.now())
    lived = Experience(*(learner._grouped(x) for x in (now, world.step(action).reached)), learner.decision.extras)
    program, phases = learner.program, ((agent.phases()[0], 1),)
    state, replay, carry = learner._state, learner.replay, learner.carry
    turn = program._compile_turn(phases).lower(program.keys, state, replay, lived, carry, learner._grouped(now), 100)
    rows = str(replay.room * num_envs)
    calls = re.findall(r"\bcall @compute_on.* : (.*) -> (.*)", turn.as_text())
    assert calls
    assert all(rows in given and rows not in returned for given, returned in calls)


def test_several_seeds_are_counted_together(monkeypatch):
    """What one seed needs would fit: what is planned for all must be what they will do."""
    agent = small.make_agent("sac", small.envs.env_spec(PENDULUM), replay_capacity=1000)
    of_one = memory.plan(Program(agent, [0], 1, 10**6))
    monkeypatch.setattr(hosted, "needed", lambda n_bytes: n_bytes > 2 * of_one.replay)
    assert [memory.plan(Program(agent, [0], 1, 10**6), seeds).hosted for seeds in (1, 4)] == [False, True]
    assert Program(agent, range(4), 1, 10**6).hosted


def test_it_is_read_on_the_host(monkeypatch):
    """Whole, and of one seed: it has no room on the device."""
    here = lived(PENDULUM, 2, 1, 24, True)
    monkeypatch.setattr(hosted, "needed", lambda n_bytes: True)
    there = lived(PENDULUM, 2, 1, 24, True)
    same(here.replay.rows, there.replay.rows)
    assert all(isinstance(x, np.ndarray) for x in jax.tree.leaves(there.replay.rows))
    one, other = (of_seed(learner.replay, 1) for learner in (here, there))
    assert all(isinstance(x, np.ndarray) for x in other.packed.values())
    same(one.last(10), other.last(10))
    assert "learning rate" in remedy(there.agent.config, there.replay)


def test_the_plan_counts_both_memories(monkeypatch):
    monkeypatch.setattr(hosted, "needed", lambda n_bytes: True)
    spec = small.envs.env_spec(PENDULUM)
    plan = memory.plan(Program(small.make_agent("sac", spec), [0], 1, 1000))
    assert plan.hosted
    assert plan.total == plan.networks
    assert "in host memory" in str(plan)
    plan.refuse_if_too_large()
    monkeypatch.setattr(memory, "_available", lambda: plan.replay)
    with pytest.raises(UsageError, match="of the host's memory"):
        plan.refuse_if_too_large()
