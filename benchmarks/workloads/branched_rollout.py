"""The rollouts of MBPO: 100,000 starts drawn from the replay, one step each, written to the imagined ring."""

from typing import Any

from benchmarks.measure import timed
from benchmarks.results import Check, Result
from benchmarks.workloads.setting import (
    MEMBERS,
    MODEL_HIDDEN,
    MODEL_SIZES,
    POLICY_SIZES,
    SPEC,
    full_replay,
    multiply_adds,
)
from forethought.agents.dyna.mbpo import MBPO, MBPOConfig
from forethought.training.program import Program

STARTS = 100_000
TRANSITIONS = 100_000


def run(quick: bool) -> Result:
    """One run of MBPO's phase ``rollout``: choice of the elites, policy, model, storage."""
    repeats = 2 if quick else 15
    config = MBPOConfig(members=MEMBERS, elites=5, model_hidden=MODEL_HIDDEN)
    assert config.rollouts == STARTS
    agent = MBPO(config, SPEC)
    program, replay = Program(agent, (0,), 1, TRANSITIONS), full_replay(TRANSITIONS)
    phase = next(phase for phase in agent.phases() if phase.name == "rollout")
    state = program.init_state()

    def call(i: int) -> Any:
        nonlocal state, replay
        state, replay, info = program.phases.run(phase, state, replay, i + 1, 1)
        return state, info

    timing = timed(call, repeats)
    gflop = 2 * (multiply_adds(MODEL_SIZES) + multiply_adds(POLICY_SIZES)) * STARTS / 1e9
    return Result(
        name="branched_rollout",
        kind="speed",
        title="Branched rollouts, 100,000 starts of one step, policy included",
        checks=(Check("share of the matrix-product peak", 100 * timing.share(gflop), 35, "%"),),
        details=timing.described(gflop),
        command="python -m benchmarks.speed branched_rollout",
        partial=quick,
    )
