"""The learning benchmarks, as one literal dict."""

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.results import Result
from benchmarks.tasks import continuous, tabular
from benchmarks.tasks.common import Request
from benchmarks.tasks.warm_start import warm_start


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
    "mbpo_pendulum": Task(continuous.mbpo_pendulum, 3000, 5),
    "mbpo_inverted_pendulum": Task(continuous.mbpo_inverted_pendulum, 5000, 5),
    "warm_start": Task(warm_start, 750, 10),
    "mbpo_hopper": Task(continuous.mbpo_hopper, 125_000, 1, any_length=True),
}
