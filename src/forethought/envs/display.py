"""How pictures are drawn where there is no screen: chosen before anything that draws is imported, which looks once."""

import ctypes.util
import os
import sys
import tempfile
from functools import cache

import gymnasium

from forethought.errors import UsageError, brief

# MuJoCo's ways of drawing without a screen: the library that each needs, and the Debian package that brings it.
_LIBRARIES = {"osmesa": ("OSMesa", "libosmesa6"), "egl": ("EGL", "libegl1")}
_WINDOW = ("glfw", "on", "enable", "enabled", "true", "1", "")
_NONE = ("off", "disable", "disabled", "false", "0")
_WAY_OUT = "apt-get install libosmesa6 and MUJOCO_GL=osmesa draw on any processor, MUJOCO_GL=egl draws on a GPU"


def prepare_drawing(env_id: str, drawn: bool) -> None:
    """Choose ways of drawing that need no screen, where there is none and the user has not chosen.

    Environments of DeepMind Control load what draws when they are imported, others when they are ``drawn``. Raises
    `UsageError` where MuJoCo's way (``MUJOCO_GL``) cannot work: it would abort the program.
    """
    of_control = env_id.startswith("dm_control/")
    if not (drawn or of_control) or _has_screen():
        return
    os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
    os.environ.setdefault("SDL_AUDIODRIVER", "dummy")  # ALSA complains aloud where there is no sound card
    os.environ.setdefault("XDG_RUNTIME_DIR", tempfile.gettempdir())  # SDL complains aloud where it is missing
    if "MUJOCO_GL" not in os.environ:
        os.environ["MUJOCO_GL"] = next((way for way, needs in _LIBRARIES.items() if _is_there(needs[0])), "disabled")
    if of_control or is_of_mujoco(env_id):
        _require_mujoco_gl(env_id, drawn)


def _require_mujoco_gl(env_id: str, drawn: bool) -> None:
    way = os.environ.get("MUJOCO_GL", "").lower().strip()
    if way in _LIBRARIES:
        library, package = _LIBRARIES[way]
        if not _is_there(library):
            without = "" if drawn else ", or without pictures MUJOCO_GL=disabled"
            raise UsageError(
                f"{env_id} needs the library {library} to draw (MUJOCO_GL={way}): apt-get install {package}{without}"
            )
    elif way not in _WINDOW + _NONE:
        raise UsageError(f"MUJOCO_GL is {brief(way)}; choose from osmesa, egl, glfw, disabled")
    elif drawn:
        why = "there is no screen for a window" if way in _WINDOW else "no library to draw with was found or chosen"
        raise UsageError(f"{env_id} cannot be drawn (MUJOCO_GL={way}): {why}; {_WAY_OUT}")


def is_of_mujoco(env_id: str) -> bool:
    """Whether Gymnasium's own drawing of MuJoCo shows this environment."""
    known = gymnasium.registry.get(env_id)
    return known is not None and str(known.entry_point).startswith("gymnasium.envs.mujoco")


@cache
def _is_there(library: str) -> bool:
    return ctypes.util.find_library(library) is not None


def _has_screen() -> bool:
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")) or sys.platform != "linux"
