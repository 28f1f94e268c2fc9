"""What users hand over from Python instead of naming it: noted by name when a run begins, and taken again later."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from forethought.agents.ensemble import Known
from forethought.envs import source_of
from forethought.errors import UsageError
from forethought.models.taught import Function, Taught, What
from forethought.names import name_of
from forethought.training.config import RunConfig
from forethought.types import Box, EnvSpec, is_vector


def named(what: What, function: Function) -> tuple[str | None, Callable[..., Any] | None]:
    """The name of a function and the function itself, of which only the first is known where a name is given.

    Raises `UsageError` for what is neither.
    """
    if function is None:
        return None, None
    if callable(function):
        return name_of(function), function
    if isinstance(function, str) and ":" in function:
        return function, None
    raise UsageError(f"{what} is {function!r}; give a function, or module:function")


def with_given(
    config: RunConfig, *, env: Any = None, reward: Function = None, termination: Function = None
) -> RunConfig:
    """The config of an earlier run with what is handed over again, for what its names may not lead to.

    Raises `UsageError` for what is no environment or no function.
    """
    if env is not None:
        source = source_of(env)
        kwargs = config.env_kwargs if source.env_kwargs is None else source.env_kwargs
        config = replace(config, given=config.given._replace(env=source.maker), env_kwargs=kwargs)
        config = config if source.maker else replace(config, env=source.id)
    return _with_function(_with_function(config, "reward", reward), "termination", termination)


def known(config: RunConfig, spec: EnvSpec) -> Known:
    """The functions that the agent of a run is given, which are imported and tried when they are needed."""

    def function(what: What) -> Taught | None:
        name, held = getattr(config, what), getattr(config.given, what)
        return None if name is None else Taught(what, name, held, spec)

    if not is_vector(spec.obs) or not isinstance(spec.action, Box):
        return Known()
    return Known(function("reward"), function("termination"))


def _with_function(config: RunConfig, what: What, function: Function) -> RunConfig:
    if function is None:
        return config
    if getattr(config, what) is None:
        raise UsageError(f"the run was made without a {what} function: its model has learned it; leave out {what}=")
    name, held = named(what, function)
    changed: dict[str, Any] = {"given": config.given._replace(**{what: held})} if held else {what: name}
    return replace(config, **changed)
