"""Making one Gymnasium environment, with every way in which that fails turned into a line and a way out."""

import difflib
import importlib
import importlib.util
import inspect
import math
import os
import re
import sys
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, TypeAlias

import gymnasium
from gymnasium.error import DependencyNotInstalled, DeprecatedEnv, UnregisteredEnv
from gymnasium.wrappers import AtariPreprocessing, TimeLimit

from forethought.envs.display import is_of_mujoco, prepare_drawing
from forethought.envs.functional import FunctionalGym
from forethought.envs.pixels import Pixels
from forethought.errors import EnvironmentFault, ForethoughtError, MissingExtra, UsageError, brief, nearest
from forethought.imports import import_named

_ALE, _ATARI_PIXELS = "ALE/", 84
_ATARI_STEPS = 27_000  # half an hour of play at 60 frames a second, as in all published results

Maker: TypeAlias = Callable[..., Any]  # makes one environment

# Module that is missing -> the word by which messages name it, and the extra that brings it.
_EXTRAS = {
    "mujoco": ("mujoco", "mujoco"),
    "Box2D": ("box2d", "box2d"),
    "ale_py": ("ale_py", "atari"),
    "dm_control": ("dm_control", "dmc"),
    "shimmy": ("shimmy", "dmc"),
    "cv2": ("opencv", "atari"),
    "vizdoom": ("vizdoom", "vizdoom"),
}
_NO_GYMNASIUM = re.compile("inherit from the gymnasium.Env|Gym is incompatible")
# Namespace of environment ids -> the modules that register them when imported.
_PLUGINS = {"ALE": ("ale_py", "cv2"), "dm_control": ("shimmy", "dm_control"), "Vizdoom": ("vizdoom.gymnasium_wrapper",)}


def make_gym_env(
    env_id: str,
    env_kwargs: Mapping[str, Any] | None = None,
    *,
    render: bool = False,
    maker: Maker | None = None,
    pixels: int = 0,
    drawn: bool = True,
) -> gymnasium.Env:
    """Make one Gymnasium environment, without Gymnasium's own checker and its warnings.

    ``env_kwargs`` go to ``gymnasium.make``, or to the ``maker`` that the user has given in its place;
    ``max_episode_steps`` may be one of them. With ``pixels`` above 0 what is seen is a picture of that size, see
    `Pixels`; only one that it gives itself where it is not ``drawn``. Atari's (``ALE/Pong-v5``) come with the usual
    preprocessing, see `_atari`. Raises `UsageError` for an unknown id or unsuitable arguments, `MissingExtra` for a
    dependency that an extra brings, and `EnvironmentFault` where the environment's own constructor fails.
    """
    require_module(env_id)
    shown = render or bool(pixels and drawn)
    import_plugins(env_id, shown)
    kwargs = dict(env_kwargs or {})
    if shown:  # only then: a simple environment need not know the argument
        kwargs["render_mode"] = "rgb_array"
    if pixels:
        kwargs = _drawn_small(env_id, pixels, kwargs)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"gymnasium\.")
            if maker is not None:
                made = _called(maker, env_id, **kwargs)
            elif env_id.startswith(_ALE):
                made = _atari(env_id, pixels, **kwargs)
            else:
                if ":" in env_id:
                    import_named(env_id.partition(":")[0])
                made = gymnasium.make(env_id, disable_env_checker=True, **kwargs)
            return Pixels(made, pixels, env_id) if pixels else made
    except ForethoughtError:
        raise
    except (UnregisteredEnv, DeprecatedEnv) as error:
        raise UsageError(f"there is no environment {brief(env_id)}; {_known(env_id)}") from error
    except (DependencyNotInstalled, ImportError) as error:
        raise missing_dependency(env_id, error) from error
    except gymnasium.error.Error as error:
        raise UsageError(f"{brief(env_id)} cannot be made: {one_line(error)}") from error
    except (Exception, SystemExit) as error:
        if isinstance(error, TypeError) and _NO_GYMNASIUM.search(str(error)):
            raise EnvironmentFault(
                f"{env_id} is no gymnasium.Env; derive its class from that (the old Gym package is another one, "
                "with other values returned from reset and step)"
            ) from error
        if isinstance(error, TypeError) and "render_mode" in str(error):
            if pixels and not render:  # what it gives may be pictures already
                return make_gym_env(env_id, env_kwargs, maker=maker, pixels=pixels, drawn=False)
            raise UsageError(f"{env_id} cannot be filmed: its constructor takes no render_mode") from error
        if isinstance(error, TypeError) and "required" in str(error):
            raise UsageError(
                f"{env_id} needs arguments ({one_line(error)}); pass them as env_kwargs, or a function that needs none"
            ) from error
        if isinstance(error, TypeError) and kwargs:
            raise UsageError(f"{env_id} does not take env_kwargs {brief(kwargs)}: {one_line(error)}") from error
        raise EnvironmentFault(
            f"{env_id} raised {type(error).__name__} while it was made: {one_line(error)}; "
            f"the same happens {'in gymnasium.make' if maker is None else 'without forethought'}"
        ) from error


