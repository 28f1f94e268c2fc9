"""Learning benchmarks of the final return, with the preset of the environment."""

from collections.abc import Callable
from typing import Any

from benchmarks.results import Check, Result
from benchmarks.tasks.common import EPISODES, Request, Training, trained_and_judged

CARTPOLE, PENDULUM, BREAKOUT = "gymnax/CartPole-v1", "forethought/Pendulum-v0", "gymnax/Breakout-MinAtar"


def final_return(
    name: str, algorithm: str, env: str, target: float, *, episodes: int = EPISODES, **options: Any
) -> Callable[[Request], Result]:
    """A benchmark of the mean final return with the preset of the environment, over so many episodes of each seed;
    ``options`` are those of `forethought.train`.
    """

    def measure(asked: Request) -> Result:
        training = Training(
            algorithm, algorithm, env, asked.steps, asked.seeds, {"eval_every": asked.steps // 20, **options}
        )
        details = trained_and_judged(training, asked, episodes)
        check = Check("mean final return", details["final"]["mean"], target, "")
        seen = f" from {options['pixels']} x {options['pixels']} pixels" if "pixels" in options else ""
        title = f"{algorithm} on {env}{seen}, {asked.steps:,} steps, {asked.seeds} seeds"
        return Result(name, "learning", title, (check,), {algorithm: details})

    return measure
