"""Rows that lie in the host's memory, beside a device whose own is too small for them.

What reads and writes them runs on the host, as a part of the programs that run on the device; only what was drawn is
sent there.
"""

import inspect
import math
from collections.abc import Callable
from typing import Any

import jax
from jax.experimental import compute_on as _compute_on

from forethought.types import PyTree

# By this name in JAX 0.10, by the other one from 0.11 on.
_placed: Any = getattr(_compute_on, "compute_on2", _compute_on.compute_on)

KIND = "pinned_host"
_SHARE = 0.8  # of the device's memory that a replay may take


def possible() -> bool:
    """Whether this version of JAX and the device that it uses can."""
    known = "out_memory_spaces" in inspect.signature(_placed).parameters
    return known and KIND in {memory.kind for memory in jax.devices()[0].addressable_memories()}


def needed(n_bytes: int) -> bool:
    """Whether so many bytes are more than the device has room for beside all else, and the host can hold them."""
    stats = jax.devices()[0].memory_stats() or {}
    return n_bytes > _SHARE * stats.get("bytes_limit", math.inf) and possible()


def on_host(function: Callable[..., PyTree]) -> Callable[..., PyTree]:
    """The function, run by the host: arguments are sent there, and what comes out stays there."""
    there = jax.memory.Space.Host
    placed = _placed(function, compute_type="device_host", out_memory_spaces=there)
    return lambda *args: placed(*jax.device_put(args, there))


def to_device(tree: PyTree) -> PyTree:
    """What lies in the host's memory, sent to the device."""
    return jax.device_put(tree, jax.memory.Space.Device)


def is_hosted(x: jax.Array) -> bool:
    """Whether an array lies in the host's memory beside another device's."""
    return x.sharding.memory_kind == KIND
