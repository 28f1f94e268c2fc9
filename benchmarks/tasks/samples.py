"""Environment steps that each algorithm needs to a stated return: "ten times fewer samples", measured.

All begin with as many random steps as MBPO, and SAC, which the others are held against, gets its target entropy and
evaluations as close together besides.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from benchmarks.results import Check, Result, times_fewer
from benchmarks.tasks.common import Request, Summary, Training, described, trained
from benchmarks.tasks.control import LIGHT, ONCE, planned_trials
from forethought import statistics
from forethought.agents.catalog import find_preset
from forethought.report.read import RunLog

_RECENT = 2  # trials in a row whose mean has to reach the return: one may be luck
_SHARES = (0.3, 0.6, 1.0)  # of the budget: the rest is not spent once every seed has reached the return


def samples(env: str, goal: float, steps: dict[str, int], name: str, planners: Mapping[str, Summary] = LIGHT):
    """A benchmark that trains every algorithm, at most for its number of steps, until every seed reached ``goal``.

    ``planners``: the settings of those that plan.
    """
    every = max(50, min(budget for algorithm, budget in steps.items() if algorithm not in planners) // 80)
    begin = {"random_steps": shared_settings(env)["random_steps"]}
    options = {
        a: {**ONCE, "agent": {**planners[a], **begin}} if a in planners else evaluated(a, env, every) for a in steps
    }

    def measure(asked: Request) -> Result:
        details = {
            algorithm: asked.kept.get(algorithm)
            or _trained(
                Training(algorithm, algorithm, env, budget, asked.seeds, options[algorithm]),
                goal,
                asked,
                planner=algorithm in planners,
            )
            for algorithm, budget in steps.items()
        }
        sac = details["sac"]["iqm"]
        checks = tuple(_check(algorithm, sac, run["iqm"]) for algorithm, run in details.items() if algorithm != "sac")
        return Result(name, "learning", f"Steps to a return of {goal:g} on {env}, {asked.seeds} seeds", checks, details)

    return measure


def _check(algorithm: str, sac: float | None, steps: float | None) -> Check:
    what = f"steps of SAC over those of {algorithm}"
    if sac is not None and steps is None:  # short of its target, not unmeasured
        return Check(f"{what}, which never gets there", 0.0, 1.0, "times")
    return Check(what, times_fewer(sac, steps), 1.0, "times")


def evaluated(algorithm: str, env: str, every: int) -> dict[str, Any]:
    """The options of an algorithm that is evaluated by its evaluations."""
    options: dict[str, Any] = {"eval_every": every, "log_every": every}
    # Without a preset SAC would get the defaults for unknown environments, where MBPO has the papers'.
    return {**options, "preset": "none", "agent": shared_settings(env)} if algorithm == "sac" else options


def shared_settings(env: str) -> dict[str, Any]:
    """Of MBPO's preset for the environment, what SAC has too: the random steps, and how the policy learns."""
    settings = find_preset("mbpo", None, env)[1]
    of_policy = {name.removeprefix("sac."): value for name, value in settings.items() if name.startswith("sac.")}
    return {"random_steps": settings["random_steps"], **of_policy}


def _trained(longest: Training, goal: float, asked: Request, *, planner: bool) -> Summary:
    random = shared_settings(longest.env)["random_steps"]
    for share in _SHARES:
        training = replace(longest, steps=int(share * longest.steps))
        if training.steps <= random:  # nothing would be learned yet
            continue
        run = trained(training, asked.runs, or_longer=True)
        found = first_steps(run, asked.seeds, goal, planner=planner)
        if np.all(np.isfinite(found)):
            break
    return {
        **described(run, training),
        "goal": goal,
        "budget": longest.steps,
        "random_steps": run.config["agent"]["random_steps"],
        **counted(found),
    }


def counted(found: np.ndarray) -> Summary:
    """The step of each seed, and over seeds; None where it is infinite."""
    return {
        "first_step": [_or_none(step) for step in found],
        "iqm": _or_none(statistics.iqm(found)),
        "interval": [_or_none(end) for end in statistics.bootstrap_interval(found, statistics.iqm)],
    }


def _or_none(step: Any) -> float | None:
    """Seeds that never got there count as infinitely late, and so does a mean that holds one of them."""
    return float(step) if np.isfinite(step) else None


def first_steps(run: RunLog, seeds: int, goal: float, *, planner: bool) -> np.ndarray:
    """The environment step by which each seed first reached the goal; infinite where it never did.

    By its evaluations. Agents that act alike when evaluated are told by their training, in the course of which their
    models go on learning: at the end of the first of two trials in a row whose mean reaches the goal.
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
                found[seed] = trials[i]["env_steps"]
                break
    return found
