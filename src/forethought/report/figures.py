"""The figures of a report, as plotly figures to show in a notebook or to embed in the HTML file.

Every function takes one or more runs; a run keeps its colour in all of them. A function returns None where no run has
anything finite to draw, so that a report never shows an empty panel.
"""

from collections.abc import Sequence
from html import escape

import numpy as np
import plotly.graph_objects as go

from forethought.report import glossary, series
from forethought.report.lines import Along, add_band, add_dots, add_mean_and_seeds
from forethought.report.read import RunLog
from forethought.report.series import Series
from forethought.report.style import OTHER, PAGE, PHASES, figure, pen, rounded
from forethought.report.words import duration, time_unit
from forethought.wording import plural

STEPS_TITLE = "environment steps (per seed)"


def learning_curve_by_steps(runs: Sequence[RunLog]) -> go.Figure | None:
    """Draw the evaluation return against environment steps.

    The thick line is the mean over seeds of each seed's mean return, the band its 95 % percentile bootstrap interval
    (none with one seed), thin lines are the single seeds. With one seed the line joins its evaluations. With a single
    run, dots are its training episodes.
    """
    return _learning_curve(runs, STEPS_TITLE, _steps)


def learning_curve_by_time(runs: Sequence[RunLog]) -> go.Figure | None:
    """Draw the evaluation return against wall time, otherwise as `learning_curve_by_steps`.

    The seeds of a run train together, so its wall time is that of all its seeds.
    """
    ends = [points.wall_s for run in runs for points in (series.evaluations(run), series.episodes(run))]
    unit = time_unit(max((float(np.nanmax(end, initial=0.0)) for end in ends), default=0.0))
    return _learning_curve(runs, f"wall time ({unit.name})", lambda points: points.wall_s / unit.seconds)


def model_error(runs: Sequence[RunLog]) -> go.Figure | None:
    """Draw the error of the learned model on held-out data over training (see `held_out_metric`)."""
    name = held_out_metric(runs)
    if name is None:
        return None
    drawn = _draw_metric(runs, "model", name, figure(STEPS_TITLE, glossary.metric(name).label, 320))
    return drawn.update_layout(showlegend=len(drawn.data) > 1) if drawn else None


def held_out_metric(runs: Sequence[RunLog]) -> str | None:
    """Return the metric that `model_error` draws: ``holdout_mse``, else ``holdout_nll``, else any ``holdout_*``."""
    names = [name for name in metric_names(runs, "model") if name.startswith("holdout_")]
    preferred = [name for name in ("holdout_mse", "holdout_nll") if name in names]
    return next(iter(preferred + names), None)


def metric_names(runs: Sequence[RunLog], kind: str) -> list[str]:
    """Return the metrics that any of the runs has in its ``train`` or ``model`` records."""
    return list(dict.fromkeys(name for run in runs for name in series.metric_names(run, kind)))


def metric_panel(runs: Sequence[RunLog], kind: str, name: str) -> go.Figure | None:
    """Draw one metric as a small panel, with the label of its vertical axis above it.

    Thick lines are means over seeds, thin lines single seeds. The scale is logarithmic where every value is positive
    and they span more than two decades.
    """
    return _draw_metric(runs, kind, name, _panel(glossary.metric(name).label))


def throughput(runs: Sequence[RunLog]) -> go.Figure | None:
    """Draw the environment steps per second over training, as the runs logged them."""
    drawn = figure(STEPS_TITLE, "environment steps per second", 240)
    for index, run in enumerate(runs):
        name = run.name if len(runs) > 1 else None
        add_mean_and_seeds(drawn, series.throughput(run), _steps, pen(index), name, "all seeds together")
    drawn.update_xaxes(rangemode="tozero")
    drawn.update_yaxes(rangemode="tozero")
    return drawn.update_layout(showlegend=len(runs) > 1) if drawn.data else None


