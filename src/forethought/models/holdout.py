"""Which transitions of a replay no member of an ensemble trains on."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, UInt32

from forethought.replay.moments import Replay


class Split(NamedTuple):
    """Slots of the transitions in a replay; of each list only the first ``n_`` count."""

    trained: Int[Array, " t"]
    n_trained: Int[Array, ""]
    held: Int[Array, " h"]
    n_held: Int[Array, ""]


def is_held_out(slots: Int[Array, " n"], size: Int[Array, ""], ratio: float, most: int) -> Bool[Array, " n"]:
    """Whether the transition in a slot of the replay is kept from training.

    A slot draws a fixed number in [0, 1) and is held out while that number is below ``min(ratio, most / size)``. As
    the share can only shrink, a transition that is held out today was never trained on before: the hold-out error is
    honest over the whole run, not only within one fit.
    """
    share = jnp.minimum(ratio, most / jnp.maximum(size, 1))
    return scramble(slots.astype(jnp.uint32) + 1).astype(jnp.float32) / 2.0**32 < share


def training_rows(replay: Replay, ratio: float, most: int) -> Bool[Array, " n"]:
    """Whether a slot holds data that are trained on."""
    return replay.used & ~_held_rows(replay, ratio, most)


def split_rows(replay: Replay, ratio: float, most: int) -> Split:
    """The rows that are trained on and those that are held out.

    It depends on the replay's size alone, which all seeds share: computed where it is used it has no axis of seeds, and
    loops over it stay loops. Carried along with what each seed learns, it would get one.
    """
    held, rows = _held_rows(replay, ratio, most), training_rows(replay, ratio, most)
    held_slots = jnp.nonzero(held, size=min(replay.capacity, 2 * most), fill_value=0)[0]
    trained = jnp.nonzero(rows, size=replay.capacity, fill_value=0)[0]
    n_held = jnp.minimum(jnp.sum(held), held_slots.shape[0])
    return Split(trained, replay.size - jnp.sum(held), held_slots, n_held)


def scramble(x: UInt32[Array, "*n"]) -> UInt32[Array, "*n"]:
    """A bijection of 32-bit integers that scrambles them (the finaliser of MurmurHash3)."""
    x = (x ^ (x >> 16)) * jnp.uint32(0x85EBCA6B)
    x = (x ^ (x >> 13)) * jnp.uint32(0xC2B2AE35)
    return x ^ (x >> 16)


def _held_rows(replay: Replay, ratio: float, most: int) -> Bool[Array, " n"]:
    slots = jnp.arange(replay.capacity)
    held = is_held_out(slots, replay.size, ratio, most) & replay.used
    if ratio > 0.0:  # of a handful of transitions one at least: without any there is nothing to stop by
        held |= (replay.size > 1) & ~jnp.any(held) & (slots == 0)
    return held
