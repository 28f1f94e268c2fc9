"""A run on disk: ``config.json``, ``metrics.jsonl``, ``checkpoints/``, ``summary.json``, ``report.html``, videos."""

import fcntl
import importlib.metadata
import json
import math
import os
import platform
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import jax
import psutil

from forethought.agents import catalog
from forethought.envs import SpaceCodec
from forethought.envs.codec import spec_from_json, spec_to_json
from forethought.errors import CheckpointError, UsageError, nearest
from forethought.files import disk_problem, read_object, require_path, write_atomically
from forethought.stored import require
from forethought.training import checkpoint
from forethought.training.config import RUN_FIELDS, RunConfig, from_dict, to_dict
from forethought.training.given import with_given
from forethought.training.origin import code_named, made_here, sealed
from forethought.training.segments import Segments
from forethought.types import EnvSpec, PyTree

FORMAT = 2
_NAMED_VERSIONS = ("forethought", "jax", "jaxlib", "equinox", "optax", "numpy", "gymnasium", "mujoco")


class Description(NamedTuple):
    """What ``config.json`` says.

    Attributes:
        config: what the run was asked to do.
        spec: the environment as agents know it.
        codec: how its spaces translate.
        live: the user owns the loop, and forethought cannot make the environment.
        made_here: this user made the run on this machine, and nobody edited the file since.
        named: the settings of the file, but for those in whose place the user has given something else.
    """

    config: RunConfig
    spec: EnvSpec
    codec: SpaceCodec
    live: bool
    made_here: bool
    named: dict[str, Any]


