"""Worlds that are seen: in several ways at once as ``seeing:Seeing-v0``, as a picture alone as ``seeing:Spot-v0``."""

import gymnasium
import numpy as np
from gymnasium import spaces


class Seeing(gymnasium.Env):
    """A place out of six on a line, which drifts, is lit in a picture; the gear (back or forth) is a number, the
    speed a vector. Being at the last place pays. ``fault`` says what is wrong with the fourth observation.
    """

    observation_space = spaces.Dict(
        picture=spaces.Box(0, 255, (5, 6), np.uint8), gear=spaces.Discrete(2), speed=spaces.Box(-1.0, 1.0, (2,))
    )
    action_space = spaces.Discrete(2)

    def __init__(self, fault: str = ""):
        self.fault = fault

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.at, self.gear, self.steps = int(self.np_random.integers(4)), 0, 0
        return self._seen(), {}

    def step(self, action):
        self.gear, self.steps = int(action), self.steps + 1
        self.at = int(np.clip(self.at + (1 if action else -1) + self.np_random.integers(-1, 2), 0, 5))
        return self._seen(), float(self.at == 5), self.at == 0 and self.steps > 2, self.steps == 12, {}

    def _seen(self):
        picture = np.zeros((5, 6), np.uint8)
        picture[:, self.at] = 255
        speed = self.np_random.uniform(-1.0, 1.0, 2).astype(np.float32)
        if self.steps == 3 and self.fault == "nan":
            speed[1] = np.nan
        if self.steps == 3 and self.fault == "beyond":
            speed[1] = 7.0
        seen = {"picture": picture, "gear": self.gear, "speed": speed}
        if self.steps == 3 and self.fault == "blind":
            del seen["picture"]
        return seen


class Spot(gymnasium.Env):
    """A spot at one of eight places of a line, which goes left or right. Being at the last one pays; at the first one
    the world ends, and after twelve steps the watching does.
    """

    observation_space = spaces.Box(0, 255, (8, 8, 1), np.uint8)
    action_space = spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.at, self.steps = int(self.np_random.integers(2, 6)), 0
        return self._seen(), {}

    def step(self, action):
        self.at, self.steps = min(self.at + (1 if action else -1), 7), self.steps + 1
        return self._seen(), float(self.at == 7), self.at == 0, self.steps == 12, {}

    def _seen(self):
        picture = np.zeros((8, 8, 1), np.uint8)
        picture[2:6, self.at] = 255
        return picture


gymnasium.register("Seeing-v0", entry_point=Seeing)
gymnasium.register("Spot-v0", entry_point=Spot)
