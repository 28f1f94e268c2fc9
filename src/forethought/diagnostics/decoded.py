"""What is compared: observations as rows of numbers, and what a model believes as such rows.

A model of observations has them as its features. What a latent model believes is decoded first (`Decodes`). Everything
else here is written for rows, and knows of no model.
"""

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from forethought.diagnostics.episodes import Episode
from forethought.errors import UsageError
from forethought.models.base import Belief, WorldModel
from forethought.models.latent import Decodes
from forethought.types import Key, Outcome, PyTree

SIDE = 16  # pixels a side that are compared
BLOCK = 256  # beliefs that are decoded at once: what a decoder of pictures works out on the way is large
_ONLY = "only vectors, pictures of whole numbers up to 255 and numbered states can be evaluated"


class Part(NamedTuple):
    """One of the things that are seen together.

    Attributes:
        name: "" where nothing else is seen.
        kind: what it is.
        shape: of a picture [h, w, c] or a vector [d]; of a number the row that stands for it, with 1 at its place.
    """

    name: str
    kind: Literal["vector", "number", "picture"]
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """Numbers of its row."""
        h, w, c = self.shape if self.kind == "picture" else (*self.shape, 1, 1)
        return min(h, SIDE) * min(w, SIDE) * c if self.kind == "picture" else h

    @property
    def quantities(self) -> tuple[str, ...]:
        """What is told of by itself, by name: each number of a vector, and else the whole."""
        if self.kind != "vector":
            return (self.name or f"the {self.kind}",)
        return (self.name,) if self.size == 1 else tuple(f"{self.name}[{i}]" for i in range(self.size))

    def __call__(self, x: Array) -> Float[Array, "*b n"]:
        """Its rows: of a picture means over as many pixels as leave `SIDE` a side, in shares of 255."""
        if self.kind == "number":
            return jax.nn.one_hot(x, self.size)
        if self.kind == "vector":
            return x.astype(jnp.float32)
        h, w, _ = self.shape
        small = jnp.einsum("...hwc,ih,jw->...ijc", x.astype(jnp.float32) / 255.0, _means(h), _means(w))
        return small.reshape(*small.shape[:-3], self.size)


class View(NamedTuple):
    """How observations become rows: their parts one after the other, vectors first."""

    parts: tuple[Part, ...]

    @classmethod
    def of(cls, episodes: Sequence[Episode]) -> "View":
        """Of what was seen in them. Raises `UsageError` for what is neither vector nor picture nor number."""
        named = [e.obs if isinstance(e.obs, dict) else {"": e.obs} for e in episodes]
        parts = [_part(name, [np.asarray(obs[name]) for obs in named]) for name in named[0]]
        order = ("vector", "number", "picture")
        return cls(tuple(sorted(parts, key=lambda part: order.index(part.kind))))

    @property
    def numbered(self) -> bool:
        """Whether a number is all that is seen: there is no distance then, and no row."""
        return [(part.name, part.kind) for part in self.parts] == [("", "number")]

    @property
    def pictures(self) -> bool:
        """Whether a part is a picture."""
        return any(part.kind == "picture" for part in self.parts)

    @property
    def vector(self) -> int:
        """How many numbers of a row are those of vectors, which come first."""
        return sum(part.size for part in self.parts if part.kind == "vector")

    @property
    def names(self) -> list[str]:
        """Of the quantities; none where all is one vector or a number, which the spaces have names for."""
        return [name for part in self.parts for name in part.quantities] if self._named or self.pictures else []

    @property
    def groups(self) -> Int[np.ndarray, " d"]:
        """The quantity of each number of a row."""
        each = [np.arange(p.size) if p.kind == "vector" else np.zeros(p.size, int) for p in self.parts]
        begins = np.cumsum([0, *(len(p.quantities) for p in self.parts)])
        return np.concatenate([begin + of for begin, of in zip(begins, each, strict=False)])

    @property
    def together(self) -> Int[np.ndarray, " d"] | None:
        """`groups`; None where each number is one, or there are no rows."""
        return self.groups if self.names else None

    def __call__(self, obs: PyTree) -> PyTree:
        """The rows of observations with any leading axes; a number that is all stays what it is."""
        if self.numbered or not self.parts:
            return obs
        return jnp.concatenate([part(x) for part, x in self._each(obs)], axis=-1)

    @property
    def _named(self) -> bool:
        return any(part.name for part in self.parts)

    def _each(self, obs: PyTree) -> Iterator[tuple[Part, Array]]:
        for part in self.parts:
            yield part, obs[part.name] if part.name else obs


AS_IT_IS = View(())  # leaves observations what they are


class Looked(NamedTuple):
    """Of n beliefs: what a policy reads of them, and the rows of what they look like."""

    features: PyTree
    row: PyTree


class Decoded(eqx.Module):
    """A world model that believes as ``model`` does, and whose features say what that looks like, too."""

    model: WorldModel
    view: View = eqx.field(static=True)

    def initial(self, n: int) -> PyTree:
        """That of the model."""
        return self.model.initial(n)

    def observe(self, belief: Belief, action: PyTree, obs: PyTree, first: Bool[Array, " n"], *, key: Key) -> Belief:
        """That of the model."""
        return self.model.observe(belief, action, obs, first, key=key)

    def step(self, belief: Belief, action: PyTree, *, key: Key) -> tuple[Belief, Outcome]:
        """That of the model."""
        return self.model.step(belief, action, key=key)

    def features(self, belief: Belief) -> Looked:
        """Those of the model, and how it looks."""
        return Looked(self.model.features(belief), self.view(look(self.model, belief)))


@jax.jit
def rows(model: Decoded, beliefs: Belief) -> Array:
    """What beliefs [n, ...] look like."""
    return model.view(look(model.model, beliefs))


def look(model: WorldModel[Belief], belief: Belief) -> PyTree:
    """The observations that a model takes its beliefs [n, ...] for; decoded one block after the other."""
    if not isinstance(model, Decodes):
        return model.features(belief)
    n = jax.tree.leaves(belief)[0].shape[0]
    if n <= BLOCK:
        return model.decode(belief)
    # The last block is filled up with copies of the last belief.
    places = jnp.minimum(jnp.arange(-(-n // BLOCK) * BLOCK), n - 1).reshape(-1, BLOCK)
    drawn = jax.lax.map(lambda at: model.decode(jax.tree.map(lambda x: x[at], belief)), places)
    return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:])[:n], drawn)


def _part(name: str, seen: Sequence[np.ndarray]) -> Part:
    first = seen[0]
    if first.ndim == 1 and first.dtype.kind in "iu":
        return Part(name, "number", (1 + max(int(x.max()) for x in seen),))
    if first.ndim == 4 and first.dtype == np.uint8:
        return Part(name, "picture", first.shape[1:])
    if first.ndim != 2:
        raise UsageError(f"{name or 'observations'} have shape {first.shape[1:]} of {first.dtype}; {_ONLY}")
    return Part(name, "vector", first.shape[1:])


def _means(n: int) -> Float[np.ndarray, "m n"]:
    """What takes the mean over equal shares of n pixels: the part of each pixel that lies in each share."""
    m = min(n, SIDE)
    edges = np.arange(m + 1) * n / m
    inside = np.minimum(edges[1:, None], np.arange(n) + 1) - np.maximum(edges[:-1, None], np.arange(n))
    return (np.maximum(inside, 0.0) * m / n).astype(np.float32)
