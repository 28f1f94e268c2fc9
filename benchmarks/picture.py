"""Draw ``docs/learning_curve.svg`` from the learning results: ``python -m benchmarks.picture``.

It needs kaleido (``pip install kaleido``) and a Chrome or Chromium, which it looks for on the path.
"""

import argparse
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from benchmarks import results
from benchmarks.scores import alike
from forethought.report.lines import add_band, add_mean_and_seeds
from forethought.report.series import Series
from forethought.report.style import FONT, MUTED, figure, pen

# Panel, and the curves in it: result, run in it, name and pen of the line. SAC is the one that is set as MBPO is, and
# left out where it was not.
PANELS: dict[str, tuple[tuple[str, str, str, int], ...]] = {
    "Pendulum-v1": (("mbpo_pendulum", "mbpo", "MBPO", 0), ("samples_pendulum", "sac", "SAC", 1)),
    "InvertedPendulum-v5": (
        ("mbpo_inverted_pendulum", "mbpo", "MBPO", 0),
        ("samples_inverted_pendulum", "sac", "SAC", 1),
    ),
    "Hopper-v5": (("mbpo_hopper", "mbpo", "MBPO", 0),),
}
_HEIGHT, _PANEL_WIDTH = 340, 400
_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")


def main(argv: Sequence[str] | None = None) -> int:
    """Draw what has been measured; the panels of what has not are left out."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.picture", description=__doc__)
    parser.add_argument("--results", type=Path, default=results.FOLDER, help="the folder of results")
    parser.add_argument("--output", type=Path, default=results.ROOT / "docs" / "learning_curve.svg")
    parser.add_argument("--panels", nargs="*", choices=tuple(PANELS), default=tuple(PANELS))
    asked = parser.parse_args(argv)
    drawn = picture(results.read_folder(asked.results), asked.panels)
    if drawn is None:
        parser.error(f"{asked.results} holds no learning curve yet; run python -m benchmarks.learning first")
    write_svg(drawn, asked.output)
    print(f"{asked.output}: {asked.output.stat().st_size / 1024:.0f} KiB")
    return 0


def picture(found: Mapping[tuple[str, str], Mapping[str, Any]], panels: Sequence[str]) -> go.Figure | None:
    """One panel beside the other, the return of the evaluations against environment steps; None without a curve."""
    filled = {env: curves for env in panels if (curves := _curves(found, env))}
    if not filled:
        return None
    titles = [f"{env}, {_seeds(curves)}" for env, curves in filled.items()]
    drawn = make_subplots(cols=len(filled), subplot_titles=titles, horizontal_spacing=0.09)
    style = figure("environment steps", "", _HEIGHT).layout
    drawn.update_layout(
        template="none",
        font=style.font,
        paper_bgcolor="white",
        plot_bgcolor="white",
        width=_PANEL_WIDTH * len(filled) + 40,
        height=_HEIGHT,
        margin={"l": 62, "r": 20, "t": 40, "b": 84},
        legend={"orientation": "h", "x": 0.5, "xanchor": "center", "y": -0.24, "yanchor": "top"},
    )
    drawn.update_xaxes(style.xaxis.to_plotly_json(), title_text="environment steps", rangemode="tozero")
    drawn.update_yaxes(style.yaxis.to_plotly_json())
    drawn.update_yaxes(title_text="return (mean over seeds, 95 % interval)", col=1)
    named: set[str] = set()
    for column, curves in enumerate(filled.values(), start=1):
        for name, points, index in curves:
            _add(drawn, column, name, points, index, shown=name not in named)
            named.add(name)
    drawn.update_annotations(font={"family": FONT, "size": 14, "color": MUTED})
    return drawn


def write_svg(drawn: go.Figure, path: Path) -> None:
    """Render with kaleido, which drives a browser without a window."""
    import kaleido

    browser = next(filter(None, map(shutil.which, _BROWSERS)), None)
    # No sandbox: the root user, as in a container, cannot set one up; the page is our own.
    kaleido.write_fig_sync(drawn, str(path), opts={"format": "svg"}, kopts={"path": browser, "enable_sandbox": False})


def _curves(found: Mapping[tuple[str, str], Mapping[str, Any]], env: str) -> list[tuple[str, Series, int]]:
    curves = []
    for result, label, name, index in PANELS[env]:
        details = found.get(("learning", result), {}).get("details", {})
        run = details.get(label)
        if run is not None and alike(details):
            held = run["curve"]
            values = np.array(held["returns"], dtype=float)  # null becomes NaN
            steps, wall = (np.array(held[key], dtype=float) for key in ("env_steps", "wall_s"))
            curves.append((name, Series(steps, updates=np.full_like(steps, np.nan), wall_s=wall, values=values), index))
    return curves


def _seeds(curves: Sequence[tuple[str, Series, int]]) -> str:
    """How many seeds stand behind each curve of a panel."""
    counts = sorted({points.values.shape[1] for _, points, _ in curves})
    return f"{' and '.join(map(str, counts))} seed{'s' if counts[-1] > 1 else ''}"


def _add(drawn: go.Figure, column: int, name: str, points: Series, index: int, *, shown: bool) -> None:
    """Add one algorithm to a panel: its band and its mean; single seeds would be too many lines for a small picture."""
    piece = go.Figure()
    add_band(piece, points, lambda series: series.env_steps, pen(index), name)
    add_mean_and_seeds(piece, points, lambda series: series.env_steps, pen(index), name)
    for trace in piece.data:
        if trace.name != "single seeds":
            trace.showlegend = shown and trace.name == name
            drawn.add_trace(trace, row=1, col=column)


if __name__ == "__main__":
    raise SystemExit(main())
