"""What the papers and their authors' code set, as one table, apart from the settings that are held against it.

Results depend on these numbers: who changes a default or a preset changes it here too, with its source.
"""

import pytest

from forethought.agents.catalog import ALGORITHMS, find, find_preset
from forethought.agents.free import sac
from forethought.models import ensemble, fit
from forethought.training.config import flatten, from_dict, to_dict

# github.com/jannerm/mbpo: mbpo/models/constructor.py and bnn.py (model), mbpo/algorithms/mbpo.py (hold-out, batch),
# examples/development/base.py (SAC, random steps), examples/config/*/0.py (what all tasks have in common).
MBPO = {
    "members": 7,
    "elites": 5,
    "model_hidden": [200, 200, 200, 200],
    "fit.learning_rate": 1e-3,
    "fit.weight_decay": [2.5e-5, 5e-5, 7.5e-5, 7.5e-5, 1e-4],
    "fit.batch_size": 256,
    "fit.holdout_ratio": 0.2,
    "fit.max_holdout": 5000,
    "fit.patience": 5,
    "fit.patience_updates": 0,
    "fit.min_gain": 0.01,
    "fit.beta": 0.0,
    "fit.calibrate": False,
    "model_every": 250,
    "rollouts": 100_000,
    "retain": 1,
    "real_ratio": 0.05,
    "updates_per_step": 20,
    "epoch_steps": 1000,
    "random_steps": 5000,
    "replay_capacity": 1_000_000,
    "sac.hidden": [256, 256],
    "sac.learning_rate": 3e-4,
    "sac.discount": 0.99,
    "sac.tau": 5e-3,
    "sac.batch_size": 256,
    "sac.temperature": None,
}
# Of both pendulums: epochs of 250 steps, so that a schedule of epochs 1 to 15 is one of steps 250 to 3750.
PENDULUMS = {**MBPO, "epoch_steps": 250, "random_steps": 500}


def rollouts(start: int, end: int, first: int, last: int) -> dict[str, int]:
    """The schedule, in steps after the random ones."""
    return {"schedule.start": start, "schedule.end": end, "schedule.first": first, "schedule.last": last}


# arXiv 1812.05905, table 1, and github.com/rail-berkeley/softlearning, examples/development/variants.py.
SAC = {
    "hidden": [256, 256],
    "learning_rate": 3e-4,
    "discount": 0.99,
    "tau": 5e-3,
    "batch_size": 256,
    "updates_per_step": 1,
    "temperature": None,
    "target_entropy": None,  # minus the number of action dimensions
    "replay_capacity": 1_000_000,
}
# github.com/kchua/handful-of-trials: dmbrl/config/cartpole.py and default.py, dmbrl/modeling/models/BNN.py,
# dmbrl/controllers/MPC.py (the first variance, (high - low)^2 / 16).
PETS = {
    "members": 5,
    "elites": 5,
    "model_hidden": [500, 500, 500],
    "fit.learning_rate": 1e-3,
    "fit.weight_decay": [1e-4, 2.5e-4, 2.5e-4, 5e-4],
    "fit.batch_size": 32,
    "fit.holdout_ratio": 0.0,
    "fit.max_epochs": 5,
    "fit.beta": 0.0,
    "model_every": 200,
    "random_steps": 200,
    "horizon": 25,
    "particles": 20,
    "propagation": "ts_inf",
    "discount": 1.0,
    "search.population": 400,
    "search.elites": 40,
    "search.iterations": 5,
    "search.momentum": 0.1,
    "search.initial_std": 0.5,
}
# github.com/facebookresearch/mbrl-lib: conf/overrides/pets_cartpole.yaml, conf/algorithm/pets.yaml,
# conf/dynamics_model/gaussian_mlp_ensemble.yaml. Members, horizon and reward differ, as the preset says.
PETS_CARTPOLE = {
    "members": 5,
    "elites": 5,
    "model_hidden": [200, 200, 200, 200],
    "fit.learning_rate": 7.5e-4,
    "fit.weight_decay": [3e-5],
    "fit.batch_size": 256,
    "fit.holdout_ratio": 0.0,
    "fit.max_epochs": 25,
    "fit.beta": 0.0,
    "model_every": 50,
    "random_steps": 200,
    "horizon": 20,
    "particles": 20,
    "propagation": "ts1",
    "reward": "learned",
    "search.population": 350,
    "search.elites": 35,
    "search.iterations": 5,
    "search.momentum": 0.1,
}
# github.com/WilsonWangTHU/POPLIN: dmbrl/config/default.py and gym_cartpole.py (INIT_VAR), README.md (POPLIN-P).
POPLIN = {
    "horizon": 30,
    "particles": 1,
    "propagation": "expectation",
    "policy_learning_rate": 3e-3,
    "policy_batch": 64,
    "search.population": 500,
    "search.elites": 50,
    "search.iterations": 5,
    "search.momentum": 0.1,
}
# Sutton & Barto 2018, example 8.1.
MAZE = {"step_size": 0.1, "discount": 0.95, "epsilon": 0.1, "planning_steps": 50, "kappa": 0.0, "model_decay": 1.0}

