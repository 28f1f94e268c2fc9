"""The beginning of a report: what was trained, how well it does, what to keep in mind, and a film of it."""

import base64
from collections.abc import Sequence
from typing import Any

from forethought.diagnostics import findings
from forethought.errors import CheckpointError
from forethought.report import series, tables
from forethought.report.read import RunLog
from forethought.report.style import css_line, pen
from forethought.report.words import duration, interval, number
from forethought.wording import plural

_LARGEST_VIDEO = 24 * 2**20  # bytes; a larger one would make the page slow to open, and is only named
_MOST_WARNINGS = 5  # that are shown unfolded

# Coverage of a nominal 95 % percentile bootstrap interval of the mean of n normal scores, as `statistics` states it.
_COVERAGE = {2: 50, 3: 75, 4: 80, 5: 83, 6: 86, 7: 87, 8: 88, 9: 89, 10: 89}


def head(runs: Sequence[RunLog]) -> dict[str, Any]:
    """Return the title, the verdict or the comparison, what to keep in mind, warnings and videos."""
    alone = len(runs) == 1
    warnings = [text if alone else f"{run.name}: {text}" for run in runs for text in _problems(run, alone)]
    diagnosis = runs[0].diagnosis if alone else None
    return {
        "title": title(runs),
        "verdict": verdict(runs[0]) if alone else None,
        "comparison": [] if alone else tables.comparison(runs),
        "standings": tables.standings(runs[0]) if alone else [],
        "caution": (f"Run {runs[0].name}. " if alone else "") + _caution(runs),
        "warnings": warnings[:_MOST_WARNINGS],
        "more_warnings": warnings[_MOST_WARNINGS:],
        "finding": findings(diagnosis)[0].sentence if diagnosis is not None else "",
        "videos": [_video(run, index) for index, run in enumerate(runs) if run.videos],
    }


def verdict(run: RunLog) -> str:
    """Return in one sentence what was trained on what, how well it does and what that took."""
    end, progress = series.final(run), series.progress(run)
    subject = f"{run.config.get('algorithm', 'an agent')} on {run.config.get('env', 'an unnamed environment')}"
    seeds = len(end.per_seed) if end else int(run.config.get("seeds") or 1)
    each = " per seed" if seeds > 1 else ""
    cost = (
        f"{plural(progress.env_steps, 'environment step')}{each}, {_learned(progress)} "
        f"and {duration(progress.wall_s)} of wall time"
    )
    if end is None:
        return f"{subject}: no evaluation yet after {cost}; status: {progress.status}."
    width = " [95 % interval]" if seeds > 1 else ""
    over = f"{plural(seeds, 'seed')} × {plural(end.episodes, 'episode')}"
    at = "" if end.env_steps == progress.env_steps else f" at step {end.env_steps:,}"
    return (
        f"{subject}: final return {interval(end.mean, end.low, end.high)} "
        f"(mean{width} over {over}{at}) after {cost}; status: {progress.status}."
    )


def _learned(progress: series.RunStatus) -> str:
    """Return how much was learned; what was never done (a planner makes no updates) is left out."""
    fits = [plural(progress.fits, "fit") + " of the model"] if progress.fits else []
    updates = [plural(progress.updates, "update")] if progress.updates or not fits else []
    return ", ".join([*updates, *fits])


def title(runs: Sequence[RunLog]) -> str:
    """Return what was trained on what, or how many runs are compared."""
    if len(runs) == 1:
        return f"{runs[0].config.get('algorithm', 'agent')} on {runs[0].config.get('env', 'an unnamed environment')}"
    environments = {str(run.config.get("env")) for run in runs}
    return f"{len(runs)} runs on {environments.pop() if len(environments) == 1 else 'several environments'}"


def _caution(runs: Sequence[RunLog]) -> str:
    """Return what to keep in mind about the numbers at the top."""
    notes = []
    if len({str(run.config.get("env")) for run in runs}) > 1:
        notes.append("The runs have different environments, so their returns do not compare.")
    counts = sorted({len(end.per_seed) for end in map(series.final, runs) if end})
    if counts and counts[0] == 1:
        notes.append("One seed gives no interval, and says little about another seed.")
    few = [count for count in counts if count in _COVERAGE]
    if few:
        notes.append(
            f"An interval from {few[0]} seeds is narrower than it claims: it covers the true mean in about "
            f"{_COVERAGE[few[0]]} % of cases rather than 95 %."
        )
    if len(runs) == 1 and counts and counts[0] > 1:
        end = series.final(runs[0])
        if end:
            singles = ", ".join(number(value) for value in end.per_seed[:20])
            notes.append(f"Interquartile mean over seeds {number(end.iqm)}; single seeds {singles}.")
    return " ".join(notes)


def _problems(run: RunLog, alone: bool) -> list[str]:
    """Return why the run ended early, and the warnings that came while it trained."""
    message = series.progress(run).message
    # In a comparison the table already says which runs have no summary yet.
    ended = [message] if message and (alone or run.summary is not None) else []
    return [*ended, *series.warnings(run)]


def _video(run: RunLog, index: int) -> dict[str, str]:
    """Return the latest video, as text to embed."""
    latest = run.videos[-1]
    others = f"; the others are in {latest.parent}" if len(run.videos) > 1 else ""
    try:
        content = latest.read_bytes()
    except OSError as error:
        raise CheckpointError(f"cannot read {str(latest)!r}: {error.strerror or error}") from error
    caption = f"one episode without exploration ({latest.name + others})"
    if len(content) > _LARGEST_VIDEO:
        caption, content = f"The video {latest} is too large to embed ({len(content) / 2**20:.0f} MiB).", b""
    film = base64.b64encode(content).decode("ascii")
    return {"run": run.name, "line": css_line(pen(index)), "film": film, "caption": caption}
