"""The virtual environments of the peers, made when they are first needed: ``python -m benchmarks.peers.venv NAME``."""

import json
import os
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent

# What pip installs, one call after the other. PyTorch comes first and alone, so that a wheel for the CPU from a
# configured --find-links is taken where there is one.
INSTALLS: dict[str, tuple[tuple[str, ...], ...]] = {
    "sb3": (("torch==2.13.0",), ("-r", "requirements-sb3.txt")),
    "rejax": (("-r", "requirements-rejax.txt"),),
    "mbrl": (("torch==2.13.0",), ("--no-deps", "mbrl==0.2.0"), ("-r", "requirements-mbrl.txt")),
    "sheeprl": (("torch==2.13.0",), ("-r", "requirements-sheeprl.txt")),
}


def python(name: str) -> Path:
    """The interpreter of a peer's environment, which is made where it is missing or was left half made.

    Where nothing can be installed, ``FORETHOUGHT_PEERS_PYTHON`` names one that has what the peers need.
    """
    if given := os.environ.get("FORETHOUGHT_PEERS_PYTHON"):
        return Path(given)
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
    best, seconds, by_default = _probed(name, script, probe)
    if not seconds:
        return by_default
    return {**_run(name, script, arguments, THREADS[best]), "thread_setting": best, "probes_seconds": seconds}


class PeerFailed(Exception):
    """A script has ended where an answer was awaited; says its last lines."""


@dataclass(frozen=True)
class Turns:
    """A script that has made its warm-ups and waits: what it says of itself, and one timed update when asked."""

    facts: dict[str, Any]
    process: "subprocess.Popen[str]"

    def __call__(self) -> float:
        """Seconds of one more update. Raises `PeerFailed`."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.write("\n")
            self.process.stdin.flush()
        except OSError as error:
            raise PeerFailed("the script has ended") from error
        return _answer(self.process)["seconds"]


@contextmanager
def by_turns(
    name: str, script: str, arguments: Sequence[str], *, probe: Sequence[str] | None = None
) -> Iterator[Turns]:
    """Keep a script of this folder that knows ``--by-turns`` running, with threads as in `run_script`.

    So its updates and ours can be timed one after the other, and other work on the machine hits both sides alike.
    Raises `PeerFailed` where the script fails.
    """
    best, facts = "default", {}
    if probe is not None:
        best, seconds, by_default = _probed(name, script, probe)
        if not seconds:
            raise PeerFailed(by_default["error"])
        facts = {"probes_seconds": seconds}
    command = [str(python(name)), str(HERE / script), *arguments, "--by-turns"]
    environment = {**os.environ, **THREADS[best]}
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment
        )
        try:
            yield Turns({**_answer(process), "thread_setting": best, **facts}, process)
        except PeerFailed as error:
            errors.seek(0)
            raise PeerFailed(errors.read()[-1000:] or str(error)) from error
        finally:
            process.kill()
            process.communicate()


def _answer(process: "subprocess.Popen[str]") -> dict[str, Any]:
    """The next line that is JSON: what libraries print besides is passed over."""
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("{"):
            return json.loads(line)
    raise PeerFailed("the script has ended")


def _probed(name: str, script: str, probe: Sequence[str]) -> tuple[str, dict[str, float], dict[str, Any]]:
    """The fastest way of using the cores, the seconds of each that works, and what the default way found."""
    probes = {way: _run(name, script, probe, THREADS[way]) for way in THREADS}
    seconds = {way: found["seconds_best"] for way, found in probes.items() if "seconds_best" in found}
    return min(seconds, key=lambda way: seconds[way], default="default"), seconds, probes["default"]


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
