"""What was stored must be what is needed: anything else is refused before any of it is used."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from forethought.errors import CheckpointError

Check = Callable[[Any], bool]


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


def array(shape: tuple[int, ...], dtype: Any) -> Check:
    """A numpy array of this shape and type."""
    return lambda value: isinstance(value, np.ndarray) and value.shape == shape and value.dtype == np.dtype(dtype)
