"""What all programs of a run are compiled with: an axis of seeds, keys by purpose and step, states by their leaves."""

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
from jaxtyping import Array

from forethought.types import Key, PyTree


def purpose_key(key: Key, purpose: str, step: Array | int) -> Key:
    """The key of one use (named) at one environment step."""
    # crc32 and not hash(): the latter differs from one Python process to the next.
    return jax.random.fold_in(jax.random.fold_in(key, zlib.crc32(purpose.encode()) & 0x7FFFFFFF), step)


def over_seeds(fn: Callable[..., Any], k: int, in_axes: tuple[Any, ...], out_axes: Any = 0) -> Callable[..., Any]:
    """``jax.vmap`` over the axis of seeds; for one seed the axis is dropped and put back instead.

    A batch axis of length 1 is not free: on the CPU it makes matrix products and gathers about 1.5 times slower.
    """
    if k > 1:
        return jax.vmap(fn, in_axes, out_axes)

    def single(*args: Any) -> Any:
        out = fn(*(_on_axes(_drop, a, x) for a, x in zip(in_axes, args, strict=True)))
        if isinstance(out_axes, tuple) and not hasattr(out_axes, "_fields"):
            return tuple(_on_axes(_put_back, a, x) for a, x in zip(out_axes, out, strict=True))
        return _on_axes(_put_back, out_axes, out)

    return single


def _on_axes(change: Callable[[Array], Array], axes: Any, tree: PyTree) -> PyTree:
    """Apply ``change`` where the prefix tree ``axes`` says 0, leave the rest alone."""

    def visit(axis: int | None, sub: PyTree) -> PyTree:
        return sub if axis is None else jax.tree.map(change, sub)

    return jax.tree.map(visit, axes, tree, is_leaf=lambda x: x is None)


def _drop(x: Array) -> Array:
    return x.reshape(x.shape[1:])  # a slice would run on the device, whatever memory it lies in


def _put_back(x: Array) -> Array:
    return x[None]


@partial(jax.tree_util.register_dataclass, data_fields=["leaves"], meta_fields=["structure"])
@dataclass(frozen=True)
class Flat:
    """A pytree as the list of its leaves, which is how it should be kept between two calls of a compiled program.

    Equinox modules take a tenth of a millisecond to be taken apart and as long to be put together, at each call.
    """

    leaves: list[Any]
    structure: Any

    @classmethod
    def of(cls, tree: PyTree) -> "Flat":
        """The leaves of a tree."""
        return cls(*jax.tree.flatten(tree))

    @property
    def tree(self) -> PyTree:
        """The tree again."""
        return jax.tree.unflatten(self.structure, self.leaves)


def tree_of(state: PyTree | Flat) -> PyTree:
    """A state as the agent knows it."""
    return state.tree if isinstance(state, Flat) else state


def settled(tree: PyTree) -> PyTree:
    """Without JAX's weak types: the first step would lose them, and every program would compile a second time."""
    return jax.tree.map(lambda x: jax.lax.convert_element_type(x, x.dtype) if x.weak_type else x, tree)
