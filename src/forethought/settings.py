"""What all dataclasses of settings have in common: numbers that no setting can have are refused as it is made."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import fields
from typing import Any

from forethought.errors import MOST_INT, BadSetting, require_finite

_unchecked = ContextVar("unchecked", default=False)


class Settings:
    """Base of a dataclass of settings. `check` says what each setting may be.

    Every number has to be finite, and every whole number has to fit into int32, whatever `check` says.
    """

    def __post_init__(self) -> None:
        if _unchecked.get():
            return
        for field in fields(self):  # type: ignore[arg-type]  # subclasses are dataclasses
            value = getattr(self, field.name)
            for item in value if isinstance(value, tuple) else (value,):
                _require_number(field.name, item)
        self.check()

    def check(self) -> None:
        """Raise `BadSetting` for values that the settings cannot have."""


@contextmanager
def unchecked() -> Iterator[None]:
    """Make settings without looking at them: a command line is checked as a whole, where the path of each is known."""
    token = _unchecked.set(True)
    try:
        yield
    finally:
        _unchecked.reset(token)


def require_widths(name: str, widths: tuple[int, ...]) -> None:
    """Raise `BadSetting` unless every layer has a unit."""
    for width in widths:
        if width < 1:
            raise BadSetting(name, f"is {widths}; a layer has at least 1 unit")


def _require_number(name: str, value: Any) -> None:
    if isinstance(value, float):
        require_finite(name, value)
    if isinstance(value, int) and abs(value) > MOST_INT:
        raise BadSetting(name, f"is {value}; it must be at most {MOST_INT:,}")
