"""Compiled programs are kept between processes, unless somebody has said otherwise."""

import os
import subprocess
import sys
from pathlib import Path

import jax
import pytest

from forethought.compilation import keep_programs
from forethought.errors import UsageError

OPTION = "jax_compilation_cache_dir"


@pytest.fixture
def choice(monkeypatch, tmp_path):
    """What is chosen by a process that JAX and the environment tell nothing, under these variables."""
    names = ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs")
    before = {name: getattr(jax.config, name) for name in names}
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for name in ("JAX_COMPILATION_CACHE_DIR", "FORETHOUGHT_CACHE"):
        monkeypatch.delenv(name, raising=False)

    def choose(told=None, **variables):
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        jax.config.update(OPTION, told)
        keep_programs.__wrapped__()
        return jax.config.jax_compilation_cache_dir

    yield choose
    for name, value in before.items():
        jax.config.update(name, value)


def test_programs_are_kept_in_the_users_cache(choice, tmp_path):
    assert choice() == str(tmp_path / "forethought" / "jax")
    assert jax.config.jax_persistent_cache_min_compile_time_secs == 0.2


def test_what_somebody_has_said_stands(choice):
    assert choice(FORETHOUGHT_CACHE="off") is None
    assert choice("/elsewhere", FORETHOUGHT_CACHE="") == "/elsewhere"
    assert choice(JAX_COMPILATION_CACHE_DIR="") is None
    with pytest.raises(UsageError, match=r"FORETHOUGHT_CACHE is '0'; it takes off"):
        choice(FORETHOUGHT_CACHE="0")


def test_a_home_that_cannot_be_written_is_no_fault(choice, tmp_path):
    (tmp_path / "file").write_text("")
    assert choice(XDG_CACHE_HOME=str(tmp_path / "file")) is None


_USE = """
import sys, warnings
import forethought
assert "jax" not in sys.modules
warnings.simplefilter("error")
import jax, gymnasium
jax.jit(lambda x: x + 1)(1.0)
assert jax.config.jax_compilation_cache_dir is None
spaces = gymnasium.spaces.Discrete(3), gymnasium.spaces.Discrete(2)
forethought.start("dyna-q", *spaces, run=sys.argv[1], steps=9)
"""


def test_from_python_too_and_not_before_it_is_needed(tmp_path):
    """Also where JAX has compiled something before."""
    env = {k: v for k, v in os.environ.items() if k not in ("JAX_COMPILATION_CACHE_DIR", "FORETHOUGHT_CACHE")}
    env |= {"XDG_CACHE_HOME": str(tmp_path), "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    subprocess.run([sys.executable, "-c", _USE, tmp_path / "run"], env=env, check=True, timeout=300)
    assert list(Path(tmp_path, "forethought", "jax").glob("jit_*"))
