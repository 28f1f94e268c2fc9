"""Write the report of one or more runs as one HTML file that opens without a network."""

import base64
from collections.abc import Sequence
from html import escape
from pathlib import Path

from forethought.errors import CheckpointError, UsageError
from forethought.files import write_atomically
from forethought.report import figures, series, tables, trust
from forethought.report.page import Page
from forethought.report.read import Run, read_runs
from forethought.report.style import MOST_POINTS, pen
from forethought.report.words import duration, interval, number, plural

_LARGEST_VIDEO = 24 * 2**20  # bytes; a larger one would make the page slow to open, and is only named

# Coverage of a nominal 95 % percentile bootstrap interval of the mean of n normal scores, as `statistics` states it.
_COVERAGE = {2: 50, 3: 75, 4: 80, 5: 83, 6: 86, 7: 87, 8: 88, 9: 89, 10: 89}


def write_report(runs: Sequence[Path], output: Path) -> Path:
    """Write one self-contained HTML report of one or more run directories.

    One run gives its verdict, learning curves, model error, losses, times, warnings, configuration and latest video,
    and how far its model can be trusted where ``forethought diagnose`` has looked into that; several runs are also
    compared in a table and overlaid in the figures, each in its own colour.

    Args:
        runs: run directories, as `read.read_run` takes them.
        output: the file to write; missing directories are made. It appears only once it is complete.

    Returns:
        ``output``.

    Raises:
        UsageError: ``runs`` is empty.
        CheckpointError: a directory is no run, or ``output`` cannot be written.
    """
    if not runs:
        raise UsageError("there is no run to report on: give at least one directory in runs/")
    write_atomically(output, render_report(read_runs(runs)), then="write the report again")
    return output


def render_report(runs: Sequence[Run]) -> str:
    """Return the report of runs that were already read, as the text of an HTML file."""
    page = Page()
    title = _title(runs)
    sections = [
        _head(runs, title),
        _learning(page, runs),
        _model(page, runs),
        *(trust.chapter(page, run, alone=len(runs) == 1) for run in runs),
        _losses(page, runs),
        _time(page, runs),
        _warnings(runs),
        *(_run_details(run, alone=len(runs) == 1) for run in runs),
        f'<p class="note">Figures draw at most {MOST_POINTS:,} points of a line, evenly spaced.</p>',
    ]
    return page.render(title, "\n".join(section for section in sections if section))


def verdict(run: Run) -> str:
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


def _learned(progress: series.Progress) -> str:
    """Return how much was learned; what was never done (a planner makes no updates) is left out."""
    fits = [plural(progress.fits, "fit") + " of the model"] if progress.fits else []
    updates = [plural(progress.updates, "update")] if progress.updates or not fits else []
    return ", ".join([*updates, *fits])


def _title(runs: Sequence[Run]) -> str:
    if len(runs) == 1:
        return f"{runs[0].config.get('algorithm', 'agent')} on {runs[0].config.get('env', 'an unnamed environment')}"
    environments = {str(run.config.get("env")) for run in runs}
    return f"{len(runs)} runs on {environments.pop() if len(environments) == 1 else 'several environments'}"


def _head(runs: Sequence[Run], title: str) -> str:
    parts = [f"<h1>{escape(title)}</h1>"]
    if len(runs) == 1:
        parts.append(f'<p class="verdict">{escape(verdict(runs[0]))}</p>')
        parts.append(f'<p class="note">Run {escape(runs[0].name)}. {escape(_caution(runs))}</p>')
    else:
        parts.append(tables.comparison(runs))
        parts.append(f'<p class="note">{escape(_caution(runs))}</p>')
    for run in runs:
        message = series.progress(run).message
        # In a comparison the table already says which runs have no summary yet.
        if message and (len(runs) == 1 or run.summary is not None):
            prefix = f"{run.name}: " if len(runs) > 1 else ""
            parts.append(f'<p class="warning">{escape(prefix + message)}</p>')
    return "\n".join(parts)


def _caution(runs: Sequence[Run]) -> str:
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


def _learning(page: Page, runs: Sequence[Run]) -> str:
    drawn = figures.learning_curve_by_steps(runs)
    if drawn is None:
        return "<h2>Learning curves</h2><p>No evaluation and no finished episode has been recorded.</p>"
    caption = "Thick: mean over seeds. Thin: single seeds. Band: 95 % bootstrap interval of the mean over seeds."
    if all(points.values.shape[1] < 2 for points in map(series.evaluations, runs)):
        caption = ""
    elif len(runs) == 1:
        caption = "Every point is the mean over a seed's evaluation episodes; the band is a percentile bootstrap."
    return "\n".join(
        [
            "<h2>Learning curves</h2>",
            page.figure(drawn, "Evaluation return against environment steps", caption),
            page.figure(figures.learning_curve_by_time(runs), "Evaluation return against wall time"),
        ]
    )


