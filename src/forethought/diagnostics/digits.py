"""Numbers of a verdict with as many digits as it takes to see what is said of them."""

from typing import SupportsFloat


def beside(error: float, limit: float) -> str:
    """Two digits, or as many as show on which side of the limit it lies."""
    texts = [f"{error:.{digits}g}" for digits in range(2, 10)]
    return next((text for text in texts if (float(text) > limit) == (error > limit)), texts[0])


def apart(a: SupportsFloat, b: SupportsFloat, digits: int) -> tuple[str, str]:
    """Both with so many digits, or as many more as show that they differ; beyond the sixth there is only rounding."""
    pairs = [(f"{float(a):.{n}g}", f"{float(b):.{n}g}") for n in range(digits, 7)]
    return next((pair for pair in pairs if pair[0] != pair[1]), pairs[0])


def percent(share: SupportsFloat) -> str:
    """Whole ones."""
    return f"{100 * float(share):.0f} %"
