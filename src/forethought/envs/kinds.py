"""What environments say, held to its kind: numbers are numbers and flags are flags, nothing is guessed."""

from collections.abc import Sequence
from numbers import Real
from typing import Any

import numpy as np

from forethought.errors import UsageError, brief


def real_numbers(value: Any, name: str) -> np.ndarray:
    """The value as an array of real numbers."""
    try:
        array = np.asarray(value)
        if array.dtype.kind == "O" and all(isinstance(item, Real) for item in array.flat):
            array = array.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise UsageError(f"the {name} must be an array of real numbers, got {brief(value)}") from error
    if array.dtype.kind not in "biuf":
        raise UsageError(f"the {name} must be an array of real numbers, got {brief(value)}")
    return array


def whole_numbers(value: Any, start: int, n: int, name: str) -> np.ndarray:
    """The integers ``start .. start + n - 1`` as the agent counts them, from 0."""
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise UsageError(f"the {name} must be an integer, got {brief(value)}") from error
    if array.dtype.kind not in "iu":
        raise UsageError(f"the {name} must be an integer, got {brief(value)}")
    shifted = np.asarray(array.astype(np.int64) - start)
    if shifted.size and not (shifted.min() >= 0 and shifted.max() < n):
        raise UsageError(f"the {name} must lie in {start}..{start + n - 1}, got {brief(value)}")
    return np.asarray(shifted, np.int32)


def as_reward(value: Any) -> float:
    """The reward as a float; raises `UsageError` for what is no single real number. One in an array counts as one."""
    array = _single(value)
    if array is None or array.dtype.kind not in "biuf":
        raise UsageError(f"the reward must be a number, got {brief(value)}")
    return float(array.item())


def as_flag(name: str, value: Any) -> bool:
    """A flag as a bool; raises `UsageError` for anything but True and False, 0 and 1, or an array of one of them."""
    array = _single(value)
    if array is None or array.dtype.kind not in "biu" or array.item() not in (0, 1):
        raise UsageError(f"{name} must be True or False, got {brief(value)}")
    return bool(array.item())


def _single(value: Any) -> np.ndarray | None:
    try:
        array = np.asarray(value)
    except ValueError:  # lists of several lengths
        return None
    return array if array.size == 1 else None


def reward_as_float32(reward: Sequence[float]) -> np.ndarray:
    """Rewards as agents store them; what float32 cannot hold becomes infinite."""
    with np.errstate(over="ignore"):
        return np.asarray(reward, np.float64).astype(np.float32)
