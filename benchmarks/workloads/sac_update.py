"""SAC updates as the training loop makes them, sampling included, against the peak and Stable-Baselines3."""

from typing import Any

from benchmarks.measure import timed
from benchmarks.peers import venv
from benchmarks.results import Check, Result
from benchmarks.workloads.setting import SPEC, full_replay
from forethought.agents.free.sac import SAC, SACConfig
from forethought.training.program import Program

BATCH = 256
TRANSITIONS = 100_000
# Multiply-adds of the matrix products of one update per row of the batch: 0.22 M for the target, 0.42 M for the
# critics and their gradients, 0.49 M for the actor through the critics and its gradient; rounded down.
MULTIPLY_ADDS = 1.11e6


def run(quick: bool) -> Result:
    """Many updates per call; the replay holds 100,000 random transitions."""
    updates, repeats = (5, 2) if quick else (200, 12)
    agent = SAC(SACConfig(updates_per_step=updates, batch_size=BATCH), SPEC)
    program, replay = Program(agent, (0,), 1, TRANSITIONS), full_replay(TRANSITIONS)
    (phase,) = agent.phases()
    state = program.init_state()

    def call(i: int) -> Any:
        nonlocal state, replay
        state, replay, info = program.phases.run(phase, state, replay, i + 1, 1)
        return state, info

    theirs = [_stable_baselines(updates, quick)]
    timing = timed(call, repeats)
    theirs.append(_stable_baselines(updates, quick))
    gflop = updates * MULTIPLY_ADDS * 2 * BATCH / 1e9
    ours = timing.best / updates
    peer = min((t["seconds_best"] for t in theirs if "seconds_best" in t), default=None)
    return Result(
        name="sac_update",
        kind="speed",
        title="SAC update, batch 256, networks 256 x 256, sampling included",
        checks=(
            Check("share of the matrix-product peak", 100 * timing.share(gflop), 50, "%"),
            Check("speed against Stable-Baselines3", peer and peer / ours, 2, "times"),
        ),
        details={**timing.described(gflop, updates), "updates_per_call": updates, "stable_baselines3": theirs},
        command="python -m benchmarks.speed sac_update",
        partial=quick,
    )


def _stable_baselines(updates: int, quick: bool) -> dict[str, Any]:
    arguments = ["update", "--steps", str(updates), "--repeats", "1" if quick else "5"]
    return venv.run_script("sb3", "sb3_sac.py", arguments, probe=["update", "--steps", "10", "--repeats", "2"])
