"""Errors that a user can mend. Each message is one line: what is wrong, then the way out.

The command line prints the message without a traceback and ends with ``exit_code``.
"""

import difflib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

_CLONE = Path(__file__).parents[2]


class ForethoughtError(Exception):
    """Base of every error raised on purpose."""

    exit_code = 1


class UsageError(ForethoughtError):
    """The request itself cannot be served: an unknown name, a bad value, spaces that do not fit."""

    exit_code = 2


class EnvironmentFault(ForethoughtError):
    """The environment broke its contract: NaN, a wrong shape, an exception in the middle of an episode."""

    exit_code = 3


class CheckpointError(ForethoughtError):
    """A run directory or a checkpoint cannot be read or written."""

    exit_code = 4


class TrainingDiverged(ForethoughtError):
    """A loss or a parameter became NaN or infinite."""

    exit_code = 5


class Interrupted(ForethoughtError):
    """The user stopped a run; the message says where it was saved. The command line does not call it an error."""

    exit_code = 130


class StopTraining(Exception):
    """Raised by a ``callback=`` to end the run there: it is saved, and can go on later."""


class MissingExtra(UsageError):
    """An optional dependency is not installed; the message carries the ``pip`` line that brings it."""

    def __init__(self, what: str, extra: str):
        super().__init__(f"{what} needs an extra that is not installed: {install_command(extra)}")


def install_command(extra: str) -> str:
    """The line that adds an extra to this installation: from where it came, since an index may not know the package."""
    origin = _origin()
    if origin is None:
        return f"pip install 'forethought[{extra}]'"
    url = origin["url"]
    if "dir_info" in origin:
        editable = "-e " if origin["dir_info"].get("editable") else ""
        return f"pip install {editable}'{unquote(urlsplit(url).path)}[{extra}]'"
    if "vcs_info" in origin:
        url = f"{origin['vcs_info']['vcs']}+{url}@{origin['vcs_info']['commit_id']}"
    return f"pip install 'forethought[{extra}] @ {url}'"


def _origin() -> dict[str, Any] | None:
    """Where pip found the package (``direct_url.json``, PEP 610); None where in an index."""
    from importlib import metadata  # 30 ms, for an error alone

    try:
        text = metadata.distribution("forethought").read_text("direct_url.json")
    except metadata.PackageNotFoundError:  # used from its folder
        return {"url": _CLONE.as_uri(), "dir_info": {"editable": True}}
    return json.loads(text) if text else None


def require_within(name: str, value: int | float, low: int | float, high: int | float | None = None) -> None:
    """Raise `UsageError` unless ``low <= value <= high`` (no upper bound where ``high`` is None)."""
    if not (low <= value and (high is None or value <= high)):
        bounds = f"at least {low}" if high is None else f"between {low} and {high}"
        raise UsageError(f"{name} is {value}; it must be {bounds}")


def nearest(name: str, known: Iterable[str]) -> str:
    """Say which known names are close to ``name``; all of them when none is close.

    Returns a phrase to append to an error message, such as ``did you mean 'sac'?``.
    """
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    if close:
        return "did you mean " + " or ".join(repr(c) for c in close) + "?"
    return "known: " + ", ".join(known)
