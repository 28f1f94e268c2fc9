"""Where compiled programs are kept from one process to the next."""

import functools
import os
from pathlib import Path
from typing import Any

import jax

from forethought.errors import UsageError

_VARIABLE = "FORETHOUGHT_CACHE"


@functools.cache
def keep_programs() -> None:
    """Keep compiled programs in the user's cache directory; only the first call does anything.

    Nothing is changed where JAX was told a place, or to keep none (``JAX_COMPILATION_CACHE_DIR``, `jax.config`), with
    ``FORETHOUGHT_CACHE=off``, and where nothing can be written. Raises `UsageError` for other words than off.
    """
    word = os.environ.get(_VARIABLE, "")
    if word not in ("", "off"):
        raise UsageError(f"{_VARIABLE} is {word!r}; it takes off, and JAX_COMPILATION_CACHE_DIR takes a directory")
    now: Any = jax.config
    told = "JAX_COMPILATION_CACHE_DIR" in os.environ or now.jax_compilation_cache_dir is not None
    if word == "off" or told or not now.jax_enable_compilation_cache:
        return
    try:
        home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        folder = home / "forethought" / "jax"
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):  # Path.home raises the latter where there is none
        return
    if not os.access(folder, os.W_OK | os.X_OK):
        return
    jax.config.update("jax_compilation_cache_dir", str(folder))
    if "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS" not in os.environ:
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)
