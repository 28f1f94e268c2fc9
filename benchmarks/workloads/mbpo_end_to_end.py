"""MBPO on InvertedPendulum-v5 through `forethought.train`: steps per second of everything together."""

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.measure import peak
from benchmarks.peers import venv
from benchmarks.results import Check, Result
from forethought import train

STEPS, RANDOM_STEPS, MODEL_EVERY = 1500, 500, 250
UPDATES = 20
TARGET_RATE, TARGET_PEAK = 14.0, 440.0  # steps per second on a machine with this matrix-product peak
LEARNING = ("fit_model", "rollout", "update")


def run(quick: bool) -> Result:
    """20 updates per step, a fit of the model and 100,000 rollouts every 250 steps.

    Measured from step 500, when the policy has begun to act and every program but one is compiled, to step 1500: 1000
    steps with 4 fits. Compilation and evaluation are left out.
    """
    steps = RANDOM_STEPS + MODEL_EVERY if quick else STEPS
    agent: dict[str, Any] = {"updates_per_step": UPDATES, "random_steps": RANDOM_STEPS, "model_every": MODEL_EVERY}
    if quick:
        agent |= {"updates_per_step": 1, "fit.max_epochs": 2, "rollouts_per_step": 4, "model_hidden": (8, 8)}
    peaks = [peak() for _ in range(5)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run"
        train(
            "mbpo",
            "InvertedPendulum-v5",
            steps=steps,
            run=path,
            agent=agent,
            eval_every=steps,
            eval_episodes=1,
            log_every=MODEL_EVERY,
        )
        records = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    peaks += [peak() for _ in range(5)]
    spent = spent_between(records, RANDOM_STEPS, steps, LEARNING)
    rate, wanted = spent["steps"] / spent["seconds"], TARGET_RATE * max(peaks) / TARGET_PEAK
    arguments = ["mbpo", "--quick"] if quick else ["mbpo"]
    theirs = venv.run_script("mbrl", "mbrl_lib.py", arguments, probe=["epoch", "--repeats", "1"])
    return Result(
        name="mbpo_end_to_end",
        kind="speed",
        title="MBPO on InvertedPendulum-v5, 20 updates per step, from replay to policy",
        checks=(
            Check("environment steps per second", rate, wanted, "steps/s"),
            Check("time outside of model, rollouts and updates", 100 * spent["other_share"], 10, "%", "at most"),
        ),
        details={
            **spent,
            "steps_per_s": rate,
            "peak_gflop_per_s": max(peaks),
            "peaks_gflop_per_s": peaks,
            "target_rule": f"{TARGET_RATE} steps/s at {TARGET_PEAK} GFLOP/s, in proportion to the peak",
            "epochs_of_the_fits": [record["epochs"][0] for record in records if record["kind"] == "model"],
            "mbrl_lib": theirs,
        },
        command="python -m benchmarks.speed mbpo_end_to_end",
        partial=quick,
    )


def spent_between(records: list[dict[str, Any]], first: int, last: int, learning: Sequence[str]) -> dict[str, Any]:
    """Wall seconds between two steps without compilation and evaluation, by kind of work; what is not one of
    ``learning`` is the other share.
    """
    at = {record["env_steps"]: record for record in records if record["kind"] == "train"}
    begin, end = at[first], at[last]
    by_kind = {name: s - begin["seconds"].get(name, 0.0) for name, s in end["seconds"].items()}
    left_out = {name: by_kind.pop(name, 0.0) for name in ("compile", "evaluate")}
    seconds = end["wall_s"] - begin["wall_s"] - sum(left_out.values())
    other = seconds - sum(by_kind.get(name, 0.0) for name in learning)
    return {
        "steps": last - first,
        "seconds": seconds,
        "seconds_by_kind": by_kind,
        "seconds_left_out": left_out,
        "other_share": other / seconds,
    }
