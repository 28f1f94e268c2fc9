"""Stages: phases that run many times at a step, in parts between which all is whole."""

import jax
import numpy as np
import pytest

import small
from forethought.agents.base import Phase
from forethought.training import learner as learner_module
from forethought.training.portion import is_mark, next_mark
from forethought.training.seeds import purpose_key
from tests.training.recording import Recorder, Stop, stopping_at


class Staged(Recorder):
    """An agent with a stage of seven runs at steps 4 and 8, and a phase for each five updates of the stage."""

    def phases(self):
        return (
            Phase("stage", 4, self.draw, updates=1, start=4, kind="model", times=7),
            Phase("copy", 5, self.write_down, 0, 5, "model", clock="updates"),
        )

    def init(self, *, key):
        return {**super().init(key=key), "sum": jax.numpy.array(0.0)}

    def draw(self, state, replay, *, step, key):
        drawn = jax.random.normal(key)
        return {**state, "sum": state["sum"] + drawn}, replay, {"drawn": drawn}

    def write_down(self, state, replay, *, step, key):
        written, replay, info = super().write_down(state, replay, step=step, key=key)
        return {**state, **written}, replay, info


def staged(on_part=lambda name, done, runs: None, num_envs=1, seeds=(0, 1)):
    world = small.envs.make("forethought/ProbeConstant-v0", seeds=seeds, envs_per_seed=num_envs)
    return small.Learner(Staged(world.spec, 1, 0), seeds, num_envs, 12, on_part=on_part), world


def test_a_stage_is_so_many_runs_with_draws_of_their_own():
    learner, world = staged()
    small.live(learner, world, 10)
    keys = [jax.random.key(0), jax.random.key(1)]
    draws = [
        [jax.random.normal(jax.random.fold_in(purpose_key(key, "stage", step), i)) for step in (4, 8) for i in range(7)]
        for key in keys
    ]
    assert len(np.unique(draws)) == 28
    np.testing.assert_allclose(learner.state["sum"], np.sum(draws, axis=1), rtol=1e-5)
    np.testing.assert_allclose(learner.metrics("stage")["drawn"], np.array(draws)[:, -1], rtol=1e-6)
    assert (learner.updates, learner.fits) == (14, 2)
    # 5 updates are reached within step 4, and 10 within step 8: each once, at the end of its step.
    assert learner.state["at"][0][: int(learner.state["n"][0])].tolist() == [4, 8]


@pytest.mark.parametrize("done", [1, 3])
def test_a_stage_is_stopped_saved_and_gone_on_with_in_its_middle(monkeypatch, done):
    """At the second of its two steps."""
    monkeypatch.setattr(learner_module, "PIECE_S", 1e9)  # parts as large as they may be, whatever they take
    whole, world = staged()
    small.live(whole, world, 8)
    stopped, world = staged(stopping_at(("stage", done, 7), 2))
    with pytest.raises(Stop):
        small.live(stopped, world, 8)
    assert (stopped.env_steps, stopped.learned) == (8, 7)
    assert stopped.updates == 7 + done
    resumed, _ = staged()
    resumed.restore(jax.tree.map(jax.numpy.array, stopped.tree()), stopped.counters())
    for learner in (stopped, resumed):
        learner.learn()
        assert (learner.updates, learner.learned) == (14, 8)
        for name, leaf in learner.state.items():
            np.testing.assert_array_equal(leaf, whole.state[name])


@pytest.mark.parametrize(("of", "marks"), [(7, 7), (100, 100), (250, 100)])
def test_lines_of_a_stage_do_not_depend_on_how_it_was_cut(of, marks):
    told = [done for done in range(1, of + 1) if is_mark(done, of)]
    assert len(told) == marks
    assert told[-1] == of
    done = 0
    for mark in told:
        assert {next_mark(between, of) for between in range(done, mark)} == {mark}
        done = mark
