"""An environment whose observation is one picture, and nothing else."""

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from PIL import Image

from forethought.envs.views import is_picture
from forethought.errors import UsageError


class Pixels(gymnasium.Wrapper):
    """What is seen is a picture [size, size, 3] (uint8), or [size, size, 1] where the environment's own is grey.

    Where an environment's own observation is a picture, or a Dict with one, it is that one; else it is what `render`
    draws. Pictures of another size are averaged over areas, whatever their proportions. Raises `UsageError` where there
    is no picture.
    """

    def __init__(self, env: gymnasium.Env, size: int, name: str):
        super().__init__(env)
        self.size, self._name = size, name
        self._key: str | None = None
        own = env.observation_space
        if isinstance(own, spaces.Dict):
            pictures = [key for key in own.spaces if is_picture(own[key])]
            self._key = pictures[0] if len(pictures) == 1 else None
            own = own[self._key] if self._key is not None else own
        self._seen = is_picture(own)
        if not self._seen and env.render_mode != "rgb_array":
            raise UsageError(f"{name} draws no pictures, which --pixels needs; leave it out")
        shape = own.shape or ()
        grey = self._seen and (len(shape) == 2 or shape[-1] == 1)
        self.observation_space = spaces.Box(0, 255, (size, size, 1 if grey else 3), np.uint8)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, Any]:
        """Begin an episode."""
        obs, info = self.env.reset(seed=seed, options=options)
        return self._picture(obs), info

    def step(self, action: Any) -> tuple[np.ndarray, Any, bool, bool, Any]:
        """Act once."""
        obs, *rest = self.env.step(action)
        return self._picture(obs), *rest  # type: ignore[return-value]

    def _picture(self, obs: Any) -> np.ndarray:
        shown: Any = self.env.render() if not self._seen else obs if self._key is None else obs[self._key]
        picture = np.asarray(shown)
        if picture.dtype != np.uint8 or picture.ndim not in (2, 3):
            raise UsageError(f"{self._name} drew no picture but {type(shown).__name__} of shape {picture.shape}")
        flat = picture[..., 0] if picture.shape[2:] == (1,) else picture[..., :3] if picture.ndim == 3 else picture
        if flat.shape[:2] != (self.size, self.size):
            flat = np.asarray(Image.fromarray(flat).resize((self.size, self.size), Image.Resampling.BOX))
        return flat.reshape(self.observation_space.shape)
