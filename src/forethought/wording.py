"""How counts are written in sentences."""


def plural(count: int, noun: str) -> str:
    """A count with its noun, such as ``1 seed`` or ``3 seeds``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
