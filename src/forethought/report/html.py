"""Write the report of one or more runs as one HTML file that opens without a network."""

from collections.abc import Sequence
from html import escape
from pathlib import Path

from forethought.errors import UsageError
from forethought.files import require_path, write_atomically
from forethought.report import figures, glossary, outputs, series, summary, tables, trust
from forethought.report.page import Page
from forethought.report.read import RunLog, read_runs
from forethought.report.style import MOST_POINTS, pen
from forethought.report.words import number


def write_report(runs: Sequence[Path], output: Path) -> Path:
    """Write one self-contained HTML report of one or more run directories.

    One run gives its verdict, warnings and latest video first, then learning curves, model error, how far its model can
    be trusted where ``forethought diagnose`` has looked into that, losses, times and configuration; several runs are
    also compared in a table and overlaid in the figures, each in its own colour.

    Args:
        runs: run directories, as `read.read_run` takes them.
        output: the file to write, or a directory for ``report.html``; missing directories are made. The file appears
            only once it is complete.

    Returns:
        The file.

    Raises:
        UsageError: ``runs`` is empty.
        CheckpointError: a directory is no run, or ``output`` cannot be written.
    """
    if not runs:
        raise UsageError("there is no run to report on: give at least one directory in runs/")
    require_path(output)
    if output.is_dir():
        output = output / "report.html"
    write_atomically(output, render_report(read_runs(runs)), then="write the report again")
    return output


def render_report(runs: Sequence[RunLog]) -> str:
    """Return the report of runs that were already read, as the text of an HTML file."""
    page, alone = Page(), len(runs) == 1
    sections = [
        summary.head(runs),
        page.chapter("learning", "Learning curves", _learning(page, runs)),
        page.chapter("model", "Learned model", _model(page, runs)),
        *(trust.chapter(page, run, alone=alone) for run in runs),
        page.chapter("metrics", "Losses and other training metrics", _losses(page, runs), unfolded=False),
        page.chapter("time", "Where the time went", _time(page, runs), unfolded=False),
        *(
            page.chapter(
                "configuration", "Configuration" if alone else f"Run {run.name}", _details(run, alone), unfolded=False
            )
            for run in runs
        ),
        f'<p class="note">Figures draw at most {MOST_POINTS:,} points of a line, evenly spaced.</p>',
    ]
    return page.render(summary.title(runs), "\n".join(section for section in sections if section))


def _learning(page: Page, runs: Sequence[RunLog]) -> str:
    drawn = figures.learning_curve_by_steps(runs)
    if drawn is None:
        return "<p>No evaluation and no finished episode has been recorded.</p>"
    note = "Thick: mean over seeds. Thin: single seeds. Band: 95 % bootstrap interval of the mean over seeds."
    if all(points.values.shape[1] < 2 for points in map(series.evaluations, runs)):
        note = "Every point is one evaluation: the mean over its episodes, played without exploration."
    elif len(runs) == 1:
        note = "Every point is the mean over a seed's evaluation episodes; the band is a percentile bootstrap."
    return "\n".join(
        [
            f'<p class="note">{note}</p><div class="pair">',
            page.figure(drawn, "Evaluation return against environment steps"),
            page.figure(figures.learning_curve_by_time(runs), "Evaluation return against wall time"),
            "</div>",
        ]
    )


def _model(page: Page, runs: Sequence[RunLog]) -> str:
    shown = figures.held_out_metric(runs)
    meaning = glossary.metric(shown).meaning if shown else ""
    error = page.figure(
        figures.model_error(runs), "Held-out error of the learned model over training", _sentence(meaning)
    )
    rest = [name for name in figures.metric_names(runs, "model") if name != shown]
    each = _outputs(page, runs[0]) if len(runs) == 1 else ""
    return "\n".join(part for part in (error, each, _panels(page, runs, "model", rest)) if part)


def _outputs(page: Page, run: RunLog) -> str:
    """Return what the model leaves open of each of its outputs; nothing where it is no such model."""
    found = outputs.errors(run)
    if found is None:
        return ""
    drawn = page.figure(outputs.over_training(found), "Error of each output of the model over training")
    note = (
        f"Mean squared error on {found.seen}, in units of each output's variance (an observation's output is its "
        "change in one step): 1 is no better than its mean. The "
        "reward is what every plan and policy follows; observations may be random."
    )
    beside = f'<div class="pair">{outputs.last_errors(found)}{drawn}</div>'
    return f'<h3>Output by output</h3><p class="note">{note}</p>{beside}'


def _losses(page: Page, runs: Sequence[RunLog]) -> str:
    return _panels(page, runs, "train", figures.metric_names(runs, "train"))


def _panels(page: Page, runs: Sequence[RunLog], kind: str, names: Sequence[str]) -> str:
    """Return a small figure for each metric that varies, and a line of text for those that do not."""
    flat = {name: text for name in names if (text := _constant(runs, kind, name))}
    drawn = [
        page.figure(
            figures.metric_panel(runs, kind, name), f"{name} over training", _sentence(glossary.metric(name).meaning)
        )
        for name in names
        if name not in flat
    ]
    found = f'{_key(runs, kind)}<div class="panels">{"".join(drawn)}</div>' if any(drawn) else ""
    if flat:
        found += f'<p class="note">Constant throughout: {escape("; ".join(flat.values()))}.</p>'
    return found


def _constant(runs: Sequence[RunLog], kind: str, name: str) -> str:
    """Return what a metric is where it never varies within a run; nothing where it does, or where no run has it."""
    having = [run for run in runs if series.metric(run, kind, name).values.size]
    values = [series.constant(run, kind, name) for run in having]
    known = [value for value in values if value is not None]
    if not known or len(known) < len(values):
        return ""
    label = glossary.metric(name).label
    if len(set(known)) == 1:
        return f"{label} = {number(known[0])}"
    each = ", ".join(f"{run.name} = {number(value)}" for run, value in zip(having, known, strict=True))
    return f"{label}: {each}"


def _sentence(meaning: str) -> str:
    return f"{meaning[0].upper()}{meaning[1:]}." if meaning else ""


def _key(runs: Sequence[RunLog], kind: str) -> str:
    """Return which line is which run, or which are the seeds; the small panels have no legend of their own."""
    if len(runs) > 1:
        drawn = [(pen(i), run.name) for i, run in enumerate(runs) if series.metric_names(run, kind)]
        entries = [f"<li>{tables.swatch(line)}{escape(name)}</li>" for line, name in drawn]
        return f'<ul class="key">{"".join(entries)}</ul>'
    several = int(runs[0].config.get("seeds") or 1) > 1
    return '<p class="note">Thick: mean over seeds. Thin: single seeds.</p>' if several else ""


def _time(page: Page, runs: Sequence[RunLog]) -> str:
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
    return f"{bar}\n{tables.times(runs)}\n{overall}\n{line}"


def _details(run: RunLog, alone: bool) -> str:
    """Return the configuration, the surroundings and the command of one run."""
    parts = [] if alone else [f"<p>{escape(summary.verdict(run))}</p>"]
    parts.append(tables.configuration(run))
    command, later = run.config.get("command"), run.config.get("extended_by")
    if command:
        commands = map(str, [command, *(later if isinstance(later, list) else [])])
        parts.append(f"<h3>Command that reproduces it</h3><pre>{escape(chr(10).join(commands))}</pre>")
    around = tables.surroundings(run)
    if around:
        parts.append(f"<h3>Versions and hardware</h3>{around}")
    return "\n".join(parts)
