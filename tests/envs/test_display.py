"""How MuJoCo draws without a screen, or why it cannot."""

import os
import subprocess
import sys

import pytest

from forethought.envs import display
from forethought.errors import UsageError

CONTROL, OWN = "dm_control/cartpole-swingup-v0", "HalfCheetah-v5"


@pytest.fixture
def machine(monkeypatch):
    """A machine without a screen that has these libraries, and a user who wants this way of drawing."""

    def make(libraries, way=None):
        for name in ("DISPLAY", "WAYLAND_DISPLAY", "MUJOCO_GL"):
            monkeypatch.delenv(name, raising=False)
        if way is not None:
            monkeypatch.setenv("MUJOCO_GL", way)
        monkeypatch.setattr(display, "_is_there", lambda library: library in libraries)
        monkeypatch.setattr(sys, "platform", "linux")
        return monkeypatch

    return make


@pytest.mark.parametrize(
    ("libraries", "way"),
    [({"OSMesa", "EGL"}, "osmesa"), ({"OSMesa"}, "osmesa"), ({"EGL"}, "egl"), (set(), "disabled")],
)
def test_the_first_way_that_works_is_chosen_before_the_import(machine, libraries, way):
    machine(libraries)
    display.prepare_drawing(CONTROL, drawn=False)
    assert os.environ["MUJOCO_GL"] == way


def test_nothing_is_chosen_where_there_is_a_screen_or_nothing_is_drawn(machine):
    patch = machine(set())
    display.prepare_drawing(OWN, drawn=False)
    patch.setenv("DISPLAY", ":0")
    display.prepare_drawing(CONTROL, drawn=True)
    assert "MUJOCO_GL" not in os.environ


@pytest.mark.parametrize("drawn", [True, False])
@pytest.mark.parametrize(("way", "package"), [("osmesa", "libosmesa6"), ("egl", "libegl1")])
def test_a_library_that_is_missing_is_named_with_its_package(machine, way, package, drawn):
    machine(set(), way)
    with pytest.raises(UsageError, match=rf"needs the library .* \(MUJOCO_GL={way}\): apt-get install {package}"):
        display.prepare_drawing(CONTROL, drawn)
    if drawn:
        with pytest.raises(UsageError, match=package):
            display.prepare_drawing(OWN, drawn)
    else:
        display.prepare_drawing(OWN, drawn)


@pytest.mark.parametrize(
    ("way", "why"), [("glfw", "no screen for a window"), ("off", "no library"), (None, "no library")]
)
def test_what_draws_nothing_is_refused_only_where_pictures_are_asked_for(machine, way, why):
    machine(set(), way)
    display.prepare_drawing(CONTROL, drawn=False)
    for env_id in (CONTROL, OWN):
        with pytest.raises(UsageError, match=f"{env_id} cannot be drawn .*{why}.*apt-get install libosmesa6"):
            display.prepare_drawing(env_id, drawn=True)
    display.prepare_drawing("CartPole-v1", drawn=True)  # which MuJoCo does not draw


def test_a_way_that_nobody_knows(machine):
    machine({"OSMesa"}, "nonsense")
    with pytest.raises(UsageError, match="MUJOCO_GL is 'nonsense'; choose from osmesa, egl"):
        display.prepare_drawing(CONTROL, drawn=False)


def test_gymnasium_draws_these_with_mujoco():
    assert display.is_of_mujoco(OWN)
    assert not display.is_of_mujoco("CartPole-v1")
    assert not display.is_of_mujoco("no/such-v0")


def test_the_command_line_says_it_in_a_line():
    """Before DeepMind Control is imported, so also where it is not installed."""
    command = [sys.executable, "-m", "forethought", "list", "--env", "dmc:cartpole-swingup"]
    headless = {name: value for name, value in os.environ.items() if name not in ("DISPLAY", "WAYLAND_DISPLAY")}
    made = subprocess.run(command, env={**headless, "MUJOCO_GL": "nonsense"}, capture_output=True, text=True)
    assert made.returncode == 2
    assert made.stderr == "error: MUJOCO_GL is 'nonsense'; choose from osmesa, egl, glfw, disabled\n"
