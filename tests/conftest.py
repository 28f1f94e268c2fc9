"""What every test shares: a cache of compiled programs that outlives the session, and where runs are made."""

import os
from pathlib import Path

import jax

# Most of the time of a first run goes into compiling; a second one finds the programs here.
_CACHE = Path(os.environ.get("FORETHOUGHT_TEST_CACHE", Path.home() / ".cache" / "forethought-tests"))
os.environ["XDG_STATE_HOME"] = str(_CACHE / "state")  # what tells a run made here from others, also in subprocesses
jax.config.update("jax_compilation_cache_dir", str(_CACHE))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
