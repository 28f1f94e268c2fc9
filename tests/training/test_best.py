"""The best policy so far is kept beside the newest, and a callback may say when there is enough."""

import json

import jax
import numpy as np
import pytest

import forethought
import small
from forethought.errors import StopTraining, UsageError
from forethought.report.read import read_run
from forethought.training.config import RunConfig
from forethought.training.program import empty_moment

AGENT = {"hidden": (8,), "batch_size": 16, "random_steps": 8, "learning_rate": 0.01}
OPTIONS = {"eval_every": 6, "eval_episodes": 3, "log_every": 3, "agent": AGENT}


def train(path, **options):
    return forethought.train("sac", "forethought/ProbeAction-v0", steps=24, run=path, **{**OPTIONS, **options})


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return train(tmp_path_factory.mktemp("best") / "run", seeds=2)


@pytest.mark.slow
def test_each_seed_keeps_what_it_acted_with_when_its_evaluation_was_best():
    learner = small.train("sac", steps=10, seeds=(0, 1))
    first = jax.tree.map(np.array, learner.state.actor)
    learner.best.update(np.array([1.0, 1.0]), learner.now, learner.state)
    learner.state = learner.state._replace(actor=jax.tree.map(lambda x: x + 1.0, learner.state.actor))
    learner.env_steps = 12
    learner.best.update(np.array([1.0, 2.0]), learner.now, learner.state)  # the first seed's is no better than before
    assert learner.best.returns.tolist() == [1.0, 2.0]
    assert learner.best.steps.tolist() == [10, 12]
    best, newest = learner.best.state(learner.state), learner.state
    for kept, then, now in zip(*map(jax.tree.leaves, (best.actor, first, newest.actor)), strict=True):
        np.testing.assert_array_equal(kept[0], then[0])
        np.testing.assert_array_equal(kept[1], now[1])
    np.testing.assert_array_equal(best.log_alpha, newest.log_alpha)


@pytest.mark.parametrize("algorithm", ["sac", "mbpo", "dyna-q", "prioritized-sweeping", "random-shooting", "poplin-a"])
def test_every_agent_acts_with_what_it_says_it_acts_with(algorithm):
    """All else of its state may be lost."""
    agent = small.make_agent(algorithm, small.envs.env_spec(small.WORLDS[algorithm]))
    state = agent.init(key=jax.random.key(0))
    wanted = {id(leaf) for leaf in jax.tree.leaves(agent.acts_with(state))}
    assert 0 < len(wanted) < len(jax.tree.leaves(state))
    zeros = jax.tree.map(lambda x: x if id(x) in wanted else jax.numpy.zeros_like(x), state)
    other = jax.tree.map(lambda x: x + 1 if id(x) in wanted else x, state)
    obs = jax.tree.map(lambda x: jax.numpy.zeros((9, *x.shape), x.dtype), empty_moment(agent.spec).obs)
    now = small.seen(agent.spec, obs)
    act = jax.jit(lambda s: agent.act(s, agent.init_actor(9), now, key=jax.random.key(0), explore=False)[0])
    np.testing.assert_array_equal(act(state), act(zeros))
    if algorithm not in ("dyna-q", "prioritized-sweeping"):  # where all entries of a table are equal, they stay so
        assert not np.array_equal(act(state), act(other))


def test_the_best_is_the_one_whose_evaluation_was_best(run):
    records = read_run(run.path).of("eval")
    returns = np.array([np.mean(r["return"], axis=1) for r in records])
    assert run.summary["best"]["return"] == returns.max(axis=0).tolist()
    steps = [records[i]["env_steps"] for i in returns.argmax(axis=0)]
    assert run.summary["best"]["step"] == steps
    assert forethought.evaluate(run.path, episodes=1, which="best").env_steps == max(steps)
    assert forethought.evaluate(run.path, episodes=1).env_steps == 24
    with pytest.raises(UsageError, match="there is no policy 'bets'; did you mean 'best'"):
        forethought.load(run.path, which="bets")


@pytest.mark.slow
def test_a_callback_sees_every_line_and_may_stop_the_run(tmp_path):
    seen = []

    def watch(record):
        seen.append(record)
        return record["kind"] == "eval" and record["env_steps"] == 12

    got = train(tmp_path / "run", callback=watch)
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert seen == lines
    assert [r["env_steps"] for r in seen if r["kind"] == "eval"] == [0, 12]  # at 6 nothing is learned
    assert (got.summary["status"], got.summary["env_steps"]) == ("stopped", 12)

    def enough(record):
        raise StopTraining

    again = forethought.resume(tmp_path / "run", callback=enough)
    assert again.summary["status"] == "stopped"
    assert 13 <= again.summary["env_steps"] < 24  # the episode of one step, and what was made in one program with it
    assert again.final_return == got.final_return
    done = forethought.resume(tmp_path / "run")
    whole = train(tmp_path / "whole")
    assert done.summary["status"] == "finished"
    assert done.summary["best"] == whole.summary["best"]
    checkpoints = [path / "checkpoints" / "step_000000000024" for path in (done.path, whole.path)]
    arrays = [(path / "arrays.safetensors").read_bytes() for path in checkpoints]
    assert arrays[0] == arrays[1]


def test_an_error_in_a_callback_is_the_users_own(tmp_path):
    def broken(record):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        train(tmp_path / "run", callback=broken)
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["status"] == "failed"


def test_a_run_without_evaluations_has_no_best(tmp_path):
    from gymnasium.spaces import Box

    agent = forethought.start("sac", Box(-1, 1, (1,)), Box(-1, 1, (1,)), run=tmp_path / "r", steps=50, agent=AGENT)
    agent.save()
    with pytest.raises(UsageError, match="no evaluation has chosen a best policy"):
        forethought.load(tmp_path / "r", which="best")
    assert json.loads((tmp_path / "r" / "summary.json").read_text())["best"] is None


def test_steps_may_be_none_only_where_something_is_learned_without_them():
    RunConfig("sac", "x", 0, pretrain=3).validate()
    with pytest.raises(UsageError, match="steps is 0; it must be at least 1"):
        RunConfig("sac", "x", 0).validate()
    with pytest.raises(UsageError, match="pretrain is -1"):
        RunConfig("sac", "x", 5, pretrain=-1).validate()