class RunDir:
    """Paths and files of one run. `metrics` are appended one line at a time and cut back on resume."""

    def __init__(self, path: Path):
        self.path = path
        self.config_path, self.metrics_path = path / "config.json", path / "metrics.jsonl"
        self.summary_path, self.checkpoints = path / "summary.json", path / "checkpoints"
        self._metrics: Any = None
        self._segments = Segments()

    @classmethod
    def create(
        cls,
        path: Path,
        config: RunConfig,
        defaults: dict[str, Any],
        spec: EnvSpec,
        codec: SpaceCodec,
        *,
        live: bool = False,
    ) -> "RunDir":
        """Make the directory and write ``config.json``. Raises `UsageError` where a run is there already.

        ``live``: the user owns the loop, and forethought cannot make the environment.
        """
        require_path(path)
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            way_out = f"run=..., or go on with it: {_resume_live(path)}" if live else ""
            way_out = way_out or f"--run, or go on with it: forethought resume {path}"
            raise UsageError(f"{path} exists already; choose another {way_out}")
        described = {
            "format": FORMAT,
            **to_dict(config),
            "agent_defaults": defaults,
            "env_spec": spec_to_json(spec),
            "spaces": codec.to_json(),
            "versions": versions(),
            "hardware": hardware(),
            "command": command(),
            "live": live,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        run = cls(path)
        write_atomically(run.config_path, json.dumps(sealed(described), indent=2) + "\n", then="train again")
        return run

    @classmethod
    def open(cls, path: Path) -> "RunDir":
        """An existing run. Raises `CheckpointError` where there is none."""
        require_path(path)
        if path.is_file():
            inside = path.parent if (path.parent / "config.json").is_file() else None
            way_out = f"the run is {inside}" if inside else "a run is a directory, which `forethought train` writes"
            raise CheckpointError(f"{path} is a file; {way_out}")
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

    def read(self, **again: Any) -> Description:
        """What the run was asked to do and where, with what is given ``again`` (see `with_given`) in place of names.

        Raises `CheckpointError`, naming the field, where it cannot be so.
        """
        described = self._described()
        with self.blamed():
            names = ("env_spec", "spaces", *RUN_FIELDS)
            require(described, dict.fromkeys(names, lambda value: True), "it")
            config = from_dict(RunConfig, {name: described[name] for name in RUN_FIELDS})
            config.validate()
            from_dict(catalog.find(config.algorithm).load()[1], config.agent, "agent.")
            spec, codec = spec_from_json(described["env_spec"]), SpaceCodec.from_json(described["spaces"])
            for name, said, made in (
                ("env", config.env, spec.id),
                ("action_repeat", config.action_repeat, spec.action_repeat),
                ("spaces", (codec.obs, codec.action), (spec.obs, spec.action)),
            ):
                if said != made:
                    raise CheckpointError(f"{name} is {said!r}, the run was made with {made!r} (env_spec)")
        named = {name: value for name, value in to_dict(config).items() if again.get(name) is None}
        config = with_given(config, **again)
        return Description(config, spec, codec, bool(described.get("live")), made_here(described), named)

    def require_world(self, *, trust: bool = False, way_out: str = "", **again: Any) -> Description:
        """What `read` gives, where the environment may be made: the run's, or the one that is given ``again``.

        Raises `UsageError` where the user owns the loop of the run, so that there is none to make (``way_out`` is what
        may be done besides), and where making it would import what a run names that was not made here, unless the user
        says that it is to be trusted.
        """
        held = self.read(**again)
        if again.get("env") is not None:
            held = held._replace(live=False)
        if held.live:
            raise UsageError(
                f"{self.path} was driven from Python by forethought.start, its environment is not known here; "
                f"{way_out}go on with {_resume_live(self.path)}, use it with forethought.load"
            )
        self.require_trust(held, tuple(held.named), trust)
        return held

    def require_trust(self, held: Description, fields: tuple[str, ...], trust: bool) -> None:
        """Raise `UsageError` where these fields of a run that was not made here name code, unless it is trusted."""
        code = code_named({name: value for name, value in held.named.items() if name in fields})
        if code and not held.made_here and not trust:
            raise UsageError(
                f"{self.path} names code ({', '.join(code)}) and was not made here as it is, or its config.json was "
                "edited; look at that code, and pass --trust (trust=True in Python) to import it"
            )

    @contextmanager
    def blamed(self) -> Iterator[None]:
        """Turn what is wrong with the settings of the run into a `CheckpointError` that names the file."""
        try:
            yield
        except (UsageError, CheckpointError) as error:
            raise CheckpointError(f"{self.config_path}: {error}; put the file back as it was") from error

    def extend(self, steps: int) -> None:
        """Write a new number of steps into ``config.json``, and what asked for it."""
        described = self._described()
        ours = made_here(described)
        before = described.get("extended_by")
        described |= {"steps": steps, "extended_by": [*(before if isinstance(before, list) else []), command()]}
        described = sealed(described) if ours else described  # a run of others does not become ours by this
        write_atomically(self.config_path, json.dumps(described, indent=2) + "\n")

    def _described(self) -> dict[str, Any]:
        way_out = "put it back from a copy, or from a run that the same command makes in another directory"
        described = read_object(self.config_path, way_out=way_out)
        if described.get("format") != FORMAT:
            raise CheckpointError(
                f"{self.config_path} has the format {described.get('format')!r}, this version reads {FORMAT}; {way_out}"
            )
        return described

    def require_untrained(self) -> None:
        """Raise `CheckpointError` where a run without checkpoints had some: to begin again would wipe its record."""
        lines = self.metrics_path.read_bytes().splitlines() if self.metrics_path.exists() else []
        steps = [step for line in lines for step in _steps_of(line)]
        steps += _steps_of(self.summary_path.read_bytes() if self.summary_path.exists() else b"")
        if max(steps, default=0) > 0:
            raise CheckpointError(
                f"{self.path} was trained for {max(steps):,} steps, and its checkpoints are gone; put "
                f"{self.checkpoints} back, or train anew in another directory"
            )

    def require_unfinished(self, steps: int) -> None:
        """Raise `UsageError` where so many were made and the run was finished, by its summary and a whole checkpoint.

        One that was killed between its last step and its summary is not, and goes on, to write that.
        """
        saved = [path for path in checkpoint.found(self.checkpoints)[-1:] if checkpoint.is_whole(path)]
        if saved and min(checkpoint.step_of(saved[0]), self._finished_steps()) >= steps:
            see = f"forethought report {self.path}"
            raise UsageError(f"the run has finished its {steps} steps; extend it with --steps N, or see: {see}")

    def _finished_steps(self) -> int:
        """The step at which the run was finished, by its summary; -1 where it was not."""
        try:
            summary = read_object(self.summary_path, way_out="")
        except CheckpointError:
            return -1
        done = summary.get("env_steps")
        return int(done) if summary.get("status") == "finished" and isinstance(done, int) else -1

    def require_there(self) -> None:
        """Raise `CheckpointError` where the directory was deleted or moved meanwhile: nothing brings it back."""
        if not self.config_path.is_file():
            raise CheckpointError(
                f"{self.path} was deleted or moved while it was trained, and is not saved any more; train anew, or go "
                "on with: forethought resume, where it is now"
            )

    def save(self, step: int, tree: PyTree, host: dict[str, Any], *, keep: int) -> Path:
        """Write a checkpoint, see `checkpoint.save`."""
        self.require_there()
        return checkpoint.save(self.checkpoints, step, tree, host, keep=keep, segments=self._segments)

    def restore(
        self,
        like: Callable[[], PyTree],
        take: Callable[[PyTree, dict[str, Any]], None],
        warn: Callable[[str], None],
    ) -> Path:
        """Read the newest whole checkpoint, see `checkpoint.load_latest`; what is saved next goes on from there."""
        return checkpoint.load_latest(self.checkpoints, like, take, warn, self._segments)

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

    def cut_metrics(self, size: int) -> int:
        """Forget what was written after a checkpoint, and a line that is not whole; returns the bytes that are missing.

        The resumed run writes again what is forgotten.
        """
        self.close()
        if not self.metrics_path.exists():
            return size
        whole = self.metrics_path.read_bytes()[:size]
        whole = whole[: whole.rfind(b"\n") + 1]
        os.truncate(self.metrics_path, len(whole))
        return size - len(whole)

    def write_summary(self, summary: dict[str, Any]) -> None:
        """Write ``summary.json``."""
        self.require_there()
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


def _steps_of(text: bytes) -> list[int]:
    """The step that a line of metrics (or a summary) tells of; nothing where it is not whole."""
    with suppress(ValueError, TypeError, KeyError, RecursionError, OverflowError):
        return [int(json.loads(text)["env_steps"])]
    return []


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
        "cpu": cpu_name(),
        "cores": os.cpu_count(),
        "memory_gib": round(memory, 1),
    }


def command() -> str:
    """The command line of this process."""
    name = Path(sys.argv[0]).name
    return " ".join(["forethought" if name in ("forethought", "__main__.py") else name, *sys.argv[1:]])


def cpu_name() -> str:
    """What the processor calls itself."""
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
