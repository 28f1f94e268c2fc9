"""The figures of a diagnosis; each function returns None where there is nothing to draw."""

from collections.abc import Callable, Sequence
from html import escape

import numpy as np
import plotly.graph_objects as go
from numpy.typing import ArrayLike

from forethought.diagnostics import Diagnosis
from forethought.diagnostics.calibration import NOMINAL
from forethought.diagnostics.words import TRUSTED_ERROR
from forethought.report.style import INK, MUTED, Pen, figure, pen, rounded, thinned
from forethought.wording import plural

STEPS_TITLE = "imagined steps"
_MODEL, _STILL, _EXPECTED = pen(0), pen(1), pen(2)
_MOST_PANELS = 4  # dimensions of one trace


def error_by_horizon(d: Diagnosis) -> go.Figure | None:
    """Draw the open-loop error of the model against imagined steps, beside that of "nothing changes"."""
    if d.wrong_states is not None:
        wrong, expected, still = d.wrong_states
        drawn = figure(STEPS_TITLE, "share of wrong states", 360)
        lines: list[tuple[str, ArrayLike, Pen]] = [
            ("the model", wrong, _MODEL),
            ("what it expects", expected, _EXPECTED),
            ("nothing changes", still, _STILL),
        ]
        for name, values, style in lines:
            _line(drawn, np.asarray(values), style, name)
        return drawn.update_yaxes(range=[0, 1.02])
    if d.open_loop is None:
        return None
    drawn = figure(STEPS_TITLE, "error (standard deviations)", 340)
    _band(drawn, np.asarray(d.open_loop.mean), _MODEL)
    _line(drawn, np.asarray(d.open_loop.mean)[:, 1], _MODEL, "the model (median)")
    _line(drawn, np.asarray(d.open_loop.spread)[:, 1], _EXPECTED, "what it expects")
    _line(drawn, np.asarray(d.open_loop.still)[:, 1], _STILL, "nothing changes")
    drawn.add_hline(y=TRUSTED_ERROR, line={"color": MUTED, "width": 1, "dash": "dot"})
    medians = [np.asarray(x)[:, 1] for x in (d.open_loop.mean, d.open_loop.spread, d.open_loop.still)]
    highest = float(np.nanmax(np.concatenate([*medians, [TRUSTED_ERROR]])))
    band = float(np.nanmax(np.asarray(d.open_loop.mean)))
    return drawn.update_yaxes(range=[0, min(1.1 * max(highest, min(band, 2.0 * highest)), 5.0)])


def reward_error(d: Diagnosis) -> go.Figure | None:
    """Draw the error of the reward against imagined steps, in standard deviations of the real rewards."""
    if d.open_loop is None:
        return None
    drawn = figure(STEPS_TITLE, "error of the reward (standard deviations)", 340)
    _band(drawn, np.asarray(d.open_loop.reward), _MODEL)
    _line(drawn, np.asarray(d.open_loop.reward)[:, 1], _MODEL, "the model (median)")
    return drawn.update_yaxes(rangemode="tozero")


def reliability(d: Diagnosis) -> go.Figure | None:
    """Draw the real against the nominal share of values below the predicted quantiles; None for point predictions."""
    if d.calibration is None:
        return None
    drawn = figure("predicted share below", "real share below", 360)
    drawn.add_scatter(
        x=[0, 1], y=[0, 1], mode="lines", line={"color": MUTED, "width": 1, "dash": "dot"}, name="a model that knows"
    )
    curves = zip(np.asarray(d.calibration.steps), np.asarray(d.calibration.reliability), strict=True)
    for i, (steps, shares) in enumerate(curves):
        drawn.add_scatter(
            x=[0.0, *NOMINAL, 1.0],
            y=[0.0, *rounded(shares), 1.0],
            mode="lines+markers",
            name=f"after {plural(int(steps), 'step')}",
            line={"color": pen(i).colour, "width": 2.5},
            marker={"size": 5},
        )
    drawn.update_xaxes(range=[0, 1])
    return drawn.update_yaxes(range=[0, 1])


def value_gap(d: Diagnosis) -> go.Figure | None:
    """Draw imagined against real returns, one dot for each start."""
    real, imagined = np.asarray(d.value_gap.real), np.asarray(d.value_gap.imagined)
    known = np.isfinite(real) & np.isfinite(imagined)
    if not known.any():
        return None
    steps = plural(d.value_gap.steps, "step")
    drawn = figure(f"real return of {steps}", f"imagined return of {steps}", 360)
    ends = [float(min(real[known].min(), imagined[known].min())), float(max(real[known].max(), imagined[known].max()))]
    drawn.add_scatter(
        x=rounded(np.array(ends)), y=rounded(np.array(ends)), mode="lines", name="equal",
        line={"color": MUTED, "width": 1, "dash": "dot"},
    )  # fmt: skip
    name = "the policy" if d.value_gap.closed_loop else "the actions that were taken"
    drawn.add_scatter(
        x=rounded(real[known]),
        y=rounded(imagined[known]),
        mode="markers",
        name=name,
        marker={"size": 6, "color": _MODEL.tint(0.6)},
    )
    return drawn


