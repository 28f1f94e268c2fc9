"""Errors that a user can mend. Each message is one line: what is wrong, then the way out.

The command line prints the message without a traceback and ends with ``exit_code``.
"""

import difflib
import json
import numbers
import operator
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from forethought.wording import listed

MOST_INT = 2**31 - 1  # JAX counts in int32
MOST_SEED = 2**32 - 1  # JAX folds seeds to 32 bits: two that lie 2**32 apart would draw the same
_MOST_FLOAT = 3.4028234663852886e38  # of float32
_MOST_KNOWN = 16  # names that a message lists
_MOST_LETTERS = 80  # of a value inside a message of one line
_CLONE = Path(__file__).parents[2]


class ForethoughtError(Exception):
    """Base of every error raised on purpose."""

    exit_code = 1


class UsageError(ForethoughtError):
    """The request itself cannot be served: an unknown name, a bad value, spaces that do not fit."""

    exit_code = 2


class BadSetting(UsageError):
    """A setting of an impossible value; nested settings are named with their path, such as ``fit.learning_rate``."""

    def __init__(self, name: str, problem: str):
        super().__init__(f"{name} {problem}")
        self.name, self.problem = name, problem

    def __reduce__(self) -> tuple[Any, ...]:  # errors travel between processes
        return BadSetting, (self.name, self.problem)

    def below(self, path: str) -> "BadSetting":
        """The same error with ``path`` before the name."""
        return BadSetting(path + self.name, self.problem)


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
        self.what, self.extra = what, extra

    def __reduce__(self) -> tuple[Any, ...]:  # errors travel between processes
        return MissingExtra, (self.what, self.extra)


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
    """Raise `BadSetting` unless ``low <= value <= high`` (finite where ``high`` is None)."""
    require_finite(name, value)
    if not (low <= value and (high is None or value <= high)):
        bounds = f"at least {low:,}" if high is None else f"between {low:,} and {high:,}"
        raise BadSetting(name, f"is {value}; it must be {bounds}")


def require_above(name: str, value: int | float, low: int | float) -> None:
    """Raise `BadSetting` unless ``low < value``, and finite."""
    require_finite(name, value)
    if not low < value:
        raise BadSetting(name, f"is {value}; it must be above {low}")


def require_finite(name: str, value: int | float) -> None:
    """Raise `BadSetting` for NaN, and for what float32 takes for infinite."""
    if isinstance(value, float) and not abs(value) <= _MOST_FLOAT:
        raise BadSetting(name, f"is {value}; it must be finite")


def require_count(name: str, value: Any, low: int = 1, high: int | None = None) -> int:
    """The value as an int; raises `BadSetting` unless it is a whole number within these bounds."""
    count = as_whole(value)
    if count is None:
        raise BadSetting(name, f"is {brief(value)}; it must be a whole number")
    require_within(name, count, low, high)
    return count


def require_seed(name: str, value: Any) -> int:
    """The value as an int; raises `BadSetting` unless it is a seed that no other one equals."""
    return require_count(name, value, 0, MOST_SEED)


def as_whole(value: Any) -> int | None:
    """The value as an int where it is a whole number: an int, a NumPy integer, a float without fraction; else None."""
    if isinstance(value, bool):
        return None
    try:
        return operator.index(value)
    except TypeError:
        return int(float(value)) if isinstance(value, numbers.Real) and float(value).is_integer() else None


def brief(value: Any, most: int = _MOST_LETTERS) -> str:
    """A value, or the text of an exception, in a form that fits into a message of one line."""
    text = " ".join((str(value) if isinstance(value, BaseException) else repr(value)).split())
    return text if len(text) <= most else text[: most - 3] + "..."


def nearest(name: str, known: Iterable[str]) -> str:
    """Say which known names are close to ``name``; all of them, or the first of many, when none is close.

    Returns a phrase to append to an error message, such as ``did you mean 'sac'?``.
    """
    known, name = sorted(known), str(name)
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    if close:
        return "did you mean " + " or ".join(repr(c) for c in close) + "?"
    return f"known: {listed(known, _MOST_KNOWN)}"