def _atari(env_id: str, pixels: int, **kwargs: Any) -> gymnasium.Env:
    """A game as Machado et al. 2018 have it: four frames to a step, of which the brighter of the last two is seen pixel
    by pixel, up to 30 steps without action at first, and (the default of these ids) a chance of a quarter that a frame
    repeats the last action. Grey, 84 x 84 (Mnih et al. 2015); with ``pixels`` in colour.

    The emulator skips no frames of its own: then each step would be 16. The time limit is in these steps.
    """
    steps = kwargs.pop("max_episode_steps", _ATARI_STEPS)
    if kwargs.get("frameskip", 1) != 1 or kwargs.get("obs_type", "rgb") not in ("rgb", "grayscale"):
        raise UsageError(f"{env_id} comes as pictures, with four frames to a step; leave out frameskip and obs_type")
    game = gymnasium.make(env_id, disable_env_checker=True, **{**kwargs, "frameskip": 1})
    size = pixels or _ATARI_PIXELS
    seen = AtariPreprocessing(game, frame_skip=4, noop_max=30, screen_size=size, grayscale_obs=not pixels)
    return TimeLimit(seen, steps)


def _drawn_small(env_id: str, pixels: int, own: dict[str, Any]) -> dict[str, Any]:
    """The user's ``own`` arguments, and those with which a picture is drawn at its final size where there are such."""
    if env_id.startswith("dm_control/"):
        small = {"height": pixels, "width": pixels, "camera_id": 0}
        return {**own, "render_kwargs": {**small, **own.get("render_kwargs", {})}}
    return {"width": pixels, "height": pixels, **own} if is_of_mujoco(env_id) else own


def time_limit(env: gymnasium.Env) -> int | None:
    """Steps until an environment truncates its episodes; None where it has no time limit."""
    wrapped = env
    while isinstance(wrapped, gymnasium.Wrapper):
        if isinstance(wrapped, TimeLimit):
            return wrapped._max_episode_steps
        wrapped = wrapped.env
    limit: int | None = env.spec.max_episode_steps if env.spec is not None else None
    return _own_limit(env.unwrapped) if limit is None else limit


def _own_limit(env: gymnasium.Env) -> int | None:
    """Of environments that end their episodes themselves: ours, and those of DeepMind Control."""
    if isinstance(env, FunctionalGym):
        return env.time_limit
    control = getattr(getattr(env, "_env", None), "_step_limit", None)
    return math.ceil(control) if isinstance(control, int | float) and math.isfinite(control) else None


def _called(maker: Maker, env_id: str, *, max_episode_steps: int | None = None, **kwargs: Any) -> gymnasium.Env:
    """What the maker makes, with the time limit that `gymnasium.make` would have set."""
    filmed = "render_mode" in kwargs
    if filmed and not _takes(maker, "render_mode"):
        del kwargs["render_mode"]
    env = maker(**kwargs)
    if not isinstance(env, gymnasium.Env):
        raise UsageError(f"{env_id} made a {type(env).__name__}, which is no gymnasium.Env; derive its class from that")
    if filmed and env.render_mode != "rgb_array":
        raise UsageError(f"{env_id} cannot be filmed: it was not made with render_mode='rgb_array'")
    return env if max_episode_steps is None else TimeLimit(env, max_episode_steps)


