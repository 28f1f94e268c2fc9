"""Named tuples of arrays as JSON and back."""

import types
import typing
from typing import Any, TypeVar

import numpy as np

T = TypeVar("T")


def to_json(value: Any) -> Any:
    """Nested named tuples as objects, arrays as lists with six significant digits.

    JSON has no numbers that are not finite: they are "Infinity", "-Infinity" and, for NaN, null.
    """
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, tuple):
        return {name: to_json(getattr(value, name)) for name in value._fields}  # type: ignore[attr-defined]
    if isinstance(value, list):
        return [to_json(item) for item in value]
    return _rounded(np.asarray(value, np.float64).tolist())


def from_json(cls: type[T], said: Any) -> T:
    """A named tuple from what `to_json` made of it; null in an array is NaN.

    Raises `KeyError`, `TypeError` or `ValueError` where it was something else.
    """
    hints = typing.get_type_hints(cls)
    known = {name: hint for name, hint in hints.items() if name in said or name not in cls._field_defaults}  # type: ignore[attr-defined]
    return cls(**{name: _read(hint, said[name]) for name, hint in known.items()})


def _read(hint: Any, value: Any) -> Any:
    if isinstance(hint, types.UnionType):
        return None if value is None else _read(typing.get_args(hint)[0], value)
    if typing.get_origin(hint) is list:
        return [_read(typing.get_args(hint)[0], item) for item in value]
    if isinstance(hint, type) and issubclass(hint, tuple):
        return from_json(hint, value)
    if hint in (int, bool, str):
        if not isinstance(value, hint):
            raise TypeError(f"{value!r} is no {hint.__name__}")
        return value
    return np.array(value, dtype=np.float64)


def _rounded(value: Any) -> Any:
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    if np.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return None if np.isnan(value) else float(f"{value:.6g}")
