"""Checkpoints: arrays in safetensors, the rest in JSON; written atomically, and nothing in them is ever executed.

A checkpoint is a directory ``step_<env steps>`` with ``arrays.safetensors`` (the leaves of a pytree, named by their
path) and ``meta.json`` (host state, and the SHA-256 of the arrays). It is written under another name, flushed to the
disk and renamed, so a crash at any moment leaves either the whole checkpoint or none. The format is documented in
docs/decisions/0002-checkpoints.md.
"""

import hashlib
import json
import os
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
from forethought.files import disk_problem
from forethought.replay.ring import Ring
from forethought.types import PyTree

FORMAT = 1
_PREFIX = "step_"
_PARTIAL = ".partial"


def save(root: Path, step: int, tree: PyTree, host: dict[str, Any], *, keep: int) -> Path:
    """Write a checkpoint of ``tree`` (arrays) and ``host`` (JSON values and numpy arrays); keep the newest ``keep``.

    Only the rows of a `Ring` that hold data are written. Raises `CheckpointError` when the disk is full or not
    writable; checkpoints that were there before stay untouched.
    """
    final = root / f"{_PREFIX}{step:012d}"
    partial = root / (final.name + _PARTIAL)
    try:
        root.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        arrays = _leaves(tree)
        host_json, host_arrays = _split_host(host)
        arrays.update(host_arrays)
        safetensors.numpy.save_file(arrays, partial / "arrays.safetensors")
        meta = {"format": FORMAT, "step": step, "host": host_json, "sha256": _digest(partial / "arrays.safetensors")}
        (partial / "meta.json").write_text(json.dumps(meta))
        for path in (*partial.iterdir(), partial):
            _flush(path)
        shutil.rmtree(final, ignore_errors=True)
        os.replace(partial, final)
        _flush(root)
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise CheckpointError(disk_problem(error, final)) from error
    except safetensors.SafetensorError as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise CheckpointError(f"cannot write {final}: {error}; free some space, then resume the run") from error
    for old in found(root)[:-keep]:
        shutil.rmtree(old, ignore_errors=True)
    return final


def found(root: Path) -> list[Path]:
    """Checkpoints in a directory, oldest first; half-written ones are not among them."""
    if not root.is_dir():
        return []
    return sorted(p for p in root.iterdir() if p.name.startswith(_PREFIX) and not p.name.endswith(_PARTIAL))


def load_latest(
    root: Path, like: Callable[[], PyTree], warn: Callable[[str], None]
) -> tuple[PyTree, dict[str, Any], Path]:
    """The newest checkpoint that is whole: its tree, host state and path.

    ``like`` builds a tree of the same structure (its values are replaced). A checkpoint that is truncated, corrupt or
    of another program is named through ``warn`` and the one before it is used. Raises `CheckpointError` where none
    is left.
    """
    candidates = found(root)
    if not candidates:
        raise CheckpointError(f"{root} holds no checkpoint; begin a new run with: forethought train")
    problems = []
    for path in reversed(candidates):
        try:
            tree, host = load(path, like())
        except CheckpointError as error:
            problems.append(str(error))
            continue
        for problem in problems:
            warn(f"{problem}; using {path.name} instead")
        return tree, host, path
    raise CheckpointError(f"no checkpoint in {root} can be read: {'; '.join(problems)}")


def load(path: Path, like: PyTree) -> tuple[PyTree, dict[str, Any]]:
    """Read one checkpoint into the structure of ``like``. Raises `CheckpointError` for anything but a whole one."""
    try:
        meta = json.loads((path / "meta.json").read_text())
        if meta["format"] != FORMAT:
            raise CheckpointError(f"{path} has format {meta['format']}, this version reads {FORMAT}")
        if _digest(path / "arrays.safetensors") != meta["sha256"]:
            raise CheckpointError(f"{path} is damaged: its checksum does not match")
        arrays = safetensors.numpy.load_file(path / "arrays.safetensors")
        host = meta["host"]
    except (OSError, ValueError, KeyError, TypeError, safetensors.SafetensorError) as error:
        raise CheckpointError(f"{path} is not a whole checkpoint ({type(error).__name__})") from error
    host_arrays = {k: v for k, v in arrays.items() if k.startswith("host:")}
    return _fill(like, arrays, path), _join_host(host, host_arrays)


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

    return jax.tree.map(trim, tree, is_leaf=lambda x: isinstance(x, Ring))


def _raw(leaf: Any) -> Any:
    return jax.random.key_data(leaf) if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf


def _fill(like: PyTree, arrays: dict[str, np.ndarray], origin: Path) -> PyTree:
    def fill(path: Any, leaf: Any) -> Any:
        name = jax.tree_util.keystr(path)
        if name not in arrays:
            raise CheckpointError(f"{origin} was written by another agent or version: it lacks {name}")
        stored = arrays[name]
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            return jax.random.wrap_key_data(jnp.asarray(stored), impl=jax.random.key_impl(leaf))
        if stored.dtype != leaf.dtype or stored.ndim != leaf.ndim:
            raise CheckpointError(f"{origin} was written by another agent or version: {name} has another shape")
        if stored.shape == leaf.shape:
            return jnp.asarray(stored)
        # The rows of a ring: fewer were written than are allocated.
        if any(s > n for s, n in zip(stored.shape, leaf.shape, strict=True)):
            raise CheckpointError(f"{origin} was written by another agent or version: {name} has another shape")
        return jnp.asarray(leaf).at[tuple(slice(0, s) for s in stored.shape)].set(stored)

    return jax.tree_util.tree_map_with_path(fill, like)


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


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _flush(path: Path) -> None:
    """Make a file or directory entry survive a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
