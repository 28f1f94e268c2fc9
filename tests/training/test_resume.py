"""A run that is killed, at any moment, goes on as if nothing had happened: the same bits."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest

from forethought.api import resume, start_run
from forethought.errors import CheckpointError, Interrupted
from forethought.policy import load_learner
from forethought.training import checkpoint
from forethought.training.progress import Silent
from forethought.training.rundir import RunDir

pytestmark = pytest.mark.slow

COMMON = ["--eval-every", "60", "--eval-episodes", "2", "--log-every", "10", "--checkpoint-every", "23"]
TINY_FIT = ["--agent.model-hidden", "8", "8", "--agent.fit.max-epochs", "3", "--agent.model-every", "50"]
CASES = {
    "mbpo": [
        *["mbpo", "Pendulum-v1", "--steps", "260", "--agent.random-steps", "100", *TINY_FIT],
        *["--agent.updates-per-step", "2", "--agent.sac.hidden", "8", "8", "--agent.rollouts-per-step", "2"],
    ],
    "sac-seeds-envs": [
        *["sac", "Pendulum-v1", "--steps", "390", "--seeds", "2", "--num-envs", "3", "--action-repeat", "2"],
        *["--agent.hidden", "8", "8", "--agent.random-steps", "90", "--agent.replay-capacity", "150"],
    ],
    "sac-workers": [
        *["sac", "Pendulum-v1", "--steps", "260", "--num-envs", "4", "--workers", "2"],
        *["--agent.hidden", "8", "8", "--agent.random-steps", "90"],
    ],
    "dreamer-v3": [  # notes in its replay, and windows of two environments
        *["dreamer-v3", "CartPole-v1", "--steps", "260", "--num-envs", "2", "--agent.batch-size", "2"],
        *[
            "--agent.batch-length",
            "6",
            "--agent.horizon",
            "3",
            "--agent.random-steps",
            "60",
            "--agent.train-every",
            "10",
        ],
        *["--preset", "none"],
    ],
    "dreamer-v1": [  # a stage before the first round
        *["dreamer-v1", "Pendulum-v1", "--steps", "260", "--agent.deter", "8", "--agent.stoch", "4"],
        *["--agent.units", "8", "--agent.batch-size", "2", "--agent.batch-length", "6", "--agent.horizon", "3"],
        *["--agent.random-steps", "60", "--agent.train-every", "20", "--agent.updates", "2", "--agent.pretrain", "5"],
    ],
    "dyna-q-plus": [
        *["dyna-q-plus", "forethought/BlockingMaze-v0", "--steps", "1500"],
        *["--env-kwargs", '{"switch_at": 400}'],
    ],
}
UNTIMED = ("wall_s", "steps_per_s", "seconds")


def command(*args: str) -> list[str]:
    return [sys.executable, "-m", "forethought", *args]


def records(run: Path) -> list[dict]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k not in UNTIMED} for line in lines]


def digest(run: Path, step: int) -> str:
    """Of all that its checkpoint at that step holds, which is the newest."""
    path = run / "checkpoints" / f"step_{step:012d}" / "arrays.safetensors"
    learner = load_learner(run)[1]
    assert learner.env_steps == step
    rows = b"".join(np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(learner.replay))
    return hashlib.sha256(path.read_bytes() + rows).hexdigest()


def wait_for_lines(run: Path, count: int, process: subprocess.Popen) -> None:
    metrics, deadline = run / "metrics.jsonl", time.monotonic() + 180
    while time.monotonic() < deadline and process.poll() is None:
        if metrics.exists() and metrics.read_bytes().count(b"\n") >= count:
            return
        time.sleep(0.002)
    assert process.poll() is not None, "the run neither advanced nor ended"


@pytest.mark.parametrize("case", CASES)
def test_killed_again_and_again_it_ends_with_the_same_bits(case, tmp_path):
    args = [*CASES[case], *COMMON]
    steps = int(args[args.index("--steps") + 1])
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    subprocess.run(command("train", *args, "--run", str(whole)), check=True, capture_output=True)
    expected = records(whole)

    # Kills at different depths: within a few lines of a checkpoint, between checkpoints, shortly before the end.
    go_on = command("train", *args, "--run", str(killed))
    for share in (0.2, 0.55, 0.9):
        process = subprocess.Popen(go_on, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for_lines(killed, int(share * len(expected)), process)
        process.kill()
        assert process.wait() in (-signal.SIGKILL, 0, 2)
        go_on = command("resume", str(killed))
    ended = subprocess.run(go_on, capture_output=True, text=True)
    assert ended.returncode == 0 or "has finished" in ended.stderr, ended.stderr

    assert records(killed) == expected
    assert digest(killed, steps) == digest(whole, steps)


def test_killed_within_a_stage_it_goes_on_within_the_stage(tmp_path):
    """Saved between its parts: what was learned before the kill is not learned again."""
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    script = [sys.executable, str(Path(__file__).with_name("staging.py"))]
    subprocess.run([*script, str(whole)], check=True, capture_output=True)
    found = []
    for _ in range(3):
        process = subprocess.Popen([*script, str(killed)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for line in process.stdout:
            if "stage1 " in line and " of 40" in line:
                break
        time.sleep(0.3)
        process.kill()
        process.wait()
        newest = checkpoint.found(killed / "checkpoints")[-1]
        counters = json.loads((newest / "meta.json").read_text())["host"]["dict"]["counters"]["dict"]
        found.append(counters["runs"]["dict"])
    assert any(0 < runs.get("stage1", {"value": 0})["value"] < 40 for runs in found)
    ended = subprocess.run([*script, str(killed)], capture_output=True, text=True)
    assert "ended" in ended.stdout, ended.stderr
    assert records(killed) == records(whole)
    assert state_of(killed) == state_of(whole)


def state_of(run: Path) -> bytes:
    newest = checkpoint.found(run / "checkpoints")[-1]
    return (newest / "arrays.safetensors").read_bytes()


def test_ctrl_c_saves_and_says_how_to_go_on(tmp_path):
    args = [*CASES["sac-seeds-envs"], *COMMON]
    args[args.index("--steps") + 1] = "300000"
    run = tmp_path / "run"
    process = subprocess.Popen(
        command("train", *args, "--run", str(run)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    wait_for_lines(run, 20, process)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "Traceback" not in said
    assert f"forethought resume {run}" in said
    summary = json.loads((run / "summary.json").read_text())
    assert summary["status"] == "interrupted"
    newest = sorted(p.name for p in (run / "checkpoints").iterdir())[-1]
    assert newest == f"step_{summary['env_steps']:012d}"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """MBPO's run, uninterrupted."""
    run = tmp_path_factory.mktemp("whole") / "run"
    args = [*CASES["mbpo"], *COMMON]
    subprocess.run(command("train", *args, "--run", str(run)), check=True, capture_output=True)
    return run


