"""What a learner's side of a checkpoint must be, before any of it is used."""

from typing import Any

import numpy as np

from forethought import stored
from forethought.errors import CheckpointError
from forethought.wording import plural


def require_counters(held: Any, *, seeds: int, num_envs: int, pretrain: int) -> None:
    """Raise `CheckpointError` where these are not the counters of a learner of so many seeds and environments, which
    began to learn ``pretrain`` steps before the first.
    """
    counts = dict.fromkeys(("env_steps", "frames", "updates"), stored.count)
    best = {"best_return": stored.array((seeds,), np.float64), "best_step": stored.array((seeds,), np.int64)}
    checks = {**counts, **best, "seconds": stored.named_numbers}
    checks |= {"learned": stored.whole, "decided": stored.flag, "runs": stored.named_counts, "infos": _are_infos}
    stored.require(held, checks)
    if not -pretrain <= held["learned"] <= held["env_steps"] or held["env_steps"] % num_envs:
        said = f"{held['env_steps']} steps in {plural(num_envs, 'environment')}, {held['learned']} of them learned"
        raise CheckpointError(f"the checkpoint is damaged: it cannot be one of {said}")


def _are_infos(value: Any) -> bool:
    return stored.named(value) and all(
        stored.named(info) and all(isinstance(x, np.ndarray) for x in info.values()) for info in value.values()
    )
