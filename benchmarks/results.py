"""What a benchmark found, as data: written as JSON, read by `benchmarks.tables` and `benchmarks.picture`."""

import json
import math
import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

ROOT = Path(__file__).resolve().parents[1]
FOLDER = Path(__file__).resolve().parent / "results"
FORMAT = 1


@dataclass(frozen=True)
class Check:
    """One number held against its target; ``value`` is None where it could not be measured."""

    what: str
    value: float | None
    target: float
    unit: str
    sense: Literal["at least", "at most", "more than"] = "at least"

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None where nothing was measured."""
        if self.value is None:
            return None
        if math.isnan(self.value):
            return False
        signed = self.target - self.value if self.sense == "at most" else self.value - self.target
        return signed > 0 if self.sense == "more than" else signed >= 0


@dataclass(frozen=True)
class Result:
    """One benchmark on one machine. ``partial`` results come from a shortened run and meet no target."""

    name: str
    kind: Literal["speed", "learning"]
    title: str
    checks: tuple[Check, ...]
    details: Mapping[str, Any]
    command: str = ""
    partial: bool = False
    machine: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    date: str = ""

    @property
    def met(self) -> bool:
        """Whether every target is met."""
        return not self.partial and all(check.met for check in self.checks)


def times_fewer(sac: float | None, other: float | None) -> float | None:
    """How many times fewer steps an algorithm needs than SAC; None where one of the two never got there."""
    return None if sac is None or other is None else sac / other


def stamped(result: Result, date: str | None = None) -> dict[str, Any]:
    """A result as JSON values, with the machine, the versions and the time it is made at."""
    from forethought.training.rundir import hardware, versions

    values = asdict(result)
    values["checks"] = [{**asdict(check), "met": check.met} for check in result.checks]
    values["met"] = result.met
    values["machine"] = {**hardware(), "load_average": list(os.getloadavg())}
    values["versions"] = {**versions(), **_commit()}
    values["date"] = date or datetime.now(UTC).isoformat(timespec="seconds")
    return plain(values)


def default_path(kind: str, name: str) -> Path:
    """Where the result of a benchmark is kept unless another place is asked for."""
    return FOLDER / f"{kind}_{name}.json"


def write(path: Path, results: Sequence[Mapping[str, Any]]) -> None:
    """Replace a file of results as a whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps({"format": FORMAT, "results": list(results)}, indent=1) + "\n")
    os.replace(partial, path)


def read(path: Path) -> list[dict[str, Any]]:
    """The results in a file. Raises `ValueError` for a file of another format."""
    held = json.loads(path.read_text())
    if held.get("format") != FORMAT:
        raise ValueError(f"{path} has format {held.get('format')}, this program reads {FORMAT}")
    return held["results"]


def read_folder(folder: Path = FOLDER) -> dict[tuple[str, str], dict[str, Any]]:
    """The newest result of every benchmark in a folder, by kind and name."""
    newest: dict[tuple[str, str], dict[str, Any]] = {}
    for path in sorted(folder.glob("*.json")):
        for result in read(path):
            key = result["kind"], result["name"]
            if key not in newest or newest[key]["date"] < result["date"]:
                newest[key] = result
    return newest


def plain(value: Any) -> Any:
    """JSON values: numbers that are not finite become null, arrays become lists, floats keep seven digits."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, float):
        return float(f"{value:.7g}") if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    return str(value) if isinstance(value, Path) else value


def _commit() -> dict[str, str]:
    """The commit that was measured, marked where files were changed since; nothing outside a checkout."""
    try:
        head = _git("rev-parse", "--short", "HEAD")
        changed = _git("status", "--porcelain", "--untracked-files=no", "--", "src")
    except (OSError, subprocess.CalledProcessError):
        return {}
    return {"commit": head + (" with changes" if changed else "")}


def _git(*args: str) -> str:
    return subprocess.run(["git", *args], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
