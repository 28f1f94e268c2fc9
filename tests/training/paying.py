"""An environment whose best action is always the same."""

import gymnasium
import numpy as np


class Tracking(gymnasium.Env):
    """Five steps, each of which costs the distance of the action from -7.5."""

    observation_space = gymnasium.spaces.Box(-1.0, 1.0, (1,), np.float32)
    action_space = gymnasium.spaces.Box(-10.0, 10.0, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.np_random.uniform(-1.0, 1.0, 1).astype(np.float32), {}

    def step(self, action):
        return self.np_random.uniform(-1.0, 1.0, 1).astype(np.float32), -abs(float(action[0]) + 7.5), False, False, {}


gymnasium.register("Tracking-v0", entry_point=Tracking, max_episode_steps=5)


class Lottery(Tracking):
    """What is drawn at the start is earned at each step, whatever is done."""

    def reset(self, *, seed=None, options=None):
        obs, info = super().reset(seed=seed)
        self.drawn = self.np_random.normal()
        return obs, info

    def step(self, action):
        obs, _, terminated, truncated, info = super().step(action)
        return obs, self.drawn, terminated, truncated, info


gymnasium.register("Lottery-v0", entry_point=Lottery, max_episode_steps=5)
