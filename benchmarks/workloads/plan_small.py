"""One decision of a small planner: what can be had while a control loop waits."""

from dataclasses import replace

from benchmarks.results import Check, Result
from benchmarks.workloads.plan_cem import gflop_of, time_decisions
from forethought.agents.control.pets import PETSConfig
from forethought.agents.presets import PETS_PRESETS
from forethought.planning.cem import CEM
from forethought.training.config import from_dict

DECISIONS = 20  # per repeat


def run(quick: bool) -> Result:
    """Population 64, 3 iterations, horizon 10, one particle; the ensemble is that of `plan_cem`: 5 members of 4 x 200.

    From the observation in the host's memory to the action there.
    """
    base = from_dict(PETSConfig, PETS_PRESETS["cartpole"].settings)
    config = replace(base, horizon=10, particles=1, search=CEM(population=64, elites=8, iterations=3))
    timing = time_decisions(config, 2 if quick else 40, DECISIONS)
    return Result(
        name="plan_small",
        kind="speed",
        title="A decision by CEM, 64 rollouts of 10 steps, 3 times",
        checks=(Check("time per action", 1000 * timing.best / DECISIONS, 5, "ms", "at most"),),
        details={**timing.described(DECISIONS * gflop_of(config), DECISIONS), "decisions_per_repeat": DECISIONS},
        command="python -m benchmarks.speed plan_small",
        partial=quick,
    )
