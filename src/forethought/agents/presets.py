"""Settings per environment, with their sources. Plain data: nothing is imported to look at it.

"official" is the code of the authors of MBPO, ``github.com/jannerm/mbpo``, ``examples/config/<task>/0.py``.
``tests/agents/test_official_settings.py`` holds what is set here and by default against a table of its own.
"""

from dataclasses import dataclass, field, replace
from typing import Any


@dataclass(frozen=True)
class Preset:
    """Settings by dotted name that replace an algorithm's defaults, chosen by themselves where ``env`` is trained, and
    environments per seed.
    """

    env: str
    source: str
    settings: dict[str, Any]
    env_kwargs: dict[str, Any] = field(default_factory=dict)
    num_envs: int = 1


def _official(env: str, source: str, *, target_entropy: float, rollouts: tuple[int, int, int, int], **more: Any):
    """MBPO's schedule counts epochs of 1000 steps: (first epoch, last epoch, first length, last length)."""
    epoch = more.get("epoch_steps", 1000)
    env_kwargs = more.pop("env_kwargs", {})
    start, end, first, last = rollouts
    schedule = {"start": start * epoch, "end": end * epoch, "first": first, "last": last}
    return Preset(
        env,
        source,
        {
            "sac.target_entropy": target_entropy,
            **{f"schedule.{k}": v for k, v in schedule.items()},
            **more,
        },
        env_kwargs,
    )


# It lets the policy act from step 500 on, and learn when an episode of 1000 steps would fit into the replay
# (``min_pool_size`` in ``examples/development/base.py``); the other tasks explore for longer than that.
_OFFICIAL_PENDULUM = (
    "official, but that the policy learns from step 500 on, with the first fit, and there from step 1000 on"
)

MBPO_PRESETS: dict[str, Preset] = {
    "half-cheetah": _official(
        "HalfCheetah-v5", "official", target_entropy=-3.0, rollouts=(20, 150, 1, 1), updates_per_step=40
    ),
    "hopper": _official("Hopper-v5", "official", target_entropy=-1.0, rollouts=(20, 150, 1, 15)),
    "walker2d": _official("Walker2d-v5", "official", target_entropy=-3.0, rollouts=(20, 150, 1, 1)),
    "ant": _official(
        "Ant-v5",
        "official; observations without contact forces",
        target_entropy=-4.0,
        rollouts=(20, 100, 1, 25),
        env_kwargs={"include_cfrc_ext_in_observation": False},
    ),
    "humanoid": _official(
        "Humanoid-v5",
        "official; observations cut to positions and velocities",
        target_entropy=-2.0,
        rollouts=(20, 300, 1, 25),
        retain=5,
        model_every=1000,
        rollouts_per_step=100,
        model_hidden=(400, 400, 400, 400),
        env_kwargs={
            "include_cinert_in_observation": False,
            "include_cvel_in_observation": False,
            "include_qfrc_actuator_in_observation": False,
            "include_cfrc_ext_in_observation": False,
        },
    ),
    "inverted-pendulum": _official(
        "InvertedPendulum-v5",
        _OFFICIAL_PENDULUM,
        target_entropy=-0.05,
        rollouts=(1, 15, 1, 1),
        updates_per_step=10,
        random_steps=500,
        epoch_steps=250,
    ),
    "inverted-double-pendulum": _official(
        "InvertedDoublePendulum-v5",
        _OFFICIAL_PENDULUM,
        target_entropy=-0.5,
        rollouts=(1, 15, 1, 1),
        random_steps=500,
        epoch_steps=250,
    ),
    "pendulum": Preset(
        "Pendulum-v1",
        "no official configuration; between InvertedPendulum's and that of mbrl-lib for its cartpole",
        {"random_steps": 500, "epoch_steps": 250, "updates_per_step": 20, "sac.target_entropy": -0.5},
    ),
    "cartpole": Preset(
        "forethought/CartPoleContinuous-v0",
        "no official configuration; as InvertedPendulum's, with the random steps of PETS",
        {"random_steps": 200, "epoch_steps": 250, "updates_per_step": 10, "sac.target_entropy": -0.5},
    ),
}

# What mbrl-lib's PETS takes for its continuous cartpole (``conf/overrides/pets_cartpole.yaml`` and its notebook).
_CARTPOLE = {
    "horizon": 15,
    "particles": 20,
    "propagation": "ts1",
    "model_every": 50,
    "random_steps": 200,
    "members": 5,
    "elites": 5,
    "model_hidden": (200, 200, 200, 200),
    "fit.learning_rate": 7.5e-4,
    "fit.weight_decay": (3e-5,),
    "fit.batch_size": 256,
    "fit.holdout_ratio": 0.0,
    "fit.max_epochs": 25,
}

