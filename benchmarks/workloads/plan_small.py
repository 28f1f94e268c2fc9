"""One decision of a small planner: what can be had while a control loop waits."""

from dataclasses import replace

from benchmarks.results import Check, Result
from benchmarks.workloads.plan_cem import CONFIG, gflop_of, time_decisions
from forethought.planning.cem import CEM

DECISIONS = 20  # per repeat


def run(quick: bool) -> Result:
    """Population 64, 3 iterations, horizon 10, one particle.

    With the ensemble of `plan_cem`, 5 members of 4 x 200, also in bfloat16, and with 5 members of 2 x 128, the size
    that a control loop would rather take. From the observation in the host's memory to the action there.
    """
    checks, details = [], {}
    search = CEM(population=64, elites=8, iterations=3)
    wide = replace(CONFIG, horizon=10, particles=1, search=search)
    for config in (wide, replace(wide, precision="bfloat16"), replace(wide, model_hidden=(128, 128))):
        timing = time_decisions(config, 2 if quick else 40, DECISIONS)
        name = f"{config.members} members of {len(config.model_hidden)} x {config.model_hidden[0]}"
        name += "" if config.precision == "float32" else f" in {config.precision}"
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
