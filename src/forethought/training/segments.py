"""The rows of a replay on disk: each save writes a segment of those that came since the last one.

Segments lie in ``rows`` beside the checkpoints that name them, and are never written again: what a save costs is what
is new. A file holds, of each seed and environment, the rows that were written as numbers ``begin`` to ``end`` - 1 of
their lane (int32 [seeds, environments]), seed by seed and lane by lane, as in `Replay.packed`. It is named by the
SHA-256 of its content.
"""

import os
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import safetensors
import safetensors.numpy
from jaxtyping import Array

from forethought import stored
from forethought.errors import CheckpointError
from forethought.files import digest, flush
from forethought.replay import moments
from forethought.replay.hosted import is_hosted, on_host, put
from forethought.replay.moments import Replay
from forethought.types import PyTree

FOLDER = "rows"
_MOST_BYTES = 2**26  # of a segment, about: as much is held beside the replay while it is read
_PARTIAL, _SUFFIX = ".partial", ".safetensors"


class Segment(NamedTuple):
    """A file, and the numbers of the rows in it, [seeds, environments]."""

    name: str
    begin: np.ndarray
    end: np.ndarray


class Segments:
    """Which rows of a run's replay are on disk."""

    def __init__(self) -> None:
        self.kept: list[Segment] = []

    def save(self, root: Path, replay: Replay) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Write the rows that are new beside the checkpoints in ``root``.

        Returns the rest of the replay, which the checkpoint holds itself, and what its ``meta.json`` says of the rows.
        Raises `OSError` and `safetensors.SafetensorError`.
        """
        folder, written = root / FOLDER, np.asarray(replay.written)
        folder.mkdir(exist_ok=True)
        oldest = np.maximum(written - replay.room, 0)
        kept = [segment for segment in self.kept if (segment.end > oldest).any()]
        if not all((folder / segment.name).is_file() for segment in kept):
            kept = []  # of another directory, or tidied away by hand
        begin = np.maximum(kept[-1].end if kept else 0, oldest)
        most = max(1, _MOST_BYTES // max(1, _bytes_of_turn(replay)))
        while (begin < written).any():
            end = np.minimum(begin + most, written)
            kept.append(_write(folder, replay, begin, end))
            begin = end
        flush(folder)
        self.kept = kept
        return _rest(replay), {"room": replay.room, "segments": [segment.name for segment in kept]}

    def load(self, root: Path, said: Any, rest: dict[str, np.ndarray], like: Replay) -> Replay:
        """The replay that was saved in the arrays of ``like``, which is consumed and may have more room.

        Raises `CheckpointError` where a segment is missing or damaged, and where it does not fit.
        """
        room, names, written = _checked(said, rest, like)
        content, kept, outside = like.packed, [], like.room * like.num_envs
        for name in names:
            segment, values = _read(root / FOLDER / name, content)
            seed, lane, number = _numbers(segment.begin, segment.end)
            there = number >= (written - like.room)[seed, lane]
            place = np.where(there, number % like.room * like.num_envs + lane, outside)
            if like.hosted:
                content = _put_there(content, seed[there], place[there], {x: y[there] for x, y in values.items()})
            else:
                content = _put(content, *_padded(seed, place, values, outside))
            kept.append(segment)
        self.kept = kept
        notes = jax.tree_util.tree_map_with_path(partial(_noted, rest, written, room, like), like.notes)
        counts = jnp.asarray(written), jnp.asarray(rest["begun"])
        leaves = jax.tree.leaves((content, notes, counts, like.firsts, _ends(rest, written, room, like)))
        loaded = jax.tree.unflatten(jax.tree.structure(like), leaves)
        axes = moments.axes(loaded)
        return jax.jit(jax.vmap(Replay.with_firsts, (axes,), axes), donate_argnums=0)(loaded)


def forget(root: Path, named: set[str]) -> None:
    """Delete the segments that no checkpoint names any more."""
    for path in (root / FOLDER).glob("*"):
        if path.name not in named:
            path.unlink(missing_ok=True)


def _bytes_of_turn(replay: Replay) -> int:
    """A row of each lane of each seed."""
    return sum(x.size // replay.room * x.dtype.itemsize for x in replay.packed.values())


def _numbers(begin: np.ndarray, end: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Seed, lane and number of the rows between, in the order of a file."""
    count = (end - begin).ravel()
    seed, lane = (np.repeat(index.ravel(), count) for index in np.indices(begin.shape))
    past = np.repeat(np.cumsum(count) - count, count)
    return seed, lane, np.arange(len(past)) - past + np.repeat(begin.ravel(), count)


