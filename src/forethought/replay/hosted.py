"""Rows that lie in the host's memory, beside a device whose own is too small for them.

What is drawn is gathered by the host, as a part of the programs that run on the device; only that is sent there. What
is written the device writes itself, over the bus, where it belongs: what the host returns comes by way of the device's
memory, in which there is no room for all rows.
"""

import inspect
import math
import os
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.custom_batching import custom_vmap
from jax.experimental import compute_on as _compute_on
from jaxtyping import Array, Int

from forethought.errors import UsageError
from forethought.types import PyTree

# By this name in JAX 0.10, by the other one from 0.11 on.
_placed: Any = getattr(_compute_on, "compute_on2", _compute_on.compute_on)

KIND = "pinned_host"
_SHARE = 0.8  # of the device's memory that a replay may take
_LIMIT, _USUAL_GIB = "XLA_PJRT_GPU_HOST_MEMORY_LIMIT_GB", 64  # what XLA takes of the host's memory at most
_PIECE = 2**24  # bytes of zeros that are written at once


def possible() -> bool:
    """Whether this version of JAX and the device that it uses can."""
    known = "out_memory_spaces" in inspect.signature(_placed).parameters
    return known and KIND in {memory.kind for memory in jax.devices()[0].addressable_memories()}


def needed(n_bytes: int) -> bool:
    """Whether so many bytes are more than the device has room for beside all else, and the host can hold them.

    Raises `UsageError` where JAX would not take so many of the host's.
    """
    stats = jax.devices()[0].memory_stats() or {}
    if n_bytes <= _SHARE * stats.get("bytes_limit", math.inf) or not possible():
        return False
    most = os.environ.get(_LIMIT, "")
    if jax.devices()[0].platform == "gpu" and n_bytes > 2**30 * (int(most) if most.isdecimal() else _USUAL_GIB):
        gib = math.ceil(n_bytes / 2**30)
        raise UsageError(
            f"the replay needs {gib} GiB of the host's memory, more than JAX takes beside a GPU; set the environment "
            f"variable {_LIMIT}={gib + 1}, or lower --agent.replay-capacity"
        )
    return True


def on_host(function: Callable[..., PyTree]) -> Callable[..., PyTree]:
    """The function, run by the host: arguments are sent there, and what comes out, which the device must have room for,
    lies there.
    """
    placed = _placed(function, compute_type="device_host", out_memory_spaces=jax.memory.Space.Host)
    return lambda *args: placed(*_to_host(args))


def _to_host(tree: PyTree) -> PyTree:
    return jax.device_put(tree, jax.memory.Space.Host)


def to_device(tree: PyTree) -> PyTree:
    """What lies in the host's memory, sent to the device."""
    return jax.device_put(tree, jax.memory.Space.Device)


def is_hosted(x: jax.Array) -> bool:
    """Whether an array lies in the host's memory beside another device's."""
    return x.sharding.memory_kind == KIND


def zeros(shape: tuple[int, ...], kind: Any) -> Array:
    """Rows of zeros [k, rows, width] in the host's memory."""
    k, rows, width = shape
    piece = max(1, min(rows, _PIECE // (width * jnp.dtype(kind).itemsize)))
    pieces = -(-rows // piece)

    def one_more(i: Array, held: Array) -> Array:  # the last piece begins sooner, so that it ends with the rows
        return put(held, jnp.zeros((1, piece, width), kind), i // pieces, i % pieces * piece)

    # All of it is written over, which XLA knows: these zeros are never made.
    return jax.lax.fori_loop(0, k * pieces, one_more, _to_host(jnp.zeros(shape, kind)))


def put(held: Array, rows: Array, k: Int[Array, ""], place: Int[Array, ""]) -> Array:
    """Rows in the host's memory [k, rows, width] with those given [1, n, width] in place of those of seed k from there
    on.
    """
    start = jnp.asarray(k, jnp.int32), jnp.asarray(place, jnp.int32), jnp.int32(0)
    return jax.lax.dynamic_update_slice(held, _to_host(rows), start)


@custom_vmap
def written(held: PyTree, rows: PyTree, places: Int[Array, " n"]) -> PyTree:
    """Rows in the host's memory [rows, width] with those given [n, m, width], one after the other: m of them to each of
    the places and to those behind it.
    """
    one: Any = jax.tree.map(lambda x: x[None], (held, rows, places))
    return jax.tree.map(lambda x: x.reshape(x.shape[1:]), _written(*one))


@written.def_vmap
def _written_over_seeds(k: int, batched: Any, *args: PyTree) -> tuple[PyTree, PyTree]:
    def of_all(is_so: bool, x: Array) -> Array:
        return x if is_so else jnp.broadcast_to(x, (k, *x.shape))

    held = _written(*jax.tree.map(of_all, tuple(batched), args))
    return held, jax.tree.map(lambda x: True, held)


def _written(held: PyTree, rows: PyTree, places: Int[Array, "k n"]) -> PyTree:
    k, n = places.shape

    def one_more(i: Array, held: PyTree) -> PyTree:
        def each(held: Array, rows: Array) -> Array:
            block = jax.lax.dynamic_slice_in_dim(rows.reshape(k * n, *rows.shape[2:]), i, 1)
            return put(held, block, i // n, places[i // n, i % n])

        return jax.tree.map(each, held, rows)

    return jax.lax.fori_loop(0, k * n, one_more, held)