OFFICIAL = {
    ("mbpo", "none"): {**MBPO, "sac.target_entropy": None},
    ("mbpo", "half-cheetah"): {
        **MBPO,
        "updates_per_step": 40,
        "sac.target_entropy": -3.0,
        **rollouts(20_000, 150_000, 1, 1),
    },
    ("mbpo", "hopper"): {**MBPO, "sac.target_entropy": -1.0, **rollouts(20_000, 150_000, 1, 15)},
    ("mbpo", "walker2d"): {**MBPO, "sac.target_entropy": -3.0, **rollouts(20_000, 150_000, 1, 1)},
    ("mbpo", "ant"): {**MBPO, "sac.target_entropy": -4.0, **rollouts(20_000, 100_000, 1, 25)},
    ("mbpo", "humanoid"): {
        **MBPO,
        "model_hidden": [400, 400, 400, 400],
        "model_every": 1000,
        "retain": 5,
        "sac.target_entropy": -2.0,
        **rollouts(20_000, 300_000, 1, 25),
    },
    ("mbpo", "inverted-pendulum"): {
        **PENDULUMS,
        "updates_per_step": 10,
        "sac.target_entropy": -0.05,
        **rollouts(250, 3750, 1, 1),
    },
    ("mbpo", "inverted-double-pendulum"): {**PENDULUMS, "sac.target_entropy": -0.5, **rollouts(250, 3750, 1, 1)},
    # Ours, for want of official ones.
    ("mbpo", "pendulum"): {**PENDULUMS, "sac.target_entropy": -0.5},
    ("mbpo", "cartpole"): {**PENDULUMS, "random_steps": 200, "updates_per_step": 10, "sac.target_entropy": -0.5},
    ("sac", "none"): SAC,
    ("pets", "none"): PETS,
    ("pets", "cartpole"): PETS_CARTPOLE,
    ("cem", "none"): {"search.population": 400, "search.elites": 40, "search.iterations": 5, "search.momentum": 0.1},
    # dmbrl/config/cartpole.py of PETS.
    ("random-shooting", "none"): {"search.population": 2000},
    # github.com/martius-lab/iCEM, icem/settings/defaults/i-cem-blitz.json; beta is one of those of the tasks.
    ("icem", "none"): {
        "search.population": 40,
        "search.elites": 10,
        "search.iterations": 3,
        "search.momentum": 0.1,
        "search.initial_std": 0.5,
        "search.shrink": 1.25,
        "search.keep": 0.3,
        "search.noise_beta": 2.0,
    },
    # mbrl-lib, conf/overrides/pets_mppi_halfcheetah.yaml; 1.1 for 1 / 0.9.
    ("mppi", "none"): {
        "search.population": 350,
        "search.iterations": 5,
        "search.std": 1.0,
        "search.beta": 0.9,
        "search.temperature": 1.1,
    },
    ("poplin-a", "none"): {**POPLIN, "policy_hidden": [64, 64], "search.initial_std": 0.5},
    ("poplin-p", "none"): {**POPLIN, "policy_hidden": [32], "search.initial_std": 0.1**0.5, "distil": "average"},
    # github.com/hardmaru/WorldModelsExperiments: carracing/vae/vae.py, vae_train.py, rnn_train.py, es.py, train.py.
    ("world-models", "none"): {
        "v.latent": 32,
        "v.channels": [32, 64, 128, 256],
        "v.kl_tolerance": 0.5,
        "v.learning_rate": 1e-4,
        "v.batch_size": 100,
        "m.hidden": 256,
        "m.mixtures": 5,
        "m.learning_rate": 1e-3,
        "m.batch_size": 100,
        "m.window": 1000,
        "m.updates": 4000,
        "m.max_grad": 1.0,
        "m.ending_weight": 10.0,  # of doomrnn
        "c.population": 64,
        "c.rollouts": 16,
        "c.initial_std": 0.1,
        "c.sees_cell": False,
    },
    # The same, doomrnn/rnn_train.py, doomrnn.py, doomreal.py, extract.py; the temperature is that of the paper.
    ("world-models", "take-cover"): {
        "random_hold": 10,
        "v.latent": 64,
        "m.hidden": 512,
        "m.mixtures": 5,
        "m.max_grad": 1.0,
        "m.ending_weight": 10.0,
        "m.reward": "alive",
        "c.temperature": 1.15,
        "c.sees_cell": True,
        "c.population": 64,
    },
    ("dyna-q", "none"): MAZE,
    ("dyna-q-plus", "none"): {**MAZE, "kappa": 1e-4, "model_decay": 0.0},
    # Mnih et al. 2015, extended data table 1; Adam in the place of RMSProp, networks of vectors.
    ("dqn", "none"): {
        "batch_size": 32,
        "replay_capacity": 1_000_000,
        "target_every": 10_000,
        "discount": 0.99,
        "train_every": 4,
        "updates": 1,
        "epsilon_first": 1.0,
        "epsilon_last": 0.1,
        "epsilon_steps": 1_000_000,
        "random_steps": 50_000,
        "double": False,
        "dueling": False,
        "n_step": 1,
        "prioritized": False,
        "alpha": 0.6,  # Schaul et al. 2016, table 3 (proportional)
        "beta": 0.4,
    },
    # github.com/DLR-RM/rl-baselines3-zoo: hyperparams/dqn.yml, but for the step size, the target, and 2 updates every 4
    # steps in the place of 128 every 256.
    ("dqn", "cartpole"): {
        "learning_rate": 5e-4,
        "batch_size": 64,
        "replay_capacity": 100_000,
        "random_steps": 1000,
        "discount": 0.99,
        "double": True,
        "n_step": 3,
        "target_every": 100,
        "train_every": 4,
        "updates": 2,
        "epsilon_steps": 8000,  # 0.16 of 50,000
        "epsilon_last": 0.04,
        "hidden": [256, 256],
    },
    # Schulman et al. 2017, table 3; github.com/openai/baselines: ppo2/ppo2.py and defaults.py (mujoco).
    ("ppo", "none"): {
        "hidden": [64, 64],
        "rollout_steps": 2048,
        "epochs": 10,
        "minibatches": 32,  # of 64 steps
        "learning_rate": 3e-4,
        "discount": 0.99,
        "gae_lambda": 0.95,
        "clip": 0.2,
        "value_weight": 0.5,
        "entropy_weight": 0.0,
        "max_grad_norm": 0.5,
        "anneal": True,
    },
    # github.com/vwxyzjn/cleanrl: cleanrl/ppo.py, which takes the time limit for an end of the world.
    ("ppo", "cartpole"): {
        "normalize": True,
        "rollout_steps": 128,
        "epochs": 4,
        "minibatches": 4,
        "learning_rate": 2.5e-4,
        "anneal": True,
        "gae_lambda": 0.95,
        "entropy_weight": 0.01,
        "value_weight": 0.5,
        "max_grad_norm": 0.5,
        "clip": 0.2,
    },
    # github.com/keraJLi/rejax: configs/gymnax/pendulum.yaml.
    ("ppo", "pendulum"): {
        "rollout_steps": 100,
        "epochs": 10,
        "minibatches": 10,
        "learning_rate": 1e-3,
        "max_grad_norm": 10.0,
        "discount": 0.995,
        "gae_lambda": 0.95,
        "clip": 0.2,
        "entropy_weight": 0.0,
        "value_weight": 0.5,
        "normalize": True,
        "anneal": False,
    },
    # github.com/google-research/planet: planet/scripts/configs.py; Hafner et al. 2019, appendix A; episodes of 500.
    ("planet", "none"): {
        "batch_size": 50,
        "batch_length": 50,
        "updates": 100,
        "train_every": 500,
        "random_steps": 5 * 500,
        "deter": 200,
        "stoch": 30,
        "units": 300,
        "depth": 32,
        "reward_weight": 10.0,
        "free_nats": 3.0,
        "learning_rate": 1e-3,
        "max_grad_norm": 1000.0,
        "horizon": 12,
        "noise": 0.3,
        "search.population": 1000,
        "search.elites": 100,
        "search.iterations": 10,
        "search.initial_std": 1.0,
        "search.momentum": 0.0,
    },
    # github.com/danijar/dreamer: dreamer.py, `define_config`.
    ("dreamer-v1", "none"): {
        "batch_size": 50,
        "batch_length": 50,
        "train_every": 500,  # 1,000 frames, at the action repeat of 2
        "updates": 100,
        "pretrain": 0,  # 100 in the published code are those of the first round
        "random_steps": 2500,
        "deter": 200,
        "stoch": 30,
        "units": 400,
        "depth": 32,
        "predict_ends": False,
        "ends_weight": 10.0,
        "free_nats": 3.0,
        "horizon": 15,
        "discount": 0.99,
        "return_lambda": 0.95,
        "model_rate": 6e-4,
        "actor_rate": 8e-5,
        "critic_rate": 8e-5,
        "max_grad_norm": 100.0,
        "noise": 0.3,
    },
    # github.com/danijar/dreamerv2: dreamerv2/configs.yaml, `defaults`.
    ("dreamer-v2", "none"): {
        "batch_size": 16,
        "batch_length": 50,
        "train_every": 5,
        "updates": 1,
        "pretrain": 1,
        "random_steps": 10_000,
        "deter": 1024,
        "choices": 32,
        "classes": 32,
        "units": 400,
        "depth": 48,
        "predict_ends": True,
        "ends_weight": 1.0,
        "rewards": "tanh",
        "kl_weight": 1.0,
        "kl_balance": 0.8,
        "free_nats": 0.0,
        "horizon": 15,
        "discount": 0.99,
        "return_lambda": 0.95,
        "entropy_weight": 2e-3,
        "slow_every": 100,
        "model_rate": 1e-4,
        "actor_rate": 8e-5,
        "critic_rate": 2e-4,
        "weight_decay": 1e-6,
        "max_grad_norm": 100.0,
    },
    # github.com/danijar/dreamerv3: dreamerv3/configs.yaml.
    ("dreamer-v3", "none"): {
        "batch_size": 16,
        "batch_length": 64,
        "horizon": 15,
        "discount": 1 - 1 / 333,
        "return_lambda": 0.95,
        "learning_rate": 4e-5,
        "warmup": 1000,
        "clip": 0.3,
        "free_nats": 1.0,
        "dynamics_weight": 1.0,
        "representation_weight": 0.1,
        "replay_value_weight": 0.3,
        "entropy_weight": 3e-4,
        "slow_rate": 0.02,
        "range_rate": 0.01,
        "elder": False,
    },
    # arXiv 2301.04104v1, table W.1 and appendix C.
    ("dreamer-v3", "2023"): {
        "batch_size": 16,
        "batch_length": 64,
        "elder": True,
        "dynamics_weight": 0.5,
        "representation_weight": 0.1,
        "replay_value_weight": 0.0,
        "free_nats": 1.0,
        "entropy_weight": 3e-4,
        "slow_rate": 0.02,
        "horizon": 15,
    },
    ("prioritized-sweeping", "none"): {"discount": 0.95, "epsilon": 0.1, "threshold": 1e-4},
}

