"""What a policy costs where it is used: seconds until the first action, and for each action after it, in each form."""

import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from gymnasium.spaces import Box

import forethought
from benchmarks.results import Check, Result

# Each program begins with nothing imported, and prints the seconds to its first action and those of later ones.
_PROGRAM = """
import json, sys, time
start = time.perf_counter()
import numpy as np
{make}
obs = np.random.default_rng(0).uniform(-1, 1, (300, 1, 17)).astype(np.float32)
np.asarray(act(obs[0]))
first, seconds = time.perf_counter() - start, []
for seen in obs[1:]:
    begun = time.perf_counter()
    np.asarray(act(seen))
    seconds.append(time.perf_counter() - begun)
print(json.dumps([first, *seconds]))
"""
_FORMS = {
    "forethought.load": "import forethought; act = forethought.load('run')",
    "NumPy": "from numpy_policy import Policy; act = Policy('policy.npz')",
    "StableHLO": "import jax; from jax import export; file = open('policy.stablehlo', 'rb'); "
    "act = jax.jit(export.deserialize(bytearray(file.read())).call)",
}


def run(quick: bool) -> Result:
    """SAC's actor of 17 observations and 6 actions, 2 x 256 wide, deciding for one observation at a time.

    Each form in a process of its own, three times; the median over the processes of the median over 299 actions.
    """
    checks, details = [], {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        agent = forethought.start("sac", Box(-1, 1, (17,)), Box(-1, 1, (6,)), run=folder / "run", steps=2000)
        agent.save()
        for file in ("policy.npz", "policy.stablehlo"):
            forethought.export(folder / "run", folder / file)
        for form, make in _FORMS.items():
            runs = [_measure(folder, make) for _ in range(1 if quick else 3)]
            first = statistics.median(seconds[0] for seconds in runs)
            each = statistics.median(statistics.median(seconds[1:]) for seconds in runs)
            limit = {"NumPy": (1.0, 0.5)}.get(form, (25.0, 5.0))
            checks.append(Check(f"until the first action, {form}", first, limit[0], "s", "at most"))
            checks.append(Check(f"each action after it, {form}", 1000 * each, limit[1], "ms", "at most"))
            details[form] = {"first_s": first, "each_s": each}
    return Result(
        name="export",
        kind="speed",
        title="A policy in a process that has just begun, in each of its forms",
        checks=tuple(checks),
        details=details,
        command="python -m benchmarks.speed export",
        partial=quick,
    )


def _measure(folder: Path, make: str) -> list[float]:
    program = [sys.executable, "-c", _PROGRAM.format(make=make)]
    said = subprocess.run(program, cwd=folder, check=True, capture_output=True, text=True)
    return json.loads(said.stdout)
