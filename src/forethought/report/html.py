"""Write the report of one or more runs as one HTML file that opens without a network."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from forethought.errors import UsageError
from forethought.files import require_path, write_atomically
from forethought.report import figures, glossary, outputs, series, summary, tables, trust
from forethought.report.page import Page
from forethought.report.read import RunLog, read_runs
from forethought.report.style import css_line, pen
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
    page.chapter("learning", "Learning curves", _learning(page, runs))
    page.chapter("model", "Learned model", _model(page, runs))
    for run in runs:
        if run.diagnosis is not None:
            title = "How far can the model be trusted?" + ("" if alone else f" ({run.name})")
            page.chapter("trust", title, trust.chapter(page, run.diagnosis))
    losses = _panels(page, runs, "train", figures.metric_names(runs, "train"))
    page.chapter("metrics", "Losses and other training metrics", {"metrics": losses}, unfolded=False)
    page.chapter("time", "Where the time went", _time(page, runs), unfolded=False)
    for run in runs:
        title = "Configuration" if alone else f"Run {run.name}"
        data = {"verdict": "" if alone else summary.verdict(run), **tables.configuration(run)}
        page.chapter("configuration", title, data, unfolded=False)
    return page.render(summary.head(runs))


def _learning(page: Page, runs: Sequence[RunLog]) -> dict[str, Any]:
    note = "Thick: mean over seeds. Thin: single seeds. Band: 95 % bootstrap interval of the mean over seeds."
    if all(points.values.shape[1] < 2 for points in map(series.evaluations, runs)):
        note = "Every point is one evaluation: the mean over its episodes, played without exploration."
    elif len(runs) == 1:
        note = "Every point is the mean over a seed's evaluation episodes; the band is a percentile bootstrap."
    by_steps, by_time = figures.learning_curve_by_steps(runs), figures.learning_curve_by_time(runs)
    return {"note": note, "by_steps": page.figure(by_steps), "by_time": page.figure(by_time)}


def _model(page: Page, runs: Sequence[RunLog]) -> dict[str, Any]:
    shown = figures.held_out_metric(runs)
    return {
        "error": page.figure(figures.model_error(runs)),
        "meaning": _meaning(shown) if shown else "",
        "outputs": _outputs(page, runs[0]) if len(runs) == 1 else None,
        "others": _panels(page, runs, "model", [name for name in figures.metric_names(runs, "model") if name != shown]),
    }


def _outputs(page: Page, run: RunLog) -> dict[str, Any] | None:
    """Return what the model leaves open of each of its outputs; nothing where it is no such model."""
    found = outputs.errors(run)
    if found is None:
        return None
    last = outputs.last_errors(found)
    drawn = page.figure(outputs.over_training(found))
    return {"seen": found.seen, "last": last, "better": len(found.labels) - len(last), "drawn": drawn}


def _panels(page: Page, runs: Sequence[RunLog], kind: str, names: Sequence[str]) -> dict[str, Any]:
    """Return a small figure for each metric that varies, and a text for each that does not."""
    constant = {name: text for name in names if (text := _constant(runs, kind, name))}
    varying = [name for name in names if name not in constant]
    drawn = [(page.figure(figures.metric_panel(runs, kind, name)), name, _meaning(name)) for name in varying]
    key = [(css_line(pen(i)), run.name) for i, run in enumerate(runs) if series.metric_names(run, kind)]
    return {
        "drawn": [panel for panel in drawn if panel[0]],
        "lines": key if len(runs) > 1 else [],  # the small panels have no legend of their own
        "several_seeds": int(runs[0].config.get("seeds") or 1) > 1,
        "constant": list(constant.values()),
    }


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


def _meaning(name: str) -> str:
    """Return what a metric means, as a sentence; nothing where that is not known."""
    meaning = glossary.metric(name).meaning
    return f"{meaning[0].upper()}{meaning[1:]}." if meaning else ""


def _time(page: Page, runs: Sequence[RunLog]) -> dict[str, Any]:
    speeds = []
    for run in runs:
        progress = series.progress(run)
        if progress.wall_s > 0 and progress.env_steps > 0:
            seeds = int(run.config.get("seeds") or 1)
            name = f"{run.name} " if len(runs) > 1 else ""
            speeds.append(f"{name}{number(progress.env_steps * seeds / progress.wall_s)}")
    return {
        "bar": page.figure(figures.time_by_phase(runs)),
        "times": tables.times(runs),
        "columns": [run.name for run in runs] if len(runs) > 1 else ["Wall time"],
        "speeds": speeds,
        "throughput": page.figure(figures.throughput(runs)),
    }
