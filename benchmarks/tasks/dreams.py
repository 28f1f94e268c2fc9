"""Learning benchmarks of dreams: Dreamer V1, V2 and V3, PlaNet."""

import numpy as np

from benchmarks.results import Check, Result
from benchmarks.tasks.common import Request, Summary, Training, described, trained
from forethought.report.read import RunLog

# Mean and standard deviation over five seeds of what Dreamer V3 earned while learning from the vectors of
# cartpole-balance, in the 10,000 steps up to each: github.com/danijar/dreamerv3, scores/dmc_proprio-dreamerv3.
BALANCE = {10_000: (316.4, 54.9), 20_000: (226.6, 43.7), 30_000: (370.8, 63.4)}
WITHIN = 2.0  # standard deviations
_BIN = 10_000


def dreamer_v3_balance(asked: Request) -> Result:
    """What is earned while learning, as the published curve has it, and not what an evaluation finds."""
    options = {"eval_every": 10_000, "eval_episodes": 1}
    training = Training("dreamer-v3", "dreamer-v3", "dmc:cartpole-balance", asked.steps, asked.seeds, options)
    run = trained(training, asked.runs)
    return balance(run, described(run, training), asked.steps, asked.seeds)


def balance(run: RunLog, told: Summary, steps: int, seeds: int) -> Result:
    """What a run says, held against the published curve as far as it goes."""
    checks = []
    for step, (mean, deviation) in BALANCE.items():
        if step <= steps:
            found = earned_in_bin(run, step, seeds)
            told[f"earned_until_{step}"] = found
            off = abs(float(np.mean(found)) - mean) / deviation
            what = f"return while learning until step {step:,}, {np.mean(found):.0f}, off the published {mean:.0f}"
            checks.append(Check(what, off, WITHIN, "standard deviations", "at most"))
    title = f"dreamer-v3 on dmc:cartpole-balance, {steps:,} steps, {seeds} seeds"
    return Result("dreamer_v3_balance", "learning", title, tuple(checks), {"dreamer-v3": told})


def earned_in_bin(run: RunLog, step: int, seeds: int) -> list[float]:
    """Of each seed the mean return of the episodes that ended in the steps up to this one."""
    ended = [e for e in run.of("episode") if step - _BIN < e["env_steps"] <= step]
    return [float(np.mean([e["return"] for e in ended if e["seed"] == seed])) for seed in range(seeds)]
