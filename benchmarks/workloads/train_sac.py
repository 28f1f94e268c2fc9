"""SAC on Pendulum-v1 as users run it, `forethought.train` against Stable-Baselines3's `learn`, with equal settings."""

import itertools
import json
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.measure import peak
from benchmarks.peers import venv
from benchmarks.results import Check, Result
from benchmarks.workloads.mbpo_end_to_end import spent_between
from forethought import train

RANDOM_STEPS, WINDOW, WINDOWS = 200, 500, 5
LEARNING = ("update",)


def run(quick: bool) -> Result:
    """One update per step, batches of 256, networks 256 x 256, every part of the loop and its logging included.

    Each side is timed in windows of 500 steps. The random steps and the 500 after them at least, in which things
    compile, are left out, and so are our compilation and evaluations, which the peer has none of. The best window is
    taken: of our five, and of ten of the peer, in a run before and one after ours.
    """
    window = 20 if quick else WINDOW
    theirs = [_stable_baselines(window, quick)]
    peaks = [peak() for _ in range(5)]
    ours = _ours(window, 2 if quick else WINDOWS)
    peaks += [peak() for _ in range(5)]
    theirs.append(_stable_baselines(window, quick))
    fastest = min(ours, key=lambda spent: spent["seconds"])
    rate = window / fastest["seconds"]
    peer = max((t["steps_per_s"] for t in theirs if "steps_per_s" in t), default=None)
    return Result(
        name="train_sac",
        kind="speed",
        title="SAC on Pendulum-v1 from `train` to the policy, one update per step",
        checks=(Check("environment steps per second against Stable-Baselines3", peer and rate / peer, 2, "times"),),
        details={
            "steps_per_s": rate,
            "steps_per_s_of_windows": [window / spent["seconds"] for spent in ours],
            "ms_per_step_by_kind": {
                name: 1000 * seconds / window for name, seconds in fastest["seconds_by_kind"].items()
            },
            "peak_gflop_per_s": max(peaks),
            "stable_baselines3": theirs,
        },
        command="python -m benchmarks.speed train_sac",
        partial=quick,
    )


def _ours(window: int, windows: int) -> list[dict[str, Any]]:
    warm = -(-(RANDOM_STEPS + window) // window) * window  # the first step at which something is logged
    steps = warm + window * windows
    with tempfile.TemporaryDirectory() as folder:
        train(
            "sac",
            "Pendulum-v1",
            steps=steps,
            run=Path(folder) / "run",
            preset="none",
            agent={"random_steps": RANDOM_STEPS},
            baselines=False,
            eval_every=steps,
            eval_episodes=1,
            log_every=window,
        )
        lines = (Path(folder) / "run" / "metrics.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    logged = [record["env_steps"] for record in records if record["kind"] == "train"]
    begun = [step for step in logged if step >= warm]
    return [spent_between(records, a, b, LEARNING) for a, b in itertools.pairwise(begun)]


def _stable_baselines(window: int, quick: bool) -> dict[str, Any]:
    arguments = ["learn", "--steps", str(window), "--repeats", "2" if quick else str(WINDOWS)]
    found = venv.run_script("sb3", "sb3_sac.py", arguments, probe=["learn", "--steps", "50", "--repeats", "2"])
    return found if "error" in found else {**found, "steps_per_s": 1.0 / found["seconds_best"]}
