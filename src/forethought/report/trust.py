"""The chapter of a report that says how far a run's model can be trusted."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from forethought.diagnostics import Diagnosis, findings
from forethought.diagnostics.calibration import LEVELS
from forethought.diagnostics.words import unforetold
from forethought.report import trust_figures
from forethought.report.page import Page
from forethought.report.words import number
from forethought.wording import listed, plural

_MOST_DIMENSIONS = 30  # of the table of long dreams


def chapter(page: Page, d: Diagnosis) -> dict[str, Any]:
    """Return what the chapter says of a diagnosis."""
    return {
        "d": d,
        "findings": findings(d),
        "errors": errors(d),
        "answers": answers(d),
        "reward": page.figure(trust_figures.reward_error(d)),
        "drift": page.figure(trust_figures.error_by_horizon(d)),
        "reliability": page.figure(trust_figures.reliability(d)),
        "gap": page.figure(trust_figures.value_gap(d)),
        "exploitation": page.figure(trust_figures.exploitation(d)),
        "strip": d.strip,
        "traces": [(label, page.figure(drawn)) for label, drawn in trust_figures.traces(d, d.obs_name)],
        "still": [d.obs_name(dimension) for dimension in trust_figures.unmoving(d)],
        "dreams": _long_dreams(d) if d.wrong_states is None else [],
    }


_ERRORS_HEAD = ("After", "Error", "It expects", '"Nothing changes"', "90 % intervals hold")


def errors(d: Diagnosis) -> list[tuple[str, ...]]:
    """Return the rows of a table, its head first: medians in standard deviations, or shares.

    A latent model is off after 0 steps already: by what it decodes of what it has just seen.
    """
    held: dict[int, str] = {}
    if d.calibration is not None:
        shares = np.asarray(d.calibration.coverage)[:, LEVELS.index(0.9)]
        held = {
            int(h): f"{100 * share:.0f} %" for h, share in zip(np.asarray(d.calibration.steps), shares, strict=True)
        }
    if d.open_loop is not None:
        columns = [np.asarray(x)[:, 1] for x in (d.open_loop.mean, d.open_loop.spread, d.open_loop.still)]
    else:
        columns = [100.0 * np.asarray(x) for x in d.wrong_states or ()]
    write = "{:.3g}" if d.open_loop is not None else "{:.1f} %"
    now = [] if d.recall is None else [("0 steps", write.format(np.asarray(d.recall.error)[1]), "", "0", "")]
    rows = [_ERRORS_HEAD, *now] + [
        (plural(h, "step"), *(write.format(column[h - 1]) for column in columns), held.get(h, ""))
        for h in dict.fromkeys((1, round(d.horizon**0.5), d.horizon))
    ]
    return rows if held else [row[:-1] for row in rows]


def answers(d: Diagnosis) -> list[tuple[str, str]]:
    """Return the figures that matter most besides the errors, each with what it is."""
    together, off = float(d.outcomes.reward_correlation), float(d.outcomes.reward_error)
    known = "" if np.isnan(together) else f"correlation {number(round(together, 3))}, "
    found = [("Reward", f"{known}error {number(round(off, 3))} standard deviations")]
    if missed := unforetold(d):
        named = listed([f"{d.obs_name(i)} {100 * share:.0f} %" for i, share in missed.items()])
        found.append(("Not foretold", f"{named} of the mean squared change of one step"))
    if d.nll is not None:
        found.append(
            ("Negative log density", f"{number(round(float(d.nll), 2))} nats per dimension (knowing nothing: 1.42)")
        )
    if d.disagreement_rank is not None:
        found.append(("Disagreement and error", f"rank correlation {number(round(float(d.disagreement_rank), 2))}"))
    found += _returns(d)
    if d.favoured is not None:
        lengths = ", ".join(f"{int(k)}" for k in np.asarray(d.favoured.length))
        shifts = ", ".join(f"{shift:g}" for shift in np.asarray(d.favoured.policy_shift))
        said = f"at most {lengths} steps, for a policy that differs by {shifts} from those that collected the data"
        found.append(("Rollouts, by MBPO's bound", said))
    return found


def _returns(d: Diagnosis) -> list[tuple[str, str]]:
    """What is promised and what is earned; only what begins alike can be compared."""
    whose = "Policy" if d.value_gap.closed_loop else "Real actions"
    earned = _both(d.value_gap.imagined, d.value_gap.real)
    found = [(f"{whose}, {plural(d.value_gap.steps, 'step')}", f"return {earned}, from all along the episodes")]
    if d.exploitation is None:
        return found
    weak, strong = (_both(d.exploitation.imagined[i], d.exploitation.real[i]) for i in (0, -1))
    plans = [("A random plan", weak), ("The best plan found", strong)]
    if d.beside_plans is not None:
        plans.append((f"{whose} there", _both(d.beside_plans.imagined, d.beside_plans.real)))
    beginnings = f"from the same {plural(np.shape(d.exploitation.real)[1], 'beginning')} of episodes"
    return found + [(what, f"return {both}, {beginnings}") for what, both in plans]


def _both(imagined: ArrayLike, real: ArrayLike) -> str:
    return f"{number(float(np.mean(np.asarray(imagined))))} imagined, {number(float(np.mean(np.asarray(real))))} real"


def _long_dreams(d: Diagnosis) -> list[tuple[str, ...]]:
    """Return how far long dreams lead away in each dimension of the observation, the farthest first."""
    long = d.long_run
    distance, chance = np.asarray(long.distance), np.asarray(long.chance)
    rows = []
    for i in np.argsort(-distance)[:_MOST_DIMENSIONS]:
        dreamt, real = (_quantiles(np.asarray(x)[:, i]) for x in (long.imagined, long.real))
        far = [number(round(float(x[i]), 3)) for x in (distance, chance)]
        rows.append((d.obs_name(int(i)), *far, dreamt, real))
    return rows


def _quantiles(five: np.ndarray) -> str:
    return ", ".join(number(float(f"{five[i]:.3g}")) for i in (0, 2, 4))
