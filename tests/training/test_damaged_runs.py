"""A run directory that was damaged, edited, cut short or received says so in a line, and nothing of it is lost."""

import json
import os
import shutil
import signal
import warnings
from functools import partial

import numpy as np
import pytest

import forethought
from forethought import envs
from forethought.cli import main
from forethought.envs.codec import spec_from_json, spec_to_json
from forethought.errors import CheckpointError, Interrupted, UsageError
from forethought.policy import build_agent
from forethought.report.read import read_run
from forethought.training import signals
from forethought.training.config import RunConfig, to_dict
from forethought.training.evaluate import make_world
from forethought.training.progress import Silent
from forethought.training.rundir import RunDir
from tests.small import SETTINGS
from tests.training.short_runs import MAZE, edit, train
from tests.training.test_checkpoint import rewrite


@pytest.fixture
def run(finished, tmp_path):
    return shutil.copytree(finished, tmp_path / "run")


def refused(call, *args, **kwargs) -> str:
    with pytest.raises(CheckpointError) as error:
        call(*args, **kwargs)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"eval_every": 0}, "eval_every is 0; it must be at least 1"),
        ({"seeds": 0}, "seeds is 0; it must be at least 1"),
        ({"seed": -1}, "seed is -1"),
        ({"steps": "many"}, "steps is 'many'; it takes a whole number"),
        ({"steps": None}, "steps is None; it takes a whole number"),
        ({"env_kwargs": [1]}, "env_kwargs is [1]"),
        ({"writers": ["pigeon"]}, "there is no writer 'pigeon'"),
        ({"algorithm": "dyna-z"}, "there is no algorithm 'dyna-z'; did you mean"),
        ({"agent__planing_steps": 3}, "there is no setting 'agent.planing_steps'; did you mean 'planning_steps'?"),
        ({"agent__planning_steps": "x"}, "agent.planning_steps is 'x'; it takes a whole number"),
        ({"agent": 3}, "agent is 3"),
        ({"env": "forethought/BlockingMaze-v0"}, f"the run was made with '{MAZE}'"),
        ({"action_repeat": 2}, "action_repeat is 2, the run was made with 1"),
        ({"spaces__obs": {"type": "Discrete", "n": 3}}, "spaces is"),
        ({"spaces__obs": {"type": "Discrete", "n": 0}}, "Expected `int` >= 1 - at `$.obs.n`"),
        ({"spaces__action": {"type": "Box", "shape": [2]}}, "contradicts itself"),
        ({"spaces__action_dtype": "object"}, "at `$.action_dtype`"),
        ({"spaces__obs_start": 0.5}, "Expected `int`, got `float` - at `$.obs_start`"),
        ({"spaces": 7}, "the description of the spaces is damaged: Expected `object`, got `int`"),
        ({"env_spec__max_episode_steps": -4}, "Expected `int` >= 1 - at `$.max_episode_steps`"),
        ({"env_spec": None}, "the description of the environment is damaged"),
        ({"format": 9}, "has the format 9, this version reads 2"),
    ],
)
def test_what_was_edited_by_hand_is_named(run, changes, said):
    edit(run, **changes)
    text = refused(RunDir.open(run).read)
    assert said in text
    assert text.startswith(str(run / "config.json"))


def test_every_command_that_reads_a_run_checks_it(run, capsys):
    edit(run, eval_every=0)
    calls = (forethought.resume, forethought.evaluate, forethought.diagnose, forethought.load, forethought.resume_live)
    for call in calls:
        assert "eval_every is 0" in refused(call, run)
    for command in ("resume", "eval", "diagnose"):
        assert main([command, str(run)]) == 4
        assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is not JSON"),
        (b"\x00\xff" * 40, "is not JSON"),
        (b'{"format": 2, "algor', "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b"[]", "holds no JSON object"),
        (b"{}", "has the format None"),
        (b'{"format": 2}', "lacks action_repeat"),
    ],
)
def test_a_config_that_cannot_be_read_says_where_to_get_one(run, content, said):
    (run / "config.json").write_bytes(content)
    text = refused(forethought.load, run)
    assert said in text
    assert str(run / "config.json") in text
    assert "put" in text  # it back
    assert not any(word in text for word in ("Error", "Expecting", "codec"))


