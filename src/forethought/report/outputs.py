"""How well a model foretells each of its outputs: the reward apart, then every dimension of the observation."""

from html import escape
from typing import Any, NamedTuple

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float

from forethought.report.read import RunLog
from forethought.report.style import figure, pen, rounded
from forethought.report.words import number

_MOST = 12  # observations that are shown by themselves, the worst ones
_NAMES = ("holdout_mse_outputs", "train_mse_outputs")  # the second where nothing is held out


class Errors(NamedTuple):
    """Mean squared error of each output after each fit, in units of its variance."""

    seen: str  # which transitions it was measured on
    env_steps: Float[np.ndarray, " fits"]
    values: Float[np.ndarray, "fits seeds outputs"]
    labels: tuple[str, ...]  # of the outputs


def errors(run: RunLog) -> Errors | None:
    """What the fits of a run have left open of each output; None where it has no such model."""
    for name, seen in zip(_NAMES, ("held-out transitions", "the transitions trained on"), strict=True):
        records = [record for record in run.of("model") if isinstance(record.get(name), list)]
        if records:
            values = np.array([record[name] for record in records], dtype=float)
            names = map(run.obs_name, range(values.shape[2] - 1))
            steps = np.array([record["env_steps"] for record in records], dtype=float)
            return Errors(seen, steps, values, ("reward", *names))
    return None


def shown(found: Errors) -> list[int]:
    """The outputs to show: the reward, and the observations that are foretold worst after the last fit."""
    last = found.values[-1].mean(axis=0)
    worst = sorted(1 + np.argsort(-last[1:], kind="stable")[:_MOST])
    return [0, *map(int, worst)]


def last_errors(found: Errors) -> list[tuple[str, ...]]:
    """The outputs to show, each with its error after the last fit; with several seeds their mean and the worst."""
    last = found.values[-1]
    errors = [last.mean(axis=0), last.max(axis=0)] if len(last) > 1 else [last[0]]
    return [(found.labels[output], *(number(float(error[output])) for error in errors)) for output in shown(found)]


def over_training(found: Errors) -> go.Figure:
    """A line for each output, mean over seeds."""
    drawn = figure("environment steps (per seed)", f"error on {found.seen}, log scale", 320)
    means: Any = np.maximum(found.values.mean(axis=1), 1e-6)  # an output that never varies has none
    for place, output in enumerate(shown(found)):
        drawn.add_scatter(
            x=rounded(found.env_steps),
            y=rounded(means[:, output]),
            name=escape(found.labels[output]),
            mode="lines+markers",
            line={"color": pen(place).colour, "dash": pen(place).dash, "width": 3 if output == 0 else 1.5},
            hovertemplate="%{fullData.name}: %{y:.3g}<extra></extra>",
        )
    drawn.update_yaxes(type="log", exponentformat="power", minexponent=3)
    return drawn
