"""The learning benchmarks, as one literal dict."""

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.results import Result
from benchmarks.tasks import continuous, control, dreams, tabular
from benchmarks.tasks.calibration import calibration_pendulum
from benchmarks.tasks.common import Request
from benchmarks.tasks.impacts import impacts
from benchmarks.tasks.model_free import BREAKOUT, CARTPOLE, PENDULUM, final_return
from benchmarks.tasks.own_worlds import own_worlds
from benchmarks.tasks.samples import samples
from benchmarks.tasks.warm_start import warm_start
from benchmarks.tasks.world_models import car_racing, take_cover

# Of the swing-up random actions earn 89, of which the target is twice as much, and the best constant one 153.
SWINGUP, PICTURES = "dmc:cartpole-swingup", {"pixels": 32, "action_repeat": 8}


@dataclass(frozen=True)
class Task:
    """A benchmark, and the steps and seeds that its target is about.

    ``any_length``: a shorter run is still held against the part of the target that it reaches.
    """

    run: Callable[[Request], Result]
    steps: int
    seeds: int
    any_length: bool = False


TASKS: dict[str, Task] = {
    "dyna_maze": Task(tabular.dyna_maze, 12_000, 100),
    "blocking_maze": Task(tabular.blocking_maze, 3000, 100),
    "frozen_lake": Task(tabular.frozen_lake, 30_000, 10),
    "sac_pendulum": Task(continuous.sac_pendulum, 20_000, 5),
    "ppo_cartpole": Task(final_return("ppo_cartpole", "ppo", CARTPOLE, 480.0), 524_288, 5),
    "ppo_pendulum": Task(final_return("ppo_pendulum", "ppo", PENDULUM, -250.0), 150_000, 5),
    "dqn_cartpole": Task(final_return("dqn_cartpole", "dqn", CARTPOLE, 475.0), 50_000, 5),
    "ppo_breakout": Task(final_return("ppo_breakout", "ppo", BREAKOUT, 28.0), 10_000_000, 2, any_length=True),
    "dqn_breakout": Task(final_return("dqn_breakout", "dqn", BREAKOUT, 0.5), 1_000_000, 2, any_length=True),
    "mbpo_pendulum": Task(continuous.mbpo_pendulum, 3000, 5),
    "mbpo_inverted_pendulum": Task(continuous.mbpo_inverted_pendulum, 5000, 5),
    "warm_start": Task(warm_start, 750, 10),
    "impacts": Task(impacts, 2000, 3),
    "own_worlds": Task(own_worlds, 1000, 5),
    "calibration_pendulum": Task(calibration_pendulum, 2000, 5),
    "cem_oracle": Task(control.cem_oracle, 200, 5),
    "pets_cartpole": Task(control.pets_cartpole, 1450, 3),
    "gym_cartpole": Task(control.gym_cartpole, 2010, 3),
    "samples_pendulum": Task(
        samples(
            "Pendulum-v1",
            -200.0,
            {"sac": 20_000, "mbpo": 3000, "pets": 1400, "poplin-a": 1400},
            "samples_pendulum",
        ),
        20_000,
        5,
    ),
    "samples_inverted_pendulum": Task(
        samples(
            "InvertedPendulum-v5",
            950.0,
            {"sac": 20_000, "mbpo": 5000, "pets": 4000, "poplin-a": 4000},
            "samples_inverted_pendulum",
            control.LIGHT_BY_MEANS,
        ),
        20_000,
        5,
    ),
    "samples_cartpole": Task(
        samples(
            "forethought/CartPoleContinuous-v0",
            195.0,
            {"sac": 20_000, "mbpo": 4000, "pets": 1400, "poplin-a": 1400},
            "samples_cartpole",
        ),
        20_000,
        5,
    ),
    "world_models_take_cover": Task(take_cover, 100_000, 1),
    "world_models_car_racing": Task(car_racing, 32_000, 1),
    "mbpo_hopper": Task(continuous.mbpo_hopper, 125_000, 1, any_length=True),
    "dreamer_v3_cartpole": Task(final_return("dreamer_v3_cartpole", "dreamer-v3", "CartPole-v1", 475.0), 12_000, 3),
    "dreamer_v3_pendulum": Task(final_return("dreamer_v3_pendulum", "dreamer-v3", "Pendulum-v1", -200.0), 8000, 3),
    "dreamer_v2_catch": Task(
        final_return("dreamer_v2_catch", "dreamer-v2", "forethought/Catch-v0", 0.95, pixels=16), 9_000, 3
    ),
    "dreamer_v3_catch": Task(
        final_return("dreamer_v3_catch", "dreamer-v3", "forethought/Catch-v0", 0.95, pixels=16), 18_000, 3
    ),
    "planet_swingup": Task(  # each decision of an evaluation is 40 GFLOP of planning
        final_return("planet_swingup", "planet", SWINGUP, 180.0, episodes=20, eval_every=400, **PICTURES), 4000, 1
    ),
    "dreamer_v1_swingup": Task(final_return("dreamer_v1_swingup", "dreamer-v1", SWINGUP, 180.0, **PICTURES), 20_000, 1),
    "dreamer_v3_balance": Task(dreams.dreamer_v3_balance, 10_000, 3, any_length=True),
}
