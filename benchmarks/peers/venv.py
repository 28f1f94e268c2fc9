"""The virtual environments of the peers, made when they are first needed: ``python -m benchmarks.peers.venv NAME``."""

import json
import os
import subprocess
import sys
import venv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent

# What pip installs, one call after the other. PyTorch comes first and alone, so that a wheel for the CPU from a
# configured --find-links is taken where there is one.
INSTALLS: dict[str, tuple[tuple[str, ...], ...]] = {
    "sb3": (("torch==2.13.0",), ("-r", "requirements-sb3.txt")),
    "rejax": (("-r", "requirements-rejax.txt"),),
    "mbrl": (("torch==2.13.0",), ("--no-deps", "mbrl==0.2.0"), ("-r", "requirements-mbrl.txt")),
}


def python(name: str) -> Path:
    """The interpreter of a peer's environment, which is made where it is missing or was left half made."""
    folder = HERE / f".venv-{name}"
    interpreter, finished = folder / "bin" / "python", folder / "finished"
    if not finished.exists():
        print(f"making {folder} ...", file=sys.stderr, flush=True)
        venv.create(folder, clear=True, with_pip=True)
        for arguments in INSTALLS[name]:
            command = [str(interpreter), "-m", "pip", "install", "--quiet", *arguments]
            subprocess.run(command, cwd=HERE, check=True, stdout=sys.stderr)
        finished.touch()
    return interpreter


# How PyTorch may use the cores. The default is not always the best: on some virtual machines it is ten times slower.
_CORES = os.cpu_count() or 1
THREADS: dict[str, dict[str, str]] = {
    "default": {},
    "one thread": {"OMP_NUM_THREADS": "1"},
    "threads bound to cores": {"GOMP_CPU_AFFINITY": f"0-{_CORES - 1}"},
    "threads that wait passively": {"OMP_WAIT_POLICY": "PASSIVE"},
}


def run_script(
    name: str, script: str, arguments: Sequence[str], *, probe: Sequence[str] | None = None
) -> dict[str, Any]:
    """What a script of this folder prints as JSON, with the threads that suit it best on this machine.

    ``probe`` are the arguments of a short run that reports ``seconds_best``; it is made for each way of using the
    cores, and the fastest is taken; without, the library's default is. Where the script fails, the answer is
    ``{"error": last lines}``.
    """
    if probe is None:
        return _run(name, script, arguments, {})
    probes = {way: _run(name, script, probe, THREADS[way]) for way in THREADS}
    seconds = {way: found["seconds_best"] for way, found in probes.items() if "seconds_best" in found}
    if not seconds:
        return probes["default"]
    best = min(seconds, key=lambda way: seconds[way])
    return {**_run(name, script, arguments, THREADS[best]), "thread_setting": best, "probes_seconds": seconds}


def _run(name: str, script: str, arguments: Sequence[str], threads: dict[str, str]) -> dict[str, Any]:
    try:
        command = [str(python(name)), str(HERE / script), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, **threads})
        return json.loads(done.stdout.splitlines()[-1])
    except subprocess.CalledProcessError as error:
        return {"error": (error.stderr or str(error))[-1000:]}
    except (OSError, ValueError, IndexError) as error:
        return {"error": str(error)}


if __name__ == "__main__":
    for asked in sys.argv[1:] or INSTALLS:
        print(python(asked))
