"""Judging a policy: whole episodes on environments of their own, without exploration and without learning."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from forethought import envs
from forethought.training.config import RunConfig

# Where an environment has no time limit, a policy that runs in circles is stopped here and keeps what it has earned.
STEP_LIMIT = 1000


@dataclass(frozen=True)
class Evaluation:
    """Undiscounted return and length (agent steps) of each episode, [seeds, episodes], at a step of training."""

    returns: np.ndarray
    lengths: np.ndarray
    env_steps: int


def make_world(
    config: RunConfig, seeds: Sequence[int], envs_per_seed: int = 1, *, stream: str = "train", render: bool = False
) -> envs.VectorEnv:
    """The environments of a run, as its config describes them; ``stream`` keeps the uses of one seed apart."""
    return envs.make(
        config.env,
        seeds=seeds,
        envs_per_seed=envs_per_seed,
        stream=stream,
        action_repeat=config.action_repeat,
        env_kwargs=config.env_kwargs,
        render=render,
    )


Actor = Callable[[np.ndarray, np.ndarray, Any, int], tuple[np.ndarray, Any]]  # (obs, first, carry, t) -> action, carry


def evaluate(act: Actor, carry: Any, config: RunConfig, *, episodes: int, stream: str, env_steps: int) -> Evaluation:
    """Play ``episodes`` episodes per seed side by side.

    ``act`` takes observations [K, episodes, ...], which episodes begin [K, episodes], its carry and the time, and
    gives actions [K, episodes, ...]. The episodes follow from the seeds and the ``stream`` alone.
    """
    k = config.seeds
    world = make_world(config, config.seed_list, episodes, stream=stream)
    try:
        obs = world.reset()
        limit = world.spec.max_episode_steps or STEP_LIMIT
        returns, lengths = np.zeros(k * episodes), np.zeros(k * episodes, np.int64)
        playing, first = np.ones(k * episodes, bool), np.ones((k, episodes), bool)
        for t in range(limit):
            action, carry = act(obs.reshape(k, episodes, *obs.shape[1:]), first, carry, t)
            step = world.step(action.reshape(k * episodes, *action.shape[2:]))
            returns += np.where(playing, step.reward, 0.0)
            lengths += playing
            ended = step.terminated | step.truncated
            playing &= ~ended
            if not playing.any():
                break
            obs, first = step.obs, ended.reshape(k, episodes)
    finally:
        world.close()
    return Evaluation(returns.reshape(k, episodes), lengths.reshape(k, episodes), env_steps)