def _takes(maker: Maker, argument: str) -> bool:
    try:
        parameters = inspect.signature(maker).parameters.values()
    except (TypeError, ValueError):  # some of those written in C
        return True
    return any(p.name == argument or p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters)


def missing_dependency(env_id: str, error: Exception) -> ForethoughtError:
    """The error to raise where an environment needs a package that is not there."""
    text = one_line(error)
    for module, (word, extra) in _EXTRAS.items():
        # "mujoco" is also a word of other complaints, hence the look at whether the module itself is missing.
        if word in text.lower() and importlib.util.find_spec(module) is None:
            return MissingExtra(env_id, extra)
    module, colon, _ = env_id.partition(":")
    if colon and module not in sys.modules:
        return UsageError(
            f"{env_id}: the module {module!r} cannot be imported ({text.split('. ')[0]}); install it, or go to the "
            "folder that it is in, or put that on PYTHONPATH"
        )
    if "pygame" in text.lower():
        return UsageError(f"{env_id} needs pygame to draw: pip install 'gymnasium[classic-control]'")
    return UsageError(f"{env_id} needs something that is not installed: {text}")


def one_line(error: BaseException) -> str:
    """The text of an exception without line breaks, cut where it is long."""
    return brief(error, 300)


def require_module(env_id: str) -> None:
    """Refuse a file where a module is to be named."""
    module, colon, name = env_id.partition(":")
    if colon and ("/" in module or module.endswith(".py")):
        dotted = module.removesuffix(".py").removeprefix("./").replace("/", ".")
        raise UsageError(f"{module!r} is a file, not a module; write {dotted}:{name}")


def import_plugins(env_id: str, drawn: bool = False) -> None:
    """Import the packages that register ids of this namespace; Gymnasium itself does not look for them.

    Raises `MissingExtra` where one is not installed, `UsageError` where the environment, or a picture of it where it
    is to be ``drawn``, needs a library of this machine that is missing.
    """
    prepare_drawing(env_id, drawn)
    namespace = "Vizdoom" if env_id.startswith("Vizdoom") else env_id.partition("/")[0]
    for module in _PLUGINS.get(namespace, ()):
        try:
            importlib.import_module(module)
        except ImportError as error:
            raise MissingExtra(env_id, _EXTRAS[module.partition(".")[0]][1]) from error
    # Atari's older ids (PongNoFrameskip-v4) have no namespace.
    if env_id not in gymnasium.registry and importlib.util.find_spec("ale_py") is not None:
        with suppress(ImportError):
            importlib.import_module("ale_py")


def _known(env_id: str) -> str:
    """Words on which ids come near; the whole registry would not fit on a line."""
    own_module = env_id.removesuffix(".py")
    place = own_module.replace(".", "/")
    for file in (f"{place}.py", f"{place}/__init__.py"):
        if os.path.isfile(file):  # what it registers only an import would say, and nobody has asked for one
            ways = f"{own_module}:Name-v0 with a name that it registers, or {own_module}:Name with one of a class"
            return f"{file} is a module: write {ways}"
    module, colon, name = env_id.rpartition(":")
    here = vars(sys.modules[module]).items() if module in sys.modules else ()
    classes = [known for known, value in here if isinstance(value, type) and issubclass(value, gymnasium.Env)]
    entries = {env_id: spec.entry_point for env_id, spec in gymnasium.registry.items()}
    # What a module registers is hardly ever one of Gymnasium's own.
    own = {i: str(getattr(entry, "__module__", entry)).startswith("gymnasium.") for i, entry in entries.items()}
    ids = [env_id for env_id in entries if not (colon and own[env_id])]
    close = difflib.get_close_matches(name, [*ids, *classes], n=3, cutoff=0.5)
    if close:
        return nearest(env_id, [f"{module}{colon}{known}" if colon else known for known in close])
    return "gymnasium.pprint_registry() lists the known ones, and 'package.module:Name-v0' imports your own"
