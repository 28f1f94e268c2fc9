"""Learning benchmarks with tables: the mazes of Sutton & Barto, and FrozenLake."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.results import Check, Result
from benchmarks.tasks.common import (
    Request,
    Training,
    cumulative_reward,
    described,
    episode_lengths,
    final_evaluation,
    standard_error,
    trained,
)

_REFERENCE = Path(__file__).resolve().parents[1] / "reference" / "dyna_maze_steps_per_episode.csv"
_EPISODES = (2, 3, 5, 10, 25, 50)
_SPARSE = {"eval_episodes": 1, "eval_every": 1_000_000, "log_every": 1000}


def dyna_maze(asked: Request) -> Result:
    """Steps per episode with 0 and with 50 planning steps against reference means (book, figure 8.2)."""
    reference = read_reference()
    checks, details = [], {}
    for n in (0, 50):
        settings = {"planning_steps": n, "step_size": 0.1, "discount": 0.95, "epsilon": 0.1}
        options = {**_SPARSE, "agent": settings}
        training = Training(f"n={n}", "dyna-q", "forethought/DynaMaze-v0", asked.steps, asked.seeds, options)
        run = trained(training, asked.runs, or_longer=True)
        while min(len(lengths) for lengths in episode_lengths(run, asked.seeds)) < max(_EPISODES):
            # Leaving out the seeds that are not there yet would leave out the slow ones.
            training = replace(training, steps=run.config["steps"] * 3 // 2)
            run = trained(training, asked.runs)
        lengths = np.array([of_seed[: max(_EPISODES)] for of_seed in episode_lengths(run, asked.seeds)]).T
        means, errors = lengths.mean(axis=1), standard_error(lengths)
        rows = [(e, means[e - 1], errors[e - 1], *reference[n][e]) for e in _EPISODES]
        deviations = [(mean - wanted) / np.hypot(error, sem) for _, mean, error, wanted, sem in rows]
        worst = max(deviations, key=abs)
        what = f"n = {n}: greatest deviation at episodes {', '.join(map(str, _EPISODES))}"
        checks.append(Check(what, abs(worst), 3, "standard errors", "at most"))
        details[training.label] = {
            **described(run, training),
            "columns": ["episode", "mean", "standard error", "reference mean", "reference standard error"],
            "rows": rows,
            "deviations": deviations,
            "mean_by_episode": means,
            "standard_error_by_episode": errors,
        }
    title = f"Dyna maze: steps per episode of Dyna-Q, {asked.seeds} runs"
    return Result("dyna_maze", "learning", title, tuple(checks), details)


def read_reference() -> dict[int, dict[int, tuple[float, float]]]:
    """Planning steps -> episode -> (mean, standard error) of the steps per episode."""
    lines = [line for line in _REFERENCE.read_text().splitlines() if not line.startswith("#")]
    found: dict[int, dict[int, tuple[float, float]]] = {0: {}, 50: {}}
    for row in csv.DictReader(lines):
        for n, by_episode in found.items():
            by_episode[int(row["episode"])] = float(row[f"n{n}_mean"]), float(row[f"n{n}_sem"])
    return found


def blocking_maze(asked: Request) -> Result:
    """Cumulative reward of Dyna-Q and Dyna-Q+ before and after the short way is blocked (book, figure 8.4)."""
    shared = {"step_size": 1.0, "planning_steps": 10, "model_decay": 0.0, "discount": 0.95, "epsilon": 0.1}
    steps = np.arange(50, asked.steps + 1, 50)
    reward, details = {}, {}
    for algorithm, settings in (("dyna-q", shared), ("dyna-q-plus", {**shared, "kappa": 1e-4})):
        options = {**_SPARSE, "agent": settings, "env_kwargs": {"switch_at": 1000}}
        env = "forethought/BlockingMaze-v0"
        training = Training(algorithm, algorithm, env, asked.steps, asked.seeds, options)
        run = trained(training, asked.runs)
        reward[algorithm] = cumulative_reward(run, asked.seeds, steps)
        marks = [i for i, step in enumerate(steps) if step % 1000 == 0]
        details[algorithm] = {
            **described(run, training),
            "columns": ["step", "mean cumulative reward", "standard error"],
            "rows": [(steps[i], reward[algorithm][i].mean(), standard_error(reward[algorithm][i])) for i in marks],
            "steps": steps,
            "cumulative_reward": reward[algorithm].mean(axis=1),
            "standard_deviation": reward[algorithm].std(axis=1, ddof=1),
        }
    gain = float((reward["dyna-q-plus"][-1] - reward["dyna-q"][-1]).mean())
    check = Check(f"cumulative reward of Dyna-Q+ less that of Dyna-Q at step {asked.steps}", gain, 30, "", "more than")
    title = f"Blocking maze: Dyna-Q+ against Dyna-Q, {asked.seeds} runs"
    return Result("blocking_maze", "learning", title, (check,), details)


def frozen_lake(asked: Request) -> Result:
    """Share of episodes that reach the goal, without slipping and with it, by prioritized sweeping."""
    checks, details = [], {}
    for label, slippery, target in (("not slippery", False, 100.0), ("slippery", True, 70.0)):
        # Where one slips, the way is long and a strong discount would prefer risky short ways. A larger epsilon shows
        # the outcomes that count.
        settings = {"discount": 0.99, "epsilon": 0.2 if slippery else 0.1}
        options = {"agent": settings, "env_kwargs": {"is_slippery": slippery}, "eval_every": 2000, "log_every": 1000}
        steps = asked.steps if slippery else max(1, asked.steps // 5)
        training = Training(label, "prioritized-sweeping", "FrozenLake-v1", steps, asked.seeds, options)
        run = trained(training, asked.runs)
        final = final_evaluation(run, episodes=200)
        checks.append(Check(f"{label}: episodes that reach the goal", 100 * final["mean"], target, "%"))
        details[label] = {**described(run, training), "final": final}
    title = f"FrozenLake-v1: prioritized sweeping, {asked.seeds} seeds"
    return Result("frozen_lake", "learning", title, tuple(checks), details)
