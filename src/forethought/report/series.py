"""Arrays out of a run: the numbers that the figures draw and the sentences quote."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float

from forethought.report.read import RunLog
from forethought.statistics import bootstrap_interval, iqm, mean
from forethought.wording import listed

# Keys of a train record that describe the run and not the learning.
_BOOKKEEPING = ("kind", "env_steps", "frames", "updates", "wall_s", "steps_per_s", "seconds")


@dataclass(frozen=True)
class Series:
    """One number per seed at several moments of a run; NaN where a number was not finite.

    ``env_steps`` and ``updates`` count those of each seed; ``wall_s`` is seconds since the start of the run.
    """

    env_steps: Float[np.ndarray, " points"]
    updates: Float[np.ndarray, " points"]
    wall_s: Float[np.ndarray, " points"]
    values: Float[np.ndarray, "points seeds"]


@dataclass(frozen=True)
class EvaluationSummary:
    """One evaluation of a run.

    ``per_seed`` holds each seed's mean over its episodes; ``mean``, ``iqm`` and the 95 % interval ``low .. high`` (NaN
    with a single seed) are taken over the seeds.
    """

    env_steps: int
    episodes: int
    per_seed: tuple[float, ...]
    mean: float
    iqm: float
    low: float
    high: float


@dataclass(frozen=True)
class RunStatus:
    """How far a run came. ``env_steps`` is per seed; ``seconds`` is the cumulative time by phase."""

    status: str
    message: str
    env_steps: int
    frames: int
    updates: int
    fits: int
    wall_s: float
    seconds: Mapping[str, float]


def evaluations(run: RunLog) -> Series:
    """Return each seed's mean return over the episodes of each evaluation."""
    rows = []
    for record in run.of("eval"):
        rows.append((record, [_mean_or_nan(seed) for seed in record.get("return") or ()]))
    return _series(rows)


def evaluation(run: RunLog, index: int) -> EvaluationSummary | None:
    """Return one evaluation by its place among those of the run (-1: the newest), or None where a run has none."""
    points = evaluations(run)
    if points.values.size == 0:
        return None
    returns = points.values[index]
    record = [record for record in run.of("eval") if record.get("return")][index]
    low, high = bootstrap_interval(returns)
    return EvaluationSummary(
        env_steps=int(points.env_steps[index]),
        episodes=max(len(seed) for seed in record["return"]),
        per_seed=tuple(float(value) for value in returns),
        mean=float(mean(returns)),
        iqm=float(iqm(returns)),
        low=low,
        high=high,
    )


def best(run: RunLog) -> EvaluationSummary | None:
    """Return the best evaluation of each seed, with the last of their steps; None where a run has none."""
    points = evaluations(run)
    if points.values.size == 0 or not np.isfinite(points.values).any(axis=0).all():
        return None
    chosen = np.nanargmax(points.values, axis=0)
    returns = points.values[chosen, np.arange(points.values.shape[1])]
    low, high = bootstrap_interval(returns)
    newest = evaluation(run, -1)
    assert newest is not None
    return replace(
        newest,
        env_steps=int(points.env_steps[chosen].max()),
        per_seed=tuple(float(value) for value in returns),
        mean=float(mean(returns)),
        iqm=float(iqm(returns)),
        low=low,
        high=high,
    )


def final(run: RunLog) -> EvaluationSummary | None:
    """Return the newest evaluation, or None where a run has none."""
    return evaluation(run, -1)


def constant(run: RunLog, kind: str, name: str) -> float | None:
    """Return the value of a metric that is the same for every seed throughout the run; None where it varies."""
    values = metric(run, kind, name).values
    values = values[np.isfinite(values)]
    if values.size == 0 or np.ptp(values) > 1e-6 * np.abs(values).max():
        return None
    return float(values.flat[0])


def episodes(run: RunLog) -> Series:
    """Return the finished training episodes as a series of one column, whatever their seed."""
    return _series([(record, [_float(record.get("return"))]) for record in run.of("episode")])


def metric_names(run: RunLog, kind: str) -> list[str]:
    """Return the per-seed metrics that a kind of record carries, in order of first appearance."""
    names: dict[str, None] = {}
    for record in run.of(kind):
        names.update(dict.fromkeys(k for k, v in record.items() if k not in _BOOKKEEPING and _per_seed(v)))
    return list(names)


def _per_seed(value: Any) -> bool:
    """Whether this is one number per seed, and not one per seed and output (`forethought.report.outputs`)."""
    return isinstance(value, list) and not any(isinstance(item, list) for item in value)