def test_no_flipped_bit_of_the_config_ends_in_a_traceback(run):
    """It is refused in a line, or changes nothing that a run depends on (such as the time it was made)."""
    whole = (run / "config.json").read_bytes()
    rng = np.random.default_rng(0)
    refusals = []
    for at in rng.permutation(8 * len(whole))[:400]:
        damaged = bytearray(whole)
        damaged[at // 8] ^= 1 << at % 8
        (run / "config.json").write_bytes(bytes(damaged))
        try:
            RunDir.open(run).read()
        except CheckpointError as error:
            refusals.append(str(error))
    assert len(refusals) > 100
    assert not any("\n" in refusal for refusal in refusals)


def test_more_seeds_than_were_trained_are_not_made_up(run):
    edit(run, seeds=3)
    for call in (partial(forethought.resume, steps=90), forethought.evaluate, forethought.load):
        assert "it holds 1 seed, config.json says 3; put config.json back" in refused(call, run)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda host: host["counters"]["dict"].pop("frames"), "lacks frames"),
        (lambda host: host["counters"]["dict"].update(env_steps={"value": "40"}), "its env_steps cannot be 40"),
        (lambda host: host["counters"]["dict"].update(updates={"value": -1}), "its updates cannot be -1"),
        (
            lambda host: host["counters"]["dict"].update(learned={"value": 10**9}),
            "60 steps in 1 environment, 1000000000 of them learned",
        ),
        (lambda host: host["counters"]["dict"].update(seconds={"value": 3}), "its seconds cannot be 3"),
        (lambda host: host.update(counters={"value": 3}), "its counters cannot be 3"),
        (lambda host: host.update(evaluating={"value": "no"}), "its evaluating cannot be no"),
        (lambda host: host.update(evaluation={"value": 1.5}), "lacks env_steps"),
        (lambda host: host.update(world={"value": 1.5}), "its world cannot be 1.5"),
        (lambda host: host.pop("world"), "lacks world"),
        (lambda host: host.update(obs={"value": 1.5}), "its obs cannot be 1.5"),
        (lambda host: host.update(returns=host["obs"]), "its returns cannot be"),
        (lambda host: host.update(metrics_bytes={"value": True}), "its metrics_bytes cannot be True"),
        (lambda host: host.update(recent={"value": "x"}), "its recent cannot be x"),
        (lambda host: host.update(wall_s={"value": None}), "its wall_s cannot be None"),
    ],
)
def test_what_a_checkpoint_says_of_the_run_is_checked(run, change, said):
    """Its checksums are right: another version of the program has written it."""
    newest = sorted((run / "checkpoints").iterdir())[-1]
    rewrite(newest, lambda meta: change(meta["host"]["dict"]))
    notes = Notes()
    ended = forethought.resume(run, steps=70, progress=notes)
    assert ended.summary["env_steps"] == 70
    (warned,) = [note for note in notes.said if "instead" in note]
    assert said in warned
    assert "using step_000000000040 instead" in warned


class Notes(Silent):
    """Keeps what is said, and calls ``at_step`` with every step."""

    def __init__(self, at_step=lambda now: None):
        self.said, self.at_step = [], at_step

    def note(self, text):
        self.said.append(text)

    def advance(self, now):
        self.at_step(now.env_steps)


def test_a_finished_run_without_checkpoints_is_not_begun_anew(run):
    shutil.rmtree(run / "checkpoints")
    before = (run / "metrics.jsonl").read_bytes()
    text = refused(forethought.resume, run)
    assert f"{run} was trained for 60 steps, and its checkpoints are gone; put {run / 'checkpoints'} back" in text
    (run / "metrics.jsonl").unlink()
    assert "was trained for 60 steps" in refused(forethought.resume, run)  # the summary says so
    (run / "summary.json").unlink()
    (run / "metrics.jsonl").write_bytes(before[:-20])
    assert "was trained for" in refused(forethought.resume, run)
    assert (run / "metrics.jsonl").read_bytes() == before[:-20]


@pytest.mark.slow
def test_a_run_that_was_killed_before_its_first_checkpoint_begins_again(run):
    shutil.rmtree(run / "checkpoints")
    (run / "summary.json").unlink()
    lines = (run / "metrics.jsonl").read_bytes().splitlines(keepends=True)
    (run / "metrics.jsonl").write_bytes(lines[0] + lines[1][:10])
    assert forethought.resume(run).summary["env_steps"] == 60
    assert len(read_run(run).of("eval")) == 2


def test_a_line_that_a_crash_has_cut_is_dropped(run, finished):
    metrics = run / "metrics.jsonl"
    whole = metrics.read_bytes()
    held = RunDir(run)
    assert held.cut_metrics(len(whole)) == 0
    assert metrics.read_bytes() == whole
    metrics.write_bytes(whole[:-5])  # the power went while the last line was written
    notes = Notes()
    forethought.resume(run, steps=80, progress=notes)
    lines = metrics.read_bytes().splitlines()
    assert [json.loads(line)["env_steps"] for line in lines[-2:]] == [80, 80]
    last = len(whole.splitlines()[-1]) + 1
    assert f"warning: {metrics} has lost {last} bytes of what the checkpoint knows of" in notes.said
    metrics.unlink()
    assert held.cut_metrics(9) == 9