def _write(folder: Path, replay: Replay, begin: np.ndarray, end: np.ndarray) -> Segment:
    seed, lane, number = _numbers(begin, end)
    place = number % replay.room * replay.num_envs + lane
    arrays = {name: _taken(x, seed, place) for name, x in replay.packed.items()}
    partial_ = folder / f"{os.getpid()}{_PARTIAL}"
    safetensors.numpy.save_file({**arrays, "begin": begin, "end": end}, partial_)
    flush(partial_)
    name = digest(partial_) + _SUFFIX
    os.replace(partial_, folder / name)
    return Segment(name, begin, end)


def _read(path: Path, content: PyTree) -> tuple[Segment, PyTree]:
    """A segment and the values in it, in the structure of ``content``."""
    try:
        if digest(path) + _SUFFIX != path.name:
            raise CheckpointError(f"{path} is damaged: its checksum is not its name")
        arrays = safetensors.numpy.load_file(path)
    except OSError as error:
        raise CheckpointError(f"cannot read the rows in {path}: {error.strerror or error}") from error
    segment = Segment(path.name, arrays.pop("begin"), arrays.pop("end"))
    held, wanted = ({name: x.shape[-1] for name, x in of.items()} for of in (arrays, content))
    if held != wanted or any(x.dtype.name != name for name, x in arrays.items()):
        raise CheckpointError(
            f"{path} is of another agent or version: its rows are {_width(held)}, by config.json they would be "
            f"{_width(wanted)}; put config.json back as it was when the run began"
        )
    return segment, arrays


def _width(rows: dict[str, int]) -> str:
    return " and ".join(f"{name}[{width}]" for name, width in sorted(rows.items()))


def _named(content: PyTree) -> dict[str, Array]:
    return {jax.tree_util.keystr(path): x for path, x in jax.tree_util.tree_leaves_with_path(content)}


def _taken(x: Array, seed: np.ndarray, place: np.ndarray) -> np.ndarray:
    if _on_host(x):
        return np.asarray(x)[seed, place]  # without a copy of the whole
    n, more = len(seed), _power(len(seed)) - len(seed)
    gathered = _gathered_there if is_hosted(x) else _gathered
    return np.asarray(gathered(x, *(np.pad(index, (0, more)) for index in (seed, place))))[:n]


def _on_host(x: Array) -> bool:
    return next(iter(x.devices())).platform == "cpu" and not is_hosted(x)


def _padded(seed: np.ndarray, place: np.ndarray, values: PyTree, outside: int) -> tuple[np.ndarray, np.ndarray, PyTree]:
    """To a length that few programs are compiled for; what is added goes nowhere."""
    more = _power(len(seed)) - len(seed)

    def longer(x: np.ndarray) -> np.ndarray:
        return np.pad(x, [(0, more)] + [(0, 0)] * (x.ndim - 1))

    return longer(seed), np.pad(place, (0, more), constant_values=outside), jax.tree.map(longer, values)


def _power(n: int) -> int:
    return 1 << max(n - 1, 0).bit_length()


def _take(x: Array, seed: Array, place: Array) -> Array:
    return x[seed, place]


def _set(content: PyTree, seed: Array, place: Array, values: PyTree) -> PyTree:
    return jax.tree.map(lambda held, new: held.at[seed, place].set(new, mode="drop"), content, values)