def metric(run: RunLog, kind: str, name: str) -> Series:
    """Return one metric of the ``train`` or ``model`` records."""
    return _series([(r, [_float(v) for v in r[name]]) for r in run.of(kind) if isinstance(r.get(name), list)])


def throughput(run: RunLog) -> Series:
    """Return the environment steps per second that the training records carry, as a series of one column."""
    return _series([(r, [_float(r["steps_per_s"])]) for r in run.of("train") if "steps_per_s" in r])


def progress(run: RunLog) -> RunStatus:
    """Return how far the run came: from its summary, else from the latest of its records."""
    if run.summary is not None:
        status, message, source = run.summary.get("status", "unknown"), run.summary.get("message"), run.summary
    else:
        status, message = "unfinished", "no summary was written: the run is still going on, or it was killed"
        everything = [record for kind in ("train", "model", "eval") for record in run.of(kind)]
        source = max(everything, key=lambda record: record["env_steps"], default={})
    seconds = source.get("seconds")
    if not isinstance(seconds, dict) or not seconds:
        seconds = next((r["seconds"] for r in reversed(run.of("train")) if isinstance(r.get("seconds"), dict)), {})
    return RunStatus(
        status=str(status),
        message=str(message or ""),
        env_steps=_count(source.get("env_steps")),
        frames=_count(source.get("frames")),
        updates=_count(source.get("updates")),
        fits=_count(source.get("fits", sum("part" not in record for record in run.of("model")))),
        wall_s=max(0.0, np.nan_to_num(_float(source.get("wall_s")))),
        seconds={str(phase): s for phase, value in seconds.items() if math.isfinite(s := _float(value)) and s > 0},
    )


def baselines(run: RunLog) -> dict[str, Mapping[str, Any]]:
    """Return what was played before the first step to compare with, by name; the constant action is in its name."""
    record = next(iter(run.of("baselines")), {})
    named: dict[str, Mapping[str, Any]] = {}
    for name, played in record.items():
        if isinstance(played, dict) and math.isfinite(_float(played.get("mean"))):
            action = played.get("action")
            shown = "" if action is None else f" {np.array2string(np.asarray(action), precision=4)}"
            named[f"{name[:1].upper()}{name[1:]}{shown}"] = played
    return named


def warnings(run: RunLog) -> list[str]:
    """Return the warnings that hold, then those that a later fit took back and a word on lines that cannot be read."""
    taken_back = [
        f"{about}: no longer, since the fit at step {_count(record.get('env_steps')):,}"
        for about, record in _newest_warnings(run).items()
        if record.get("over")
    ]
    told = [*standing_warnings(run).values(), *taken_back]
    if run.unreadable:
        lines = listed([str(line) for line in run.unreadable], 10)
        told.append(f"metrics.jsonl could not be read in line {lines}; the report leaves that out")
    return told


def standing_warnings(run: RunLog) -> dict[str, str]:
    """Return the warnings that hold, in their newest words, by what they are about."""
    newest = _newest_warnings(run)
    return {about: str(record.get("text", "")) for about, record in newest.items() if not record.get("over")}


def _newest_warnings(run: RunLog) -> dict[str, Mapping[str, Any]]:
    return {str(record.get("text", "")).split(": ")[0]: record for record in run.of("warning")}


def _series(rows: Sequence[tuple[Mapping[str, Any], Sequence[float]]]) -> Series:
    rows = [row for row in rows if len(row[1])]
    seeds = max((len(values) for _, values in rows), default=0)
    table = np.full((len(rows), seeds), np.nan)
    for i, (_, values) in enumerate(rows):
        table[i, : len(values)] = values
    return Series(
        env_steps=np.array([float(record["env_steps"]) for record, _ in rows], dtype=float),
        updates=np.array([_float(record.get("updates")) for record, _ in rows], dtype=float),
        wall_s=np.array([_float(record.get("wall_s")) for record, _ in rows], dtype=float),
        values=table,
    )


def _mean_or_nan(values: Any) -> float:
    numbers = [_float(value) for value in values] if isinstance(values, list) else []
    return sum(numbers) / len(numbers) if numbers else math.nan


def _float(value: Any) -> float:
    """Return a number as a finite float, and NaN for null, text or infinity."""
    if not isinstance(value, int | float) or not math.isfinite(value):
        return math.nan
    return float(value)


def _count(value: Any) -> int:
    number = _float(value)
    return int(number) if math.isfinite(number) else 0
