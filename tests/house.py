"""An environment as a user writes one: a room in kelvin, a heater in watts; and what is known of it."""

import gymnasium
import numpy as np


class House(gymnasium.Env):
    """Keep a room at 293 K."""

    metadata = {"render_modes": ["rgb_array"]}  # noqa: RUF012 - Gymnasium declares it so
    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (2,), np.float32)
    action_space = gymnasium.spaces.Box(0.0, 5000.0, (1,), np.float32)

    def __init__(self, size=1.0, render_mode=None):
        self.size, self.render_mode = size, render_mode
        self.room = self.outside = 0.0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.room, self.outside = self.np_random.uniform([285.0, 270.0], [298.0, 280.0])
        return self._seen(), {}

    def step(self, action):
        self.room += (float(action[0]) / 500.0 - 0.2 * (self.room - self.outside)) / self.size
        return self._seen(), -abs(self.room - 293.0) - float(action[0]) / 5000.0, bool(self.room < 280.0), False, {}

    def render(self):
        return np.full((16, 16, 3), 255 if self.room > 293.0 else 0, np.uint8)

    def _seen(self):
        return np.array([self.room, self.outside], np.float32)


class Cottage(House):
    """Of a size that must be said."""

    def __init__(self, size):
        super().__init__(size)


def make_house(**kwargs):
    return gymnasium.wrappers.TimeLimit(House(**kwargs), 20)


def shown_house():
    return House(render_mode="rgb_array")


def comfort(obs, action, next_obs):
    return -np.abs(next_obs[:, 0] - 293.0) - action[:, 0] / 5000.0


def frozen(obs, action, next_obs):
    return next_obs[:, 0] < 280.0


SMALL_HOUSE = House(0.5)
NUMBER = 5

gymnasium.register("Villa-v0", entry_point=House, max_episode_steps=10)
gymnasium.register("Villa-v2", entry_point=House, max_episode_steps=30)
