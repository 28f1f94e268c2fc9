"""Environment steps that each algorithm needs to a stated return: "ten times fewer samples", measured."""

import numpy as np

from benchmarks.results import Check, Result
from benchmarks.tasks.common import Request, Summary, Training, described, trained
from benchmarks.tasks.control import planned_episodes
from forethought import statistics
from forethought.report.read import Run

_PLANNERS = ("pets", "poplin-a")
_RECENT = 2  # trials in a row whose mean has to reach the return: one may be luck


def samples(env: str, goal: float, steps: dict[str, int], name: str):
    """A benchmark that trains every algorithm for its number of steps and finds when it reached ``goal``."""

    def measure(asked: Request) -> Result:
        details: dict[str, Summary] = {}
        for algorithm, budget in steps.items():
            every = max(50, budget // 80)
            options = {"eval_every": every, "log_every": every}
            if algorithm in _PLANNERS:
                options = {"eval_every": 1_000_000, "eval_episodes": 1, "log_every": 50}
            training = Training(algorithm, algorithm, env, budget, asked.seeds, options)
            run = trained(training, asked.runs)
            found = first_steps(run, asked.seeds, goal, planner=algorithm in _PLANNERS)
            details[algorithm] = {
                **described(run, training),
                "first_step": [None if np.isinf(step) else step for step in found],
                "iqm": float(statistics.iqm(found)),
                "interval": statistics.bootstrap_interval(found, statistics.iqm),
            }
        sac = details["sac"]["iqm"]
        checks = tuple(
            Check(f"{algorithm}: steps of SAC over its own (interquartile means)", sac / run["iqm"], 1.0, "times")
            for algorithm, run in details.items()
            if algorithm != "sac"
        )
        return Result(name, "learning", f"Steps to a return of {goal:g} on {env}, {asked.seeds} seeds", checks, details)

    return measure


def first_steps(run: Run, seeds: int, goal: float, *, planner: bool) -> np.ndarray:
    """The environment step at which each seed first reached the goal; infinite where it never did.

    By its evaluations, or, for agents that act alike when judged, by the mean of two training episodes in a row.
    """
    if not planner:
        points = [(record["env_steps"], np.mean(record["return"], axis=1)) for record in run.of("eval")]
        reached = np.array([returns >= goal for _, returns in points])
        steps = np.array([step for step, _ in points], float)
        return np.array([steps[np.argmax(of_seed)] if of_seed.any() else np.inf for of_seed in reached.T])
    found = np.full(seeds, np.inf)
    for seed, returns in enumerate(planned_episodes(run, seeds)):
        ends = [r["env_steps"] for r in run.of("episode") if r["seed"] == seed][-len(returns) :]
        for i in range(_RECENT - 1, len(returns)):
            if np.mean(returns[i - _RECENT + 1 : i + 1]) >= goal:
                found[seed] = ends[i]
                break
    return found
