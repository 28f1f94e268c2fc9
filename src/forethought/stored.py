"""What was stored must be what is needed: anything else is refused before any of it is used."""

import math
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import msgspec
import numpy as np

from forethought.errors import CheckpointError

Check = Callable[[Any], bool]
T = TypeVar("T")


def built(cls: type[T], said: Any, where: str) -> T:
    """What ``msgspec.to_builtins`` said of it, as an object of the class, with its defaults for what is not said.

    Raises `CheckpointError`, naming the entry, where something is not of the type that the class declares.
    """
    try:
        return msgspec.convert(said, cls)
    except msgspec.ValidationError as error:
        raise CheckpointError(f"{where} is damaged: {error}") from error


def require(held: Any, wanted: Mapping[str, Check], where: str = "the checkpoint") -> None:
    """Raise `CheckpointError` where an entry is missing, or is not what its check wants."""
    entries = held if isinstance(held, dict) else {}
    missing = sorted(wanted.keys() - entries.keys())
    if missing:
        raise CheckpointError(
            f"{where} lacks {', '.join(missing)}: another version of forethought wrote it; use that one, or train anew"
        )
    for name, fits in wanted.items():
        if not fits(entries[name]):
            said = " ".join(str(entries[name]).split())
            raise CheckpointError(f"{where} is damaged: its {name} cannot be {said[:60]}")


def count(value: Any) -> bool:
    """A whole number from 0, of 64 bits."""
    return whole(value) and 0 <= value < 2**63


def whole(value: Any) -> bool:
    """A whole number."""
    return isinstance(value, int) and not isinstance(value, bool)


def number(value: Any) -> bool:
    """A finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def numbers(value: Any) -> bool:
    """A list or tuple of finite numbers."""
    return isinstance(value, list | tuple) and all(map(number, value))


def words(value: Any) -> bool:
    """A list of texts."""
    return isinstance(value, list) and all(isinstance(word, str) for word in value)


def named_numbers(value: Any) -> bool:
    """Finite numbers by name."""
    return isinstance(value, dict) and all(map(number, value.values()))


def named_counts(value: Any) -> bool:
    """Whole numbers by name."""
    return isinstance(value, dict) and all(map(count, value.values()))


def named(value: Any) -> bool:
    """Entries by name."""
    return isinstance(value, dict)


def flag(value: Any) -> bool:
    """True or False."""
    return isinstance(value, bool)


def arrays(like: Any) -> Check:
    """A numpy array shaped and typed like this one, or a dict of them by the same names."""
    if not isinstance(like, dict):
        return array(like.shape, like.dtype)
    checks = {name: arrays(one) for name, one in like.items()}

    def fits(value: Any) -> bool:
        return named(value) and value.keys() == checks.keys() and all(checks[name](value[name]) for name in checks)

    return fits


def array(shape: tuple[int, ...], dtype: Any) -> Check:
    """A numpy array of this shape and type."""
    return lambda value: isinstance(value, np.ndarray) and value.shape == shape and value.dtype == np.dtype(dtype)
