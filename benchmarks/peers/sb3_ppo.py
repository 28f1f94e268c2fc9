"""Time PPO of Stable-Baselines3 on CartPole-v1, with rejax's sizes; prints one line of JSON. Runs in its own
environment.
"""

import argparse
import json
import time

import stable_baselines3
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env

ENVS, STEPS, EPOCHS, BATCH = 64, 64, 8, 256


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=65_536)
    parser.add_argument("--repeats", type=int, default=2)
    asked = parser.parse_args()
    envs = make_vec_env("CartPole-v1", n_envs=ENVS)
    model = PPO("MlpPolicy", envs, n_steps=STEPS, n_epochs=EPOCHS, batch_size=BATCH, device="cpu")
    model.learn(ENVS * STEPS)
    seconds = []
    for _ in range(asked.repeats):
        start = time.perf_counter()
        model.learn(asked.steps, reset_num_timesteps=False)
        seconds.append(time.perf_counter() - start)
    found = {
        "seconds_best": min(seconds) / asked.steps,
        "steps_per_s": asked.steps / min(seconds),
        "versions": {"torch": torch.__version__, "stable-baselines3": stable_baselines3.__version__},
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
