"""The diagnosis in words, for somebody who sees such numbers for the first time.

Every threshold is a choice and stands here with its reason. A fault is named only where it is plain.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from forethought.diagnostics import advice
from forethought.diagnostics.advice import Kind
from forethought.diagnostics.calibration import LEVELS
from forethought.diagnostics.diagnosis import Diagnosis
from forethought.diagnostics.digits import apart, beside, percent
from forethought.diagnostics.open_loop import OpenLoop
from forethought.wording import listed, plural

# A model of a world that moves should beat "nothing changes" by more than a fifth after one step.
NO_BETTER = 0.8
# Errors of 0.3 standard deviations leave nine tenths of the variance of the observations explained.
TRUSTED_ERROR = 0.3
# Of what is random walks leave all of their change open, and noise half: above this there is nothing that is foretold.
BLIND = 0.9
# Less than a quarter of the mean squared error expected: errors twice as large as the model thinks.
UNEXPECTED = 0.25
# A Gaussian that knows nothing but mean and variance has 1.42 nats; this is plainly worse.
IMPOSSIBLE = 2.0
# 90 % intervals that hold less than 80 % miss twice as often as they say, and are at most 0.78 times as wide as they
# should be (for Gaussian errors). A true model hardly ever falls below by chance: in none of 120 diagnoses of random
# walks with 15 episodes, after 1, 5 or 30 steps, and in one of 24 with 3 episodes, as planners have them.
OVER_CONFIDENT = 0.8
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


class Finding(NamedTuple):
    """One sentence of a verdict; its kind says what to do about it."""

    kind: Kind
    sentence: str


def verdict(diagnosis: Diagnosis) -> list[str]:
    """One sentence for each fault; a single one that begins with "Good" where there is none."""
    return [finding.sentence for finding in findings(diagnosis)]


def findings(diagnosis: Diagnosis) -> list[Finding]:
    """The sentences of the `verdict`, each with what to do about it."""
    d = diagnosis
    confidence = _confidence(d)
    blind = _blind(d) or ([] if confidence else _density(d))
    faults = [*_recall(d), *_dynamics(d), *blind, *_states(d), *_reward(d), *_endings(d), *confidence]
    faults += [*_ranking(d), *_exploited(d), *_gap(d), *_drift(d)]
    return faults or [Finding(advice.GOOD, _good(d))]


def trusted_steps(diagnosis: Diagnosis) -> int | None:
    """The number of imagined steps up to which the median error stays within `TRUSTED_ERROR`; None for numbered states.

    0 where the first step is beyond it.
    """
    if diagnosis.open_loop is None:
        return None
    return _steps_below(np.asarray(diagnosis.open_loop.mean)[:, 1], TRUSTED_ERROR)


def is_no_better(diagnosis: Diagnosis) -> bool:
    """Whether the first step is foretold (nearly) as badly as by "nothing changes".

    With latent models all steps must be: the error of what is decoded hides a change of one step that is smaller.
    """
    if diagnosis.open_loop is None:
        return False
    steps = diagnosis.horizon if diagnosis.latent else 1
    model, still = (np.asarray(x)[:steps, 1] for x in (diagnosis.open_loop.mean, diagnosis.open_loop.still))
    return bool((still > 0.0).any()) and not (model < NO_BETTER * still).any()


def unforetold(diagnosis: Diagnosis) -> dict[int, float]:
    """What is left open of the dimensions of whose change in one step (nearly) nothing is foretold, the worst first."""
    if diagnosis.foretold is None:
        return {}
    left_open = np.asarray(diagnosis.foretold.left_open)
    return {int(i): float(left_open[i]) for i in np.argsort(-left_open) if left_open[i] > BLIND}


def _good(d: Diagnosis) -> str:
    steps = trusted_steps(d)
    if steps is None:
        return f"Good: no fault was found in dreams of up to {d.horizon} steps."
    return (
        f"Good: no fault was found. Dreams of up to {steps} steps, all that were looked at, stay within "
        f"{TRUSTED_ERROR} standard deviations of reality (median)."
    )


def _dynamics(d: Diagnosis) -> list[Finding]:
    o, steps = d.open_loop, trusted_steps(d)
    if o is None or steps is None:
        return []
    if is_no_better(d):
        return [Finding(advice.NO_BETTER, _no_better(d, o))]
    if steps >= d.horizon:
        return []
    trust = f"trust rollouts of up to {plural(steps, 'step')}" if steps else "trust no rollout, however short"
    if steps and unforetold(d):
        trust += " in all but what it does not foretell"
    first = (
        f"after {plural(steps + 1, 'step')} the median error is {beside(_at(o.mean, steps), TRUSTED_ERROR)} standard "
        f"deviations, the first above {TRUSTED_ERROR}"
    )
    last = f"; after {plural(d.horizon, 'step')} it is {beside(_at(o.mean, d.horizon - 1), TRUSTED_ERROR)}"
    at_once = steps == 0 and _at(o.mean, d.horizon - 1) <= _at(o.mean, 0)
    grow = "Its errors are large from the first step on" if at_once else "Its errors grow"
    whose = "its dreams differ by" if d.latent else "the model expects"
    expected = f"where {whose} {_at(o.spread, d.horizon - 1):.2g}"
    return [
        Finding(
            advice.ERRORS_GROW,
            f"{grow}: {trust}; {first}{last if steps + 1 < d.horizon else ''}, {expected}.",
        )
    ]


def _no_better(d: Diagnosis, o: OpenLoop) -> str:
    steps = d.horizon if d.latent else 1
    model, still = apart(_at(o.mean, steps - 1), _at(o.still, steps - 1), 2)
    how = "Hardly better" if float(model) < float(still) else "No better"
    after = ": after one step" if steps == 1 else f", at any of {steps} steps: after the last"
    return (
        f"{how} than the prediction that nothing changes{after} the model is off by {model} standard deviations, "
        f"that prediction by {still}."
    )


def _recall(d: Diagnosis) -> list[Finding]:
    """What a latent model has lost before it dreams."""
    if d.recall is None:
        return []
    left_open, error = np.nan_to_num(np.asarray(d.recall.left_open)), float(np.asarray(d.recall.error)[1])
    lost = [int(i) for i in np.argsort(-left_open) if left_open[i] > BLIND]
    begin = "It does not keep what it sees:"
    if lost:
        shares = listed([f"{percent(left_open[i])} of {d.obs_name(i)}" for i in lost], more="most of {} more")
        said = f"{begin} decoding what it has just seen leaves open {shares} (of the variance, where 100 % is a guess)."
        return [Finding(advice.FORGETS, said)]
    if error > TRUSTED_ERROR:
        far = f"{beside(error, TRUSTED_ERROR)} standard deviations"
        return [
            Finding(advice.FORGETS, f"{begin} what it has just seen is decoded {far} off (median); dreams begin there.")
        ]
    return []


def _blind(d: Diagnosis) -> list[Finding]:
    """What it takes for settled and is wrong about; what it knows to be random is none of its faults."""
    if d.foretold is None or is_no_better(d):
        return []
    expected = np.asarray(d.foretold.expected)
    missed = unforetold(d)
    surprising = [d.obs_name(i) for i in missed if expected[i] < UNEXPECTED]
    if not surprising:
        return []
    shares = [f"{percent(share)} of {d.obs_name(i)}" for i, share in missed.items()]
    said = (
        f"It is blind to some of what it sees: one step ahead it leaves open {listed(shares, more='most of {} more')} "
        "(of the mean squared change, where one jump counts as much as many small steps), and does not expect that of "
        f"{listed(surprising)}."
    )
    return [Finding(advice.BLIND, said)]


def _density(d: Diagnosis) -> list[Finding]:
    """Means that are right but for a few steps, as `_blind` finds them in the errors."""
    if d.nll is None or d.foretold is None or is_no_better(d) or not float(d.nll) > IMPOSSIBLE:
        return []
    surprise = np.nan_to_num(np.asarray(d.foretold.surprise), nan=0.0)
    where = f", most in {d.obs_name(int(np.argmax(surprise)))}" if np.max(surprise) > 1.0 / UNEXPECTED else ""
    said = (
        f"It takes some of what happens for impossible{where}: a negative log density of {float(d.nll):.3g} nats per "
        "dimension, where 1.42 is to know nothing."
    )
    return [Finding(advice.BLIND, said)]


def _states(d: Diagnosis) -> list[Finding]:
    if d.wrong_states is None:
        return []
    wrong, expected, still = (float(np.asarray(x)[0]) for x in d.wrong_states)
    cases = f"the next state is wrong in {percent(wrong)} of the cases"
    if wrong > 0.05 and wrong >= NO_BETTER * still and wrong > expected + 0.1:
        how = "Hardly better" if wrong < still else "No better"
        said = f"{how} than the prediction that nothing changes: {cases}, {percent(still)} with that prediction."
        return [Finding(advice.NO_BETTER, said)]
    believed = f"{cases}, the model expects {percent(expected)}."
    if wrong > expected + 0.1:
        return [Finding(advice.OVER_CONFIDENT, f"Over-confident: {believed}")]
    if wrong < expected - 0.1:
        return [Finding(advice.UNDER_CONFIDENT, f"Under-confident: {believed}")]
    return []


def _reward(d: Diagnosis) -> list[Finding]:
    together, off = float(d.outcomes.reward_correlation), float(d.outcomes.reward_error)
    if together < REWARD_CORRELATION:
        return [
            Finding(
                advice.REWARD_SIGN,
                "Its reward has the wrong sign: where the world pays more, the model expects less "
                f"(correlation {together:.2f}).",
            )
        ]
    if not off <= REWARD_ERROR:
        how = "" if np.isnan(together) else f", correlation {together:.2f}"
        said = f"Its reward is wrong: the error is {off:.2g} standard deviations of the real rewards{how}."
        return [Finding(advice.REWARD_WRONG, said)]
    return []


def _endings(d: Diagnosis) -> list[Finding]:
    faults, o = [], d.outcomes
    false = 1.0 - (1.0 - float(o.false_endings)) ** d.horizon
    if false > ENDINGS:
        said = (
            f"It believes in endings that do not come: {percent(false)} of its dreams of "
            f"{plural(d.horizon, 'step')} end where the world goes on."
        )
        faults.append(Finding(advice.FALSE_ENDINGS, said))
    if float(o.endings) >= FEW_ENDINGS and float(o.missed_endings) > ENDINGS:
        said = (
            f"It does not see the world end: it expects to go on in {percent(o.missed_endings)} of "
            f"{plural(int(o.endings), 'real ending')}."
        )
        faults.append(Finding(advice.MISSED_ENDINGS, said))
    return faults


def _confidence(d: Diagnosis) -> list[Finding]:
    if d.calibration is None or d.open_loop is None:
        return []
    held, factor = np.asarray(d.calibration.coverage), np.asarray(d.calibration.factor)
    wide, narrow = held[:, LEVELS.index(0.9)], held[:, LEVELS.index(0.5)]
    # The factor is one of medians: where errors are rarely, but then very wrong, it need not agree, and is left out.
    times = "; its errors are {:.2g} times what it expects"
    if (wide < OVER_CONFIDENT).any():
        i = int(np.nanargmin(wide))
        said = (
            f"Over-confident: its 90 % intervals hold {percent(wide[i])} of what has happened after "
            f"{plural(int(d.calibration.steps[i]), 'step')}{times.format(factor[i]) if factor[i] > 1.05 else ''}."
        )
        return [Finding(advice.OVER_CONFIDENT, said)]
    if narrow[0] > UNDER_CONFIDENT and _at(d.open_loop.spread, 0) > NEGLIGIBLE_SPREAD:
        said = (
            f"Under-confident: its 50 % intervals hold {percent(narrow[0])} of what happens after one step"
            f"{times.format(factor[0]) if factor[0] < 0.95 else ''}."
        )
        return [Finding(advice.UNDER_CONFIDENT, said)]
    return []


def _ranking(d: Diagnosis) -> list[Finding]:
    if d.disagreement_rank is None or d.open_loop is None or is_no_better(d):
        return []
    rank = float(d.disagreement_rank)
    if not rank < LEAST_RANK or _at(d.open_loop.mean, 0) < NEGLIGIBLE_ERROR:
        return []
    said = f"Its disagreement does not tell where it is wrong (rank correlation with the error {rank:.2f})."
    return [Finding(advice.DISAGREEMENT, said)]


def _exploited(d: Diagnosis) -> list[Finding]:
    if d.exploitation is None:
        return []
    imagined, real = np.asarray(d.exploitation.imagined), np.asarray(d.exploitation.real)
    best = f"the best of {int(d.exploitation.effort[-1])} plans"
    if not np.isfinite(imagined).all():
        return [Finding(advice.EXPLOITED, f"Exploited by planning: what {best} promises is no finite number.")]
    promised, kept = imagined[-1] - imagined[0], real[-1] - real[0]
    lost = promised - kept
    error = lost.std() / max(len(lost), 1) ** 0.5
    matters = lost.mean() > LOST_GAP * float(d.value_gap.scale) and lost.mean() > SURE * error
    if not (matters and lost.mean() > LOST * promised.mean()):
        return []
    fault = "Exploited by planning" if promised.mean() > 0.0 else "Misled by planning"
    promise, truth = (_moved(by) for by in apart(promised.mean(), kept.mean(), 4))
    said = f"{fault}: from a random plan to {best} its promise {promise}, the real return {truth}."
    return [Finding(advice.EXPLOITED, said)]


def _moved(by: str) -> str:
    return f"falls by {by[1:]}" if by.startswith("-") else f"rises by {by}"


def _gap(d: Diagnosis) -> list[Finding]:
    gap, scale = d.value_gap.gap, float(d.value_gap.scale)
    over = f"over {plural(d.value_gap.steps, 'step')}"
    if len(d.value_gap.real) and not np.isfinite(gap):
        said = f"Its dreams diverge: {over}, the imagined return is no finite number."
        return [Finding(advice.DIVERGES, said)]
    if abs(gap) <= GAP * scale or abs(gap) <= SURE * d.value_gap.error:
        return []
    whom = "the policy earns" if d.value_gap.closed_loop else "the actions that were really taken earn"
    imagined, real = apart(np.mean(d.value_gap.imagined), np.mean(d.value_gap.real), 4)
    said = (
        f"It promises too {'much' if gap > 0 else 'little'}: {over}, {whom} {imagined} in imagination and {real} in "
        "reality."
    )
    return [Finding(advice.PROMISES, said)]


def _drift(d: Diagnosis) -> list[Finding]:
    distance, chance = np.asarray(d.long_run.distance), np.asarray(d.long_run.chance)
    excess = distance - chance
    if not excess.size or not np.nanmax(excess) > DRIFT:
        return []
    worst = int(np.nanargmax(excess))
    where = "" if d.open_loop is None else f", most in {d.obs_name(worst)}"
    far, usual = apart(distance[worst], chance[worst], 2)
    said = (
        f"Its long dreams of {plural(d.long_run.steps, 'step')} lead elsewhere than life does{where} "
        f"(distance {far}, by chance {usual})."
    )
    return [Finding(advice.LONG_DREAMS, said)]


def _at(quantiles: ArrayLike, index: int) -> float:
    """The median after index + 1 steps."""
    return float(np.asarray(quantiles)[index, 1])


def _steps_below(median: np.ndarray, limit: float) -> int:
    beyond = np.flatnonzero(~(median <= limit))
    return int(beyond[0]) if len(beyond) else len(median)
