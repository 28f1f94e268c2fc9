"""An environment whose observation is one picture, and nothing else."""

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from PIL import Image

from forethought.envs.views import is_picture
from forethought.errors import UsageError

_CHANNELS = 1, 3  # grey, or red, green and blue


class Pixels(gymnasium.Wrapper):
    """What is to be seen is a picture [size, size, 3] (uint8), or [size, size, 1] where the environment's own is grey.

    Where an environment's own observation is a picture, or a Dict with one, it is that one; else it is what `render`
    draws. Pictures of another size are averaged over areas, whatever their proportions. Steps give what the environment
    gives: `look` makes the picture, so that none is drawn in the middle of a repeated action. Raises `UsageError` where
    there is no picture, or one of other channels.
    """

    def __init__(self, env: gymnasium.Env, size: int, name: str):
        super().__init__(env)
        self.size = size
        self._key: str | None = None
        own = env.observation_space
        if isinstance(own, spaces.Dict):
            pictures = [key for key in own.spaces if is_picture(own[key])]
            self._key = pictures[0] if len(pictures) == 1 else None
            own = own[self._key] if self._key is not None else own
        self._given = is_picture(own)
        if not self._given and env.render_mode != "rgb_array":
            raise UsageError(f"{name} draws no pictures, which --pixels needs; leave it out")
        shape = (*(own.shape or ()), 1)[:3] if self._given else (size, size, 3)
        if shape[2] not in _CHANNELS:
            raise UsageError(
                f"the pictures of {name} have {shape[2]} channels, which are no colours; leave out --pixels"
            )
        self.observation_space = spaces.Box(0, 255, (size, size, shape[2]), np.uint8)

    def look(self, obs: Any) -> np.ndarray:
        """The picture of what the last step, or the reset, gave. Raises `UsageError` where none was drawn."""
        shown: Any = self.env.render() if not self._given else obs if self._key is None else obs[self._key]
        picture = np.asarray(shown)
        picture = picture[..., None] if picture.ndim == 2 else picture
        if (
            picture.dtype != np.uint8
            or picture.ndim != 3
            or picture.shape[2] not in (*_CHANNELS, 4)
            or not picture.size
        ):
            raise UsageError(f"no picture was drawn but {type(shown).__name__} of {picture.dtype}{list(picture.shape)}")
        channels = self.observation_space.shape[2]  # type: ignore[index]
        colours = picture[..., :3].repeat(3 if channels > picture.shape[2] else 1, axis=2)  # without the opacity
        if colours.shape[:2] != (self.size, self.size):
            flat = Image.fromarray(colours[..., 0] if channels == 1 else colours)
            colours = np.asarray(flat.resize((self.size, self.size), Image.Resampling.BOX))
        return colours.reshape(self.observation_space.shape)
