"""How long a user waits after the command: until the environment moves, and until something is learned."""

import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.results import ROOT, Check, Result

_ARGUMENTS = ["train", "sac", "Pendulum-v1", "--steps", "300", "--agent.random-steps", "10", "--log-every", "1"]
_LIMIT_S = 300.0


def run(quick: bool) -> Result:
    """Seconds from the start of the process, cold and warm compilation cache.

    The command writes a line of metrics at every step (``--log-every 1``), which shows the moment; the evaluation at
    step 0 is part of the wait. ``--agent.random-steps 10`` only brings the first update forward.
    """
    repeats = 1 if quick else 3
    cold, warm = [], []
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as cache:
            cold.append(moments(Path(cache)))
            warm.append(moments(Path(cache)))

    def median(runs: list[dict[str, float]], name: str) -> float:
        return statistics.median(run[name] for run in runs)

    return Result(
        name="startup",
        kind="speed",
        title="From the command to the first step and the first update, SAC on Pendulum-v1",
        checks=(
            Check("first environment step, cold cache", median(cold, "first_step"), 6, "s", "at most"),
            Check("first environment step, warm cache", median(warm, "first_step"), 6, "s", "at most"),
            Check("first update, cold cache", median(cold, "first_update"), 20, "s", "at most"),
            Check("first update, warm cache", median(warm, "first_update"), 8, "s", "at most"),
        ),
        details={"cold": cold, "warm": warm, "measured_command": " ".join(["forethought", *_ARGUMENTS])},
        command="python -m benchmarks.speed startup",
        partial=quick,
    )


def moments(cache: Path) -> dict[str, float]:
    """Start the command with its cache of compiled programs under ``cache``; seconds until each moment."""
    environment = {**os.environ, "XDG_CACHE_HOME": str(cache)}
    environment.pop("JAX_COMPILATION_CACHE_DIR", None)
    seen: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run"
        command = [sys.executable, "-m", "forethought", *_ARGUMENTS, "--run", str(path)]
        start = time.perf_counter()
        with (Path(folder) / "output").open("w+") as output:
            process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=output, stderr=output)
            try:
                while "first_update" not in seen:
                    now = time.perf_counter() - start
                    reached = _reached(path / "metrics.jsonl")
                    seen |= {name: now for name in reached if name not in seen}
                    if process.poll() is not None or now > _LIMIT_S:
                        output.seek(0)
                        raise RuntimeError(f"the command ended before its first update: {output.read()[-2000:]}")
                    time.sleep(0.01)
            finally:
                process.send_signal(signal.SIGTERM)
                process.wait()
    return seen


def _reached(metrics: Path) -> list[str]:
    """Which moments the lines written so far show."""
    lines = metrics.read_text().splitlines(keepends=True) if metrics.exists() else []
    records: list[dict[str, Any]] = [json.loads(line) for line in lines if line.endswith("\n")]
    steps = max((record["env_steps"] for record in records), default=0)
    updates = max((record["updates"] for record in records), default=0)
    return [name for name, count in (("first_step", steps), ("first_update", updates)) if count >= 1]
