"""One decision of a small planner: what can be had while a control loop waits."""

from dataclasses import replace

from benchmarks.results import Check, Result
from benchmarks.workloads.plan_cem import CONFIG, gflop_of, time_decisions
from forethought.planning.cem import CEM

DECISIONS = 20  # per repeat


def run(quick: bool) -> Result:
    """Population 64, 3 iterations, horizon 10, one particle.

    With the ensemble of `plan_cem`, 5 members of 4 x 200, and with 5 members of 2 x 128, the size that a control loop
    would rather take. From the observation in the host's memory to the action there.
    """
    checks, details = [], {}
    for hidden in (CONFIG.model_hidden, (128, 128)):
        search = CEM(population=64, elites=8, iterations=3)
        config = replace(CONFIG, horizon=10, particles=1, model_hidden=hidden, search=search)
        timing = time_decisions(config, 2 if quick else 40, DECISIONS)
        name = f"{config.members} members of {len(hidden)} x {hidden[0]}"
        checks.append(Check(f"time per action, {name}", 1000 * timing.best / DECISIONS, 5, "ms", "at most"))
        details[name] = timing.described(DECISIONS * gflop_of(config), DECISIONS)
    return Result(
        name="plan_small",
        kind="speed",
        title="A decision by CEM, 64 rollouts of 10 steps, 3 times",
        checks=tuple(checks),
        details={**details, "decisions_per_repeat": DECISIONS},
        command="python -m benchmarks.speed plan_small",
        partial=quick,
    )
