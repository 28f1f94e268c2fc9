"""Moments as M learns from them: every row of the replay as V sees it, noted beside the row.

Images are encoded once, when V has learned, and not in each update of M: a window of 1000 of them would take longer
than the update.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from forethought.errors import UsageError
from forethought.models.mdn_rnn import MDNRNN, Coded
from forethought.replay.moments import Replay
from forethought.types import Key
from forethought.wording import plural

_CHUNK = 256  # images that are encoded together


class Encoding(NamedTuple):
    """Work under way: with this model, so far, up to this row."""

    model: MDNRNN
    coded: Coded
    row: Int[Array, ""]


def blank(n_latent: int, n_action: int) -> Coded:
    """No moment; V's numbers are kept in float16, as the published code does."""
    half, no = jnp.zeros(n_latent, jnp.float16), jnp.array(False)
    return Coded(half, half, jnp.zeros(n_action), jnp.array(0.0), no, no, no)


def begin(model: MDNRNN, replay: Replay) -> Encoding:
    """Nothing is encoded yet."""
    return Encoding(model, jax.tree.map(jnp.zeros_like, replay.notes), jnp.array(0, jnp.int32))


def proceed(work: Encoding, replay: Replay, *, step: Array, key: Key, units: Array | int) -> tuple[Encoding, Array]:
    """So many pieces more, and whether any are left; see `forethought.agents.base.Pieces`."""
    rows = _rows(replay)

    def piece(_: Array, work: Encoding) -> Encoding:
        places = work.row + jnp.arange(_CHUNK)
        moments = jax.tree.map(lambda x: x[0], replay.windows(jnp.minimum(places, rows - 1), 1))
        mean, log_std = work.model.vision.encode(moments.obs)
        known = places // replay.num_envs < jnp.minimum(replay.written, replay.room)[places % replay.num_envs]
        action = work.model.as_vectors(moments.prev_action)
        found = Coded(mean, log_std, action, moments.reward, moments.first, moments.terminated, known)
        # What lies behind the last row would be written to none.
        coded = jax.tree.map(
            lambda held, new: held.at[places].set(new.astype(held.dtype), mode="drop"), work.coded, found
        )
        return Encoding(work.model, coded, work.row + _CHUNK)

    left = -(-(rows - work.row) // _CHUNK)
    work = jax.lax.fori_loop(0, jnp.minimum(units, left), piece, work)
    return work, work.row < rows


def require_room(rows: int, num_envs: int, length: int, where: str, way_out: str) -> None:
    """Raise `UsageError` where so many rows are no window of each environment."""
    if rows < num_envs * length:
        raise UsageError(
            f"M learns from windows of {length:,} moments of each of {plural(num_envs, 'environment')}, which do not "
            f"fit into {where} {rows:,}; {way_out}, or lower --agent.m.window"
        )


def windows(replay: Replay, n: int, length: int, *, key: Key) -> Coded:
    """n windows of successive moments [length, n], drawn uniformly; those never lived through are not ``known``."""
    places = replay.sample_windows(n, length, key=key)
    return _at(replay, replay.after(places + replay.num_envs * jnp.arange(length)[:, None], 0))


def beginnings(replay: Replay, n: int, *, key: Key) -> Coded:
    """n first moments of episodes, drawn uniformly; n of any moments, where the replay has lost all first ones."""
    first = replay.notes.first
    counts = jnp.cumsum(jnp.where(jnp.any(first), first, replay.notes.known))
    drawn = jax.random.randint(key, (n,), 0, jnp.maximum(counts[-1], 1))
    return _at(replay, jnp.searchsorted(counts, drawn, side="right"))


def _at(replay: Replay, places: Int[Array, "*p"]) -> Coded:
    coded: Coded = jax.tree.map(lambda x: x[places], replay.notes)
    return coded._replace(mean=coded.mean.astype(jnp.float32), log_std=coded.log_std.astype(jnp.float32))


def _rows(replay: Replay) -> Int[Array, ""]:
    """So many places from the first on hold a moment; where lanes are of unequal length, not all of them."""
    return jnp.minimum(jnp.max(replay.written), replay.room) * replay.num_envs
