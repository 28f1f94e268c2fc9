"""What is seen in ``seeing``, with a picture as large as encoders want it; registered as ``watching:Watching-v0``."""

import gymnasium
import numpy as np
from gymnasium import spaces

from seeing import Seeing


class Watching(Seeing):
    """Eight pixels for each of the picture."""

    observation_space = spaces.Dict(
        {**Seeing.observation_space.spaces, "picture": spaces.Box(0, 255, (40, 48), np.uint8)}
    )

    def _seen(self):
        seen = super()._seen()
        return {**seen, "picture": seen["picture"].repeat(8, axis=0).repeat(8, axis=1)}


gymnasium.register("Watching-v0", entry_point=Watching)
