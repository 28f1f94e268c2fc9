"""One look for every figure: colours, fonts, axes and how many points a line may have."""

import re
from typing import Any, NamedTuple

import numpy as np
import plotly.graph_objects as go

FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif'
PAGE, INK, MUTED, GRID, AXIS = "#ffffff", "#1f2933", "#5f6b76", "#e6e9ec", "#9aa5b1"

# Okabe and Ito's palette, told apart with every common kind of colour blindness; its yellow and black are left out
# (one too pale on white, the other the colour of the text), and on white its orange and sky blue are darker.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#C98500", "#2F9BD6")
_DASHES = {"solid": "solid", "dash": "dashed", "dot": "dotted", "dashdot": "double"}  # of plotly, and of CSS borders

PHASES = {
    "update": PALETTE[0],
    "fit_model": PALETTE[1],
    "rollout": PALETTE[4],
    "act": PALETTE[5],
    "env": PALETTE[2],
    "evaluate": PALETTE[3],
    "compile": "#7f8c8d",
    "checkpoint": "#b9a16b",
}
OTHER = "#c9d1d9"

# The colours of the page by their name in the style sheet, on white and on a dark page.
_COLOURS = {
    "page": (PAGE, "#14181d"),
    "ink": (INK, "#e4e8ec"),
    "muted": (MUTED, "#a3afba"),
    "grid": (GRID, "#2b333b"),
    "axis": (AXIS, "#66727e"),
    "other": (OTHER, "#4a545e"),
    "panel": ("#f5f7f9", "#1d2329"),
    "link": ("#0b5c94", "#6cb8ee"),
    "changed": ("#fff6e0", "#33290f"),
    "alert": ("#fdf3ec", "#341f12"),
    "alarm": ("#b34700", "#f08a3c"),
    "pen-0": (PALETTE[0], "#2585c4"),
    "pen-1": (PALETTE[1], PALETTE[1]),
    "pen-2": (PALETTE[2], PALETTE[2]),
    "pen-3": (PALETTE[3], PALETTE[3]),
    "pen-4": (PALETTE[4], "#E69F00"),
    "pen-5": (PALETTE[5], "#56B4E9"),
}
_ON_DARK = {light.lower(): dark for light, dark in _COLOURS.values()}
_RGBA = re.compile(r"rgba\((\d+),(\d+),(\d+),([\d.]+)\)")

MOST_POINTS = 1000  # of one line or cloud: more cannot be told apart at 900 px, and would make the file slow


class Pen(NamedTuple):
    """How one run is drawn, the same in every figure."""

    colour: str
    dash: str

    def tint(self, opacity: float) -> str:
        """Return the colour as a CSS ``rgba``."""
        return _tint(self.colour, opacity)


def pen(index: int) -> Pen:
    """Return the pen of the run at a position: colours first, then dashes."""
    return Pen(PALETTE[index % len(PALETTE)], list(_DASHES)[index // len(PALETTE) % len(_DASHES)])


def on_dark(text: str) -> str:
    """Return what a colour of the figures becomes on a dark page; any other text as it is."""
    tinted = _RGBA.fullmatch(text)
    if tinted is None:
        return _ON_DARK.get(text.lower(), text)
    *channels, opacity = tinted.groups()
    solid = "#" + "".join(f"{int(channel):02x}" for channel in channels)
    # The same opacity is fainter on a dark page.
    return _tint(_ON_DARK[solid], min(1.0, round(1.5 * float(opacity), 3))) if solid in _ON_DARK else text


def css_variables() -> str:
    """Return the colours as CSS variables; on paper they are those on white."""
    light, dark = ("".join(f"--{name}:{pair[i]};" for name, pair in _COLOURS.items()) for i in (0, 1))
    night = f"@media screen and (prefers-color-scheme:dark){{:root{{color-scheme:dark;{dark}}}}}"
    return f":root{{color-scheme:light;--font:{FONT};{light}}}{night}"


def css_line(pen: Pen) -> str:
    """Return a pen as a border in CSS, in the colour that the style sheet has for it."""
    return f"3px {_DASHES[pen.dash]} var(--pen-{PALETTE.index(pen.colour)})"


def figure(x_title: str, y_title: str, height: int, **layout: Any) -> go.Figure:
    """Return an empty figure in the house style; ``layout`` adds to it or replaces parts of it."""
    axis = {
        "showgrid": True,
        "gridcolor": GRID,
        "zeroline": False,
        "showline": True,
        "linecolor": AXIS,
        "ticks": "outside",
        "ticklen": 4,
        "tickcolor": AXIS,
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
        paper_bgcolor=PAGE,
        plot_bgcolor=PAGE,
        height=height,
        margin={"l": 56, "r": 40, "t": 36, "b": 48},
        modebar={"orientation": "v", "bgcolor": "rgba(0,0,0,0)", "color": AXIS, "activecolor": MUTED},
        showlegend=True,
        xaxis={**axis, "showgrid": False},
        yaxis=axis,
        hovermode="closest",
        hoverlabel={"bgcolor": PAGE, "font": {"size": 12, "family": FONT}},
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


def _tint(colour: str, opacity: float) -> str:
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity})"
