"""Time mbrl-lib's ensemble trainer (``epoch``), its MBPO (``mbpo``) or its CEM on an ensemble (``plan``).

Prints one line of JSON. See README.md.
"""

import argparse
import json
import statistics
import tempfile
import time
from importlib.metadata import version

import gymnasium as gym
import numpy as np
import omegaconf
import torch
from mbrl.algorithms import mbpo
from mbrl.env.cartpole_continuous import CartPoleEnv
from mbrl.env.termination_fns import cartpole, inverted_pendulum
from mbrl.models import GaussianMLP, ModelEnv, ModelTrainer, OneDTransitionRewardModel
from mbrl.planning import create_trajectory_optim_agent_for_model
from mbrl.types import TransitionBatch
from mbrl.util.replay_buffer import BootstrapIterator

N_OBS, N_ACTION, TRANSITIONS, BATCH = 17, 6, 10_000, 256
RANDOM_STEPS, MODEL_EVERY = 500, 250
SILU = {"_target_": "torch.nn.SiLU"}


def time_epochs(repeats: int) -> dict:
    """Seconds of one epoch: 7 members of 4 x 200, 10,000 transitions for each, no scoring."""
    rng = np.random.default_rng(0)
    obs = rng.normal(size=(TRANSITIONS, N_OBS)).astype(np.float32)
    action = rng.uniform(-1, 1, size=(TRANSITIONS, N_ACTION)).astype(np.float32)
    next_obs = obs + 0.1 * rng.normal(size=obs.shape).astype(np.float32)
    no = np.zeros(TRANSITIONS, bool)
    data = TransitionBatch(obs, action, next_obs, rng.normal(size=TRANSITIONS).astype(np.float32), no, no)
    net = GaussianMLP(
        N_OBS + N_ACTION, N_OBS + 1, "cpu", ensemble_size=7, learn_logvar_bounds=True, activation_fn_cfg=SILU
    )
    model = OneDTransitionRewardModel(net, target_is_delta=True, normalize=True, learned_rewards=True)
    model.update_normalizer(data)
    trainer = ModelTrainer(model, optim_lr=1e-3, weight_decay=5e-5)
    batches = BootstrapIterator(data, BATCH, 7, shuffle_each_epoch=True, permute_indices=False, rng=rng)
    seconds = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        trainer.train(batches, num_epochs=1, evaluate=False, silent=True)
        seconds.append(time.perf_counter() - start)
    measured = seconds[1:]  # the first is warm-up
    return {"seconds_best": min(measured), "seconds_median": statistics.median(measured), "repeats": repeats}


def time_plans(repeats: int) -> dict:
    """Seconds of one decision: population 350, 5 iterations, horizon 15, 20 particles, 5 members of 4 x 200."""
    options = {"ensemble_size": 5, "propagation_method": "random_model", "activation_fn_cfg": SILU}
    net = GaussianMLP(5, 5, "cpu", learn_logvar_bounds=True, **options)
    model = OneDTransitionRewardModel(net, target_is_delta=True, normalize=True, learned_rewards=True)
    optimizer = {"_target_": "mbrl.planning.CEMOptimizer", "num_iterations": 5, "elite_ratio": 0.1}
    optimizer |= {"population_size": 350, "alpha": 0.1, "device": "cpu", "return_mean_elites": True}
    optimizer |= {"lower_bound": None, "upper_bound": None}  # filled in by the agent
    agent = {"_target_": "mbrl.planning.TrajectoryOptimizerAgent", "planning_horizon": 15, "_recursive_": False}
    agent |= {"action_lb": [-1.0], "action_ub": [1.0], "optimizer_cfg": optimizer}
    world = ModelEnv(CartPoleEnv(), model, cartpole, generator=torch.Generator().manual_seed(0))
    planner = create_trajectory_optim_agent_for_model(world, omegaconf.OmegaConf.create(agent), num_particles=20)
    rng, seconds = np.random.default_rng(0), []
    for _ in range(repeats + 1):
        obs = rng.uniform(-0.05, 0.05, 4).astype(np.float32)
        start = time.perf_counter()
        planner.act(obs)
        seconds.append(time.perf_counter() - start)
    measured = seconds[1:]  # the first is warm-up
    return {"seconds_best": min(measured), "seconds_median": statistics.median(measured), "repeats": repeats}


class Watched(gym.Wrapper):
    """Remembers when each step began."""

    def __init__(self, env: gym.Env):
        super().__init__(env)
        self.began: list[float] = []

    def step(self, action):
        self.began.append(time.perf_counter())
        return self.env.step(action)


