"""What the defaults for environments without a preset are worth: worlds as users bring them, by MBPO.

Each world is learned twice with the same budget: with the defaults of `forethought.agents.defaults`, and with the
papers' values in place of those that do not follow from the budget (the papers' 5,000 random steps would be more than
all of it: both have the same). Beside the returns stand those of a controller made by hand, random actions and the best
constant action, and what the model leaves open of the reward on transitions that it was not trained on.
"""

import gymnasium
import numpy as np

from benchmarks.results import Check, Result
from benchmarks.tasks.common import Request, Summary, Training, described, final_evaluation, trained
from benchmarks.worlds import WORLDS, World
from forethought.agents.defaults import OWN
from forethought.agents.dyna.mbpo import MBPOConfig
from forethought.report.read import RunLog
from forethought.training.config import flatten, to_dict

# On both sides half the updates and fits, and networks half as wide as usual: twelve runs of five seeds take an hour on
# two cores.
_LIGHT = {
    "updates_per_step": 10,
    "model_every": 150,
    "epoch_steps": 150,
    "model_hidden": (100, 100, 100, 100),
    "sac.hidden": (128, 128),
}
_EPISODES = 50
_EVALUATIONS = 5


def own_worlds(asked: Request) -> Result:
    """Learn every world with both sets of defaults."""
    plain = flatten(to_dict(MBPOConfig()))
    papers = {name: plain[name] for name in OWN if name in plain}
    details: dict[str, Summary] = {}
    for name, world in WORLDS.items():
        by_hand, random = played(world), played(world, random=True)
        for label, settings in (("ours", {}), ("papers'", papers)):
            training = Training(
                f"{name}, {label}",
                "mbpo",
                world.env,
                asked.steps,
                asked.seeds,
                {"eval_every": asked.steps // _EVALUATIONS, "agent": {**_LIGHT, **settings}},
            )
            run = trained(training, asked.runs)
            details[training.label] = {
                **described(run, training),
                "world": name,
                "final": final_evaluation(run, _EPISODES),
                "by_hand": by_hand,
                "random": random,
                "baselines": run.summary["baselines"] if run.summary else {},
                "reward_error": _reward_error(run),
            }
    checks = [_won(details, name) for name in WORLDS]
    learned = np.mean([np.median(details[f"{name}, ours"]["reward_error"]) < 0.5 for name in WORLDS])
    checks.append(Check("share of the worlds whose reward the model learns", float(learned), 1.0, ""))
    title = f"Worlds in units of their own: MBPO, {asked.steps} steps, {asked.seeds} seeds"
    return Result("own_worlds", "learning", title, tuple(checks), details)


def played(world: World, episodes: int = _EPISODES, *, random: bool = False) -> float:
    """Mean return of the controller that was made by hand, or of random actions."""
    env = gymnasium.make(world.env)
    space = env.action_space
    assert isinstance(space, gymnasium.spaces.Box)
    space.seed(0)
    total = 0.0
    for seed in range(episodes):
        obs, _ = env.reset(seed=seed)
        ended = False
        while not ended:
            action = space.sample() if random else np.clip([world.controller(obs)], space.low, space.high)
            obs, reward, terminated, truncated, _ = env.step(action.astype(np.float32))
            total, ended = total + float(reward), terminated or truncated
    env.close()
    return total / episodes


def _won(details: dict[str, Summary], name: str) -> Check:
    """How much of the way from random actions to the controller the policy has gone; 1 is as good as by hand."""
    ours = details[f"{name}, ours"]
    gone = (ours["final"]["mean"] - ours["random"]) / (ours["by_hand"] - ours["random"])
    return Check(f"{name}: share of the way from random actions to the controller by hand", float(gone), 1.0, "")


def _reward_error(run: RunLog) -> list[float]:
    """What the last fit leaves open of the reward, in shares of its variance, for every seed."""
    last = next(record for record in reversed(run.of("model")) if "holdout_mse_outputs" in record)
    return [outputs[0] for outputs in last["holdout_mse_outputs"]]
