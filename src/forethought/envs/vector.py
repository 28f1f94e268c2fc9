"""`make`: any environment as a `VectorEnv`, by its id."""

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium

from forethought.envs.catalog import FUNCTIONAL, NAMESPACES, functional_env
from forethought.envs.contract import EnvState, Step, VectorEnv
from forethought.envs.functional import FunctionalEnv, JaxVector
from forethought.envs.given import Copies, full_name, maker_of, source_of
from forethought.envs.gym import GymVector
from forethought.envs.gym_make import Maker, one_line
from forethought.errors import UsageError
from forethought.types import EnvSpec

_LEAST_PIXELS, _MOST_PIXELS = 8, 1024

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
    maker: Maker | None = None,
    workers: int = 1,
    pixels: int = 0,
) -> VectorEnv:
    """Make ``len(seeds) * envs_per_seed`` environments of one kind; `reset` them before the first step.

    ``env_id`` is an id of forethought (``forethought/DynaMaze-v0``), of gymnax (``gymnax/CartPole-v1``) or of
    Gymnasium, also ``package.module:Name-v0``, or ``package.module:Name`` of a class or function that makes one. A
    ``maker`` makes them in its place, and ``env_id`` only names them. ``stream`` keeps the random numbers of several
    uses of one seed apart ("train", "eval"). ``env_kwargs`` go to the environment's constructor. With ``render=True``
    slot 0 can be drawn. Gymnasium's are stepped in ``workers`` processes, to the same bits whatever their number. With
    ``pixels`` above 0 agents see a picture of so many pixels a side, and nothing else; our own step by step then.

    Raises `UsageError` for an unknown id, unsuitable arguments or unsupported spaces, `MissingExtra` where an optional
    dependency is missing, and `EnvironmentFault` where the environment's own constructor fails.
    """
    if action_repeat < 1:
        raise UsageError(f"action_repeat is {action_repeat}; use 1 (no repeat) or more")
    if pixels and not _LEAST_PIXELS <= pixels <= _MOST_PIXELS:
        raise UsageError(f"pixels is {pixels}; a picture has {_LEAST_PIXELS} to {_MOST_PIXELS} a side")
    env_id = full_name(env_id)
    maker = maker or maker_of(env_id)
    if pixels and maker is None and env_id.startswith(NAMESPACES) and env_id not in FUNCTIONAL:
        raise UsageError(f"{env_id} is drawn in no program of JAX; leave out --pixels, or take Gymnasium's")
    env = _functional(env_id, env_kwargs or {}, maker)
    if pixels and maker is None:  # ours are Gymnasium's too, and drawn on the host
        env = None
    if pixels and env is not None:
        raise UsageError(f"{env_id} is written in JAX, and drawn in no program of it; leave out --pixels")
    slots: dict[str, Any] = {
        "seeds": seeds,
        "envs_per_seed": envs_per_seed,
        "stream": stream,
        "action_repeat": action_repeat,
        "render": render,
    }
    if env is not None and workers > 1:
        raise UsageError(f"{env_id} is written in JAX and takes all its steps in one program; leave out --workers")
    if env is not None:
        return JaxVector(env, name=env_id, **slots)
    return GymVector(env_id, env_kwargs=env_kwargs, maker=maker, workers=workers, pixels=pixels, **slots)


def _functional(env_id: str, env_kwargs: Mapping[str, Any], maker: Maker | None) -> FunctionalEnv | None:
    """The environment written in JAX that is meant; None where it is one of Gymnasium's."""
    if maker is None:
        return functional_env(env_id, env_kwargs) if env_id.startswith(NAMESPACES) else None
    if isinstance(maker, Copies):
        return maker.original if isinstance(maker.original, FunctionalEnv) else None
    if not isinstance(maker, type) or not all(hasattr(maker, name) for name in ("spec", "init", "reset", "step")):
        return None
    if issubclass(maker, gymnasium.Env):
        return None
    try:
        made: Any = maker(**env_kwargs)
        return made
    except TypeError as error:
        raise UsageError(f"{env_id} does not take env_kwargs {dict(env_kwargs)}: {one_line(error)}") from error


def env_spec(
    env: Any, *, action_repeat: int = 1, env_kwargs: Mapping[str, Any] | None = None, pixels: int = 0
) -> EnvSpec:
    """What an agent may know of an environment (an id, a class, a function, an object), without stepping it.

    Raises what `source_of` and `make` raise.
    """
    source = source_of(env)
    kwargs = {**(source.env_kwargs or {}), **(env_kwargs or {})}
    options: dict[str, Any] = {"action_repeat": action_repeat, "env_kwargs": kwargs, "pixels": pixels}
    world = make(source.id, seeds=[0], maker=source.maker, **options)
    world.close()
    return world.spec
