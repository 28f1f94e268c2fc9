"""Functional environments by id, and the registration of our own with Gymnasium."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import gymnasium

from forethought.envs.brax import BRAX, PLAYGROUND, brax_env
from forethought.envs.cartpole import CartPoleContinuous, GymCartPole
from forethought.envs.catch import Catch
from forethought.envs.control import Pendulum, double_integrator
from forethought.envs.functional import FunctionalEnv, FunctionalGym
from forethought.envs.gymnax import GYMNAX, gymnax_env
from forethought.envs.mazes import blocking_maze, dyna_maze, shortcut_maze
from forethought.envs.pgx import PGX, pgx_game
from forethought.envs.probes import Probe
from forethought.errors import UsageError, brief, nearest

_PACKAGES: dict[str, Callable[..., FunctionalEnv]] = {
    GYMNAX: gymnax_env,
    BRAX: brax_env,
    PLAYGROUND: brax_env,
    PGX: pgx_game,
}
NAMESPACES = ("forethought/", *_PACKAGES)

FUNCTIONAL: dict[str, Callable[..., FunctionalEnv]] = {
    "forethought/DynaMaze-v0": dyna_maze,
    "forethought/BlockingMaze-v0": blocking_maze,
    "forethought/ShortcutMaze-v0": shortcut_maze,
    "forethought/CartPoleContinuous-v0": CartPoleContinuous,
    "forethought/GymCartPole-v0": GymCartPole,
    "forethought/Pendulum-v0": Pendulum,
    "forethought/DoubleIntegrator-v0": double_integrator,
    "forethought/Catch-v0": Catch,
    "forethought/ProbeConstant-v0": partial(Probe, "Constant"),
    "forethought/ProbeObservation-v0": partial(Probe, "Observation"),
    "forethought/ProbeDiscount-v0": partial(Probe, "Discount"),
    "forethought/ProbeAction-v0": partial(Probe, "Action"),
    "forethought/ProbePolicy-v0": partial(Probe, "Policy"),
    "forethought/ProbeTruncation-v0": partial(Probe, "Truncation"),
    "forethought/ProbeTermination-v0": partial(Probe, "Termination"),
}


def functional_env(env_id: str, env_kwargs: Mapping[str, Any] | None = None) -> FunctionalEnv:
    """The environment of that id, one of our own or of gymnax, Brax, MuJoCo Playground or pgx.

    Raises `UsageError` for an unknown id or unsuitable arguments, `MissingExtra` where a package is needed and missing.
    """
    adapter = next((made for prefix, made in _PACKAGES.items() if env_id.startswith(prefix)), None)
    if env_id not in FUNCTIONAL and adapter is None:
        raise UsageError(f"there is no environment {brief(env_id)}; {nearest(env_id, FUNCTIONAL)}")
    factory = partial(adapter, env_id) if adapter else FUNCTIONAL[env_id]
    try:
        return factory(**(env_kwargs or {}))
    except TypeError as error:
        given = brief(dict(env_kwargs or {}))
        raise UsageError(f"{env_id} does not take env_kwargs {given}: {brief(error, 300)}") from error


def gym_env(env_id: str, render_mode: str | None = None, **env_kwargs: Any) -> FunctionalGym:
    """The environment of that id as a Gymnasium one; what ``gymnasium.make`` calls."""
    return FunctionalGym(functional_env(env_id, env_kwargs), render_mode)


def register() -> None:
    """Make every id known to ``gymnasium.make``; may be called twice."""
    for env_id in FUNCTIONAL:
        if env_id not in gymnasium.registry:
            gymnasium.register(env_id, entry_point="forethought.envs.catalog:gym_env", kwargs={"env_id": env_id})
