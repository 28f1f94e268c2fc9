"""Time trainings of rejax; prints one line of JSON. Runs in its own environment.

The training is compiled and run once, which is the warm-up, and then timed. It is not evaluated on the way.
"""

import argparse
import json
import time

import jax
import rejax

SIZES = {"64": (64, 64), "256": (256, 256)}
ACTIVATIONS = {"ppo": "tanh", "dqn": "relu", "sac": "relu"}  # forethought's


def made(algorithm: str, env: str, steps: int, hidden: str, random_steps: int) -> rejax.PPO:
    """With its default settings, but for what the arguments say and the activations."""
    options: dict[str, object] = {"env": env, "total_timesteps": steps, "eval_freq": steps}
    options["agent_kwargs"] = {"activation": ACTIVATIONS[algorithm]}
    if algorithm == "sac":
        options["hidden_layer_sizes"] = SIZES[hidden]
    if algorithm != "ppo":
        options["fill_buffer"] = random_steps
    agent = rejax.get_algo(algorithm).create(skip_initial_evaluation=True, **options)
    return agent.replace(eval_callback=lambda agent, state, key: ())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("algorithm", choices=("ppo", "sac", "dqn"))
    parser.add_argument("env")
    parser.add_argument("--steps", type=int, required=True, help="environment steps of each seed")
    parser.add_argument("--hidden", choices=tuple(SIZES), default="64")
    parser.add_argument("--random-steps", type=int, default=256)
    parser.add_argument("--seeds", type=int, default=1, help="side by side, by vmap")
    parser.add_argument("--repeats", type=int, default=2)
    asked = parser.parse_args()
    train = made(asked.algorithm, asked.env, asked.steps, asked.hidden, asked.random_steps).train
    if asked.seeds > 1:
        train = jax.vmap(train)
    call, seconds = jax.jit(train), []
    for i in range(1 + asked.repeats):
        keys = jax.random.split(jax.random.key(i), asked.seeds)
        start = time.perf_counter()
        jax.block_until_ready(call(keys if asked.seeds > 1 else keys[0]))
        seconds.append(time.perf_counter() - start)
    found = {
        "first_s": seconds[0],
        "seconds_best": min(seconds[1:]),
        "steps_per_s": asked.seeds * asked.steps / min(seconds[1:]),
        "device": str(jax.devices()[0].device_kind),
        "versions": {"jax": jax.__version__, "rejax": "0.1.3"},
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
