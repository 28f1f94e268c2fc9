"""What is known of a world, held against its first transitions: the first fit, which says so too, may be hours away."""

import jax
import numpy as np

from forethought.agents.base import Phase
from forethought.replay.moments import Replay
from forethought.training.program import Program

_ENOUGH = 100  # transitions of each seed: a function that is wrong throughout is wrong in the first of them


def are_due(phase: Phase, before: int, now: int) -> bool:
    """Whether the steps from ``before`` to ``now`` are the first to be enough, or the last before the first run."""
    return phase.check is not None and max(before, 0) < min(_ENOUGH, phase.start) <= now


def found(program: Program, phase: Phase, replay: Replay) -> dict[str, list[float]]:
    """What the check of a phase says of the replay: name -> one number per seed; nothing where it has none."""
    if phase.check is None:
        return {}
    info = jax.jit(program.over_seeds(phase.check, (program.replay_axes,)))(replay)
    return {name: np.asarray(share, np.float64).tolist() for name, share in info.items()}
