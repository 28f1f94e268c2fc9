"""Dreams beside reality, as a video and as a strip."""

import base64
import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from faultless import diagnosis
from forethought.diagnostics.advice import ERRORS_GROW
from forethought.diagnostics.film import Film
from forethought.report.dreams import DREAMT, SEEN, frames, strip
from forethought.report.html import render_report
from forethought.report.read import read_run


def film(moments: int, context: int = 5, side: int = 16) -> Film:
    """Moment t has a brightness of t; what is drawn is one brighter from the dream on."""
    real = np.broadcast_to(np.arange(moments, dtype=np.uint8)[:, None, None, None], (moments, side, side, 3)).copy()
    drawn = real + (np.arange(moments) >= context).astype(np.uint8)[:, None, None, None]
    return Film(real, drawn, context)


def rgb(colour: str) -> tuple[int, ...]:
    return tuple(int(colour[i : i + 2], 16) for i in (1, 3, 5))


def has(frame: np.ndarray, colour: str) -> bool:
    return bool((frame[..., :3] == rgb(colour)).all(axis=-1).any())


def test_the_edge_says_where_the_dream_begins():
    shown = list(frames(film(8)))
    assert [has(frame, DREAMT) for frame in shown] == [False] * 5 + [True] * 3
    assert [has(frame, SEEN) for frame in shown] == [True] * 5 + [False] * 3
    assert len({frame.shape for frame in shown}) == 1


def test_reality_is_above_the_error_between_and_the_dream_below():
    shown = list(frames(film(8, side=200)))[6]
    height = shown.shape[0]
    middle = [shown[int(height * share), shown.shape[1] // 2] for share in (1 / 6, 1 / 2, 5 / 6)]
    np.testing.assert_array_equal(middle, [[6, 6, 6], [1, 1, 1], [7, 7, 7]])


@pytest.mark.parametrize(
    ("moments", "context", "expected"),
    [
        (50, 5, [0, 4, 5, 14, 23, 31, 40, 49]),
        (10, 5, [0, 4, 5, 6, 7, 7, 8, 9]),
        (6, 5, [0, 4, 5]),
        (2, 1, [0, 1]),
    ],
)
def test_moments_of_the_strip(moments, context, expected):
    found = strip(film(moments, context))
    assert found.moments == sorted(set(expected))
    picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(found.png))))
    assert picture.shape[1] == picture.shape[0] // 3 * len(found.moments)
    below = picture[-picture.shape[0] // 3 :]
    assert has(below, DREAMT)
    assert has(below, SEEN)
    assert not has(picture[: -picture.shape[0] // 3], SEEN)


def test_the_chapter_shows_the_strip_and_advises_latent_models(tmp_path, write_run):
    run = read_run(write_run(tmp_path / "run"))
    d = diagnosis()
    d = d._replace(open_loop=d.open_loop._replace(mean=d.open_loop.mean * 5.0))
    without = render_report([replace(run, diagnosis=d)])
    assert "A dream beside reality" not in without
    assert ERRORS_GROW.advice.split("`")[0] in without
    shown = strip(film(10))
    text = render_report([replace(run, diagnosis=d._replace(latent=True, strip=shown, calibration=None))])
    assert f'src="data:image/png;base64,{shown.png}"' in text
    assert "dreamt from step 5 on: told the real actions and nothing else" in text
    assert ERRORS_GROW.latent.split("`")[0] in text
    assert "rollouts by" not in text
