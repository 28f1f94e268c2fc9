"""Plain pictures of moving things: lines and dots on white, in numpy."""

import numpy as np

Point = tuple[int | float, int | float]  # (across, down) in pixels, from the upper left corner

BLACK, GREY, RED, BLUE = (0, 0, 0), (200, 200, 200), (200, 60, 60), (60, 90, 180)


def blank(height: int, width: int) -> np.ndarray:
    """A white picture, uint8 [height, width, 3]."""
    return np.full((height, width, 3), 255, np.uint8)


def draw_line(
    picture: np.ndarray, start: Point, end: Point, colour: tuple[int, int, int], thickness: int | float = 2
) -> None:
    """Draw a line with round ends into the picture; what lies outside is not seen. Equal points make a dot."""
    down, across = np.mgrid[: picture.shape[0], : picture.shape[1]]
    along = np.subtract(end, start, dtype=float)
    from_start = np.stack([across, down], axis=-1) - np.asarray(start, float)
    # How far along the line the nearest point of it lies, as a share of its length.
    share = np.clip(from_start @ along / max(along @ along, 1e-9), 0.0, 1.0)
    distance = np.linalg.norm(from_start - share[..., None] * along, axis=-1)
    picture[distance <= thickness / 2] = colour
