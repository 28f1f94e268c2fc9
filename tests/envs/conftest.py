"""A small environment whose every part can be replaced, to see what the adapter makes of it."""

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces


class Pliable(gymnasium.Env):
    """Counts its steps; terminates after ``length``; overridden where a test needs it otherwise."""

    observation_space: spaces.Space = spaces.Box(-100.0, 100.0, (2,), np.float32)
    action_space: spaces.Space = spaces.Box(-1.0, 1.0, (1,), np.float32)
    length = 10

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        self.received = []
        return self.observe(), {}

    def step(self, action):
        self.received.append(action)
        self.steps += 1
        return self.observe(), self.pay(), self.steps >= self.length, False, {}

    def observe(self):
        return np.array([self.steps, 0.0], np.float32)

    def pay(self):
        return 1.0


@pytest.fixture
def pliable():
    """A function that registers a variant of `Pliable` and returns its id and class."""
    ids = []

    def register(max_episode_steps=None, **overrides):
        kind = type("Variant", (Pliable,), overrides)
        ids.append(f"Pliable{len(ids)}-v0")
        gymnasium.register(ids[-1], entry_point=kind, max_episode_steps=max_episode_steps)
        return ids[-1]

    yield register
    for env_id in ids:
        del gymnasium.registry[env_id]
