"""Whether an add to the replay costs the same at any capacity."""

import time
from typing import Any

import jax
import numpy as np

from benchmarks.results import Check, Result
from benchmarks.workloads.setting import SPEC, random_transitions
from forethought.agents.free.sac import SAC, SACConfig
from forethought.training.program import Program
from forethought.types import Experience, TimeStep, Transition

LARGE, SMALL = 1_000_000, 10_000


def run(quick: bool) -> Result:
    """Adds of one transition as the training loop makes them; the two capacities take turns."""
    adds, repeats = (20, 2) if quick else (2000, 10)
    capacities = (LARGE // 100, SMALL // 100) if quick else (LARGE, SMALL)
    timers = [_timer(capacity, adds) for capacity in capacities]
    seconds = np.array([[timer() for timer in timers] for _ in range(repeats + 1)])[1:]  # the first is warm-up
    best = seconds.min(axis=0)
    return Result(
        name="replay_add",
        kind="speed",
        title="Adding one transition to the replay, capacity 1,000,000 against 10,000",
        checks=(Check("time at the large capacity over time at the small one", best[0] / best[1], 1.2, "", "at most"),),
        details={
            "seconds_best": best[0],
            "seconds_median": np.median(seconds[:, 0]),
            "seconds_best_small": best[1],
            "seconds_median_small": np.median(seconds[:, 1]),
            "repeats": repeats,
            "adds_per_repeat": adds,
        },
        command="python -m benchmarks.speed replay_add",
        partial=quick,
    )


def _lived(t: Transition) -> Experience:
    """As if they followed each other in one episode."""
    no = np.zeros_like(t.terminated)
    now = TimeStep(t.obs, t.action, t.reward, no, t.terminated, t.truncated)
    return Experience(now, now._replace(obs=t.next_obs))


def _timer(capacity: int, adds: int) -> Any:
    """A function that makes ``adds`` adds and returns the seconds of one."""
    program = Program(SAC(SACConfig(), SPEC), (0,), 1, capacity)
    replay = program.init_replay()
    many = _lived(random_transitions(64))
    steps = [jax.tree.map(lambda x, i=i: np.asarray(x[i])[None, None], many) for i in range(64)]

    def measure() -> float:
        nonlocal replay
        start = time.perf_counter()
        for i in range(adds):
            replay = program.record(replay, steps[i % 64])
        jax.block_until_ready(replay)
        return (time.perf_counter() - start) / adds

    return measure
