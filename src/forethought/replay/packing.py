"""Rows of a pytree as one array to a type: a write or a draw costs by the number of arrays, hardly by their width."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from forethought.types import PyTree


@dataclass(frozen=True)
class Layout:
    """Where the leaves of a row lie in arrays [..., width] of their types; flags lie among uint8."""

    structure: Any
    shapes: tuple[tuple[int, ...], ...]
    types: tuple[str, ...]

    @classmethod
    def of(cls, example: PyTree) -> "Layout":
        """For rows like the example (one, no leading axis)."""
        leaves, structure = jax.tree.flatten(example)
        types = tuple(jnp.asarray(x).dtype.name for x in leaves)
        return cls(structure, tuple(jnp.shape(x) for x in leaves), types)

    def pack(self, rows: PyTree) -> dict[str, Array]:
        """Of rows with leaves [*b, ...]."""
        parts: dict[str, list[Array]] = {}
        leaves = self.structure.flatten_up_to(rows)
        for x, shape, kind in zip(leaves, self.shapes, self.types, strict=True):
            x = jnp.asarray(x, kind)
            flat = x.reshape(*x.shape[: x.ndim - len(shape)], -1)
            parts.setdefault(_kept(kind), []).append(flat.astype(_kept(kind)))
        return {kind: jnp.concatenate(xs, axis=-1) for kind, xs in parts.items()}

    def unpack(self, packed: dict[str, Any]) -> PyTree:
        """The rows again."""
        leaves = [
            packed[_kept(kind)][..., start:stop].reshape(*packed[_kept(kind)].shape[:-1], *shape).astype(kind)
            for shape, kind, start, stop in self._places()
        ]
        return jax.tree.unflatten(self.structure, leaves)

    def zeros(self, n: int) -> dict[str, Array]:
        """n rows of zeros."""
        widths = {_kept(kind): stop for _, kind, _, stop in self._places()}  # the last of each type
        return {kind: jnp.zeros((n, width), kind) for kind, width in widths.items()}

    def _places(self) -> Iterator[tuple[tuple[int, ...], str, int, int]]:
        at: dict[str, int] = {}
        for shape, kind in zip(self.shapes, self.types, strict=True):
            start = at.get(_kept(kind), 0)
            at[_kept(kind)] = start + math.prod(shape)
            yield shape, kind, start, at[_kept(kind)]


def _kept(kind: str) -> str:
    return "uint8" if kind == "bool" else kind
