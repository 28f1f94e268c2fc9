"""Draw series over seeds into a figure: the mean, its band, the single seeds."""

from collections.abc import Callable
from html import escape
from typing import TypeAlias

import numpy as np
import plotly.graph_objects as go

from forethought.report.series import Series
from forethought.report.style import MUTED, Pen, rounded, thinned
from forethought.statistics import Curve, curve, mean
from forethought.wording import plural

Along: TypeAlias = Callable[[Series], np.ndarray]  # the coordinate of a series to draw along x, in the axis's unit

_FEW_POINTS = 30  # up to here every point gets a marker
_MANY_POINTS = 200  # from here on strokes are finer, or noise would be one solid block


def add_mean_and_seeds(
    drawn: go.Figure, points: Series, along: Along, pen: Pen, run: str | None, what: str = "value"
) -> bool:
    """Add the mean over seeds as a thick line and the single seeds as thin ones.

    Args:
        drawn: the figure to add to.
        points: what to draw; where a seed is not finite the mean has a gap, and the other seeds go on.
        along: the coordinate along x.
        pen: colour and dash of the run.
        run: name of the run in the legend; None for the only run, whose legend says what the lines are.
        what: what the only run's line is called where it has no seeds to take a mean over.

    Returns:
        whether there was anything finite to draw.
    """
    if not np.isfinite(points.values).any():
        return False
    kept = thinned(len(points.values))
    x, values = rounded(along(points)[kept]), points.values[kept]
    seeds = values.shape[1]
    mode = "lines+markers" if len(kept) <= _FEW_POINTS else "lines"
    if seeds > 1:
        _add_seeds(drawn, x, values, pen, run)
    drawn.add_scatter(
        x=x,
        y=rounded(np.asarray(mean(values))),
        mode=mode,
        name=escape(run) if run is not None else f"mean of {plural(seeds, 'seed')}" if seeds > 1 else escape(what),
        legendgroup=run,
        line={"color": pen.colour, "width": 2.5 if len(kept) < _MANY_POINTS else 1.5, "dash": pen.dash},
        marker={"size": 6, "color": pen.colour},
        hovertemplate="%{fullData.name}: %{y:.4g}<extra></extra>",
    )
    return True


def add_band(drawn: go.Figure, points: Series, along: Along, pen: Pen, run: str | None) -> None:
    """Add the 95 % bootstrap band of the mean over seeds; nothing with a single seed (see `add_mean_and_seeds`)."""
    if points.values.size == 0 or points.values.shape[1] < 2:
        return
    kept = thinned(len(points.values))
    x, y = _outline(along(points)[kept], curve(points.values[kept]))
    if not x:
        return
    drawn.add_scatter(
        x=x,
        y=y,
        mode="lines",
        fill="toself",
        fillcolor=pen.tint(0.16),
        line={"width": 0, "color": pen.tint(0.16)},
        name="95 % interval of the mean",
        legendgroup=run,
        showlegend=run is None,
        hoverinfo="skip",
    )


def add_dots(drawn: go.Figure, points: Series, along: Along, name: str) -> None:
    """Add the first column of a series as faint dots."""
    kept = thinned(len(points.values))
    if not np.isfinite(points.values).any():
        return
    drawn.add_scatter(
        x=rounded(along(points)[kept]),
        y=rounded(points.values[kept, 0]),
        mode="markers",
        name=name,
        marker={"size": 4, "color": MUTED, "opacity": 0.5 if len(kept) < _MANY_POINTS else 0.25, "line": {"width": 0}},
        hovertemplate="%{y:.4g}<extra>" + name + "</extra>",
    )


def _add_seeds(drawn: go.Figure, x: list[float | None], values: np.ndarray, pen: Pen, run: str | None) -> None:
    for seed in range(values.shape[1]):
        drawn.add_scatter(
            x=x,
            y=rounded(values[:, seed]),
            mode="lines" if len(x) > 1 else "markers",
            name="single seeds",
            legendgroup="single seeds" if run is None else run,
            showlegend=run is None and seed == 0,
            line={"color": pen.tint(0.5), "width": 1, "dash": pen.dash},
            marker={"size": 4, "color": pen.tint(0.5)},
            hovertemplate=f"seed {seed}: %{{y:.4g}}<extra></extra>",
        )


def _outline(x: np.ndarray, band: Curve) -> tuple[list[float | None], list[float | None]]:
    """Return the outline of a band: one closed piece for each window without a gap, with None between pieces."""
    known = np.flatnonzero(np.isfinite(band.low) & np.isfinite(band.high) & np.isfinite(x))
    outline_x: list[float | None] = []
    outline_y: list[float | None] = []
    for piece in np.split(known, np.flatnonzero(np.diff(known) > 1) + 1):
        if len(piece) == 0:
            continue
        outline_x += [*rounded(x[piece]), *rounded(x[piece][::-1]), None]
        outline_y += [*rounded(band.low[piece]), *rounded(band.high[piece][::-1]), None]
    return outline_x[:-1], outline_y[:-1]