ENV_KWARGS = {
    "ant": {"include_cfrc_ext_in_observation": False},
    "humanoid": {
        "include_cinert_in_observation": False,
        "include_cvel_in_observation": False,
        "include_qfrc_actuator_in_observation": False,
        "include_cfrc_ext_in_observation": False,
    },
}


@pytest.mark.parametrize(("algorithm", "preset"), OFFICIAL)
def test_settings_are_the_official_ones(algorithm, preset):
    config = from_dict(find(algorithm).load()[1], find_preset(algorithm, preset, "")[1])
    set_to = flatten(to_dict(config))
    official = dict(OFFICIAL[algorithm, preset])
    if "rollouts" in official:  # together, after each fit
        assert config.rollouts == official.pop("rollouts")
    assert {name: set_to[name] for name in official} == official


def test_every_algorithm_and_every_preset_of_mbpo_is_in_the_table():
    assert {name for name, preset in OFFICIAL if preset == "none"} == set(ALGORITHMS)
    assert {preset for name, preset in OFFICIAL if name == "mbpo"} - {"none"} == set(ALGORITHMS["mbpo"].presets)


def test_observations_are_cut_as_in_the_official_tasks():
    """mbpo/env/ant.py and humanoid.py; the other tasks are as Gymnasium has them."""
    found = {name: preset.env_kwargs for name, preset in ALGORITHMS["mbpo"].presets.items() if preset.env_kwargs}
    assert found == ENV_KWARGS


def test_constants_are_the_official_ones():
    """The bounds of the log variance and their penalty (PETS, BNN.py); those of SAC's log deviation (its
    ``softlearning/policies/gaussian_policy.py``).
    """
    assert (ensemble.MAX_LOGVAR, ensemble.MIN_LOGVAR, fit._BOUND_PENALTY) == (0.5, -10.0, 0.01)
    assert (sac.LOG_STD_MIN, sac.LOG_STD_MAX) == (-20.0, 2.0)
