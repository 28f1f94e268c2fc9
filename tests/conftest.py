"""What every test shares: a cache of compiled programs that outlives the session, where runs are made, other seeds.

``FORETHOUGHT_TEST_SEED=1 pytest -m learned`` draws everything anew: what is asserted of something learned or searched
must hold for other seeds than those it was written with, as for other instruction sets
(``XLA_FLAGS=--xla_cpu_max_isa=AVX2``).
"""

import os
from pathlib import Path

import jax
import numpy as np
import pytest

# Most of the time of a first run goes into compiling, of programs that run once or twice: a compiler that tries less
# hard costs less than its better code would save. Processes that tests start inherit it. (Without fusion emitters JAX
# 0.10 compiles in half of the time, and with the least optimization besides makes NaN of SAC's gradients.)
_EFFORT = "--xla_backend_optimization_level"
if _EFFORT not in os.environ.get("XLA_FLAGS", ""):
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {_EFFORT}=1".strip()

# A second run finds the programs here.
_CACHE = Path(os.environ.get("FORETHOUGHT_TEST_CACHE", Path.home() / ".cache" / "forethought-tests"))
os.environ["XDG_STATE_HOME"] = str(_CACHE / "state")  # what tells a run made here from others, also in subprocesses
jax.config.update("jax_compilation_cache_dir", str(_CACHE))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


@pytest.hookimpl(tryfirst=True)  # before fixtures compile anything
def pytest_runtest_setup(item):
    """Only what is learned runs long enough for more than the least optimization to pay."""
    least = item.get_closest_marker("learned") is None
    jax.config.update("jax_disable_most_optimizations", least)
    os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = str(int(least))  # what a process of the test rounds, it rounds alike


_SHIFT = 1000 * int(os.environ.get("FORETHOUGHT_TEST_SEED", 0))


@pytest.fixture(autouse=_SHIFT > 0, scope="session")
def other_seeds():
    """Every seed is another one, of the library's keys as well as of the numbers that a test draws while it runs."""
    key, default_rng = jax.random.key, np.random.default_rng
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jax.random, "key", lambda seed, **kwargs: key(seed + _SHIFT, **kwargs))
        patch.setattr(np.random, "default_rng", lambda seed=None: default_rng(_shifted(seed)))
        yield


def _shifted(seed):
    return seed + _SHIFT if isinstance(seed, int) else seed


@pytest.fixture(autouse=True, scope="module")
def _forget_programs():
    """Compiled programs are of use within one file; those of all files together are gigabytes."""
    yield
    jax.clear_caches()