PLANNING_PRESETS: dict[str, Preset] = {
    # 15 steps ahead, as mbrl-lib looks, CEM loses every fifth episode even in the true dynamics
    # (`python -m benchmarks.learning cem_oracle`).
    "cartpole": Preset(
        "forethought/CartPoleContinuous-v0",
        "mbrl-lib, with 20 steps ahead for its 15, and the reward learned, which it is given",
        {**_CARTPOLE, "horizon": 20},
    ),
    "gym-cartpole": Preset(
        "forethought/GymCartPole-v0",
        "as cartpole, with the horizon, the mean of all members and the known reward of POPLIN's code (its PETS too)",
        {**_CARTPOLE, "reward": "known", "horizon": 30, "propagation": "expectation", "particles": 1},
    ),
    "pendulum": Preset(
        "Pendulum-v1",
        "no official configuration; as cartpole, with the reward known",
        {**_CARTPOLE, "reward": "known", "horizon": 25},
    ),
    # 15 steps (0.6 s) are too few to stop the cart before the end of its rail; within 30 particles with noise all lose
    # the pole, which is upright for no longer than it is held.
    "inverted-pendulum": Preset(
        "InvertedPendulum-v5",
        "no official configuration; as cartpole, with a longer look by the mean of all members, which learn impacts",
        {**_CARTPOLE, "horizon": 30, "propagation": "expectation", "particles": 1, "fit.beta": 0.5},
    ),
}


def _with(presets: dict[str, Preset], more: dict[str, Any], *names: str) -> dict[str, Preset]:
    """With more settings, in all presets or in those of these names."""
    changed = {name: replace(presets[name], settings={**presets[name].settings, **more}) for name in names or presets}
    return {**presets, **changed}


# Samples as wide as elsewhere lose the pole too, all of them, and leave nothing to choose from; narrow ones take more
# iterations to get somewhere.
CEM_PRESETS = _with(PLANNING_PRESETS, {"search.initial_std": 0.1, "search.iterations": 10}, "inverted-pendulum")
PETS_PRESETS = _with(CEM_PRESETS, {"search.population": 350, "search.elites": 35})
_POPLIN = {"propagation": "expectation", "particles": 1, "reward": "known"}
POPLIN_A_PRESETS = _with(CEM_PRESETS, _POPLIN)
POPLIN_P_PRESETS = _with(PLANNING_PRESETS, _POPLIN)

SAC_PRESETS: dict[str, Preset] = {}

_PPO_CARTPOLE = Preset(
    "CartPole-v1",
    "CleanRL, ppo.py, and normalize: with time limits that are none of the world's ends all values are near 100",
    {
        "rollout_steps": 128,
        "epochs": 4,
        "minibatches": 4,
        "learning_rate": 2.5e-4,
        "entropy_weight": 0.01,
        "normalize": True,
    },
    num_envs=4,
)
_PPO_PENDULUM = Preset(
    "Pendulum-v1",
    "rejax, configs/gymnax/pendulum.yaml",
    {
        "rollout_steps": 100,
        "epochs": 10,
        "minibatches": 10,
        "learning_rate": 1e-3,
        "anneal": False,
        "discount": 0.995,
        "max_grad_norm": 10.0,
        "normalize": True,
    },
    num_envs=100,
)
_PPO_BREAKOUT = Preset(
    "gymnax/Breakout-MinAtar",
    "no official configuration; the sizes of PureJaxRL for MinAtar",
    {"rollout_steps": 128, "epochs": 4, "minibatches": 8, "learning_rate": 1e-3, "entropy_weight": 0.01},
    num_envs=64,
)
PPO_PRESETS: dict[str, Preset] = {
    "minatar-breakout": _PPO_BREAKOUT,
    "cartpole": _PPO_CARTPOLE,
    "gymnax-cartpole": replace(_PPO_CARTPOLE, env="gymnax/CartPole-v1"),
    "pendulum": _PPO_PENDULUM,
    "jax-pendulum": replace(_PPO_PENDULUM, env="forethought/Pendulum-v0"),
}

_DQN_CARTPOLE = Preset(
    "CartPole-v1",
    "RL Baselines3 Zoo, hyperparams/dqn.yml, but for double, n-step and rounds of 4 steps: few seeds kept 500",
    {
        "learning_rate": 5e-4,
        "batch_size": 64,
        "train_every": 4,
        "updates": 2,
        "target_every": 100,
        "epsilon_last": 0.04,
        "epsilon_steps": 8000,
        "random_steps": 1000,
        "replay_capacity": 100_000,
        "double": True,
        "n_step": 3,
    },
)
_DQN_BREAKOUT = Preset(
    "gymnax/Breakout-MinAtar",
    "Young & Tian 2019 (arXiv 1903.03176), with Adam for RMSProp",
    {
        "hidden": (128,),
        "learning_rate": 2.5e-4,
        "train_every": 1,
        "target_every": 1000,
        "epsilon_steps": 100_000,
        "random_steps": 5000,
        "replay_capacity": 100_000,
    },
)
DQN_PRESETS: dict[str, Preset] = {
    "minatar-breakout": _DQN_BREAKOUT,
    "cartpole": _DQN_CARTPOLE,
    "gymnax-cartpole": replace(_DQN_CARTPOLE, env="gymnax/CartPole-v1"),
}

TABULAR_PRESETS: dict[str, Preset] = {}

