"""Checkpoints: arrays in safetensors, the rest in JSON; written atomically, and nothing in them is ever executed.

A checkpoint is a directory ``step_<env steps>`` with ``arrays.safetensors`` (the leaves of a pytree, named by their
path), ``meta.json`` (host state) and ``SHA256SUMS`` over both, which ``sha256sum -c`` reads too. The rows of the
replay lie beside it, in segments that it names (``segments.py``). It is written under another name, flushed to the disk
and renamed, so a crash at any moment leaves either the whole checkpoint or none. The format is documented in
docs/decisions/0002-checkpoints.md.
"""

import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import safetensors
import safetensors.numpy

from forethought.errors import CheckpointError
from forethought.files import digest, disk_problem, flush
from forethought.replay.moments import Replay
from forethought.replay.ring import Ring
from forethought.training.segments import Segments, forget
from forethought.types import PyTree
from forethought.wording import plural

FORMAT = 7
_PREFIX = "step_"
_PARTIAL = ".partial"
_BEFORE = ".before"  # a checkpoint of the same step, until the new one stands in its place
_ARRAYS, _META, _SUMS = "arrays.safetensors", "meta.json", "SHA256SUMS"
_REST = "replay:"  # of a replay, beside its rows
_OWNERS = {
    "state": "the agent's",
    "replay": "the replay's",
    "carry": "what acting remembers:",
    "best": "the best policy's",
}


def save(
    root: Path,
    step: int,
    tree: dict[str, PyTree],
    host: dict[str, Any],
    *,
    keep: int,
    segments: Segments | None = None,
) -> Path:
    """Write a checkpoint of ``tree`` (arrays) and ``host`` (JSON values and numpy arrays); keep the newest ``keep``.

    Of ``tree["replay"]`` the rows go to ``segments``, which know those that are on disk already (none by default). Only
    the rows of a `Ring` that hold data are written. Raises `CheckpointError` when the disk is full or not
    writable, or when the directory of the run is gone; checkpoints that were there before stay untouched.
    """
    final = root / f"{_PREFIX}{step:012d}"
    partial = root / (final.name + _PARTIAL)
    try:
        root.mkdir(exist_ok=True)  # without parents: a run that was deleted must not come back as a checkpoint
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        _write(partial, step, tree, host, segments or Segments())
        _put_in_place(partial, final)
        flush(root)
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise CheckpointError(disk_problem(error, final)) from error
    except safetensors.SafetensorError as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise CheckpointError(f"cannot write {final}: {error}; free some space, then resume the run") from error
    for old in (*found(root)[:-keep], *root.glob(f"{_PREFIX}*{_PARTIAL}")):  # those cut off by a kill as well
        shutil.rmtree(old, ignore_errors=True)
    forget(root, {name for path in found(root) for name in _segments_of(path)})
    return final


def found(root: Path) -> list[Path]:
    """Checkpoints in a directory, oldest first; half-written ones are not among them."""
    if not root.is_dir():
        return []
    there = [p for p in root.iterdir() if re.fullmatch(rf"{_PREFIX}\d+({_BEFORE})?", p.name)]
    return sorted(there, key=lambda p: (step_of(p), not p.name.endswith(_BEFORE)))


def step_of(path: Path) -> int:
    """The environment step of a checkpoint, by its name."""
    return int(path.name.removesuffix(_BEFORE).removeprefix(_PREFIX))


def is_whole(path: Path) -> bool:
    """Whether both files of a checkpoint are what was written."""
    try:
        _verified(path)
    except (OSError, ValueError, CheckpointError):
        return False
    return True


def load_latest(
    root: Path,
    like: Callable[[], PyTree],
    take: Callable[[PyTree, dict[str, Any]], None],
    warn: Callable[[str], None],
    segments: Segments | None = None,
) -> Path:
    """Give tree and host state of the newest checkpoint that is whole to ``take``; returns its path.

    ``like`` builds a tree of the same structure (its values are replaced); ``take`` raises `CheckpointError` for what
    it cannot use. A checkpoint that is truncated, corrupt or of another program is named through ``warn`` and the one
    before it is used. Raises `CheckpointError` where none is left.
    """
    candidates = found(root)
    if not candidates:
        raise CheckpointError(
            f"{root} holds no checkpoint; where the run was stopped before its first step, it is begun by forethought "
            f"resume {root.parent}; else put one back from a copy, or train anew"
        )
    problems = []
    for path in reversed(candidates):
        try:
            take(*load(path, like(), segments))
        except CheckpointError as error:
            problems.append(str(error) if str(path) in str(error) else f"{path}: {error}")
            continue
        for problem in problems:
            warn(f"{problem}; using {path.name} instead")
        return path
    others = "; no other one can be used either" if len(problems) > 1 else ""
    raise CheckpointError(f"{problems[0]}{others}")


