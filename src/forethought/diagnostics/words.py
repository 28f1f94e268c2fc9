"""The diagnosis in words, for somebody who sees such numbers for the first time.

Every threshold is a choice and stands here with its reason. A fault is named only where it is plain.
"""

from typing import SupportsFloat

import numpy as np
from numpy.typing import ArrayLike

from forethought.diagnostics.calibration import LEVELS
from forethought.diagnostics.diagnosis import Diagnosis

# A model of a world that moves should beat "nothing changes" by more than a fifth after one step.
NO_BETTER = 0.8
# Errors of 0.3 standard deviations leave nine tenths of the variance of the observations explained.
TRUSTED_ERROR = 0.3
# 90 % intervals that hold less than 70 % are at most 0.63 times as wide as they should be (for Gaussian errors). Later
# on, where faults add up that all particles share, 60 %: half as wide.
OVER_CONFIDENT, OVER_CONFIDENT_LATER = 0.7, 0.6
# 50 % intervals that hold more than 90 % are at least 2.4 times as wide as they should be.
UNDER_CONFIDENT = 0.9
# Below this spread, in standard deviations, it does no harm that intervals are too wide.
NEGLIGIBLE_SPREAD = 0.02
# Half of the variance of the rewards is explained where the error is 0.7 standard deviations.
REWARD_ERROR, REWARD_CORRELATION = 0.7, -0.3
# More than half of the dreams of this length end where the world would have gone on, or the other way round.
ENDINGS, FEW_ENDINGS = 0.5, 5
# Rank correlation of disagreement and error below which one says little of the other.
LEAST_RANK = 0.2
# Below this error, in standard deviations, there is nothing to rank.
NEGLIGIBLE_ERROR = 2e-3
# Gaps that matter, in standard deviations of real returns, and in standard errors.
GAP, SURE = 0.5, 3.0
# Stronger planning: more than half of what it promises does not come true, and that matters.
LOST, LOST_GAP = 0.5, 0.2
# Mean way from imagined states to real ones, in standard deviations, more than chance explains.
DRIFT = 0.5


def verdict(diagnosis: Diagnosis) -> list[str]:
    """One sentence for each fault; a single one that begins with "Good" where there is none."""
    d = diagnosis
    faults = [*_dynamics(d), *_states(d), *_reward(d), *_endings(d), *_confidence(d)]
    faults += [*_ranking(d), *_exploited(d), *_gap(d), *_drift(d)]
    return faults or [_good(d)]


def trusted_steps(diagnosis: Diagnosis) -> int | None:
    """The number of imagined steps up to which the median error stays within `TRUSTED_ERROR`; None for numbered states.

    0 where the first step is beyond it.
    """
    if diagnosis.open_loop is None:
        return None
    return _steps_below(np.asarray(diagnosis.open_loop.mean)[:, 1], TRUSTED_ERROR)


def is_no_better(diagnosis: Diagnosis) -> bool:
    """Whether the first step is foretold (nearly) as badly as by "nothing changes"."""
    if diagnosis.open_loop is None:
        return False
    model, still = (float(np.asarray(x)[0, 1]) for x in (diagnosis.open_loop.mean, diagnosis.open_loop.still))
    return still > 0.0 and not model < NO_BETTER * still


def _good(d: Diagnosis) -> str:
    steps = trusted_steps(d)
    if steps is None:
        return f"Good: no fault was found in dreams of up to {d.horizon} steps."
    return (
        f"Good: no fault was found. Dreams of up to {steps} steps, all that were looked at, stay within "
        f"{TRUSTED_ERROR} standard deviations of reality (median)."
    )


def _dynamics(d: Diagnosis) -> list[str]:
    o, steps = d.open_loop, trusted_steps(d)
    if o is None or steps is None:
        return []
    if is_no_better(d):
        return [
            "No better than the prediction that nothing changes: after one step the model is off by "
            f"{_at(o.mean, 0):.2g} standard deviations, that prediction by {_at(o.still, 0):.2g}."
        ]
    if steps >= d.horizon:
        return []
    trust = f"trust rollouts of up to {_plural(steps, 'step')}" if steps else "trust no rollout, however short"
    return [
        f"Its errors grow: {trust}; beyond, the median error is above {TRUSTED_ERROR} standard deviations "
        f"({_at(o.mean, d.horizon - 1):.2g} after {_plural(d.horizon, 'step')}, where the model expects "
        f"{_at(o.spread, d.horizon - 1):.2g})."
    ]


def _states(d: Diagnosis) -> list[str]:
    if d.wrong_states is None:
        return []
    wrong, expected, still = (float(np.asarray(x)[0]) for x in d.wrong_states)
    faults = []
    if wrong > 0.05 and wrong >= NO_BETTER * still and wrong > expected + 0.1:
        faults.append(
            "No better than the prediction that nothing changes: the next state is wrong in "
            f"{_percent(wrong)} of the cases, {_percent(still)} with that prediction."
        )
    elif wrong > expected + 0.1:
        faults.append(
            f"Over-confident: the next state is wrong in {_percent(wrong)} of the cases, "
            f"the model expects {_percent(expected)}."
        )
    elif wrong < expected - 0.1:
        faults.append(
            f"Under-confident: the next state is wrong in {_percent(wrong)} of the cases, "
            f"the model expects {_percent(expected)}."
        )
    return faults


