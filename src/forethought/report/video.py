"""Write what an agent did as a video that every browser plays."""

import os
import warnings
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import imageio.v2 as imageio
import numpy as np

from forethought.errors import CheckpointError, UsageError

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
    partial = path.with_name(f".{path.stem}.{os.getpid()}.partial{suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.touch()  # ffmpeg would report an unwritable path only as a broken pipe
        with warnings.catch_warnings():
            # JAX warns of every fork; the child only becomes ffmpeg.
            warnings.filterwarnings("ignore", message=".*os.fork", category=RuntimeWarning)
            _write_frames(frames, partial, fps)
        partial.replace(path)
    except OSError as error:
        raise CheckpointError(f"cannot write {str(path)!r}: {_first_line(error)}") from error
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
                shape, writer = image.shape, _open(path, fps)
            elif image.shape != shape:
                raise UsageError(f"frame {index} has another size than the first: {image.shape[:2]} and {shape[:2]}")
            writer.append_data(image)
    finally:
        if writer is not None:
            writer.close()
    if shape is None:
        raise UsageError("there are no frames to write: render at least one")


def _open(path: Path, fps: float | int) -> Any:
    if path.suffix == ".gif":
        return imageio.get_writer(path, mode="I", duration=1000 / fps, loop=0)
    return imageio.get_writer(
        path,
        fps=fps,
        codec="libx264",
        pixelformat="yuv420p",
        macro_block_size=1,  # sides are even already; imageio would otherwise stretch them to multiples of 16
        ffmpeg_log_level="error",
        output_params=["-movflags", "+faststart"],  # playable before it is loaded to the end
    )


def _even_rgb(image: np.ndarray, index: int) -> np.ndarray:
    """Return the image as RGB with even sides."""
    if image.dtype != np.uint8 or image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] not in (3, 4)):
        raise UsageError(
            f"frame {index} is {image.dtype} of shape {image.shape}; pass uint8 of shape [height, width, 3]"
        )
    colour = np.repeat(image[..., None], 3, axis=2) if image.ndim == 2 else image[..., :3]
    height, width = colour.shape[:2]
    return np.pad(colour, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")


def _first_line(error: OSError) -> str:
    text = error.strerror or str(error)
    return text.splitlines()[0] if text else type(error).__name__