def load(
    path: Path, like: dict[str, PyTree], segments: Segments | None = None
) -> tuple[dict[str, PyTree], dict[str, Any]]:
    """Read one checkpoint into the structure of ``like``; ``segments`` know from then on what is on disk.

    Raises `CheckpointError` for anything but a whole one.
    """
    try:
        meta = _verified(path)
        host = meta["host"]
        arrays = safetensors.numpy.load_file(path / _ARRAYS)
        host_arrays = {name: arrays.pop(name) for name in list(arrays) if name.startswith("host:")}
        joined = _join_host(host, host_arrays)
        if not isinstance(joined, dict):
            raise TypeError("the host state has no names")
    except OSError as error:
        name = Path(error.filename or "").name
        raise CheckpointError(f"{path} is not a whole checkpoint: {name}: {error.strerror or error}") from error
    # What has the right checksum and yet another structure was written by another program.
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, safetensors.SafetensorError) as error:
        raise CheckpointError(f"{path} is not a whole checkpoint ({type(error).__name__})") from error
    replay = like.get("replay")
    if not isinstance(replay, Replay):
        return _fill(like, arrays, path), joined
    rest = {name.removeprefix(_REST): arrays.pop(name) for name in list(arrays) if name.startswith(_REST)}
    filled = _fill({**like, "replay": ()}, arrays, path)
    try:
        filled["replay"] = (segments or Segments()).load(path.parent, meta.get("rows"), rest, replay)
    except (KeyError, IndexError, ValueError, safetensors.SafetensorError) as error:
        raise CheckpointError(f"{path} was written by another agent or version: its replay is another one") from error
    return filled, joined


def _write(folder: Path, step: int, tree: dict[str, PyTree], host: dict[str, Any], segments: Segments) -> None:
    meta: dict[str, Any] = {"format": FORMAT, "step": step}
    if isinstance(tree.get("replay"), Replay):
        rest, meta["rows"] = segments.save(folder.parent, tree["replay"])
        arrays = {**_leaves({**tree, "replay": ()}), **{_REST + name: x for name, x in rest.items()}}
    else:
        arrays = _leaves(tree)
    host_json, host_arrays = _split_host(host)
    arrays.update(host_arrays)
    safetensors.numpy.save_file(arrays, folder / _ARRAYS)
    (folder / _META).write_text(json.dumps({**meta, "host": host_json}))
    (folder / _SUMS).write_text("".join(f"{digest(folder / name)}  {name}\n" for name in (_ARRAYS, _META)))
    for path in (*folder.iterdir(), folder):
        flush(path)


def _put_in_place(partial: Path, final: Path) -> None:
    """Rename; a checkpoint of the same step stays readable until the new one is there."""
    before = final.with_name(final.name + _BEFORE)
    if final.exists():
        shutil.rmtree(before, ignore_errors=True)
        os.replace(final, before)
    os.replace(partial, final)
    shutil.rmtree(before, ignore_errors=True)


def _verified(path: Path) -> dict[str, Any]:
    """``meta.json``, once both files are found to be what was written."""
    meta = json.loads((path / _META).read_bytes())
    if isinstance(meta, dict) and isinstance(meta.get("format"), int) and meta["format"] != FORMAT:
        raise CheckpointError(f"{path} has format {meta['format']}, this version reads {FORMAT}")
    said = (path / _SUMS).read_bytes()
    for name in (_ARRAYS, _META):
        if f"{digest(path / name)}  {name}\n".encode() not in said:
            raise CheckpointError(f"{path} is damaged: {name} does not have the checksum in {_SUMS}")
    return meta


def _segments_of(path: Path) -> list[str]:
    """The segments that a checkpoint names; none where it is damaged, and will be used no more."""
    try:
        return list(json.loads((path / _META).read_bytes())["rows"]["segments"])
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _leaves(tree: PyTree) -> dict[str, np.ndarray]:
    arrays: dict[str, np.ndarray] = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(_trimmed(tree)):
        arrays[jax.tree_util.keystr(path)] = np.array(_raw(leaf), order="C")
    return arrays


