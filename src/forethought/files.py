"""Files that are there as a whole or not at all, and what to say where the disk does not take or give them."""

import errno
import hashlib
import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from forethought.errors import CheckpointError, UsageError, brief

_MOST_NAME = 200  # bytes of a name are 255 at most


def as_path(path: Any) -> Path:
    """What a caller names, as a path. Raises `UsageError` for what is none."""
    if not isinstance(path, str | os.PathLike):
        raise UsageError(f"{brief(path)} is no path; name a run's directory or a file, such as 'runs/pole'")
    return Path(path)


def write_atomically(path: Path, content: str | bytes, *, then: str = "resume the run") -> None:
    """Replace a file as a whole, and make missing directories.

    Raises `CheckpointError` when the disk does not take it; see `disk_problem`.
    """
    require_path(path)
    partial = path.with_name(f"{path.name[:_MOST_NAME]}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(content.encode() if isinstance(content, str) else content)
        os.replace(partial, path)
    except OSError as error:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise CheckpointError(disk_problem(error, path, then=then)) from error


def read_object(path: Path, *, way_out: str) -> dict[str, Any]:
    """The JSON object in a file. Raises `CheckpointError` with the way out for anything else."""
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror or error}; {way_out}") from error
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is damaged (it is not JSON); {way_out}") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} is damaged (it holds no JSON object); {way_out}")
    return content


def digest(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def flush(path: Path) -> None:
    """Make a file or directory entry survive a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def require_path(path: Path) -> None:
    """Raise `UsageError` for a path that no file can have: a name that is too long, or that holds a null character."""
    try:
        os.lstat(path)
    except (OSError, ValueError) as error:
        if isinstance(error, ValueError) or error.errno == errno.ENAMETOOLONG:
            raise UsageError(f"there can be no {brief(str(path))} ({brief(error)}); choose another name") from error


def disk_problem(error: OSError, path: Path, *, then: str = "resume the run") -> str:
    """One line for a failed write, with the way out; ``then``: what to do once the disk is mended."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"the disk is full, {path} was not written; free some space, then {then}"
    said = " ".join(str(error.strerror or error).split())
    return f"cannot write {path}: {said}; mend that, then {then}"