@pytest.mark.parametrize("lost", ["no summary", "half a summary", "a summary of before"])
def test_a_run_that_was_killed_before_its_summary_is_finished(run, finished, lost):
    summary = run / "summary.json"
    said = json.loads(summary.read_text())
    if lost == "no summary":
        summary.unlink()
    if lost == "half a summary":
        summary.write_text(summary.read_text()[:50])
    if lost == "a summary of before":
        summary.write_text(json.dumps({**said, "status": "interrupted", "env_steps": 40}))
    metrics = (run / "metrics.jsonl").read_bytes()
    ended = forethought.resume(run)
    assert {n: ended.summary[n] for n in ("status", "env_steps", "return")} == {
        "status": "finished",
        "env_steps": 60,
        "return": said["return"],
    }
    assert json.loads(summary.read_text())["return"] == said["return"]
    assert (run / "metrics.jsonl").read_bytes() == metrics
    with pytest.raises(UsageError, match=r"has finished its 60 steps; extend it.*forethought report"):
        forethought.resume(run)


@pytest.mark.slow
def test_a_run_that_was_deleted_meanwhile_was_not_saved(tmp_path):
    path = tmp_path / "run"
    text = refused(train, path, progress=Notes(lambda step: step == 30 and shutil.rmtree(path)))
    assert text.startswith(f"{path} was deleted or moved while it was trained")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_two_signals_of_one_wish_save_the_run(tmp_path):
    def stop(step):
        if step == 30:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Interrupted, match=r"stopped by Ctrl-C and saved at step 3[01]"):
        train(tmp_path / "run", progress=Notes(stop))
    assert forethought.resume(tmp_path / "run").summary["env_steps"] == 60


@pytest.mark.slow
def test_a_second_signal_after_a_moment_stops_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(signals, "_ONE_WISH_S", 0.0)

    def stop(step):
        if step == 30:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "run", progress=Notes(stop))
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert (summary["status"], summary["message"][:15]) == ("interrupted", "a second signal")
    assert sorted(p.name for p in (tmp_path / "run" / "checkpoints").iterdir())[-1] == "step_000000000020"


def test_the_whole_environment_is_kept_for_the_loaded_agent(tmp_path):
    """A reward that is known of single steps is not used where actions are repeated, nor in what is loaded."""
    config = RunConfig("cem", "Pendulum-v1", 100, action_repeat=2, agent={**SETTINGS["cem"], "reward": "known"})
    world = make_world(config, [0])
    held = RunDir.create(tmp_path / "run", config, {}, world.spec, world.codec).read()
    assert held.spec == world.spec
    assert (held.spec.action_repeat, held.spec.max_episode_steps) == (2, 100)
    assert held.codec == world.codec
    trained, loaded = (build_agent(held.config, spec) for spec in (world.spec, held.spec))
    assert trained.learner.reward is loaded.learner.reward is None
    assert to_dict(held.config) == json.loads(json.dumps(to_dict(config)))
    for env in (MAZE, "MountainCar-v0", "forethought/CartPoleContinuous-v0"):
        spec = envs.env_spec(env)
        described = json.loads(json.dumps(spec_to_json(spec)))
        assert spec_from_json(described) == spec
        assert spec_from_json({**described, "players": 2}).players == 2
        described.pop("players")  # as runs say that were made before there were games
        assert spec_from_json(described) == spec


def test_an_environment_that_has_changed_since_is_named():
    config = RunConfig("sac", "Pendulum-v1", 100)
    other = make_world(RunConfig("sac", "MountainCarContinuous-v0", 100), [0]).spec
    with pytest.raises(
        CheckpointError, match=r"Pendulum-v1 has the obs Box\(shape=\(3,\).* was made with Box\(shape=\(2,"
    ):
        make_world(config, [0], made_for=other)
    shorter = make_world(RunConfig("sac", "Pendulum-v1", 100, env_kwargs={"max_episode_steps": 50}), [0]).spec
    with pytest.warns(UserWarning, match="have at most 200 steps now, 50 when the run was made"):
        make_world(config, [0], made_for=shorter)


@pytest.mark.parametrize("name", ["metrics.jsonl", "summary.json", "report.html", "lock"])
@pytest.mark.parametrize("how", ["gone", "empty", "half", "garbage"])
def test_what_a_policy_does_not_need_may_be_lost(run, name, how):
    path = run / name
    whole = path.read_bytes() if path.exists() else b""
    path.unlink(missing_ok=True)
    if how != "gone":
        path.write_bytes({"empty": b"", "half": whole[: len(whole) // 2], "garbage": b"\xff\x00{" * 9}[how])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert forethought.load(run)([0, 5]).shape == (2,)
