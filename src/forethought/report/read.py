"""Read a run directory: ``config.json``, ``metrics.jsonl``, ``summary.json``, ``diagnostics.json`` and ``videos/``.

A run may still be going on, may have been killed in the middle of a line and may have been resumed from an earlier
checkpoint; all of that still gives a report. Only a directory that is not a run is refused.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from forethought.diagnostics import Diagnosis, read_diagnosis
from forethought.errors import CheckpointError
from forethought.files import read_object, require_path
from forethought.training.rundir import FORMAT, neighbours

# One record of these kinds covers every seed, so within a run their steps can only go back after a resume.
_RESUMED_KINDS = ("train", "model", "eval")


@dataclass(frozen=True)
class RunLog:
    """What one run directory says, as it was written.

    Attributes:
        path: the run directory.
        name: what to call the run in a report; the directory's name until `read_runs` has to tell two apart.
        config: ``config.json``.
        records: the lines of ``metrics.jsonl`` by kind, in order of writing.
        summary: ``summary.json``, or None while there is none.
        videos: the mp4 files under ``videos/``, the latest last.
        unreadable: numbers of the lines of ``metrics.jsonl`` that are no records, the last line excepted.
        diagnosis: ``diagnostics.json``, or None where there is none.
    """

    path: Path
    name: str
    config: Mapping[str, Any]
    records: Mapping[str, Sequence[Mapping[str, Any]]]
    summary: Mapping[str, Any] | None
    videos: tuple[Path, ...]
    unreadable: tuple[int, ...]
    diagnosis: Diagnosis | None = None

    def of(self, kind: str) -> Sequence[Mapping[str, Any]]:
        """Return the records of one kind; none is fine."""
        return self.records.get(kind, ())

    def obs_name(self, dimension: int) -> str:
        """Return what a number of the observation is called: its name where the run has names, else by its place."""
        spaces = self.config.get("spaces")
        names = spaces.get("obs_names") if isinstance(spaces, Mapping) else None
        return str(names[dimension]) if names and dimension < len(names) else f"observation {dimension}"


def read_run(path: Path) -> RunLog:
    """Read one run directory.

    Records of a resumed run that lie after the checkpoint it was resumed from are replaced by those of its
    continuation. A last line that was only half written is left out.

    Raises:
        CheckpointError: ``path`` is no run directory, or one of its JSON files cannot be understood.
    """
    require_path(path)
    if path.is_file():
        raise CheckpointError(f"{str(path)!r} is a file; give the directory of a run")
    if not path.is_dir():
        raise CheckpointError(f"there is no run directory {str(path)!r}{neighbours(path)}")
    if not (path / "config.json").is_file():
        raise CheckpointError(
            f"{str(path)!r} is not a run: it has no config.json; give one of the directories in runs/"
        )
    config = read_object(path / "config.json", way_out="put it back from a copy, or train again")
    if config.get("format") not in range(1, FORMAT + 1):  # what is shown of earlier ones has not changed
        raise CheckpointError(
            f"{str(path)!r} has format {config.get('format')!r}, this version reads {FORMAT}: upgrade forethought"
        )
    records, unreadable = _read_records(path / "metrics.jsonl")
    way_out = "remove it, and the report does without, or resume the run"
    summary = read_object(path / "summary.json", way_out=way_out) if (path / "summary.json").is_file() else None
    # A dot begins the name of one that was never finished.
    videos = tuple(sorted(path.glob("videos/[!.]*.mp4"), key=lambda video: (video.stat().st_mtime_ns, video.name)))
    diagnosis = read_diagnosis(path / "diagnostics.json") if (path / "diagnostics.json").is_file() else None
    return RunLog(path, path.resolve().name, config, records, summary, videos, unreadable, diagnosis)


def read_runs(paths: Sequence[Path]) -> list[RunLog]:
    """Read several run directories; where two have the same name, each is called by parent and name.

    Raises:
        CheckpointError: one of them is no run directory.
    """
    runs = [read_run(path) for path in paths]
    names = [run.name for run in runs]
    return [
        run if names.count(run.name) == 1 else replace(run, name=f"{run.path.resolve().parent.name}/{run.name}")
        for run in runs
    ]


def _read_records(path: Path) -> tuple[dict[str, list[dict[str, Any]]], tuple[int, ...]]:
    """Return the records by kind and the numbers of the lines that are none."""
    try:
        # Bytes cut inside a character are a half-written line, not a reason to refuse the run.
        lines = path.read_text(encoding="utf-8", errors="replace").split("\n") if path.is_file() else []
    except OSError as error:
        raise CheckpointError(f"cannot read {str(path)!r}: {error.strerror or error}") from error
    records: dict[str, list[dict[str, Any]]] = {}
    unreadable = []
    for number, line in enumerate(lines, start=1):
        record = _parse(line)
        if record is not None:
            records.setdefault(record["kind"], []).append(record)
        elif line.strip() and number < len(lines):
            # The text after the last newline is what a killed process was still writing.
            unreadable.append(number)
    for kind in _RESUMED_KINDS:
        if kind in records:
            records[kind] = _latest(records[kind])
    return records, tuple(unreadable)


def _parse(line: str) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(record, dict) or not isinstance(record.get("kind"), str):
        return None
    steps = record.get("env_steps")
    if not isinstance(steps, int | float) or not math.isfinite(steps):
        return None
    return record


def _latest(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Drop the records that a later record of fewer steps has taken back."""
    kept: list[dict[str, Any]] = []
    for record in records:
        while kept and kept[-1]["env_steps"] > record["env_steps"]:
            kept.pop()
        kept.append(record)
    return kept