def _trimmed(tree: PyTree) -> PyTree:
    """Rings (with an axis of seeds) without the rows that were never written."""

    def trim(node: Any) -> Any:
        if not isinstance(node, Ring):
            return node
        rows = int(np.max(node.size))
        # Axis 0 is the seeds', whether or not they share the cursor.
        return eqx.tree_at(lambda ring: ring.data, node, jax.tree.map(lambda x: x[:, :rows], node.data))

    return jax.tree.map(trim, tree, is_leaf=_is_ring)


def _is_ring(node: Any) -> bool:
    return isinstance(node, Ring)


def _raw(leaf: Any) -> Any:
    return jax.random.key_data(leaf) if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf


def _fill(like: PyTree, arrays: dict[str, np.ndarray], origin: Path) -> PyTree:
    """``like`` with the stored values. Only of rings may there be less than has room: the rows that `_trimmed` cut."""
    rows, left = _ring_rows(like, arrays), dict(arrays)

    def fill(path: Any, leaf: Any) -> Any:
        name, raw = jax.tree_util.keystr(path), _raw(leaf)
        if name not in left:
            raise CheckpointError(f"{origin} was written by another agent or version: it lacks {_words(name)}")
        stored = left.pop(name)
        shape = (raw.shape[0], rows[name], *raw.shape[2:]) if name in rows else raw.shape
        if stored.dtype != raw.dtype or stored.shape != shape or (name in rows and rows[name] > raw.shape[1]):
            raise CheckpointError(f"{origin} {_misfit(name, stored, raw)}")
        if raw is not leaf:
            return jax.random.wrap_key_data(jnp.asarray(stored), impl=jax.random.key_impl(leaf))
        return jnp.asarray(stored) if stored.shape == raw.shape else leaf.at[:, : rows[name]].set(stored)

    filled = jax.tree_util.tree_map_with_path(fill, like)
    if left:
        raise CheckpointError(f"{origin} was written by another agent or version: it also holds {_words(min(left))}")
    return filled


def _ring_rows(like: PyTree, arrays: dict[str, np.ndarray]) -> dict[str, int]:
    """How many rows a checkpoint says that it holds of each leaf of the rings, by the name of the leaf."""
    rows = {}
    for path, node in jax.tree_util.tree_leaves_with_path(like, is_leaf=_is_ring):
        size = arrays.get(f"{jax.tree_util.keystr(path)}.size")
        if _is_ring(node) and size is not None:
            for sub, _ in jax.tree_util.tree_leaves_with_path(node.data):
                rows[f"{jax.tree_util.keystr(path)}.data{jax.tree_util.keystr(sub)}"] = int(np.max(size))
    return rows


def _misfit(name: str, stored: np.ndarray, wanted: Any) -> str:
    """What a stored array is, and what it should be, in words."""
    way_out = "put config.json back as it was when the run began"
    if stored.ndim == wanted.ndim and stored.ndim and stored.shape[0] != wanted.shape[0]:
        held = plural(stored.shape[0], "seed")
        return f"is of another run: it holds {held}, config.json says {wanted.shape[0]}; {way_out}"
    held, said = (f"{a.dtype}{list(a.shape[1:])}" for a in (stored, wanted))  # the seeds are not a user's axis
    return f"is of another agent or version: {_words(name)} is {held}, by config.json it would be {said}; {way_out}"


def _words(name: str) -> str:
    """A leaf's name for people: ``['state'].actor.weight`` is the agent's actor.weight."""
    owner, rest = re.match(r"(?:\['(\w+)'\])?\.?(.*)", name, re.DOTALL).groups()  # type: ignore[union-attr]
    return " ".join([*([_OWNERS.get(owner, owner)] if owner else []), *rest.split()])


def _split_host(host: Any, path: str = "host:") -> tuple[Any, dict[str, np.ndarray]]:
    """Take the numpy arrays out of nested JSON values, leaving their names."""
    if isinstance(host, np.ndarray):
        return {"array": path}, {path: np.array(host, order="C")}
    if isinstance(host, dict | list | tuple):
        items = host.items() if isinstance(host, dict) else enumerate(host)
        parts = {key: _split_host(value, f"{path}/{key}") for key, value in items}
        arrays = {name: array for _, found in parts.values() for name, array in found.items()}
        plain = {str(key): value for key, (value, _) in parts.items()}
        return {"dict" if isinstance(host, dict) else "list": plain}, arrays
    return {"value": host}, {}


def _join_host(host: Any, arrays: dict[str, np.ndarray]) -> Any:
    ((kind, content),) = host.items()
    if kind == "array":
        return arrays[content]
    if kind == "value":
        return content
    parts = {key: _join_host(value, arrays) for key, value in content.items()}
    return parts if kind == "dict" else list(parts.values())
