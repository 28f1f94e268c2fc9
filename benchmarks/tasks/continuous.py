"""Learning benchmarks with networks: SAC and MBPO, on Gymnasium's environments."""

import math

import numpy as np

from benchmarks.results import Check, Result
from benchmarks.tasks.common import Request, Summary, Training, trained_and_judged

_SOLVED = 999.5  # InvertedPendulum: an episode that is never terminated returns 1000

# The learning curve of the authors' TensorFlow code on Hopper-v2, step -> return, read off a published figure.
HOPPER_PUBLISHED = {50_000: 1700, 75_000: 3050, 100_000: 3250, 120_000: 3400}
_FIGURE_ERROR = 0.05
_AROUND = 2500  # steps to each side over which evaluations are averaged for a point


def sac_pendulum(asked: Request) -> Result:
    """SAC with the paper's settings, the baseline without a model."""
    options = {"eval_every": 1000, "log_every": 250, "preset": "none"}
    training = Training("sac", "sac", "Pendulum-v1", asked.steps, asked.seeds, options)
    details = trained_and_judged(training, asked)
    check = Check("mean final return", details["final"]["mean"], -160, "")
    title = f"SAC on Pendulum-v1, {asked.steps:,} steps, {asked.seeds} seeds"
    return Result("sac_pendulum", "learning", title, (check,), {"sac": details})


def mbpo_pendulum(asked: Request) -> Result:
    """MBPO where SAC needs 20,000 steps."""
    training = Training("mbpo", "mbpo", "Pendulum-v1", asked.steps, asked.seeds, {"eval_every": 250, "log_every": 250})
    details = trained_and_judged(training, asked)
    check = Check("interquartile mean of the final returns", details["final"]["iqm"], -180, "")
    title = f"MBPO on Pendulum-v1, {asked.steps:,} steps, {asked.seeds} seeds"
    return Result("mbpo_pendulum", "learning", title, (check,), {"mbpo": details})


def mbpo_inverted_pendulum(asked: Request) -> Result:
    """MBPO with the official settings: which seeds reach the greatest return, when, and whether they keep it."""
    training = Training(
        "mbpo", "mbpo", "InvertedPendulum-v5", asked.steps, asked.seeds, {"eval_every": 250, "log_every": 250}
    )
    details = trained_and_judged(training, asked)
    details["reached"] = first_reached(details["curve"])
    reached = sum(step is not None for step in details["reached"]["first_step"])
    check = Check("seeds that reach a return of 1000", reached, math.ceil(0.8 * asked.seeds), f"of {asked.seeds}")
    title = f"MBPO on InvertedPendulum-v5, {asked.steps:,} steps, {asked.seeds} seeds"
    return Result("mbpo_inverted_pendulum", "learning", title, (check,), {"mbpo": details})


def mbpo_hopper(asked: Request) -> Result:
    """MBPO with the official settings against the published curve, as far as the steps go."""
    training = Training("mbpo", "mbpo", "Hopper-v5", asked.steps, asked.seeds, {"eval_every": 1000, "log_every": 250})
    details = trained_and_judged(training, asked)
    so_far = f"the run ends at step {details['env_steps']:,}, after {details['wall_s'] / 60:.0f} min"
    values = {step: around(details["curve"], step) for step in HOPPER_PUBLISHED}
    checks = tuple(
        Check(
            f"return around step {step:,}" + (f" ({so_far})" if values[step] is None else ""),
            values[step],
            (1 - _FIGURE_ERROR) * published,
            "",
        )
        for step, published in HOPPER_PUBLISHED.items()
    )
    details["published"] = {"env": "Hopper-v2", "by_step": HOPPER_PUBLISHED, "reading_error": _FIGURE_ERROR}
    title = f"MBPO on Hopper-v5, {asked.steps:,} steps, seeds: {asked.seeds}, against the published curve less 5 %"
    return Result("mbpo_hopper", "learning", title, checks, {"mbpo": details})


def first_reached(points: Summary) -> Summary:
    """The step of each seed's first evaluation with the greatest return, and the share of later ones that keep it."""
    solved = np.asarray(points["returns"]) >= _SOLVED  # [evaluations, seeds]
    first = [int(np.argmax(seed)) if seed.any() else None for seed in solved.T]
    return {
        "first_step": [None if i is None else points["env_steps"][i] for i in first],
        "share_kept": [None if i is None else float(seed[i:].mean()) for i, seed in zip(first, solved.T, strict=True)],
        "held_at_the_end": solved[-1],
    }


def around(points: Summary, step: int) -> float | None:
    """The mean return of all seeds' evaluations near a step; None where training did not come so far."""
    steps = np.asarray(points["env_steps"])
    near = np.abs(steps - step) <= _AROUND
    return float(np.mean(np.asarray(points["returns"])[near])) if steps.max(initial=0) >= step else None
