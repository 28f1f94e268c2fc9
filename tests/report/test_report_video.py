import subprocess
import sys

import imageio.v3 as imageio
import numpy as np
import pytest

from forethought.errors import CheckpointError, UsageError
from forethought.report.video import write_video


def frames(count=10, height=64, width=48):
    for index in range(count):
        image = np.zeros((height, width, 3), np.uint8)
        image[:, : width // 2] = 20 * index
        yield image


def test_an_mp4_comes_back_with_its_frames_and_size(tmp_path):
    path = write_video(frames(), tmp_path / "videos" / "a.mp4", fps=20)
    read = imageio.imread(path, plugin="FFMPEG")
    assert read.shape == (10, 64, 48, 3)
    meta = imageio.immeta(path, plugin="FFMPEG")
    assert meta["fps"] == 20
    assert meta["codec"] == "h264"
    assert meta["pix_fmt"].startswith("yuv420p")
    left = read[:, 8:-8, 4:20].mean(axis=(1, 2, 3))
    np.testing.assert_allclose(left, 20 * np.arange(10), atol=4)
    assert list(path.parent.iterdir()) == [path]


def test_odd_sides_are_padded_not_stretched(tmp_path):
    path = write_video(frames(height=33, width=47), tmp_path / "a.mp4", fps=10)
    assert imageio.imread(path, plugin="FFMPEG").shape == (10, 34, 48, 3)


def test_a_gif_comes_back_with_its_frames_and_pace(tmp_path):
    path = write_video(frames(), tmp_path / "a.gif", fps=20)
    assert imageio.imread(path).shape == (10, 64, 48, 3)
    assert imageio.immeta(path)["duration"] == 50
    assert imageio.immeta(path)["loop"] == 0


def test_grey_and_opacity_are_taken(tmp_path):
    grey = write_video([np.full((32, 32), 90, np.uint8)] * 3, tmp_path / "grey.mp4", fps=10)
    clear = write_video([np.full((32, 32, 4), 90, np.uint8)] * 3, tmp_path / "clear.mp4", fps=10)
    for path in (grey, clear):
        np.testing.assert_allclose(imageio.imread(path, plugin="FFMPEG"), 90, atol=3)


@pytest.mark.parametrize(
    ("images", "name", "fps", "match"),
    [
        (lambda: frames(), "a.webm", 10, "use .mp4 or .gif"),
        (lambda: frames(), "a", 10, "use .mp4 or .gif"),
        (lambda: frames(), "a.mp4", 0, "fps is 0"),
        (list, "a.mp4", 10, "no frames"),
        (lambda: [np.zeros((4, 4, 3))], "a.mp4", 10, "frame 0 is float64"),
        (lambda: [*frames(2), *frames(1, height=32)], "a.mp4", 10, "frame 2 has another size"),
    ],
)
def test_what_cannot_be_written_is_refused_and_leaves_nothing(tmp_path, images, name, fps, match):
    with pytest.raises(UsageError, match=match) as caught:
        write_video(images(), tmp_path / name, fps=fps)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", [".mp4", ".gif"])
def test_an_unwritable_path_is_one_line(tmp_path, suffix):
    (tmp_path / "file").write_text("no directory")
    with pytest.raises(CheckpointError, match="cannot write") as caught:
        write_video(frames(), tmp_path / "file" / f"a{suffix}", fps=10)
    assert "\n" not in str(caught.value)


FULL = """
import resource, sys
import numpy as np
from pathlib import Path
from forethought.errors import CheckpointError
from forethought.report.video import write_video

resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
noise = np.random.default_rng(0).integers(0, 255, (20, 64, 64, 3), dtype=np.uint8)
for path in map(Path, sys.argv[1:]):
    try:
        print("written", write_video(noise, path))
    except CheckpointError as error:
        print(error)
"""


def test_a_video_that_the_disk_does_not_take_is_no_video(tmp_path):
    """A limit on the size of files stands in for a full disk: ffmpeg stops in the middle of one."""
    paths = [str(tmp_path / name) for name in ("a.mp4", "a.gif")]
    done = subprocess.run([sys.executable, "-c", FULL, *paths], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line.split(": ")[0] for line in lines] == [f"cannot write {path}" for path in paths]
    assert all(line.endswith("then write the video again") for line in lines)
    assert done.stderr == ""
    assert list(tmp_path.iterdir()) == []
