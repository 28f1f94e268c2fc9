"""Write what an agent did as a video that every browser plays."""

import errno
import io
import os
import subprocess
import tempfile
import warnings
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import imageio.v2 as imageio
import numpy as np
from imageio_ffmpeg import get_ffmpeg_exe

from forethought.errors import CheckpointError, UsageError
from forethought.files import disk_problem, require_path

_SUFFIXES = (".mp4", ".gif")


def write_video(frames: Iterable[np.ndarray], path: Path, fps: float | int = 30) -> Path:
    """Write frames to ``path``: H.264 in yuv420p for ``.mp4``, an endless loop for ``.gif``.

    Frames are taken one at a time, so a generator of a long episode fits into memory. Sides of odd length, which
    yuv420p cannot hold, grow by one repeated row or column. The file appears only once it is complete.

    Args:
        frames: uint8 images of one size, shape [height, width, 3] in RGB, [height, width, 4] (the opacity is dropped)
            or [height, width] in grey.
        path: where to write; missing directories are made.
        fps: frames per second; a GIF keeps time in steps of 10 ms.

    Returns:
        ``path``.

    Raises:
        UsageError: the suffix is unknown, ``fps`` is not positive, there are no frames or they are no such images.
        CheckpointError: the file cannot be written.
    """
    suffix = require_suffix(path)
    if not fps > 0:
        raise UsageError(f"fps is {fps}; pass a positive number of frames per second")
    require_path(path)
    partial = path.with_name(f".{path.stem[:200]}.{os.getpid()}.partial{suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.touch()  # ffmpeg would report an unwritable path only as a broken pipe
        _write_frames(frames, partial, fps)
        partial.replace(path)
    except OSError as error:
        raise CheckpointError(disk_problem(error, path, then="write the video again")) from error
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
    return path


def require_suffix(path: Path) -> str:
    """The suffix, in small letters; raises `UsageError` where no video can be written under it."""
    suffix = path.suffix.lower()
    if suffix not in _SUFFIXES:
        raise UsageError(f"cannot write a video as {path.suffix or path.name!r}: use {' or '.join(_SUFFIXES)}")
    return suffix


def _write_frames(frames: Iterable[np.ndarray], path: Path, fps: float | int) -> None:
    writer: Any = None
    shape = None
    try:
        for index, frame in enumerate(frames):
            image = _even_rgb(np.asarray(frame), index)
            if shape is None:
                shape, writer = image.shape, _open(path, fps, image)
            elif image.shape != shape:
                raise UsageError(f"frame {index} has another size than the first: {image.shape[:2]} and {shape[:2]}")
            writer.append_data(image)
    finally:
        if writer is not None:
            writer.close()
    if shape is None:
        raise UsageError("there are no frames to write: render at least one")


def _open(path: Path, fps: float | int, first: np.ndarray) -> Any:
    return _GIF(path, fps) if path.suffix == ".gif" else _FFmpeg(path, fps, first)


class _GIF:
    """Frames to a GIF file, which is made in memory: imageio tries a write that failed again, and aloud."""

    def __init__(self, path: Path, fps: float | int):
        self._path, self._made = path, io.BytesIO()
        self._writer: Any = imageio.get_writer(self._made, format="GIF", mode="I", duration=1000 / fps, loop=0)  # type: ignore[arg-type]

    def append_data(self, image: np.ndarray) -> None:
        """Add a frame."""
        self._writer.append_data(image)

    def close(self) -> None:
        """Write the file. Raises `OSError` where the disk does not take it."""
        self._writer.close()
        self._path.write_bytes(self._made.getvalue())


class _FFmpeg:
    """Frames to an mp4 file through ffmpeg, whose result is looked at: imageio takes a cut file for a whole one."""

    def __init__(self, path: Path, fps: float | int, first: np.ndarray):
        size = f"{first.shape[1]}x{first.shape[0]}"
        source = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", size, "-r", f"{fps}", "-i", "-"]
        # faststart: playable before it is loaded to the end
        target = ["-an", "-c:v", "libx264", "-pix_fmt", "yuv420p", "-movflags", "+faststart", "-v", "error", str(path)]
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - a pipe that nobody reads would stop ffmpeg
        with warnings.catch_warnings():
            # JAX warns of every fork; the child only becomes ffmpeg.
            warnings.filterwarnings("ignore", message=".*os.fork", category=RuntimeWarning)
            # A session of its own: Ctrl-C is for this process, which then closes the pipe.
            self._process = subprocess.Popen(
                [get_ffmpeg_exe(), "-y", *source, *target],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=self._said,
                start_new_session=True,
            )

    def append_data(self, image: np.ndarray) -> None:
        """Add a frame; that ffmpeg has ended is said by `close`."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.write(image.tobytes())

    def close(self) -> None:
        """Finish the file. Raises `OSError` where ffmpeg did not."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError), self._process.stdin:
            pass
        code = self._process.wait()
        with self._said:
            self._said.seek(0)
            said = self._said.read().decode(errors="replace")
        if code:
            full = os.strerror(errno.ENOSPC) in said
            last = said.strip().splitlines()[-1:] or [f"ffmpeg ended with code {code}"]
            raise OSError(errno.ENOSPC if full else errno.EIO, last[0])


def _even_rgb(image: np.ndarray, index: int) -> np.ndarray:
    """Return the image as RGB with even sides."""
    if image.dtype != np.uint8 or image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] not in (3, 4)):
        raise UsageError(
            f"frame {index} is {image.dtype} of shape {image.shape}; pass uint8 of shape [height, width, 3]"
        )
    colour = np.repeat(image[..., None], 3, axis=2) if image.ndim == 2 else image[..., :3]
    height, width = colour.shape[:2]
    return np.pad(colour, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