def _reward(d: Diagnosis) -> list[str]:
    together, off = float(d.outcomes.reward_correlation), float(d.outcomes.reward_error)
    if together < REWARD_CORRELATION:
        return [
            "Its reward has the wrong sign: where the world pays more, the model expects less "
            f"(correlation {together:.2f})."
        ]
    if not off <= REWARD_ERROR:
        how = "" if np.isnan(together) else f", correlation {together:.2f}"
        return [f"Its reward is wrong: the error is {off:.2g} standard deviations of the real rewards{how}."]
    return []


def _endings(d: Diagnosis) -> list[str]:
    faults, o = [], d.outcomes
    false = 1.0 - (1.0 - float(o.false_endings)) ** d.horizon
    if false > ENDINGS:
        faults.append(
            f"It believes in endings that do not come: {_percent(false)} of its dreams of "
            f"{_plural(d.horizon, 'step')} end where the world goes on."
        )
    if float(o.endings) >= FEW_ENDINGS and float(o.missed_endings) > ENDINGS:
        faults.append(
            f"It does not see the world end: it expects to go on in {_percent(o.missed_endings)} of "
            f"{_plural(int(o.endings), 'real ending')}."
        )
    return faults


def _confidence(d: Diagnosis) -> list[str]:
    if d.calibration is None or d.open_loop is None:
        return []
    held, factor = np.asarray(d.calibration.coverage), np.asarray(d.calibration.factor)
    wide, narrow = held[:, LEVELS.index(0.9)], held[:, LEVELS.index(0.5)]
    limit = np.where(np.asarray(d.calibration.steps) > 1, OVER_CONFIDENT_LATER, OVER_CONFIDENT)
    if (wide < limit).any():
        i = int(np.nanargmin(wide - limit))
        return [
            f"Over-confident: its 90 % intervals hold {_percent(wide[i])} of what has happened after "
            f"{_plural(int(d.calibration.steps[i]), 'step')}; its errors are {factor[i]:.2g} times what it expects."
        ]
    if narrow[0] > UNDER_CONFIDENT and _at(d.open_loop.spread, 0) > NEGLIGIBLE_SPREAD:
        return [
            f"Under-confident: its 50 % intervals hold {_percent(narrow[0])} of what happens after one step; "
            f"its errors are {factor[0]:.2g} times what it expects."
        ]
    return []


def _ranking(d: Diagnosis) -> list[str]:
    if d.disagreement_rank is None or d.open_loop is None or is_no_better(d):
        return []
    rank = float(d.disagreement_rank)
    if not rank < LEAST_RANK or _at(d.open_loop.mean, 0) < NEGLIGIBLE_ERROR:
        return []
    return [f"Its disagreement does not tell where it is wrong (rank correlation with the error {rank:.2f})."]


def _exploited(d: Diagnosis) -> list[str]:
    if d.exploitation is None:
        return []
    imagined, real = np.asarray(d.exploitation.imagined), np.asarray(d.exploitation.real)
    best = f"the best of {int(d.exploitation.effort[-1])} plans"
    if not np.isfinite(imagined).all():
        return [f"Exploited by planning: what {best} promises is no finite number."]
    promised, kept = imagined[-1] - imagined[0], real[-1] - real[0]
    lost = promised - kept
    error = lost.std() / max(len(lost), 1) ** 0.5
    matters = lost.mean() > LOST_GAP * float(d.value_gap.scale) and lost.mean() > SURE * error
    if not (matters and lost.mean() > LOST * promised.mean()):
        return []
    return [
        f"Exploited by planning: from a random plan to {best} its promise rises by {promised.mean():.4g}, the real "
        f"return by {kept.mean():.4g}."
    ]


def _gap(d: Diagnosis) -> list[str]:
    gap, scale = d.value_gap.gap, float(d.value_gap.scale)
    if len(d.value_gap.real) and not np.isfinite(gap):
        return [
            f"Its dreams diverge: over {_plural(d.value_gap.steps, 'step')}, the imagined return is no finite number."
        ]
    if abs(gap) <= GAP * scale or abs(gap) <= SURE * d.value_gap.error:
        return []
    whom = "the policy" if d.value_gap.closed_loop else "the actions that were really taken"
    return [
        f"It promises too {'much' if gap > 0 else 'little'}: over {_plural(d.value_gap.steps, 'step')}, {whom} earn"
        f"{'s' if d.value_gap.closed_loop else ''} {np.mean(d.value_gap.imagined):.4g} in imagination and "
        f"{np.mean(d.value_gap.real):.4g} in reality."
    ]


def _drift(d: Diagnosis) -> list[str]:
    distance, chance = np.asarray(d.long_run.distance), np.asarray(d.long_run.chance)
    excess = distance - chance
    if not excess.size or not np.nanmax(excess) > DRIFT:
        return []
    worst = int(np.nanargmax(excess))
    where = "" if d.open_loop is None else f", most in observation {worst}"
    return [
        f"Its long dreams of {_plural(d.long_run.steps, 'step')} lead elsewhere than life does{where} "
        f"(distance {distance[worst]:.2g}, by chance {chance[worst]:.2g})."
    ]


def _at(quantiles: ArrayLike, index: int) -> float:
    """The median after index + 1 steps."""
    return float(np.asarray(quantiles)[index, 1])


def _steps_below(median: np.ndarray, limit: float) -> int:
    beyond = np.flatnonzero(~(median <= limit))
    return int(beyond[0]) if len(beyond) else len(median)


def _percent(share: SupportsFloat) -> str:
    return f"{100 * float(share):.0f} %"


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