def test_ctrl_c_while_the_fit_compiles_is_answered_at_once_and_obeyed_within_the_fit(tmp_path, whole):
    run = tmp_path / "run"
    args = command("train", *CASES["mbpo"], *COMMON, "--run", str(run))
    process = subprocess.Popen(args, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    lines = iter(process.stdout.readline, "")
    assert any(line == "compiling fit_model\n" for line in lines)
    process.send_signal(signal.SIGINT)
    out, said = process.communicate(timeout=300)
    assert process.returncode == 130
    assert out.startswith("stopping as soon as fit_model is compiled, which cannot be interrupted")
    assert said == f"stopped by Ctrl-C and saved at step 100; go on with: forethought resume {run}\n"
    summary = json.loads((run / "summary.json").read_text())
    assert (summary["env_steps"], summary["fits"]) == (100, 0)
    subprocess.run(command("resume", str(run)), check=True, capture_output=True)
    assert records(run) == records(whole)
    assert digest(run, 260) == digest(whole, 260)


class Interrupting(Silent):
    """Ctrl-C when this is shown, and that often."""

    def __init__(self, text, times=1):
        self.text, self.times = text, times

    def working(self, text):
        if text == self.text and self.times:
            self.times -= 1
            if not self.times:
                signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize(
    ("shown", "times", "step"),
    [
        ("fitting the model, epoch 1", 2, 150),
        ("rollout", 1, 150),  # its fit has run, and must not run again
        ("evaluating the policy, step 9", 2, 120),
        ("evaluating the policy, step 9", 5, 260),
    ],
)
def test_stopped_in_the_middle_it_ends_with_the_same_bits(tmp_path, whole, shown, times, step):
    config = RunDir.open(whole).read().config
    run = tmp_path / "run"
    with pytest.raises(Interrupted, match=f"stopped by Ctrl-C and saved at step {step}; "):
        start_run(config, run, Interrupting(shown, times))
    resume(run)
    assert records(run) == records(whole)
    assert digest(run, 260) == digest(whole, 260)


def test_stopped_before_the_first_step_it_begins_again(tmp_path, whole):
    config = RunDir.open(whole).read().config
    run = tmp_path / "run"
    with pytest.raises(Interrupted, match="stopped by Ctrl-C before the first step; begin again with"):
        start_run(config, run, Interrupting("evaluating the policy, step 9"))
    assert not list(run.glob("checkpoints/*"))
    assert json.loads((run / "summary.json").read_text())["status"] == "interrupted"


def test_two_processes_cannot_train_one_run(tmp_path):
    run = tmp_path / "run"
    busy = subprocess.Popen(command("train", *CASES["dyna-q-plus"], "--steps", "10000000", "--run", str(run)))
    try:
        wait_for_lines(run, 3, busy)
        second = subprocess.run(command("resume", str(run)), capture_output=True, text=True, timeout=120)
        assert second.returncode == 4
        assert second.stderr.startswith(f"error: {run} is being trained by another process")
    finally:
        busy.kill()
        busy.wait()
    with RunDir.open(run).claimed():  # the claim has ended with its process
        pass
    (run / "lock").unlink()
    (run / "lock").mkdir()  # nothing can be written there
    with pytest.raises(CheckpointError, match=r"cannot write .*lock: Is a directory"), RunDir.open(run).claimed():
        pass


@pytest.mark.parametrize(
    "base",
    [
        pytest.param(["sac", "Pendulum-v1", "--agent.hidden", "8", "8", "--agent.random-steps", "30"], id="sac"),
        pytest.param(
            ["mbpo", "Pendulum-v1", "--agent.random-steps", "30", *TINY_FIT, "--agent.model-every", "20",
             "--agent.sac.hidden", "8", "8", "--agent.rollouts-per-step", "2", "--agent.sac.normalize",
             "--agent.fit.select", "geometric"],
            id="mbpo", marks=pytest.mark.slow,
        ),
    ],
)  # fmt: skip
def test_an_extended_run_equals_one_that_was_longer_from_the_start(tmp_path, base):
    """Also in what is told of it: a replay with more room than rows rounds as one without."""
    base = [*base, *COMMON]
    long, extended = tmp_path / "long", tmp_path / "extended"
    for path, steps in ((long, "120"), (extended, "60")):
        subprocess.run(command("train", *base, "--steps", steps, "--run", str(path)), check=True, capture_output=True)
    subprocess.run(command("resume", str(extended), "--steps", "120"), check=True, capture_output=True)
    assert records(extended) == records(long)
    assert digest(extended, 120) == digest(long, 120)


def test_a_checkpoint_holds_nothing_that_could_be_executed(tmp_path):
    args = ["dyna-q", "forethought/DynaMaze-v0", "--steps", "50", "--run", str(tmp_path / "run")]
    subprocess.run(command("train", *args), check=True, capture_output=True, env={**os.environ})
    kinds = {p.suffix for p in (tmp_path / "run" / "checkpoints").rglob("*") if p.is_file()}
    assert kinds == {".safetensors", ".json", ""}  # the last are the checksums