def time_by_phase(runs: Sequence[RunLog]) -> go.Figure | None:
    """Draw where the wall time of each run went, as one stacked bar per run (see `phases`)."""
    spent = [phases(run) for run in runs]
    totals = [sum(seconds.values()) for seconds in spent]
    if not any(totals):
        return None
    unit = time_unit(max(totals))
    drawn = figure(f"wall time ({unit.name})", "", 130 + 42 * len(runs))
    # The position is the category and the name only its label, so that equal names would not share a bar.
    rows = [str(index) for index in range(len(runs))]
    for phase in dict.fromkeys(name for seconds in spent for name in seconds):
        seconds = np.array([by_phase.get(phase, 0.0) for by_phase in spent])
        shares = seconds / np.maximum(totals, 1e-9)
        drawn.add_bar(
            y=rows,
            x=rounded(seconds / unit.seconds),
            orientation="h",
            name=escape(glossary.phase(phase).label),
            marker={"color": PHASES.get(phase, OTHER), "line": {"color": PAGE, "width": 1}},
            text=[f"{100 * share:.0f} %" if share >= 0.06 else "" for share in shares],
            textposition="inside",
            insidetextanchor="middle",
            textangle=0,
            hovertext=[f"{duration(s)} ({100 * share:.1f} %)" for s, share in zip(seconds, shares, strict=True)],
            hovertemplate="%{fullData.name}: %{hovertext}<extra></extra>",
        )
    labels = [escape(run.name) for run in runs] if len(runs) > 1 else [""]
    drawn.update_yaxes(tickvals=rows, ticktext=labels, autorange="reversed", showgrid=False, ticks="")
    drawn.update_xaxes(rangemode="tozero", showgrid=True)
    drawn.update_layout(barmode="stack", bargap=0.35)
    return drawn


def phases(run: RunLog) -> dict[str, float]:
    """Return the seconds by phase, largest first; last, where it is over 1 %, the wall time that no phase explains."""
    progress = series.progress(run)
    seconds = dict(sorted(progress.seconds.items(), key=lambda item: -item[1]))
    rest = progress.wall_s - sum(seconds.values())
    if seconds and rest > 0.01 * progress.wall_s:
        seconds["everything else"] = rest
    return seconds


def _steps(points: Series) -> np.ndarray:
    return points.env_steps


def _learning_curve(runs: Sequence[RunLog], x_title: str, along: Along) -> go.Figure | None:
    ends = [end for end in map(series.final, runs) if end is not None]
    counts = {end.episodes for end in ends}
    over = f", mean of {plural(counts.pop(), 'episode')}" if len(counts) == 1 else ""
    drawn = figure(x_title, f"evaluation return{over}", 360)
    for index, run in enumerate(runs):
        points, name = series.evaluations(run), run.name if len(runs) > 1 else None
        if name is None:
            add_dots(drawn, series.episodes(run), along, "training episodes")
        add_band(drawn, points, along, pen(index), name)
        add_mean_and_seeds(drawn, points, along, pen(index), name, "evaluations")
    drawn.update_xaxes(rangemode="tozero")
    return drawn if drawn.data else None


def _panel(label: str) -> go.Figure:
    drawn = figure(STEPS_TITLE, "", 230)
    drawn.update_layout(
        title={"text": escape(label), "x": 0.01, "xanchor": "left", "y": 0.97, "font": {"size": 13}},
        showlegend=False,
        margin={"l": 44, "r": 12, "t": 34, "b": 44},
    )
    return drawn


def _draw_metric(runs: Sequence[RunLog], kind: str, name: str, drawn: go.Figure) -> go.Figure | None:
    found = [series.metric(run, kind, name) for run in runs]
    along = _steps
    if all(_are_of_stages(points) for points in found if len(points.values)):
        along = lambda points: points.updates  # noqa: E731
        drawn.update_xaxes(title_text="updates (per seed)")
    for index, (run, points) in enumerate(zip(runs, found, strict=True)):
        add_mean_and_seeds(drawn, points, along, pen(index), run.name if len(runs) > 1 else None, name)
    drawn.update_xaxes(rangemode="tozero")
    values = np.concatenate([points.values.ravel() for points in found])
    values = values[np.isfinite(values)]
    if _spans_decades(values):
        decades = np.log10(values.max() / values.min())
        # Every decade, or every few of them where there are many. Plotly draws powers a quarter larger than asked.
        drawn.update_yaxes(type="log", exponentformat="power", minexponent=3, dtick=max(1, round(decades / 5)))
        drawn.update_yaxes(tickfont_size=10)
        label = drawn.layout.title if drawn.layout.title.text else drawn.layout.yaxis.title
        label.text += ", log scale"
    return drawn if drawn.data else None


def _are_of_stages(points: Series) -> bool:
    """Whether most were reported while the environment stood still, as by an autoencoder that is learned at once."""
    return 2 * len(np.unique(points.env_steps)) < len(points.env_steps)


def _spans_decades(values: np.ndarray) -> bool:
    """Whether all values are positive and the largest is more than a hundred times the smallest."""
    return values.size > 0 and bool(values.min() > 0 and values.max() > 100 * values.min())
