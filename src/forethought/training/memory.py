"""What a run will hold in memory, said before it begins; what cannot fit is refused."""

import math
from dataclasses import dataclass

import jax
import psutil

from forethought.errors import UsageError
from forethought.replay import hosted
from forethought.replay.ring import Ring
from forethought.training.program import Program
from forethought.types import PyTree

# Parameters and rows are held once; batches, gradients and compiled programs need some room besides.
_HEADROOM = 1.2

_REMEDIES = {
    "replay": "lower --agent.replay-capacity",
    "imagined transitions": "lower --agent.rollouts-per-step",
    "model, policy and optimizers": "choose a smaller model and policy",
}


@dataclass(frozen=True)
class MemoryPlan:
    """Bytes by what they hold, for all seeds together."""

    replay: int
    imagined: int
    networks: int
    free: int
    hosted: bool = False  # the replay lies in the host's memory, and the rest in the device's

    @property
    def total(self) -> int:
        """Bytes held throughout the run in the memory that `free` is of."""
        return self.imagined + self.networks + (0 if self.hosted else self.replay)

    def __str__(self) -> str:
        parts = [f"replay {size(self.replay)}{' in host memory' if self.hosted else ''}"]
        if self.imagined:
            parts.append(f"imagined transitions {size(self.imagined)}")
        parts.append(f"model, policy and optimizers {size(self.networks)}")
        return f"memory: {', '.join(parts)}; {size(self.free)} free"

    def refuse_if_too_large(self) -> None:
        """Raise `UsageError` where the run would not fit."""
        beside = _available()
        if self.hosted and self.replay * _HEADROOM > beside:
            raise UsageError(
                f"the replay needs about {size(int(self.replay * _HEADROOM))} of the host's memory and {size(beside)} "
                "are free; lower --agent.replay-capacity, or train fewer --seeds at once"
            )
        if self.total * _HEADROOM > self.free:
            parts = {
                "replay": 0 if self.hosted else self.replay,
                "imagined transitions": self.imagined,
                "model, policy and optimizers": self.networks,
            }
            most = max(parts, key=lambda part: parts[part])
            raise UsageError(
                f"the run needs about {size(int(self.total * _HEADROOM))} of memory and {size(self.free)} are free; "
                f"most of it is for the {most}: {_REMEDIES[most]}, or train fewer --seeds at once"
            )


def plan(program: Program, seeds: int = 1) -> MemoryPlan:
    """Measure the shapes of a run, for ``seeds`` times those of the program, without allocating them."""
    state = jax.eval_shape(program.init_state)
    rings = [x for x in jax.tree.leaves(state, is_leaf=_is_ring) if _is_ring(x)]
    imagined = seeds * sum(_bytes(r) for r in rings)
    of_one = jax.eval_shape(program.init_replay)
    networks = seeds * _bytes(state) - imagined
    lies_there = hosted.needed(seeds * _bytes(of_one.packed))
    return MemoryPlan(seeds * _bytes(of_one), imagined, networks, free_bytes(), lies_there)


def free_bytes() -> int:
    """Memory that is free on the device that JAX uses."""
    stats = jax.devices()[0].memory_stats()
    if stats and "bytes_limit" in stats:
        return int(stats["bytes_limit"] - stats.get("bytes_in_use", 0))
    return _available()


def size(n_bytes: int | float) -> str:
    """Bytes for people."""
    for unit in ("B", "KiB", "MiB"):
        if n_bytes < 1024:
            return f"{n_bytes:.0f} {unit}"
        n_bytes /= 1024
    return f"{n_bytes:.1f} GiB"


def _is_ring(x: object) -> bool:
    return isinstance(x, Ring)


def _bytes(tree: PyTree) -> int:
    return sum(math.prod(x.shape) * x.dtype.itemsize for x in jax.tree.leaves(tree))


def _available() -> int:
    return int(psutil.virtual_memory().available)
