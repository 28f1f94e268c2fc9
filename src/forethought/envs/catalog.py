"""The environments that come with forethought, by id, and their registration with Gymnasium."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import gymnasium

from forethought.envs.functional import FunctionalEnv, FunctionalGym
from forethought.envs.mazes import blocking_maze, dyna_maze, shortcut_maze
from forethought.envs.probes import Probe
from forethought.errors import UsageError, nearest

NAMESPACE = "forethought/"

FUNCTIONAL: dict[str, Callable[..., FunctionalEnv]] = {
    "forethought/DynaMaze-v0": dyna_maze,
    "forethought/BlockingMaze-v0": blocking_maze,
    "forethought/ShortcutMaze-v0": shortcut_maze,
    "forethought/ProbeConstant-v0": partial(Probe, "Constant"),
    "forethought/ProbeObservation-v0": partial(Probe, "Observation"),
    "forethought/ProbeDiscount-v0": partial(Probe, "Discount"),
    "forethought/ProbeAction-v0": partial(Probe, "Action"),
    "forethought/ProbePolicy-v0": partial(Probe, "Policy"),
    "forethought/ProbeTruncation-v0": partial(Probe, "Truncation"),
    "forethought/ProbeTermination-v0": partial(Probe, "Termination"),
}


def functional_env(env_id: str, env_kwargs: Mapping[str, Any] | None = None) -> FunctionalEnv:
    """The environment of that id; raises `UsageError` for an unknown id or unsuitable arguments."""
    if env_id not in FUNCTIONAL:
        raise UsageError(f"there is no environment {env_id!r}; {nearest(env_id, FUNCTIONAL)}")
    try:
        return FUNCTIONAL[env_id](**(env_kwargs or {}))
    except TypeError as error:
        raise UsageError(f"{env_id} does not take env_kwargs {dict(env_kwargs or {})}: {error}") from error


def gym_env(env_id: str, render_mode: str | None = None, **env_kwargs: Any) -> FunctionalGym:
    """The environment of that id as a Gymnasium one; what ``gymnasium.make`` calls."""
    return FunctionalGym(functional_env(env_id, env_kwargs), render_mode)


def register() -> None:
    """Make every id known to ``gymnasium.make``; may be called twice."""
    for env_id in FUNCTIONAL:
        if env_id not in gymnasium.registry:
            gymnasium.register(env_id, entry_point="forethought.envs.catalog:gym_env", kwargs={"env_id": env_id})