def _put_there(content: PyTree, seed: np.ndarray, place: np.ndarray, values: PyTree) -> PyTree:
    """Where they succeed each other at once, in pieces of lengths that few programs are compiled for."""
    order = np.lexsort((place, seed))
    seed, place, values = jax.tree.map(lambda x: x[order], (seed, place, values))
    ends = np.flatnonzero(np.append((np.diff(seed) != 0) | (np.diff(place) != 1), len(place) > 0)) + 1
    start = 0
    for end in ends:
        while start < end:
            n = 1 << int(end - start).bit_length() - 1
            rows = jax.tree.map(lambda x: x[None, start : start + n], values)  # noqa: B023 - called at once
            content = _put_rows(content, rows, seed[start], place[start])
            start += n
    return content


def _put_all(content: PyTree, rows: PyTree, seed: Array, place: Array) -> PyTree:
    return jax.tree.map(lambda held, new: put(held, new, seed, place), content, rows)


_gathered, _gathered_there = jax.jit(_take), jax.jit(lambda *args: on_host(_take)(*args))
_put, _put_rows = jax.jit(_set, donate_argnums=0), jax.jit(_put_all, donate_argnums=0)


def _rest(replay: Replay) -> dict[str, np.ndarray]:
    """What is small beside the rows, cut where nothing was written yet."""
    used = min(int(np.max(replay.written, initial=0)), replay.room) * replay.num_envs
    ends = replay.ends
    slots = int(ends.size) if replay.keeps_all else replay.capacity
    notes = {f"notes{name}": np.asarray(x)[:, :used] for name, x in _named(replay.notes).items()}
    ring = {"ends": np.asarray(ends.data)[:, :slots], "cursor": ends.cursor, "size": ends.size, "limit": ends.limit}
    counts = {"written": replay.written, "begun": replay.begun}
    return {name: np.array(x, order="C") for name, x in {**notes, **ring, **counts}.items()}


def _checked(said: Any, rest: dict[str, np.ndarray], like: Replay) -> tuple[int, list[str], np.ndarray]:
    """Room and names of the segments, and the rows written, of a replay that fits. Raises `CheckpointError`."""
    stored.require(said, {"room": stored.count, "segments": _are_names}, "what the checkpoint says of its rows")
    written, slots = rest["written"], rest["ends"].shape[1]
    if written.shape != like.written.shape or slots > like.capacity or min(written.max(), said["room"]) > like.room:
        raise CheckpointError(
            f"its replay is another one: it has {written.shape[-1]} environments and {slots} transitions, by "
            f"config.json there would be {like.num_envs} and room for {like.capacity}; put config.json back as it was "
            "when the run began"
        )
    return said["room"], said["segments"], written


def _are_names(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(name, str) and name.endswith(_SUFFIX) and name.removesuffix(_SUFFIX).isalnum() for name in value
    )


def _moved(place: np.ndarray, written: np.ndarray, room: int, like: Replay) -> tuple[np.ndarray, np.ndarray]:
    """Where the rows at these places [K, n] are in the room of ``like``, and whether they were written at all."""
    slot, lane = place // like.num_envs, place % like.num_envs
    newest = np.take_along_axis(written, lane, axis=1) - 1
    number = slot + room * ((newest - slot) // room)
    return number % like.room * like.num_envs + lane, number >= 0


def _noted(rest: dict[str, np.ndarray], written: np.ndarray, room: int, like: Replay, path: Any, held: Array) -> Array:
    saved = rest[f"notes{jax.tree_util.keystr(path)}"]
    k, n = saved.shape[:2]
    place, there = _moved(np.broadcast_to(np.arange(n), (k, n)), written, room, like)
    seed = np.broadcast_to(np.arange(k)[:, None], (k, n))
    return held.at[seed[there], place[there]].set(saved[there])


def _ends(rest: dict[str, np.ndarray], written: np.ndarray, room: int, like: Replay) -> tuple[Array, ...]:
    """The leaves of the ring of transitions. A run that goes on for longer than planned has more room than it had."""
    place, limit, cursor = _moved(rest["ends"], written, room, like)[0], int(rest["limit"]), int(rest["cursor"])
    if like.capacity > limit and cursor == 0 and written.any():  # it was full, and goes on behind what it holds
        cursor = limit
    data = like.ends.data.at[:, : place.shape[1]].set(place.astype(np.int32))
    return data, *(jnp.asarray(x, jnp.int32) for x in (cursor, rest["size"], like.capacity))
