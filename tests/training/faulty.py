"""Environments that break their contract at a known step; registered as ``tests.training.faulty:Name-v0``."""

import sys

import gymnasium
import numpy as np
from gymnasium import spaces


class Faulty(gymnasium.Env):
    """A random walk that does something wrong at environment step ``at`` (over all episodes)."""

    observation_space = spaces.Box(-10.0, 10.0, (2,), np.float32)
    action_space = spaces.Box(-1.0, 1.0, (1,), np.float32)

    def __init__(self, fault: str, at: int = 60):
        self.fault, self.at, self.steps = fault, at, 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.np_random.normal(size=2).astype(np.float32), {}

    def step(self, action):
        self.steps += 1
        obs, reward = self.np_random.normal(size=2).astype(np.float32), 0.0
        if self.steps == self.at:
            if self.fault == "none":
                pass
            if self.fault == "nan observation":
                obs[1] = np.nan
            if self.fault == "infinite reward":
                reward = np.inf
            if self.fault == "raises":
                raise RuntimeError("the motor is too hot")
            if self.fault == "exits":
                sys.exit(3)
            if self.fault == "interrupts":
                raise KeyboardInterrupt
            if self.fault == "wrong shape":
                obs = np.zeros(3, np.float32)
            if self.fault == "out of bounds":
                obs[0] = 1e3
        return obs, reward, False, self.steps % 25 == 0, {}


gymnasium.register("Faulty-v0", entry_point=Faulty)
