"""Dreams beside reality as pictures: reality above, the error, and below what the model draws."""

import base64
import io
from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

from forethought.diagnostics.film import Film, Strip
from forethought.report.style import PALETTE

FPS = 5
_MOMENTS = 8  # of a strip
_SIDE, _EDGE, _GAP, _TEXT = 192, 4, 8, 22  # pixels: of a picture of a video at least, its edge, around it, above it
_STRIP_SIDE, _STRIP_EDGE, _STRIP_GAP = 96, 3, 4
_NIGHT, _PALE = "#14181d", "#e4e8ec"
SEEN, DREAMT = PALETTE[2], PALETTE[1]  # the edges of what was drawn


def frames(film: Film) -> Iterator[UInt8[np.ndarray, "h w 3"]]:
    """The film as a video: from the first moment that was dreamt on, the edge of what is drawn is orange."""
    scale = _scale(film, _SIDE)
    font = ImageFont.load_default()
    for t, (real, error, drawn) in enumerate(zip(film.real, film.error, film.drawn, strict=True)):
        dreaming = t >= film.context
        drawn_as = f"dreamt since step {film.context}" if dreaming else "drawn from what it sees"
        rows = [(f"reality, step {t}", real, _NIGHT), ("error", error, _NIGHT)]
        rows.append((drawn_as, drawn, DREAMT if dreaming else SEEN))
        height, width = (side * scale + 2 * _EDGE for side in real.shape[:2])
        width = max(width, _SIDE)
        whole = Image.new("RGB", (width + 2 * _GAP, len(rows) * (height + _TEXT) + _GAP), _NIGHT)
        pen = ImageDraw.Draw(whole)
        for i, (text, shown, edge) in enumerate(rows):
            top = i * (height + _TEXT)
            pen.text((_GAP, top + 6), text, _PALE, font)
            whole.paste(_framed(shown, scale, _EDGE, edge), (_GAP, top + _TEXT))
        yield np.asarray(whole)


def strip(film: Film) -> Strip:
    """Up to eight moments: the first, the last that was seen, and others up to the end."""
    last, scale = len(film.real) - 1, _scale(film, _STRIP_SIDE)
    ahead = np.linspace(film.context, last, min(_MOMENTS - 2, last - film.context + 1)).round().astype(int)
    moments = sorted({0, film.context - 1, *map(int, ahead)})
    edges = [SEEN if t < film.context else DREAMT for t in moments]
    pictures = [[_framed(of[t], scale, _STRIP_EDGE, None) for t in moments] for of in (film.real, film.error)]
    pictures.append([_framed(film.drawn[t], scale, _STRIP_EDGE, e) for t, e in zip(moments, edges, strict=True)])
    return Strip(moments, film.context, base64.b64encode(_png(pictures)).decode("ascii"))


def _png(rows: Sequence[Sequence[Image.Image]]) -> bytes:
    """Pictures of one size side by side and one below the other, on a ground that can be seen through."""
    width, height = (side + _STRIP_GAP for side in rows[0][0].size)
    whole = Image.new("RGBA", (width * len(rows[0]), height * len(rows)), (0, 0, 0, 0))
    for i, row in enumerate(rows):
        for j, shown in enumerate(row):
            whole.paste(shown, (j * width + _STRIP_GAP // 2, i * height + _STRIP_GAP // 2))
    made = io.BytesIO()
    whole.save(made, "PNG", optimize=True)
    return made.getvalue()


def _framed(shown: UInt8[np.ndarray, "h w 3"], scale: int, edge: int, colour: str | None) -> Image.Image:
    """So many times as large, with an edge of a colour; or with one that can be seen through."""
    image = Image.fromarray(shown.repeat(scale, axis=0).repeat(scale, axis=1)).convert("RGBA")
    framed = Image.new("RGBA", (image.width + 2 * edge, image.height + 2 * edge), colour or (0, 0, 0, 0))
    framed.paste(image, (edge, edge))
    return framed


def _scale(film: Film, side: int) -> int:
    """How many times as large a picture is shown, to be at least so many pixels wide and high."""
    return max(1, -(-side // max(film.real.shape[1:3])))
