"""How counts and lists are written in sentences."""

from collections.abc import Sequence


def plural(count: int, noun: str) -> str:
    """A count with its noun, such as ``1 seed`` or ``3 seeds``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def listed(items: Sequence[str], most: int = 5, more: str = "{} more") -> str:
    """The first of many with commas between them, and how many ``more`` there are."""
    left_out = len(items) - most
    return ", ".join(items[:most]) + (f" and {more.format(left_out)}" if left_out > 0 else "")
