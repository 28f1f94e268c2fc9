"""Code that a run names is imported at the user's word alone, and never from inside a run."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace

import pytest

import forethought
from forethought.cli import main
from forethought.errors import CheckpointError, UsageError
from forethought.training.config import RunConfig
from forethought.training.evaluate import make_world
from forethought.training.rundir import RunDir
from tests.training.short_runs import edit

PAYLOAD = """
import pathlib
pathlib.Path({marker!r}).write_text("executed")
import gymnasium
gymnasium.register("Env-v0", entry_point="gymnasium.envs.classic_control:PendulumEnv", max_episode_steps=5)
"""


@pytest.fixture
def received(finished, tmp_path, monkeypatch):
    """(a run that names a module, the marker that the module would leave); the module lies in the run."""
    run, marker = shutil.copytree(finished, tmp_path / "received"), tmp_path / "executed"
    edit(run, env="payload_of_a_run:Env-v0", env_spec__id="payload_of_a_run:Env-v0")
    (run / "payload_of_a_run.py").write_text(PAYLOAD.format(marker=str(marker)))
    monkeypatch.chdir(run)
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p])
    yield run, marker
    sys.modules.pop("payload_of_a_run", None)


@pytest.mark.parametrize("command", [["eval", "."], ["resume", ".", "--steps", "90"], ["diagnose", "."]])
def test_nothing_is_imported_from_a_run_that_was_received(received, capsys, command):
    _, marker = received
    assert main(command) == 2
    said = capsys.readouterr().err
    assert "names code (payload_of_a_run:Env-v0) and was not made here" in said
    assert "--trust" in said
    assert said.count("\n") == 1
    assert main([*command, "--trust"]) == 2  # where the user trusts it, the module has to lie elsewhere
    assert "cannot be imported" in capsys.readouterr().err
    assert not marker.exists()


def test_python_itself_finds_nothing_in_a_run(received, monkeypatch):
    """Neither ``python -m`` nor a path that leads there makes an exception."""
    run, marker = received
    command = [sys.executable, "-m", "forethought", "eval", ".", "--trust"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    monkeypatch.syspath_prepend(run)
    with pytest.raises(UsageError, match="nothing is ever imported from a run directory"):
        forethought.evaluate(run, trust=True)
    with pytest.raises(UsageError, match="names code"):
        forethought.evaluate(run)
    assert not marker.exists()
    assert forethought.load(run)([0, 5]).shape == (2,)  # a policy needs no environment, and so no word


def test_the_word_of_the_user_lets_a_module_be_imported(received, tmp_path, monkeypatch):
    run, marker = received
    (run / "payload_of_a_run.py").rename(tmp_path / "payload_of_a_run.py")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(CheckpointError, match="has the obs"):  # it was imported, and is a pendulum instead of a maze
        forethought.evaluate(run, trust=True)
    assert marker.read_text() == "executed"


def test_a_run_is_known_where_it_was_made_as_it_was_made(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    config = RunConfig("sac", "mine:Env-v0", 100, env_kwargs={"gain": 0.1})
    world = make_world(RunConfig("sac", "Pendulum-v1", 100), [0])
    run = RunDir.create(tmp_path / "run", config, {}, replace(world.spec, id="mine:Env-v0"), world.codec)
    key = tmp_path / "state" / "forethought" / "key"
    assert key.stat().st_mode & 0o777 == 0o600
    assert run.require_world().made_here
    run.extend(200)
    assert run.require_world().config.steps == 200
    (tmp_path / "run").rename(tmp_path / "moved")  # it stays one of this user's
    moved = RunDir.open(tmp_path / "moved")
    assert moved.require_world().made_here
    edit(moved.path, env_kwargs={"gain": 0.2})
    with pytest.raises(UsageError, match=r"names code \(mine:Env-v0\)"):
        moved.require_world()
    assert not moved.require_world(trust=True).made_here
    extended_by = json.loads(moved.config_path.read_text())["extended_by"]
    moved.extend(300)  # trust is not lent to the file
    with pytest.raises(UsageError, match="--trust"):
        moved.require_world()
    edit(moved.path, env_kwargs={"gain": 0.1}, steps=200, extended_by=extended_by)
    assert moved.require_world().made_here
    key.write_bytes(b"")
    with pytest.raises(UsageError, match="was not made here"):
        moved.require_world()
