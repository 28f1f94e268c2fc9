"""Ask and tell where the world does not wait: programs are compiled before, learning is put off, nothing is lost."""

import gymnasium
import jax
import numpy as np
import pytest

import forethought
import small
from forethought.agents.dyna.dyna_q import DynaQ
from forethought.envs import Step
from forethought.training.clock import compiled_programs
from forethought.training.learner import Learner
from forethought.types import Box, Discrete, EnvSpec, TimeStep

STATES, ACTIONS = gymnasium.spaces.Discrete(7), gymnasium.spaces.Discrete(3)
BOX = gymnasium.spaces.Box(-1.0, 1.0, (2,))


def same(one, other):
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("algorithm", ["dyna-q-plus", "prioritized-sweeping"])
def test_a_table_learns_the_same_late_as_at_once(algorithm):
    n, steps = 100, 3000  # many environments, so that it is quick
    late, at_once = (
        Learner(small.make_agent(algorithm, EnvSpec("toy", Discrete(7), Discrete(3))), [0], n, 10_000) for _ in "12"
    )
    at_once.program = late.program  # and so compiled once
    rng = np.random.default_rng(0)
    for _ in range(0, steps, n):
        obs, action, seen = (rng.integers(high, size=n).astype(np.int32) for high in (7, 3, 7))
        flags = rng.random(n) < 0.1
        now = small.seen(late.agent.spec, obs)
        reached = TimeStep(seen, action, rng.normal(size=n).astype(np.float32), np.zeros(n, bool), flags, ~flags)
        step = Step(reached, small.seen(late.agent.spec, seen), np.ones(n, np.int32))
        for learner in (late, at_once):
            learner.observe(now, step)
        at_once.learn()
    assert late.updates == 0
    late.learn()
    assert late.updates == at_once.updates > 0
    same(late.state, at_once.state)


def test_what_is_to_be_learned_from_data_fills_no_room():
    spec = EnvSpec("toy", Box((2,)), Box((1,)))
    learner = Learner(small.make_agent("sac", spec), [0], 1, 100, pretrain=500)
    assert learner.program.replay_capacity == 100
    assert not learner.full


def test_a_step_is_learned_before_the_replay_forgets_it(tmp_path, monkeypatch):
    monkeypatch.setattr(DynaQ, "replay_capacity", 8)

    def live(path, learn):
        agent, rng = forethought.start("dyna-q", STATES, ACTIONS, run=path, steps=20), np.random.default_rng(0)
        for _ in range(20):
            obs, then, done = rng.integers(7), rng.integers(7), rng.integers(3)
            assert 0 <= agent.act(obs) < 3
            agent.observe(then, float(rng.normal()), terminated=False, action=done, learn=learn)
        return agent

    late, at_once = live(tmp_path / "late", False), live(tmp_path / "at once", True)
    assert late.learner.learned == 16
    late.learn()
    same(late.learner.state, at_once.learner.state)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:warning. the model")  # which has hardly seen anything
@pytest.mark.parametrize("algorithm", ["mbpo", "poplin-p"])
def test_what_is_compiled_before_is_not_compiled_again_and_changes_nothing(algorithm, tmp_path):
    def live(path, warm):
        agent = forethought.start(algorithm, BOX, BOX, run=path, steps=100, agent=small.SETTINGS[algorithm])
        rng = np.random.default_rng(0)
        if warm:
            agent.warm_up()
        compiled, actions = compiled_programs(), []
        for t in range(18):  # the model is fitted after 16
            actions.append(agent.act(rng.uniform(-1.0, 1.0, 2)))
            agent.observe(rng.uniform(-1.0, 1.0, 2), float(rng.normal()), terminated=t == 8)
        return agent, actions, compiled_programs() - compiled

    warm, did, compiled = live(tmp_path / "warm", True)
    assert compiled == 0
    cold, would, compiled = live(tmp_path / "cold", False)
    assert compiled > 4
    same(did, would)
    same(warm.learner.tree(), cold.learner.tree())
    assert warm.learner.fits == cold.learner.fits == 1
