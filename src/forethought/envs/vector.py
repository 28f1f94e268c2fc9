"""`make`: any environment as a `VectorEnv`, by its id."""

from collections.abc import Mapping, Sequence
from typing import Any

from forethought.envs.catalog import NAMESPACES, functional_env
from forethought.envs.contract import EnvState, Step, VectorEnv
from forethought.envs.functional import JaxVector
from forethought.envs.gym import GymVector
from forethought.errors import UsageError
from forethought.types import EnvSpec

__all__ = ["EnvState", "Step", "VectorEnv", "env_spec", "make"]


def make(
    env_id: str,
    *,
    seeds: Sequence[int],
    envs_per_seed: int = 1,
    stream: str = "train",
    action_repeat: int = 1,
    env_kwargs: Mapping[str, Any] | None = None,
    render: bool = False,
) -> VectorEnv:
    """Make ``len(seeds) * envs_per_seed`` environments of one kind; `reset` them before the first step.

    ``env_id`` is an id of forethought (``forethought/DynaMaze-v0``), of gymnax (``gymnax/CartPole-v1``) or of
    Gymnasium, also ``package.module:Name-v0``. ``stream`` keeps the random numbers of several uses of one seed apart
    ("train", "eval"). ``env_kwargs`` go to the environment's constructor. With ``render=True`` slot 0 can be drawn.

    Raises `UsageError` for an unknown id, unsuitable arguments or unsupported spaces, `MissingExtra` where an optional
    dependency is missing, and `EnvironmentFault` where the environment's own constructor fails.
    """
    if action_repeat < 1:
        raise UsageError(f"action_repeat is {action_repeat}; use 1 (no repeat) or more")
    if env_id.startswith(NAMESPACES):
        env = functional_env(env_id, env_kwargs)
        return JaxVector(
            env, seeds=seeds, envs_per_seed=envs_per_seed, stream=stream, action_repeat=action_repeat, render=render
        )
    return GymVector(
        env_id,
        seeds=seeds,
        envs_per_seed=envs_per_seed,
        stream=stream,
        action_repeat=action_repeat,
        env_kwargs=env_kwargs,
        render=render,
    )


def env_spec(env_id: str, *, action_repeat: int = 1, env_kwargs: Mapping[str, Any] | None = None) -> EnvSpec:
    """What an agent may know of an environment, without stepping it; raises what `make` raises."""
    env = make(env_id, seeds=[0], action_repeat=action_repeat, env_kwargs=env_kwargs)
    env.close()
    return env.spec
