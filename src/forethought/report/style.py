"""One look for every figure: colours, fonts, axes and how many points a line may have."""

from typing import Any, NamedTuple

import numpy as np
import plotly.graph_objects as go

FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif'
INK = "#1f2933"
MUTED = "#5f6b76"
GRID = "#e6e9ec"

# Okabe and Ito's palette, told apart with every common kind of colour blindness; its yellow and black are left out
# (one too pale on white, the other the colour of the text).
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_DASHES = ("solid", "dash", "dot", "dashdot")

PHASES = {
    "update": "#0072B2",
    "fit_model": "#D55E00",
    "rollout": "#E69F00",
    "act": "#56B4E9",
    "env": "#009E73",
    "evaluate": "#CC79A7",
    "compile": "#7f8c8d",
    "checkpoint": "#b9a16b",
}
OTHER = "#c9d1d9"

MOST_POINTS = 1000  # of one line or cloud: more cannot be told apart at 900 px, and would make the file slow


class Pen(NamedTuple):
    """How one run is drawn, the same in every figure."""

    colour: str
    dash: str

    def tint(self, opacity: float) -> str:
        """Return the colour as a CSS ``rgba``."""
        red, green, blue = (int(self.colour[i : i + 2], 16) for i in (1, 3, 5))
        return f"rgba({red},{green},{blue},{opacity})"


def pen(index: int) -> Pen:
    """Return the pen of the run at a position: colours first, then dashes."""
    return Pen(PALETTE[index % len(PALETTE)], _DASHES[index // len(PALETTE) % len(_DASHES)])


def figure(x_title: str, y_title: str, height: int, **layout: Any) -> go.Figure:
    """Return an empty figure in the house style; ``layout`` adds to it or replaces parts of it."""
    axis = {
        "showgrid": True,
        "gridcolor": GRID,
        "zeroline": False,
        "showline": True,
        "linecolor": "#9aa5b1",
        "ticks": "outside",
        "ticklen": 4,
        "tickcolor": "#9aa5b1",
        "automargin": True,
        "exponentformat": "SI",
        "minexponent": 4,
        "separatethousands": True,
        "title": {"standoff": 8, "font": {"size": 13, "color": MUTED}},
        "tickfont": {"size": 12, "color": MUTED},
    }
    drawn = go.Figure()
    drawn.update_layout(
        template="none",
        font={"family": FONT, "size": 13, "color": INK},
        paper_bgcolor="white",
        plot_bgcolor="white",
        height=height,
        margin={"l": 56, "r": 40, "t": 36, "b": 48},
        modebar={"orientation": "v", "bgcolor": "rgba(0,0,0,0)", "color": "#b8c0c8", "activecolor": MUTED},
        showlegend=True,
        xaxis={**axis, "showgrid": False},
        yaxis=axis,
        hovermode="closest",
        hoverlabel={"bgcolor": "white", "font": {"size": 12, "family": FONT}},
        legend={"orientation": "h", "x": 0, "xanchor": "left", "y": 1.02, "yanchor": "bottom", "traceorder": "normal"},
    )
    drawn.update_xaxes(title_text=x_title)
    drawn.update_yaxes(title_text=y_title)
    drawn.update_layout(**layout)
    return drawn


def rounded(values: np.ndarray) -> list[float | None]:
    """Return the values with six significant digits, None for what is not finite.

    Lists and not arrays, because plotly would write arrays as base64, which nobody can read or search in the file.
    """
    return [float(f"{value:.6g}") if np.isfinite(value) else None for value in values]


def thinned(points: int) -> np.ndarray:
    """Return the indices to draw of a line of ``points`` points: evenly spaced, with the first and the last."""
    if points <= MOST_POINTS:
        return np.arange(points)
    return np.unique(np.linspace(0, points - 1, MOST_POINTS).round().astype(int))
