"""Whatever an agent logs is explained."""

import jax
import jax.numpy as jnp
import pytest

import small
from forethought.agents.catalog import ALGORITHMS
from forethought.replay.moments import of_seed
from forethought.report import glossary
from forethought.training.program import Program


@pytest.mark.parametrize("name", ALGORITHMS)
def test_every_metric_and_phase_of_every_algorithm_has_a_meaning(name):
    agent = small.make_agent(name, small.envs.env_spec(small.WORLDS[name]))
    program = Program(agent, [0], 1, 100)
    state, replay = (jax.eval_shape(make) for make in (program.init_state, program.init_replay))
    state = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype), state)
    replay = jax.eval_shape(lambda replay: of_seed(replay, 0), replay)
    logged = []
    for phase in agent.phases():
        _, _, info = jax.eval_shape(
            lambda state, replay, key, phase=phase: phase.run(state, replay, step=jnp.array(50), key=key),
            state, replay, jax.random.key(0),
        )  # fmt: skip
        assert glossary.phase(phase.name).meaning
        logged += list(info)
    assert logged
    assert not [metric for metric in logged if not glossary.metric(metric).meaning]


@pytest.mark.parametrize("name", ["init", "act", "env", "record", "evaluate", "checkpoint", "compile"])
def test_the_work_of_the_loop_has_a_meaning(name):
    assert glossary.phase(name).meaning


def test_parts_and_unknown_names():
    assert glossary.metric("holdout_mse/reward").label == "held-out mean squared error: reward"
    assert glossary.metric("holdout_mse/reward").meaning == glossary.metric("holdout_mse").meaning
    assert glossary.metric("my_loss/a").label == "my loss: a"
    assert glossary.phase("my_phase").label == "my phase"
