"""One decision of PETS on its cartpole, as the agent makes it, against the peak and mbrl-lib."""

from dataclasses import replace
from typing import Any

import jax
import numpy as np

from benchmarks.measure import Timing, timed
from benchmarks.peers import venv
from benchmarks.results import Check, Result
from benchmarks.workloads.setting import multiply_adds
from forethought.agents.control.pets import PETSConfig
from forethought.agents.control.planning import PlanningAgent
from forethought.agents.presets import PETS_PRESETS
from forethought.training.config import from_dict
from forethought.training.program import Program
from forethought.types import Box, EnvSpec, TimeStep

N_OBS, N_ACTION = 4, 1
CONFIG = replace(from_dict(PETSConfig, PETS_PRESETS["cartpole"].settings), horizon=15)
SPEC = EnvSpec("forethought/CartPoleContinuous-v0", Box((N_OBS,)), Box((N_ACTION,)), 200)


def run(quick: bool) -> Result:
    """Population 350, 35 elites, 5 iterations, horizon 15, 20 particles, 5 members of 4 x 200; once more in bfloat16.

    From the observation in the host's memory to the action there.
    """
    timing, gflop = time_decisions(CONFIG, 2 if quick else 12), gflop_of(CONFIG)
    narrow = time_decisions(replace(CONFIG, precision="bfloat16"), 2 if quick else 12)
    repeats = ["--repeats", "1" if quick else "5"]
    theirs = venv.run_script("mbrl", "mbrl_lib.py", ["plan", *repeats], probe=["plan", "--repeats", "1"])
    return Result(
        name="plan_cem",
        kind="speed",
        title="A decision by CEM, 7,000 rollouts of 15 steps, 5 times",
        checks=(Check("share of the matrix-product peak", 100 * timing.share(gflop), 55, "%"),),
        details={**timing.described(gflop), "bfloat16": narrow.described(gflop), "mbrl_lib": theirs},
        command="python -m benchmarks.speed plan_cem",
        partial=quick,
    )


def time_decisions(config: PETSConfig, repeats: int, per_repeat: int = 1) -> Timing:
    """Repeats of ``per_repeat`` decisions in a row, one environment, each with an observation of its own."""
    program = Program(PlanningAgent(config, SPEC), (0,), 1, 200)
    state, carry = program.init_state(), program.init_carry()
    no, nothing = np.zeros((1, 1), bool), np.zeros((1, 1), np.float32)
    seen = np.asarray(0.05 * jax.random.normal(jax.random.key(0), (1000, 1, 1, N_OBS)))

    def call(i: int) -> Any:
        nonlocal carry
        for step in range(i * per_repeat, (i + 1) * per_repeat):
            now = TimeStep(seen[step % len(seen)], np.zeros((1, 1, N_ACTION), np.float32), nothing, no, no, no)
            action, carry, _ = program.act("explore", state, carry, now, step)
            action = np.asarray(action)  # it is waited for, as a world would
        return action, carry

    return timed(call, repeats)


def gflop_of(config: PETSConfig) -> float:
    """Work of the matrix products of the model in one decision."""
    sizes = (N_OBS + N_ACTION, *config.model_hidden, 2 * (N_OBS + 1) + 1)
    steps = config.search.population * config.search.iterations * config.particles * config.horizon
    return 2 * multiply_adds(sizes) * steps / 1e9
