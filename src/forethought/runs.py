"""A run on disk: how it ended, what it knows, its pictures and its report."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import plotly.graph_objects as go

from forethought.data import Transitions, transitions
from forethought.errors import EnvironmentFault, UsageError
from forethought.files import as_path
from forethought.policy import film
from forethought.report import outputs, series
from forethought.report.card import card
from forethought.report.figures import learning_curve_by_steps
from forethought.report.html import write_report
from forethought.report.read import read_run
from forethought.training.baselines import Baseline, Baselines, below, described


@dataclass(frozen=True)
class Run:
    """A run on disk and how it ended; ``summary`` is what ``summary.json`` holds."""

    path: Path
    summary: dict[str, Any]

    @classmethod
    def open(cls, path: str | Path) -> "Run":
        """A run that is on disk, in whatever state. Raises `CheckpointError` where there is none."""
        held = read_run(as_path(path))
        return cls(held.path, dict(held.summary or {}))

    @property
    def final_return(self) -> float:
        """Mean return of the last evaluation, over seeds and episodes."""
        return float(np.mean(self.summary["return"]))

    def transitions(self, *, seed: int | None = None) -> Transitions:
        """What its replay holds, see `forethought.transitions`."""
        return transitions(self.path, seed=seed)

    def plot(self) -> go.Figure:
        """The learning curve: return of the evaluations against environment steps, with the 95 % band over seeds.

        Raises `UsageError` where nothing was evaluated yet.
        """
        drawn = learning_curve_by_steps([read_run(self.path)])
        if drawn is None:
            raise UsageError(f"{self.path} has no evaluation and no finished episode to draw yet")
        return drawn

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        return card(read_run(self.path))


def open_run(path: str | Path) -> Run:
    """See `Run.open`."""
    return Run.open(path)


def beside_baselines(path: str | Path, returns: np.ndarray) -> list[str]:
    """What the baselines of a run earn, and a word where ``returns`` [seeds, episodes] are below them."""
    played = baselines(read_run(as_path(path)).summary or {})
    shortfall = below(returns, played)
    return [f"{described(name, of)}" for name, of in played.items()] + ([f"warning: {shortfall}"] if shortfall else [])


def baselines(summary: Mapping[str, Any]) -> Baselines:
    """Those that a summary holds."""
    return {name: Baseline(**played) for name, played in summary.get("baselines", {}).items()}


def standing_warnings(path: str | Path) -> list[str]:
    """What those warnings of a run are about that hold in the end."""
    return list(series.standing_warnings(read_run(as_path(path))))


def model_errors(path: str | Path) -> dict[str, str]:
    """How well the model of a run foretells the reward and the observations after its last fit, for the end table."""
    run = read_run(as_path(path))
    found = outputs.errors(run)
    if found is None:
        return {}
    last = found.values[-1].mean(axis=0)
    seen = "held out" if found.seen.startswith("held") else "in training"
    best, worst = (1 + int(choose(last[1:])) for choose in (np.argmin, np.argmax))
    of_reward = {} if run.config.get("reward") else {"error of reward": f"{last[0]:.3g} of its variance, {seen}"}
    return {
        **of_reward,
        "error of observations": " to ".join(f"{last[i]:.3g} ({found.labels[i]})" for i in (best, worst))
        + " of the variance of their change",
    }


class Made(NamedTuple):
    """A report, and what is read from the run beside it: the mean returns of its first and last evaluation."""

    before: float
    after: float
    file: Path
    no_video: str | None  # why there is none, where there is none


def report_run(path: str | Path, *, trust: bool = False) -> Made:
    """Write ``report.html`` into a run, with a video where the environment gives pictures (and may be imported).

    Without pictures the report stands without a video.
    """
    folder = as_path(path)
    evaluated = [np.mean(record["return"]) for record in read_run(folder).of("eval")]
    no_video = None
    try:
        film(folder, folder / "videos" / "final.mp4", trust=trust)
    except (UsageError, EnvironmentFault) as error:
        no_video = str(error)
    return Made(float(evaluated[0]), float(evaluated[-1]), write_report([folder], folder / "report.html"), no_video)
