"""How numbers, times and settings are written in a report."""

import json
import math
from typing import Any, NamedTuple

MINUS = "−"


class TimeUnit(NamedTuple):
    """A unit that suits a span of time: its name in the plural and its length in seconds."""

    name: str
    seconds: float


def time_unit(longest: float | int) -> TimeUnit:
    """Return the unit in which a span of up to ``longest`` seconds reads best."""
    if longest < 180:
        return TimeUnit("seconds", 1.0)
    if longest < 3 * 3600:
        return TimeUnit("minutes", 60.0)
    return TimeUnit("hours", 3600.0)


def duration(seconds: float | int) -> str:
    """Return a span of time such as ``12.3 s``, ``4 min 12 s`` or ``2 h 05 min``."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    if seconds < 3599.5:
        minutes, rest = divmod(round(seconds), 60)
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours:,} h {minutes:02d} min"


def number(value: float | int) -> str:
    """Return a number with at most four significant digits; whole numbers of up to 15 digits in full."""
    if not math.isfinite(value):
        return "not finite"
    if isinstance(value, int) or (value == round(value) and abs(value) < 1e15):
        text = f"{int(value):,}"
    elif 1e-4 <= abs(value) < 1e7:
        text = f"{value:,.{decimals(value)}f}"
        text = text.rstrip("0").rstrip(".") if "." in text else text
    else:
        text = f"{value:.3e}"
    return text.replace("-", MINUS, 1) if text.startswith("-") else text


def decimals(value: float) -> int:
    """Return the decimals that give ``value`` four significant digits, at least none."""
    return max(0, 3 - math.floor(math.log10(abs(value)))) if value else 0


def interval(centre: float, low: float, high: float) -> str:
    """Return ``centre [low, high]`` with the same decimals throughout; only the centre without an interval."""
    if not all(math.isfinite(bound) for bound in (low, high)):
        return number(centre)
    places = min(decimals(max(abs(centre), abs(low), abs(high))), 4)
    texts = [f"{value:,.{places}f}".replace("-", MINUS) for value in (centre, low, high)]
    return f"{texts[0]} [{texts[1]}, {texts[2]}]"


def setting(value: Any) -> str:
    """Return a value of a configuration as it reads best; floats with at most six significant digits."""
    if isinstance(value, str):
        return value
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list):
        return "[" + ", ".join(setting(item) for item in value) + "]"
    if isinstance(value, dict) and not value:
        return "none"
    return json.dumps(value, ensure_ascii=False)
