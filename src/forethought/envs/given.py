"""Which environment a user means: an id with or without its version, a class or function, or an object."""

import copy
import pickle
import re
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, NamedTuple

import gymnasium
from gymnasium.envs.registration import EnvSpec, find_highest_version, get_env_id, parse_env_id
from gymnasium.wrappers import TimeLimit

from forethought.envs.catalog import FUNCTIONAL
from forethought.envs.functional import FunctionalEnv
from forethought.envs.gym_make import Maker, import_plugins, missing_dependency, one_line, require_module
from forethought.errors import UsageError
from forethought.imports import import_named
from forethought.names import can_be_found, found_by, name_of

_DMC = "dmc:"
_VERSIONED = re.compile(r"-v\d+$")


class Source(NamedTuple):
    """Where environments come from.

    Attributes:
        id: what the run keeps: an id, ``module:Name`` of a class or function, or a name for people alone.
        maker: what makes one; None where the id says it all.
        env_kwargs: arguments that come with an object; None where the user's own count.
    """

    id: str
    maker: Maker | None = None
    env_kwargs: dict[str, Any] | None = None


def source_of(env: Any) -> Source:
    """The source that is meant by an id, a class, a function or an object.

    Raises `UsageError` for anything else, and for objects that cannot be copied.
    """
    if isinstance(env, Source):
        return env
    if isinstance(env, str):
        return Source(_full_id(full_name(env)))
    if isinstance(env, gymnasium.Env):
        return _of_object(env)
    if _is_functional(env):
        return _of_functional(env)
    if callable(env):
        return Source(name_of(env), env)
    raise UsageError(
        f"{type(env).__name__} is no environment; give an id, a gymnasium.Env, or a class or function that makes one"
    )


def full_name(env_id: str) -> str:
    """The id that Gymnasium knows: of a task of DeepMind Control, ``dmc:walker-walk``, dm_control/walker-walk-v0."""
    return f"dm_control/{env_id.removeprefix(_DMC)}-v0" if env_id.startswith(_DMC) else env_id


def maker_of(env_id: str) -> Maker | None:
    """What makes the environment where the id is the name of a class, a function or an object; None for other ids.

    Raises `UsageError` for a name that leads nowhere.
    """
    module, colon, name = env_id.partition(":")
    if not colon or _VERSIONED.search(name):
        return None
    if module == "__main__" or "(" in name or "<" in name:
        raise UsageError(f"the environment was {env_id}, which no import leads to; pass it again, from Python: env=...")
    require_module(env_id)
    try:
        import_named(module)
    except ImportError as error:
        raise missing_dependency(env_id, error) from error
    if name in gymnasium.registry or not can_be_found(env_id):
        return None
    with suppress(UsageError):  # Gymnasium knows better which ids come near
        found = found_by(env_id)
        if isinstance(found, gymnasium.Env) or _is_functional(found):
            return Copies(found, env_id)
        return found if callable(found) else None
    return None


class Copies:
    """Makes copies of an object, which itself is left as it is."""

    def __init__(self, env: Any, name: str):
        self.name = name
        self.original = self._copy(env)

    def __call__(self) -> Any:
        """One more."""
        return self._copy(self.original)

    def _copy(self, env: Any) -> Any:
        try:
            return copy.deepcopy(env)
        except Exception as error:
            raise UsageError(
                f"{self.name} cannot be copied ({type(error).__name__}: {one_line(error)}), and evaluations play in "
                "environments of their own; give a class, or a function that makes one: lambda: ..."
            ) from error


def _full_id(env_id: str) -> str:
    """With the version that `gymnasium.make` would choose, where there is none; other ids as they are."""
    module, colon, name = env_id.rpartition(":")
    if _VERSIONED.search(name):
        return env_id
    with suppress(Exception):  # what is wrong with an id is said where the environment is made
        if colon:
            require_module(env_id)
            import_named(module)
            if hasattr(sys.modules[module], name):  # a class or function of it; others may have registered its name
                return env_id
        import_plugins(name)
        namespace, plain, version = parse_env_id(name)
        newest = find_highest_version(namespace, plain) if version is None and name not in gymnasium.registry else None
        if newest is not None:
            return f"{module}{colon}{get_env_id(namespace, plain, newest)}"
    return env_id


def _of_object(env: gymnasium.Env) -> Source:
    if type(env) is TimeLimit and env.spec is None:
        inner = _of_object(env.env)
        return inner._replace(env_kwargs={**(inner.env_kwargs or {}), "max_episode_steps": env._max_episode_steps})
    spec = env.spec
    if spec is None or spec.id not in gymnasium.registry or spec.additional_wrappers:
        return _of_plain_object(env)
    kwargs = {name: value for name, value in spec.kwargs.items() if name != "render_mode"}
    if spec.max_episode_steps != gymnasium.registry[spec.id].max_episode_steps:
        kwargs["max_episode_steps"] = spec.max_episode_steps
    module = type(env.unwrapped).__module__
    if not _is_plain(kwargs):
        return _of_plain_object(env)
    if module.partition(".")[0] in ("gymnasium", "forethought") or "/" in spec.id:
        return Source(spec.id, None, kwargs)
    # Its module will have registered it wherever it can be imported.
    return Source(f"{module}:{spec.id}", _Again(spec) if module == "__main__" else None, kwargs)


def _is_functional(thing: Any) -> bool:
    return isinstance(thing, FunctionalEnv) and not isinstance(thing, type)


def _of_functional(env: FunctionalEnv) -> Source:
    known = FUNCTIONAL.get(env.spec.id)
    return Source(env.spec.id, None, {}) if known is not None and known() == env else _of_plain_object(env)


class _Again:
    """Makes what is registered in a script or a notebook."""

    def __init__(self, spec: EnvSpec):
        self.id = spec.id

    def __call__(self, **kwargs: Any) -> gymnasium.Env:
        """One more."""
        return gymnasium.make(self.id, disable_env_checker=True, **kwargs)


def _of_plain_object(env: Any) -> Source:
    """An object as the class that makes it where that takes no arguments, else by copies."""
    kind = type(env)
    if not isinstance(env, gymnasium.Wrapper) and can_be_found(name_of(kind)):
        with suppress(Exception):  # what cannot be pickled, or made without arguments, is copied
            if pickle.dumps(env) == pickle.dumps(kind()):
                return Source(name_of(kind), kind, {})
    name = kind.__name__ + "(...)"
    if isinstance(env, gymnasium.Wrapper):
        inner = env.unwrapped.spec.id if env.unwrapped.spec is not None else type(env.unwrapped).__name__
        name = f"{kind.__name__}({inner})"
    name = f"{kind.__module__}:{name}"
    return Source(name, Copies(env, kind.__name__), {})


def _is_plain(kwargs: Mapping[str, Any]) -> bool:
    """Whether arguments can be kept as JSON."""
    return all(isinstance(value, bool | int | float | str | None) for value in kwargs.values())
