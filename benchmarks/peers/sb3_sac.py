"""Time SAC of Stable-Baselines3; prints one line of JSON. Runs in its own environment.

``update``: gradient steps alone, on a replay full of noise. ``learn``: environment steps of its training loop on
Pendulum-v1, one gradient step for each.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable

import gymnasium as gym
import numpy as np
import stable_baselines3
import torch
from stable_baselines3 import SAC
from stable_baselines3.common.logger import Logger

N_OBS, N_ACTION, TRANSITIONS, BATCH = 17, 6, 100_000, 256
RANDOM_STEPS = 200


class Nothing(gym.Env):
    """Spaces without a world: nothing is stepped here."""

    observation_space = gym.spaces.Box(-np.inf, np.inf, (N_OBS,), np.float32)
    action_space = gym.spaces.Box(-1.0, 1.0, (N_ACTION,), np.float32)

    def reset(self, *, seed=None, options=None):
        return np.zeros(N_OBS, np.float32), {}

    def step(self, action):
        return np.zeros(N_OBS, np.float32), 0.0, False, False, {}


def made(env: gym.Env | str, **options) -> SAC:
    """SAC with networks of 256 x 256."""
    sizes = {"net_arch": [256, 256]}
    return SAC("MlpPolicy", env, batch_size=BATCH, policy_kwargs=sizes, device="cpu", **options)


def filled_model() -> SAC:
    """With a replay full of noise."""
    model = made(Nothing(), buffer_size=TRANSITIONS)
    model.set_logger(Logger(folder=None, output_formats=[]))
    rng, memory = np.random.default_rng(0), model.replay_buffer
    memory.observations[:, 0] = rng.normal(size=(TRANSITIONS, N_OBS))
    memory.next_observations[:, 0] = memory.observations[:, 0] + 0.1 * rng.normal(size=(TRANSITIONS, N_OBS))
    memory.actions[:, 0] = rng.uniform(-1, 1, size=(TRANSITIONS, N_ACTION))
    memory.rewards[:, 0] = rng.normal(size=TRANSITIONS)
    memory.full = True
    return model


def updates(n: int) -> Callable[[], object]:
    """A call that makes ``n`` gradient steps; warmed up."""
    model = filled_model()
    model.train(gradient_steps=min(n, 20), batch_size=BATCH)
    return lambda: model.train(gradient_steps=n, batch_size=BATCH)


def steps(n: int) -> Callable[[], object]:
    """A call that goes on for ``n`` environment steps; the random ones are over, and the first updates."""
    model = made("Pendulum-v1", learning_starts=RANDOM_STEPS, train_freq=1, gradient_steps=1)
    model.learn(RANDOM_STEPS + n)
    return lambda: model.learn(n, reset_num_timesteps=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("update", "learn"))
    parser.add_argument("--steps", type=int, default=200, help="gradient or environment steps per repeat")
    parser.add_argument("--repeats", type=int, default=5)
    asked = parser.parse_args()
    call = {"update": updates, "learn": steps}[asked.what](asked.steps)
    seconds = []
    for _ in range(asked.repeats):
        start = time.perf_counter()
        call()
        seconds.append((time.perf_counter() - start) / asked.steps)
    found = {
        "seconds_best": min(seconds),
        "seconds_median": statistics.median(seconds),
        "steps": asked.steps,
        "repeats": asked.repeats,
        "threads": torch.get_num_threads(),
        "versions": {"torch": torch.__version__, "stable-baselines3": stable_baselines3.__version__},
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