def time_mbpo(quick: bool) -> dict:
    """Steps per second with 20 updates per step, over 1000 steps with 4 fits, evaluation left out."""
    steps = 4 if quick else 1000
    env = Watched(gym.make("InvertedPendulum-v5"))
    cfg = mbpo_config(steps, quick)
    torch.manual_seed(0)
    env.reset(seed=0)
    every = cfg.overrides.freq_train_model
    with tempfile.TemporaryDirectory() as folder:
        mbpo.train(env, gym.make("InvertedPendulum-v5"), inverted_pendulum, cfg, silent=True, work_dir=folder)
    # The first fit follows the step that begins at index RANDOM_STEPS + every - 1; the window begins after it.
    first = len(env.began) - cfg.overrides.num_steps + every
    seconds = env.began[first + steps] - env.began[first]
    return {"steps_per_s": steps / seconds, "steps": steps, "seconds": seconds}


def mbpo_config(steps: int, quick: bool) -> omegaconf.DictConfig:
    """The packaged configuration for InvertedPendulum, with 20 updates per step and a fit every 250 steps.

    An epoch is longer than the run is measured for, so that the evaluation at its end falls outside.
    """
    every = 2 if quick else MODEL_EVERY
    length = every + steps + 1
    space = {"_target_": "gymnasium.spaces.Box", "low": -3.0, "high": 3.0, "shape": [1]}
    sac = {"gamma": 0.99, "tau": 0.005, "alpha": 0.2, "policy": "Gaussian", "target_update_interval": 1, "lr": 0.0003}
    sac |= {"automatic_entropy_tuning": True, "target_entropy": -0.05, "hidden_size": 256, "device": "cpu"}
    # Hydra 1.0 passed the configuration of the activation on as it is.
    model = {"_target_": "mbrl.models.GaussianMLP", "_recursive_": False}
    model |= {"device": "cpu", "num_layers": 4, "in_size": None, "out_size": None}
    model |= {"ensemble_size": 7, "hid_size": 200, "deterministic": False, "propagation_method": "random_model"}
    model |= {"learn_logvar_bounds": False, "activation_fn_cfg": SILU}
    algorithm = {"name": "mbpo", "normalize": True, "normalize_double_precision": True, "target_is_delta": True}
    algorithm |= {"learned_rewards": True, "freq_train_model": every, "real_data_ratio": 0.05}
    algorithm |= {"sac_samples_action": True, "initial_exploration_steps": RANDOM_STEPS, "num_eval_episodes": 1}
    agent = {"_target_": "mbrl.third_party.pytorch_sac_pranz24.sac.SAC", "num_inputs": 4, "action_space": space}
    algorithm |= {"random_initial_explore": True, "agent": {**agent, "args": sac}}
    overrides: dict[str, object] = {"num_steps": length, "epoch_length": length, "num_elites": 5, "patience": 5}
    overrides |= {
        "model_lr": 0.001,
        "model_wd": 0.00001,
        "model_batch_size": 256,
        "validation_ratio": 0.2,
        "freq_train_model": every,
    }
    overrides |= {"effective_model_rollouts_per_step": 400, "rollout_schedule": [1, 15, 1, 1]}
    overrides |= {"num_sac_updates_per_step": 20, "sac_updates_every_steps": 1, "sac_batch_size": 256}
    overrides |= {"num_epochs_to_retain_sac_buffer": 1, "sac_target_entropy": -0.05}
    if quick:
        overrides |= {"num_epochs_train_model": 1, "num_sac_updates_per_step": 1}
    main = {"seed": 0, "device": "cpu", "log_frequency_agent": 1000, "save_video": False, "debug_mode": False}
    main |= {"dynamics_model": model, "algorithm": algorithm, "overrides": overrides}
    return omegaconf.OmegaConf.create(main)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("epoch", "mbpo", "plan"))
    parser.add_argument("--repeats", type=int, default=8, help="epochs or decisions to time")
    parser.add_argument("--quick", action="store_true", help="a few steps only, to see whether it works")
    asked = parser.parse_args()
    timed = {"epoch": lambda: time_epochs(asked.repeats), "plan": lambda: time_plans(asked.repeats)}
    found = timed.get(asked.what, lambda: time_mbpo(asked.quick))()
    found["threads"] = torch.get_num_threads()
    found["versions"] = {name: version(name) for name in ("mbrl", "torch", "gymnasium")}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
