"""An observation as numbers: its images one behind the other as channels, and all else as one vector."""

import math
from itertools import accumulate
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from forethought.errors import UsageError
from forethought.types import Box, Discrete, PyTree, Space, is_image, item_shape, per_part


class Sight(NamedTuple):
    """An observation as numbers: a vector, and an image whose numbers lie in [0, 1]; ``()`` for none."""

    vector: PyTree  # [d]
    image: PyTree  # [h, w, c]


class Looks(NamedTuple):
    """The sizes of a `Sight`, and which numbers of its vector are choices: where each begins, and among how many."""

    vector: int
    image: tuple[int, int, int] | None
    choices: tuple[tuple[int, int], ...] = ()

    @classmethod
    def of(cls, space: Space) -> "Looks":
        """Raises `UsageError` where two images differ in size."""
        parts = _parts(space)
        sizes = [item_shape(part) for part in parts if is_image(part)]
        if len({size[:2] for size in sizes}) > 1:
            raise UsageError(
                f"images of {' and '.join('x'.join(map(str, size)) for size in sizes)} are seen together; "
                "make them one size"
            )
        rows = [part for part in parts if not is_image(part)]
        ends = list(accumulate(map(_width, rows), initial=0))
        choices = tuple((end, part.n) for end, part in zip(ends, rows, strict=False) if isinstance(part, Discrete))
        image = (sizes[0][0], sizes[0][1], sum(size[2] for size in sizes)) if sizes else None
        return cls(ends[-1], image, choices)


def sight(space: Space, obs: PyTree) -> Sight:
    """Of an observation (unbatched)."""
    rows, images = [], []

    def look(part: Box | Discrete, x: Array) -> None:
        if is_image(part):
            images.append(x.astype(jnp.float32) / 255.0)
        else:
            rows.append(jax.nn.one_hot(x, part.n) if isinstance(part, Discrete) else x.reshape(-1))

    per_part(look, space, obs)
    return Sight(*(jnp.concatenate(parts, axis=-1) if parts else () for parts in (rows, images)))


def shown(space: Space, seen: Sight) -> PyTree:
    """The observation that looks like this (unbatched): whole numbers in images, the likeliest of choices."""
    left = {"vector": seen.vector, "image": seen.image}

    def take(kind: str, n: int) -> Array:
        part, left[kind] = left[kind][..., :n], left[kind][..., n:]
        return part

    def show(part: Box | Discrete) -> Array:
        if isinstance(part, Discrete):
            return jnp.argmax(take("vector", part.n), axis=-1).astype(jnp.int32)
        if is_image(part):
            return jnp.clip(jnp.round(255.0 * take("image", part.shape[2])), 0, 255).astype(jnp.uint8)
        return take("vector", _width(part)).reshape(part.shape)

    return per_part(show, space)


def _parts(space: Space) -> list[Box | Discrete]:
    found: list[Box | Discrete] = []
    per_part(found.append, space)
    return found


def _width(part: Box | Discrete) -> int:
    return part.n if isinstance(part, Discrete) else math.prod(part.shape)