# With the papers' 2e-3 and 3e-4 and these larger steps some seeds were sure of every action of Catch before they had
# tried to catch on both sides.
_KEEPS_TRYING = 1e-2
# Of Dreamer V3's own code for `bsuite` and vectors (1,024 replayed moments per step) this is an eighth; smaller batches
# and larger steps make up for it on two cores (`python -m benchmarks.learning dreamer_v3_cartpole`).
_SMALL = {
    "batch_size": 8,
    "batch_length": 32,
    "learning_rate": 3e-4,
    "warmup": 100,
    "random_steps": 500,
    "train_every": 2,
}
_SMALL_SOURCE = "no official configuration; smaller batches and larger steps than the paper's, for two cores"
# Of PlaNet to Dreamer V2.
_SMALL_ELDER = {
    "batch_size": 8,
    "batch_length": 32,
    "random_steps": 500,
    "updates": 1,
    "deter": 128,
    "units": 128,
    "depth": 8,
}
_SMALL_ACTORS = {"model_rate": 3e-4, "actor_rate": 3e-4, "critic_rate": 3e-4}
# Pictures of a quarter of the pixels say less than the nats that are free: the prior is hardly taught, and the model
# promises what does not come (`forethought diagnose`). So pictures weigh more, fewer nats are free, and rewards weigh
# more, which are all that a search sees. An update costs a tenth of a decision's search: two are nearly free.
_SMALL_PLANS = {
    **_SMALL_ELDER,
    "learning_rate": 1e-3,
    "train_every": 1,
    "updates": 2,
    "image_weight": 4.0,
    "free_nats": 1.0,
    "reward_weight": 50.0,
}
# With larger steps of the actor its actions run to their bounds while the model is young, and stay there.
_SMALL_V1 = {**_SMALL_ELDER, "model_rate": 1e-3, "train_every": 1}
PLANET_PRESETS: dict[str, Preset] = {
    "cartpole-swingup": Preset("dm_control/cartpole-swingup-v0", _SMALL_SOURCE, _SMALL_PLANS),
}
DREAMER_V1_PRESETS: dict[str, Preset] = {
    "cartpole-swingup": Preset("dm_control/cartpole-swingup-v0", _SMALL_SOURCE, _SMALL_V1),
}
DREAMER_V2_PRESETS: dict[str, Preset] = {
    "catch": Preset(
        "forethought/Catch-v0",
        _SMALL_SOURCE,
        {
            **_SMALL_ELDER,
            **_SMALL_ACTORS,
            "choices": 16,
            "classes": 16,
            "train_every": 4,
            "entropy_weight": _KEEPS_TRYING,
        },
    ),
}
DREAMER_V3_PRESETS: dict[str, Preset] = {
    "cartpole": Preset("CartPole-v1", _SMALL_SOURCE, _SMALL),
    "gymnax-cartpole": Preset("gymnax/CartPole-v1", _SMALL_SOURCE, _SMALL),
    "pendulum": Preset("Pendulum-v1", _SMALL_SOURCE, _SMALL),
    "jax-pendulum": Preset("forethought/Pendulum-v0", _SMALL_SOURCE, _SMALL),
    "catch": Preset("forethought/Catch-v0", _SMALL_SOURCE, {**_SMALL, "entropy_weight": _KEEPS_TRYING}),
    # Of the first version of the paper, whose first belief is learned.
    "2023": Preset(
        "",
        "arXiv 2301.04104v1, and what its code had",
        {"size": "s", "elder": True, "dynamics_weight": 0.5, "replay_value_weight": 0.0},
    ),
    "cartpole-balance": Preset(
        "dm_control/cartpole-balance-v0", "official (dmc_proprio): a window's moments for each step", {}
    ),
}

# The published codes with far fewer random steps (10,000 episodes there) and updates of V, for two cores
# (`python -m benchmarks.learning world_models_take_cover world_models_car_racing`); both see with --pixels 64.
_WORLD_MODELS = {
    "v.learning_rate": 3e-4,
    "v.batch_size": 32,
    "v.updates": 10_000,
    "m.batch_size": 32,
    "m.window": 100,
}
WORLD_MODELS_PRESETS: dict[str, Preset] = {
    "take-cover": Preset(
        "VizdoomTakeCover-v1",
        "doomrnn of the published code and arXiv 1803.10122, with fewer steps, updates and episodes, shorter dreams",
        {
            **_WORLD_MODELS,
            "random_steps": 100_000,
            "random_hold": 10,
            "v.latent": 64,
            "m.hidden": 512,
            "m.reward": "alive",
            "c.temperature": 1.15,
            "c.sees_cell": True,
            "c.order": (2, 0, 1),  # left, nothing, right
            "c.rollouts": 4,
            "c.generations": 100,
        },
    ),
    "car-racing": Preset(
        "CarRacing-v3",
        "carracing of the published code, with fewer steps, updates, candidates and episodes",
        {
            **_WORLD_MODELS,
            "random_steps": 32_000,
            "random_hold": 10,
            "replay_capacity": 64_000,
            "m.ending_weight": 1.0,
            "c.where": "world",
            "c.population": 16,
            "c.rollouts": 2,
            "c.one_sided": (2,),
        },
        num_envs=16,
    ),
}
