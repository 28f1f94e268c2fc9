"""A random order, for passes over a batch in parts."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from forethought.types import Key

_BITS = 32


def permutation(key: Key, n: int) -> Int[Array, " n"]:
    """The numbers ``0 .. n-1`` in random order: `jax.random.permutation`, only faster on a CPU.

    That sorts pairs of a random number and a place, for which XLA calls a comparison; here the place is in the low
    bits of the random number, and numbers alone are sorted by the standard library (on a GPU by their digits). Sorting
    again decides, at random too, what had equal high bits before, as in the digits of a longer number.
    """
    width = max(1, (n - 1).bit_length())
    low = jnp.uint32((1 << width) - 1)
    order, places = jnp.arange(n, dtype=jnp.int32), jnp.arange(n, dtype=jnp.uint32)
    for one in jax.random.split(key, -(-3 * width // (_BITS - width))):  # so that n**3 numbers could be told apart
        marked = jax.random.bits(one, (n,)) & ~low | places
        order = order[jnp.sort(marked) & low]
    return order
