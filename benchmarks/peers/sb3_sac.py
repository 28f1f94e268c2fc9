"""Time the gradient steps of Stable-Baselines3's SAC; prints one line of JSON. Runs in its own environment."""

import argparse
import json
import statistics
import time

import gymnasium as gym
import numpy as np
import stable_baselines3
import torch
from stable_baselines3 import SAC
from stable_baselines3.common.logger import Logger

N_OBS, N_ACTION, TRANSITIONS, BATCH = 17, 6, 100_000, 256


class Nothing(gym.Env):
    """Spaces without a world: nothing is stepped here."""

    observation_space = gym.spaces.Box(-np.inf, np.inf, (N_OBS,), np.float32)
    action_space = gym.spaces.Box(-1.0, 1.0, (N_ACTION,), np.float32)

    def reset(self, *, seed=None, options=None):
        return np.zeros(N_OBS, np.float32), {}

    def step(self, action):
        return np.zeros(N_OBS, np.float32), 0.0, False, False, {}


def filled_model() -> SAC:
    """SAC with networks of 256 x 256 and a replay full of noise."""
    sizes = {"net_arch": [256, 256]}
    model = SAC("MlpPolicy", Nothing(), batch_size=BATCH, buffer_size=TRANSITIONS, policy_kwargs=sizes, device="cpu")
    model.set_logger(Logger(folder=None, output_formats=[]))
    rng, memory = np.random.default_rng(0), model.replay_buffer
    memory.observations[:, 0] = rng.normal(size=(TRANSITIONS, N_OBS))
    memory.next_observations[:, 0] = memory.observations[:, 0] + 0.1 * rng.normal(size=(TRANSITIONS, N_OBS))
    memory.actions[:, 0] = rng.uniform(-1, 1, size=(TRANSITIONS, N_ACTION))
    memory.rewards[:, 0] = rng.normal(size=TRANSITIONS)
    memory.full = True
    return model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--updates", type=int, default=200, help="gradient steps per repeat")
    parser.add_argument("--repeats", type=int, default=5)
    asked = parser.parse_args()
    model = filled_model()
    model.train(gradient_steps=min(asked.updates, 20), batch_size=BATCH)  # warm-up
    seconds = []
    for _ in range(asked.repeats):
        start = time.perf_counter()
        model.train(gradient_steps=asked.updates, batch_size=BATCH)
        seconds.append((time.perf_counter() - start) / asked.updates)
    found = {
        "seconds_best": min(seconds),
        "seconds_median": statistics.median(seconds),
        "updates": asked.updates,
        "repeats": asked.repeats,
        "threads": torch.get_num_threads(),
        "versions": {"torch": torch.__version__, "stable-baselines3": stable_baselines3.__version__},
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