def _model(page: Page, runs: Sequence[Run]) -> str:
    error = page.figure(figures.model_error(runs), "Held-out error of the learned model over training")
    rest = [name for name in figures.metric_names(runs, "model") if name != figures.held_out_metric(runs)]
    panels = _panels(page, runs, "model", rest)
    return f"<h2>Learned model</h2>\n{error}\n{panels}" if error or panels else ""


def _losses(page: Page, runs: Sequence[Run]) -> str:
    panels = _panels(page, runs, "train", figures.metric_names(runs, "train"))
    return f"<h2>Losses and other training metrics</h2>\n{panels}" if panels else ""


def _panels(page: Page, runs: Sequence[Run], kind: str, names: Sequence[str]) -> str:
    drawn = [page.figure(figures.metric_panel(runs, kind, name), f"{name} over training") for name in names]
    if not any(drawn):
        return ""
    return f'{_key(runs, kind)}<div class="panels">{"".join(drawn)}</div>'


def _key(runs: Sequence[Run], kind: str) -> str:
    """Return which line is which run, or which are the seeds; the small panels have no legend of their own."""
    if len(runs) > 1:
        drawn = [(pen(i), run.name) for i, run in enumerate(runs) if series.metric_names(run, kind)]
        entries = [f"<li>{tables.swatch(line)}{escape(name)}</li>" for line, name in drawn]
        return f'<ul class="key">{"".join(entries)}</ul>'
    several = int(runs[0].config.get("seeds") or 1) > 1
    return '<p class="note">Thick: mean over seeds. Thin: single seeds.</p>' if several else ""


def _time(page: Page, runs: Sequence[Run]) -> str:
    bar = page.figure(figures.time_by_phase(runs), "Wall time by phase of training")
    speeds = []
    for run in runs:
        progress = series.progress(run)
        if progress.wall_s > 0 and progress.env_steps > 0:
            seeds = int(run.config.get("seeds") or 1)
            name = f"{run.name} " if len(runs) > 1 else ""
            speeds.append(f"{name}{number(progress.env_steps * seeds / progress.wall_s)}")
    listed = escape(", ".join(speeds))
    overall = f"<p>Environment steps per second over the whole run, all seeds together: {listed}.</p>" if speeds else ""
    caption = "As logged during training."
    line = page.figure(figures.throughput(runs), "Environment steps per second over training", caption)
    if not (bar or overall or line):
        return ""
    return f"<h2>Where the time went</h2>\n{bar}\n{tables.times(runs)}\n{overall}\n{line}"


def _warnings(runs: Sequence[Run]) -> str:
    entries = [
        f'<p class="warning">{escape(f"{run.name}: {text}" if len(runs) > 1 else text)}</p>'
        for run in runs
        for text in series.warnings(run)
    ]
    return "<h2>Warnings</h2>\n" + "\n".join(entries) if entries else ""


def _run_details(run: Run, alone: bool) -> str:
    """Return the configuration, the surroundings, the command and the video of one run."""
    parts = [f"<h2>{'Configuration' if alone else f'Run {escape(run.name)}'}</h2>"]
    if not alone:
        parts.append(f"<p>{escape(verdict(run))}</p>")
    parts.append(tables.configuration(run))
    command = run.config.get("command")
    if command:
        parts.append(f"<h3>Command that reproduces it</h3><pre>{escape(str(command))}</pre>")
    around = tables.surroundings(run)
    if around:
        parts.append(f"<h3>Versions and hardware</h3>{around}")
    return "\n".join([*parts, _video(run)])


def _video(run: Run) -> str:
    """Return the latest video, embedded."""
    if not run.videos:
        return ""
    latest = run.videos[-1]
    others = f"; the others are in {latest.parent}" if len(run.videos) > 1 else ""
    try:
        content = latest.read_bytes()
    except OSError as error:
        raise CheckpointError(f"cannot read {str(latest)!r}: {error.strerror or error}") from error
    if len(content) > _LARGEST_VIDEO:
        note = f"The video {latest} is too large to embed ({len(content) / 2**20:.0f} MiB)."
        return f'<h3>Rollout</h3><p class="note">{escape(note)}</p>'
    source = f"data:video/mp4;base64,{base64.b64encode(content).decode('ascii')}"
    return (
        f'<h3>Rollout</h3><video controls loop muted playsinline src="{source}"></video>'
        f'<p class="note">{escape(latest.name + others)}</p>'
    )