def exploitation(d: Diagnosis) -> go.Figure | None:
    """Draw the imagined and the real return of plans against the number of plans evaluated to find them."""
    e = d.exploitation
    if e is None or not np.isfinite(np.asarray(e.real)).all():
        return None
    drawn = figure("plans evaluated before deciding", "return of the plan, mean over the starts", 360)
    for name, returns, style in (("in imagination", e.imagined, _STILL), ("in reality", e.real, _MODEL)):
        drawn.add_scatter(
            x=rounded(np.asarray(e.effort)),
            y=rounded(np.asarray(returns).mean(axis=1)),
            mode="lines+markers",
            name=name,
            line={"color": style.colour, "width": 2.5},
            marker={"size": 6},
        )
    return drawn.update_xaxes(type="log", tickvals=rounded(np.asarray(e.effort)))


def traces(d: Diagnosis, name: Callable[[int], str] = "observation {}".format) -> list[tuple[str, go.Figure]]:
    """Draw the dimensions of each trace that move and in which dream and reality differ most, each with a label.

    ``name`` says what a dimension is called.
    """
    panels, lived = [], _lived(d)
    moving = np.setdiff1d(np.arange(lived.shape[1]), unmoving(d))
    for episode, t in enumerate(d.traces):
        real, dreamt = np.asarray(t.real), np.asarray(t.imagined)
        apart = np.nan_to_num(np.abs(dreamt[1] - real), nan=np.inf, posinf=np.inf)
        off = np.mean(apart, axis=0) / np.maximum(real.std(axis=0), 1e-9)
        for dimension in sorted(moving[np.argsort(-off[moving])[:_MOST_PANELS]]):
            label = f"episode {episode + 1}, {name(int(dimension))}"
            drawn = _trace(label, real[:, dimension], dreamt[:, :, dimension])
            low, high = float(lived[:, dimension].min()), float(lived[:, dimension].max())
            room = 0.5 * (high - low) + 1e-6  # one scale for all episodes, whatever the dreams do
            panels.append((label, drawn.update_yaxes(range=[low - room, high + room])))
    return panels


def unmoving(d: Diagnosis) -> list[int]:
    """Return the dimensions of the observations that never moved in the episodes of the traces."""
    lived = _lived(d)
    return np.flatnonzero(np.ptp(lived, axis=0) <= 1e-6 * np.abs(lived).max(axis=0)).tolist()


def _lived(d: Diagnosis) -> np.ndarray:
    return np.concatenate([np.asarray(t.real) for t in d.traces] or [np.zeros((1, 0))])


def _trace(label: str, real: np.ndarray, dreamt: np.ndarray) -> go.Figure:
    drawn = figure("step", "", 230)
    drawn.update_layout(
        title={"text": escape(label), "x": 0.01, "xanchor": "left", "y": 0.97, "font": {"size": 13}},
        showlegend=False,
        margin={"l": 44, "r": 12, "t": 34, "b": 44},
    )
    _band(drawn, dreamt.T, _MODEL)
    _line(drawn, dreamt[1], _MODEL, "dreamt")
    _line(drawn, real, Pen(INK, "solid"), "real")
    return drawn


def _band(drawn: go.Figure, quantiles: np.ndarray, style: Pen) -> None:
    """Add the space between the first and the last column; nothing where that is not finite throughout."""
    kept = thinned(len(quantiles))
    low, high = quantiles[kept, 0], quantiles[kept, -1]
    if not (np.isfinite(low).all() and np.isfinite(high).all()):
        return
    x = rounded(kept + 1.0)
    drawn.add_scatter(
        x=[*x, *x[::-1]],
        y=[*rounded(high), *rounded(low)[::-1]],
        mode="lines",
        fill="toself",
        fillcolor=style.tint(0.16),
        line={"width": 0, "color": style.tint(0.16)},
        name="10 to 90 %",
        hoverinfo="skip",
    )


def _line(drawn: go.Figure, values: np.ndarray | Sequence[float], style: Pen, name: str) -> None:
    values = np.asarray(values)
    kept = thinned(len(values))
    drawn.add_scatter(
        x=rounded(kept + 1.0),
        y=rounded(values[kept]),
        mode="lines+markers" if len(kept) == 1 else "lines",
        name=name,
        line={"color": style.colour, "width": 2.5, "dash": style.dash},
        hovertemplate=f"{name}: %{{y:.3g}}<extra></extra>",
    )
