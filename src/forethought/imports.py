"""Code that users name (``module:Env-v0``): where it may come from."""

import importlib
import importlib.util
import json
import os
import sys
from pathlib import Path
from types import ModuleType

from forethought.errors import UsageError


def import_named(name: str) -> ModuleType:
    """Import a module that a user or a run names.

    Raises `UsageError` where it lies in a run directory, from which nothing is ever imported, or what importing raises.
    """
    top = name.partition(".")[0]
    found = None if top in sys.modules else importlib.util.find_spec(top)
    if found is not None:
        for place in (found.origin, *(found.submodule_search_locations or ())):
            run = enclosing_run(Path(place)) if place and os.path.exists(place) else None
            if run is not None:
                raise UsageError(
                    f"{name!r} would be imported from {place}, and nothing is ever imported from a run directory; "
                    "put it elsewhere, and call from the folder that it is in"
                )
    return importlib.import_module(name)


def use_current_folder() -> None:
    """Let modules of the current folder be found, as with ``python -m``, unless it lies in a run directory.

    Installed modules come first: no file that lies there can stand in for one.
    """
    if "" not in sys.path and os.getcwd() not in sys.path and enclosing_run(Path.cwd()) is None:
        sys.path.append("")


def leave_run_folder() -> None:
    """Forget the current folder, where ``python -m`` looks for modules, if it lies in a run directory."""
    if enclosing_run(Path.cwd()) is not None:
        sys.path[:] = [place for place in sys.path if Path(place or ".").resolve() != Path.cwd().resolve()]


def enclosing_run(place: Path) -> Path | None:
    """The run directory that a file or folder lies in; None where it lies in none."""
    resolved = place.resolve()
    return next((folder for folder in (resolved, *resolved.parents) if _is_run(folder)), None)


def _is_run(folder: Path) -> bool:
    config = folder / "config.json"
    try:
        described = json.loads(config.read_bytes()) if config.is_file() else None
    except (OSError, ValueError, RecursionError):
        return (folder / "checkpoints").is_dir()  # a damaged run is one too
    return isinstance(described, dict) and {"format", "algorithm", "env"} <= described.keys()
