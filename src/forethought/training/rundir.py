"""A run on disk: ``config.json``, ``metrics.jsonl``, ``checkpoints/``, ``summary.json``, ``report.html``, videos."""

import fcntl
import importlib.metadata
import json
import math
import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jax
import psutil

from forethought.envs import SpaceCodec
from forethought.errors import CheckpointError, UsageError, nearest
from forethought.files import disk_problem, write_atomically
from forethought.training.config import RunConfig, from_dict, to_dict

FORMAT = 1
_NAMED_VERSIONS = ("forethought", "jax", "jaxlib", "equinox", "optax", "numpy", "gymnasium", "mujoco")


class RunDir:
    """Paths and files of one run. `metrics` are appended one line at a time and cut back on resume."""

    def __init__(self, path: Path):
        self.path = path
        self.config_path, self.metrics_path = path / "config.json", path / "metrics.jsonl"
        self.summary_path, self.checkpoints = path / "summary.json", path / "checkpoints"
        self._metrics: Any = None

    @classmethod
    def create(
        cls, path: Path, config: RunConfig, defaults: dict[str, Any], codec: SpaceCodec, *, live: bool = False
    ) -> "RunDir":
        """Make the directory and write ``config.json``. Raises `UsageError` where a run is there already.

        ``live``: the user owns the loop, and forethought cannot make the environment.
        """
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            way_out = f"run=..., or go on with it: {_resume_live(path)}" if live else ""
            way_out = way_out or f"--run, or go on with it: forethought resume {path}"
            raise UsageError(f"{path} exists already; choose another {way_out}")
        described = {
            "format": FORMAT,
            **to_dict(config),
            "agent_defaults": defaults,
            "spaces": codec.to_json(),
            "versions": versions(),
            "hardware": hardware(),
            "command": command(),
            "live": live,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        run = cls(path)
        write_atomically(run.config_path, json.dumps(described, indent=2) + "\n", then="train again")
        return run

    @classmethod
    def open(cls, path: Path) -> "RunDir":
        """An existing run. Raises `CheckpointError` where there is none."""
        run = cls(path)
        if not run.config_path.is_file():
            raise CheckpointError(f"{path} is not a run directory: it holds no config.json{neighbours(path)}")
        return run

    @contextmanager
    def claimed(self) -> Iterator[None]:
        """Keep other processes from training this run meanwhile; the claim ends with this process, however it ends.

        Raises `CheckpointError` where another one trains it, or where nothing can be written.
        """
        path = self.path / "lock"
        try:
            lock = path.open("w")
        except OSError as error:
            raise CheckpointError(disk_problem(error, path)) from error
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                words = "is being trained by another process; wait for it, or stop it first"
                raise CheckpointError(f"{self.path} {words}") from error
            except OSError:
                pass  # a file system without locks
            yield

    def require_world(self) -> None:
        """Raise `UsageError` where the user owns the loop of the run, so that there is no environment to make."""
        self.read_config()  # which says what is wrong with a file that cannot be read
        if json.loads(self.config_path.read_text()).get("live"):
            raise UsageError(
                f"{self.path} was driven from Python by forethought.start, its environment is not known here; "
                f"go on with {_resume_live(self.path)}, use it with forethought.load"
            )

    def read_config(self) -> tuple[RunConfig, SpaceCodec]:
        """What the run was asked to do, and how its spaces translate. Raises `CheckpointError` where unreadable."""
        try:
            described = json.loads(self.config_path.read_text())
            if described["format"] != FORMAT:
                raise CheckpointError(f"{self.path} has format {described['format']}, this version reads {FORMAT}")
            known = {name: described[name] for name in RunConfig.__dataclass_fields__}
            return from_dict(RunConfig, known), SpaceCodec.from_json(described["spaces"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CheckpointError(f"{self.config_path} cannot be read ({type(error).__name__}: {error})") from error

    def extend(self, steps: int) -> None:
        """Write a new number of steps into ``config.json``."""
        described = json.loads(self.config_path.read_text())
        described["steps"] = steps
        write_atomically(self.config_path, json.dumps(described, indent=2) + "\n")

    def log(self, record: dict[str, Any]) -> None:
        """Append one line to ``metrics.jsonl``; numbers that are not finite become null."""
        try:
            if self._metrics is None:
                self._metrics = self.metrics_path.open("a", encoding="utf-8")
            self._metrics.write(json.dumps(_plain(record), allow_nan=False) + "\n")
            self._metrics.flush()
        except OSError as error:
            raise CheckpointError(disk_problem(error, self.metrics_path)) from error

    def metrics_size(self) -> int:
        """Bytes of ``metrics.jsonl``, which a checkpoint remembers. They are flushed to the disk first."""
        if self._metrics is None:
            return self.metrics_path.stat().st_size if self.metrics_path.exists() else 0
        os.fsync(self._metrics.fileno())
        return self._metrics.tell()

    def cut_metrics(self, size: int) -> None:
        """Forget the lines that were written after a checkpoint: the resumed run writes them again."""
        self.close()
        if self.metrics_path.exists():
            os.truncate(self.metrics_path, min(size, self.metrics_path.stat().st_size))

    def write_summary(self, summary: dict[str, Any]) -> None:
        """Write ``summary.json``."""
        write_atomically(self.summary_path, json.dumps(_plain(summary), indent=2) + "\n")

    def close(self) -> None:
        """Close ``metrics.jsonl``."""
        if self._metrics is not None:
            self._metrics.close()
            self._metrics = None


def neighbours(path: Path) -> str:
    """Say which runs lie where ``path`` was looked for."""
    found = [config.parent.name for config in path.parent.glob("*/config.json")] if path.parent.is_dir() else []
    return f"; {nearest(path.name, found)}" if found else "; `forethought train` writes one under runs/"


def _resume_live(path: Path) -> str:
    return f"forethought.resume_live({str(path)!r})"


def versions() -> dict[str, str]:
    """Versions of what a result depends on."""
    known = {"python": platform.python_version()}
    for name in _NAMED_VERSIONS:
        try:
            known[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return known


def hardware() -> dict[str, Any]:
    """The machine that a result was measured on."""
    device = jax.devices()[0]
    memory = psutil.virtual_memory().total / 2**30
    return {
        "device": device.platform,
        "device_kind": device.device_kind,
        "cpu": _cpu_name(),
        "cores": os.cpu_count(),
        "memory_gib": round(memory, 1),
    }


def command() -> str:
    """The command line of this process."""
    name = Path(sys.argv[0]).name
    return " ".join(["forethought" if name in ("forethought", "__main__.py") else name, *sys.argv[1:]])


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return value
