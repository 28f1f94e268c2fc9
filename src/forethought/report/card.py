"""A run at a glance, as a piece of HTML for a notebook: the main numbers, and its learning curve as a small SVG.

Nothing is loaded and no script runs, so it also shows where notebooks are not trusted, and stays in them when saved.
"""

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup

from forethought.report import series
from forethought.report.page import render
from forethought.report.read import RunLog
from forethought.report.style import FONT, pen, thinned
from forethought.report.words import duration, number
from forethought.statistics import curve
from forethought.wording import plural

WIDTH, HEIGHT, _LEFT, _BELOW = 420, 150, 62, 18  # pixels; the room for labels


def card(run: RunLog) -> str:
    """Return the HTML of one run."""
    title = f"{run.config.get('algorithm', 'an agent')} on {run.config.get('env', 'an unnamed environment')}"
    return render("card.html", font=FONT, title=title, sketch=Markup(sketch(run)), facts=facts(run))


def facts(run: RunLog) -> list[tuple[str, str]]:
    """Return the main numbers, each with its name."""
    end, progress = series.final(run), series.progress(run)
    found = [("status", progress.status)]
    if end is not None:
        over = f"{plural(len(end.per_seed), 'seed')} × {plural(end.episodes, 'episode')}"
        found.append(("return", f"{number(end.mean)} ({over}) at step {end.env_steps:,}"))
    best = (run.summary or {}).get("best")
    if best:
        steps = ", ".join(f"{step:,}" for step in dict.fromkeys(best["step"]))
        found.append(("best return", f"{number(float(np.mean(best['return'])))} at step {steps}"))
    found.append(("environment steps", f"{progress.env_steps:,} per seed"))
    if progress.updates:
        found.append(("updates", f"{progress.updates:,}"))
    if progress.fits:
        found.append(("fits of the model", f"{progress.fits:,}"))
    return [*found, ("wall time", duration(progress.wall_s)), ("run", str(run.path))]


def sketch(run: RunLog) -> str:
    """Return the mean return of the evaluations over steps with its 95 % band; nothing before the second one."""
    points = series.evaluations(run)
    if len(points.values) < 2 or not np.isfinite(points.values).all():
        return ""
    kept = thinned(len(points.values))
    x, band = points.env_steps[kept], curve(points.values[kept])
    several = points.values.shape[1] > 1
    drawn = np.concatenate([band.centre, band.low, band.high] if several else [band.centre])
    low, high = float(drawn.min()), float(drawn.max())

    def along(steps: np.ndarray) -> np.ndarray:
        return _LEFT + (steps - x[0]) / max(x[-1] - x[0], 1) * (WIDTH - _LEFT - 6)

    def up(values: np.ndarray) -> np.ndarray:
        return (HEIGHT - _BELOW) - (values - low) / max(high - low, 1e-9) * (HEIGHT - _BELOW - 10)

    area = _path(np.concatenate([along(x), along(x)[::-1]]), np.concatenate([up(band.low), up(band.high)[::-1]]))
    returns = [(_LEFT - 6, float(up(np.array([value]))[0]) + 4, "end", number(value)) for value in (low, high)]
    steps = [(_LEFT, HEIGHT - 2, "start", f"{x[0]:,.0f}"), (WIDTH - 6, HEIGHT - 2, "end", f"{x[-1]:,.0f} steps")]
    return render(
        "sketch.svg",
        width=WIDTH,
        height=HEIGHT,
        label=f"Return of the evaluations, from {number(float(band.centre[0]))} to {number(float(band.centre[-1]))}",
        pen=pen(0),
        area=area if several else "",
        line=_path(along(x), up(band.centre)),
        texts=[*returns, *steps],
    )


def _path(x: np.ndarray, y: Sequence[float] | np.ndarray) -> str:
    return " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))
