"""The chapter of a report that says how far a run's model can be trusted."""

from html import escape

import numpy as np
from numpy.typing import ArrayLike

from forethought.diagnostics import Diagnosis, findings
from forethought.diagnostics.advice import Kind
from forethought.diagnostics.calibration import LEVELS
from forethought.diagnostics.words import unforetold
from forethought.report import tables, trust_figures
from forethought.report.page import Page, with_code
from forethought.report.read import RunLog
from forethought.report.words import number
from forethought.wording import listed, plural

_MOST_DIMENSIONS = 30  # of the table of long dreams


def chapter(page: Page, run: RunLog, *, alone: bool) -> str:
    """Return the chapter; nothing where the run was not diagnosed."""
    d = run.diagnosis
    if d is None:
        return ""
    title = "How far can the model be trusted?" + ("" if alone else f" ({run.name})")
    parts = [
        *(_finding(*finding) for finding in findings(d)),
        f'<p class="note">{escape(_basis(d))}</p>',
        tables.table(ERRORS_HEAD, [_row(*row) for row in errors(d)]),
        tables.table((), [_row(*answer) for answer in answers(d)]),
        *_drift(page, d),
        *_confidence(page, d),
        *_traces(page, run, d),
        *_long_run(run, d),
    ]
    return page.chapter("trust", title, "\n".join(part for part in parts if part))


def _finding(kind: Kind, sentence: str) -> str:
    """Return a sentence of the verdict, what to do about it, and where more of that stands."""
    return (
        f'<p class="verdict">{escape(sentence)}</p><p class="advice"><b>What helps.</b> {with_code(kind.advice)} '
        f'<span class="note">More: “{escape(kind.where)}”</span></p>'
    )


ERRORS_HEAD = ("After", "Error", "It expects", '"Nothing changes"', "90 % intervals hold")


def errors(d: Diagnosis) -> list[tuple[str, ...]]:
    """Return the rows of a table with the head `ERRORS_HEAD`: medians in standard deviations, or shares."""
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
    return [
        (plural(h, "step"), *(write.format(column[h - 1]) for column in columns), held.get(h, ""))
        for h in dict.fromkeys((1, round(d.horizon**0.5), d.horizon))
    ]


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


def _basis(d: Diagnosis) -> str:
    how = "were logged" if d.logged else "were played for this, with the policy and with random actions"
    return (
        f"Measured on {plural(d.episodes, 'held-out episode')} of {d.steps:,} steps that {how}; errors are medians, in "
        "standard deviations of the observations."
    )


def _drift(page: Page, d: Diagnosis) -> list[str]:
    caption = (
        "The model is told the real actions and nothing else. Band: from the best to the worst tenth of the starts. "
        "Below the dotted line nine tenths of the variance are explained."
    )
    if d.wrong_states is not None:
        caption = "The model is told the real actions and nothing else; shares are means over the starts."
    drawn = trust_figures.error_by_horizon(d)
    paid = "The error of the mean of the particles; the band runs from the best to the worst tenth of the starts."
    rewards = page.figure(trust_figures.reward_error(d), "Error of the reward against imagined steps", paid)
    return [
        "<h3>Errors by imagined steps</h3>",
        f'<div class="pair">{page.figure(drawn, "Error against imagined steps", caption)}{rewards}</div>',
    ]


def _confidence(page: Page, d: Diagnosis) -> list[str]:
    caption = (
        "Flatter in the middle than the diagonal: over-confident, reality falls outside of what the model expects too "
        "often. Steeper: under-confident."
    )
    plans = (
        "Each plan is made in the model, evaluated anew in it, and carried out with closed eyes in the real "
        "environment. Where the promise rises and reality does not, planning exploits the errors of the model."
    )
    gap = "One dot for each start. Above the line the model promises more than comes true."
    drawn = [
        page.figure(trust_figures.reliability(d), "Real against predicted frequencies", caption),
        page.figure(trust_figures.value_gap(d), "Imagined against real return", gap),
        page.figure(trust_figures.exploitation(d), "Imagined and real return against planning effort", plans),
    ]
    if not any(drawn):
        return []
    return ["<h3>What it expects, and what happens</h3>", f'<div class="pair">{"".join(drawn)}</div>']


def _traces(page: Page, run: RunLog, d: Diagnosis) -> list[str]:
    drawn = [page.figure(figure, label) for label, figure in trust_figures.traces(d, run.obs_name)]
    if not drawn:
        return []
    note = (
        "In the colour of the text: what happened. Blue: median and 10 to 90 % of the dreams, told the first state and "
        "all actions."
    )
    still = trust_figures.unmoving(d)
    if still:
        note += escape(f" Constant, and left out: {', '.join(map(run.obs_name, still))}.")
    return [_folded("Dreams beside reality", f'<p class="note">{note}</p><div class="panels">{"".join(drawn)}</div>')]


def _long_run(run: RunLog, d: Diagnosis) -> list[str]:
    long = d.long_run
    distance, chance = np.asarray(long.distance), np.asarray(long.chance)
    if d.wrong_states is not None:
        text = f"Share of visits that lie elsewhere: {100 * distance[0]:.1f} %, by chance {100 * chance[0]:.1f} %."
        return [_folded("Long dreams", f"<p>{escape(text)}</p>")]
    rows = []
    for i in np.argsort(-distance)[:_MOST_DIMENSIONS]:
        dreamt, real = (_quantiles(np.asarray(x)[:, i]) for x in (long.imagined, long.real))
        far = [number(round(float(x[i]), 3)) for x in (distance, chance)]
        rows.append(_row(run.obs_name(int(i)), *far, dreamt, real))
    who = "the policy acting in them" if long.closed_loop else "the real actions carried out in them"
    note = (
        f"All states of dreams of {plural(long.steps, 'step')}, {who}, beside all real states of as many steps. "
        "Distance: Wasserstein, in standard deviations; by chance: between two halves of the real episodes."
    )
    head = ("Observation", "Distance", "By chance", "Dreamt 5, 50, 95 %", "Real 5, 50, 95 %")
    return [_folded("Long dreams", f'<p class="note">{escape(note)}</p>{tables.table(head, rows)}')]


def _folded(title: str, body: str) -> str:
    return f"<details><summary><h3>{escape(title)}</h3></summary>{body}</details>"


def _quantiles(five: np.ndarray) -> str:
    return ", ".join(number(float(f"{five[i]:.3g}")) for i in (0, 2, 4))


def _row(*cells: str) -> str:
    return "".join(f"<td>{escape(cell)}</td>" for cell in cells)
