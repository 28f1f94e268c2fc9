"""A ring of rows on the device: transitions, or anything else that is a pytree of arrays.

Everything here is pure and made for use inside ``jit`` with the ring donated: then a row is written in place and an
add costs the same at any capacity.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

from forethought.types import Key, PyTree

MOST_ROWS = 2**31 - 1  # rows are counted in int32


class Ring(eqx.Module):
    """The last ``limit`` rows that were added.

    Attributes:
        data: pytree of arrays with leading axis ``capacity`` (what is allocated).
        cursor: the slot that the next row is written to.
        size: number of rows that hold data, at most ``limit``.
        limit: slots in use, at most ``capacity``; MBPO grows it with the length of its rollouts.
    """

    data: PyTree
    cursor: Int[Array, ""]
    size: Int[Array, ""]
    limit: Int[Array, ""]

    @property
    def capacity(self) -> int:
        """Slots allocated."""
        return jax.tree.leaves(self.data)[0].shape[0]


def create(example: PyTree, capacity: int) -> Ring:
    """An empty ring for rows shaped and typed like ``example`` (one row, no leading axis)."""
    data = jax.tree.map(lambda x: jnp.zeros((capacity, *jnp.shape(x)), jnp.asarray(x).dtype), example)
    # Three arrays of their own: donating one buffer twice is an error.
    return Ring(data, jnp.array(0), jnp.array(0), jnp.array(capacity))


def add(ring: Ring, rows: PyTree) -> Ring:
    """Write rows (leading axis n, in order of time), overwriting the oldest; of more than ``limit`` the last ones stay.

    Raises:
        ValueError: when n exceeds the capacity (at trace time).
    """
    n = jax.tree.leaves(rows)[0].shape[0]
    if n > ring.capacity:
        raise ValueError(f"cannot add {n} rows to a ring of {ring.capacity}")
    return _write(ring, rows, jnp.arange(n), jnp.asarray(n, ring.cursor.dtype))


def add_where(ring: Ring, rows: PyTree, keep: Bool[Array, " n"]) -> Ring:
    """As `add`, only the rows that are kept, compactly: the others leave no gap."""
    rank = jnp.cumsum(keep) - 1
    return _write(ring, rows, jnp.where(keep, rank, -1), rank[-1] + 1)


def _write(ring: Ring, rows: PyTree, rank: Int[Array, " n"], count: Int[Array, ""]) -> Ring:
    """Write ``count`` rows by their rank in time; below 0 or too old for ``limit``, a row is dropped."""
    stays = (rank >= 0) & (rank >= count - ring.limit)
    slot = jnp.where(stays, (ring.cursor + rank) % ring.limit, ring.capacity)  # the capacity is outside
    data = jax.tree.map(lambda d, r: d.at[slot].set(r, mode="drop"), ring.data, rows)
    cursor = (ring.cursor + count) % ring.limit
    return Ring(data, cursor, jnp.minimum(ring.size + count, ring.limit), ring.limit)


def resize(ring: Ring, limit: Int[Array, ""]) -> Ring:
    """Use ``limit`` of the allocated slots (it must not exceed them) from now on; rows beyond it are forgotten.

    Growing keeps every row, but the order of age is kept only from the slots written next: the cursor moves to the
    first free slot.
    """
    limit = jnp.asarray(limit, ring.limit.dtype)
    grown = limit > ring.limit
    full = ring.size == ring.limit
    cursor = jnp.where(grown & full, ring.limit, ring.cursor) % limit
    return Ring(ring.data, cursor, jnp.minimum(ring.size, limit), limit)


def sample(ring: Ring, n: int, *, key: Key) -> PyTree:
    """Draw n rows uniformly, with replacement. An empty ring gives rows of zeros."""
    index = jax.random.randint(key, (n,), 0, jnp.maximum(ring.size, 1))
    return jax.tree.map(lambda d: d[index], ring.data)


def sample_newest(ring: Ring, n: int, newest: int, *, key: Key) -> PyTree:
    """Draw n of the ``newest`` rows uniformly, with replacement; the ring must not have been resized when full."""
    back = jax.random.randint(key, (n,), 0, jnp.clip(ring.size, 1, newest))
    index = (ring.cursor - 1 - back) % ring.limit
    return jax.tree.map(lambda d: d[index], ring.data)


def last(ring: Ring, n: int) -> PyTree:
    """The n newest rows in order of time, [n, ...]; there must be so many, see `sample_newest`."""
    index = (ring.cursor - n + jnp.arange(n)) % ring.limit
    return jax.tree.map(lambda d: d[index], ring.data)


def row(ring: Ring, number: Int[Array, ""]) -> PyTree:
    """The row that was added as number ``number``, counted from 0; it must be among the last ``limit`` rows."""
    return jax.tree.map(lambda d: d[number % ring.limit], ring.data)


def newest(ring: Ring, back: Int[Array, "*b"]) -> PyTree:
    """The rows that were added ``back`` rows before the newest one; fewer than ``size``, see `sample_newest`."""
    return jax.tree.map(lambda d: d[(ring.cursor - 1 - back) % ring.limit], ring.data)
