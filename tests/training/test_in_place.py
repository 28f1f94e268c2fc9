"""No step copies the replay: its rows may be a gigabyte, and a step takes less than a millisecond."""

import re

import jax
import pytest

import small
from forethought.training.block import Block, LoopState, beside
from forethought.types import Experience

TRANSITIONS = 7919  # a number that nothing else has; there are twice as many rows


@pytest.mark.parametrize(
    ("name", "env", "settings", "seeds", "num_envs"),
    [
        ("sac", "forethought/Pendulum-v0", {}, 1, 1),
        ("sac", "forethought/Pendulum-v0", {}, 2, 1),
        ("sac", "forethought/Pendulum-v0", {}, 1, 3),
        ("dqn", "gymnax/CartPole-v1", {}, 1, 1),
        ("dqn", "gymnax/CartPole-v1", {"n_step": 3, "prioritized": True}, 1, 1),
    ],
)
def test_the_rows_stay_where_they_are(name, env, settings, seeds, num_envs):
    pytest.importorskip("gymnax") if env.startswith("gymnax") else None
    world = small.envs.make(env, seeds=range(seeds), envs_per_seed=num_envs)
    agent = small.make_agent(name, world.spec, **{**settings, "replay_capacity": TRANSITIONS})
    learner = small.Learner(agent, range(seeds), num_envs, 10**6)
    learner.act(world.reset())
    program, phases = learner.program, ((agent.phases()[0], 1),)
    state, replay, carry, decision = learner._state, learner.replay, learner.carry, learner.decision
    turn = program._compile_turn(phases).lower(
        program.keys, state, replay, _lived(learner, world, decision), carry, learner._grouped(world.now()), 100
    )
    block, slots = Block(program, world.advance, phases, "explore"), beside(state, world.slots)
    alive = LoopState(state, replay, carry, decision, slots, {})
    blocks = block._run.lower(*alive[:5], 100, 10)
    rows = replay.room * num_envs
    assert rows >= 2 * TRANSITIONS
    for compiled in (turn, blocks):
        text = compiled.compile().as_text()
        assert re.search(rf"\b\w+\[(\d+,)*{rows},\d+\]", text)  # they are there
        assert re.findall(rf"= \w+\[(?:\d+,)*{rows}(?:,\d+)*\]\S* copy\(", text) == []


def _lived(learner, world, decision):
    reached = world.step(jax.device_get(decision.action).reshape(world.num_slots, *decision.action.shape[2:])).reached
    return Experience(learner._grouped(world.now()), learner._grouped(reached), decision.extras)
