"""Environment steps that each algorithm needs to a stated return: "ten times fewer samples", measured."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from benchmarks.results import Check, Result, times_fewer
from benchmarks.tasks.common import Request, Summary, Training, described, trained
from benchmarks.tasks.control import LIGHT, ONCE, planned_trials
from forethought import statistics
from forethought.report.read import Run

_RECENT = 2  # trials in a row whose mean has to reach the return: one may be luck
_SHARES = (0.3, 0.6, 1.0)  # of the budget: the rest is not spent once every seed has reached the return


def samples(env: str, goal: float, steps: dict[str, int], name: str, planners: Mapping[str, Summary] = LIGHT):
    """A benchmark that trains every algorithm, at most for its number of steps, until every seed reached ``goal``.

    ``planners``: the settings of those that plan.
    """

    def measure(asked: Request) -> Result:
        details = {
            algorithm: asked.kept.get(algorithm) or _trained(algorithm, env, goal, budget, asked, planners)
            for algorithm, budget in steps.items()
        }
        sac = details["sac"]["iqm"]
        # An algorithm that never gets there is short of its target, not unmeasured.
        gains = {a: 0.0 if sac and run["iqm"] is None else times_fewer(sac, run["iqm"]) for a, run in details.items()}
        checks = tuple(
            Check(f"steps of SAC over those of {algorithm}", gain, 1.0, "times")
            for algorithm, gain in gains.items()
            if algorithm != "sac"
        )
        return Result(name, "learning", f"Steps to a return of {goal:g} on {env}, {asked.seeds} seeds", checks, details)

    return measure


def _trained(
    algorithm: str, env: str, goal: float, budget: int, asked: Request, planners: Mapping[str, Summary]
) -> Summary:
    every = max(50, budget // 80)
    options: dict[str, Any] = {"eval_every": every, "log_every": every}
    if algorithm in planners:
        options = {**ONCE, "agent": planners[algorithm]}
    for share in _SHARES:
        training = Training(algorithm, algorithm, env, int(share * budget), asked.seeds, options)
        run = trained(training, asked.runs, or_longer=True)
        found = first_steps(run, asked.seeds, goal, planner=algorithm in planners)
        if np.all(np.isfinite(found)):
            break
    return {
        **described(run, training),
        "goal": goal,
        "budget": budget,
        "first_step": [None if np.isinf(step) else step for step in found],
        "iqm": _or_none(statistics.iqm(found)),
        "interval": [_or_none(end) for end in statistics.bootstrap_interval(found, statistics.iqm)],
    }


def _or_none(step: Any) -> float | None:
    """Seeds that never got there count as infinitely late, and so does a mean that holds one of them."""
    return float(step) if np.isfinite(step) else None


def first_steps(run: Run, seeds: int, goal: float, *, planner: bool) -> np.ndarray:
    """The environment step at which each seed first reached the goal; infinite where it never did.

    By its evaluations. Agents that act alike when judged are judged by their training: at the step where the first of
    two trials in a row began whose mean reaches the goal.
    """
    if not planner:
        points = [(record["env_steps"], np.mean(record["return"], axis=1)) for record in run.of("eval")]
        reached = np.array([returns >= goal for _, returns in points])
        steps = np.array([step for step, _ in points], float)
        return np.array([steps[np.argmax(of_seed)] if of_seed.any() else np.inf for of_seed in reached.T])
    found = np.full(seeds, np.inf)
    for seed, trials in enumerate(planned_trials(run, seeds)):
        for i in range(len(trials) - _RECENT + 1):
            if np.mean([trial["return"] for trial in trials[i : i + _RECENT]]) >= goal:
                found[seed] = trials[i]["env_steps"] - trials[i]["length"]
                break
    return found
