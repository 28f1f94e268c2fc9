"""Environments in processes of their own do what they do in this one, to the last bit."""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time

import gymnasium
import jax
import numpy as np
import pytest

import forethought
from forethought.envs import make
from forethought.errors import EnvironmentFault, UsageError

FAULTY = "tests.training.faulty:Faulty-v0"
SLOTS = {"seeds": [0, 1, 2], "envs_per_seed": 2}


def rolled(env, steps, seed=0):
    rng = np.random.default_rng(seed)
    return [env.step(rng.uniform(-1.0, 1.0, (env.num_slots, 1)).astype(np.float32)) for _ in range(steps)]


def same(left, right):
    jax.tree.map(np.testing.assert_array_equal, left, right)


@pytest.fixture(scope="module")
def here():
    env = make("Pendulum-v1", **SLOTS)
    env.reset()
    rolled(env, 50)
    state = env.get_state()
    return rolled(env, 180, seed=1), state  # beyond the end of the episodes


@pytest.mark.parametrize("workers", [2, 4, 9])
def test_the_number_of_processes_changes_no_bit(here, workers):
    steps, state = here
    env = make("Pendulum-v1", workers=workers, **SLOTS)
    env.reset()
    rolled(env, 50)
    same(env.get_state(), state)
    same(rolled(env, 180, seed=1), steps)
    now, notes = env.set_state(state)
    assert notes == []
    same(now.obs, state["obs"])
    same(rolled(env, 180, seed=1), steps)
    env.close()
    env.close()


@pytest.mark.parametrize(
    ("fault", "said"), [("raises", "raised RuntimeError .the motor is too hot"), ("exits", "SystemExit")]
)
def test_a_fault_has_happened_in_none_and_is_named_with_its_place(fault, said):
    """Both environments of a process reach their third step together; what is saved is the moment before it."""
    env = make(FAULTY, env_kwargs={"fault": fault, "at": 3}, seeds=[5], envs_per_seed=4, workers=2)
    env.reset()
    rolled(env, 2)
    before = env.get_state()
    with pytest.raises(EnvironmentFault, match=f"{said}.* at step 3 of episode 0 in environment 0 of seed 5"):
        rolled(env, 1)
    same(env.get_state(), before)
    env.close()


def test_what_makes_environments_may_be_a_function_without_a_name():
    env = make("mine", seeds=[0, 1], workers=2, maker=lambda: gymnasium.make("Pendulum-v1", g=1.0))
    other = make("mine", seeds=[0, 1], maker=lambda: gymnasium.make("Pendulum-v1", g=1.0))
    for world in (env, other):
        world.reset()
    same(rolled(env, 20), rolled(other, 20))
    env.close()


def test_a_process_that_dies_is_a_fault_and_can_be_closed():
    env = make("Pendulum-v1", seeds=[0, 1], workers=2)
    env.reset()
    before = env.get_state()
    process = env._bodies._vector.processes[1]
    process.kill()
    process.join()
    with pytest.raises(EnvironmentFault, match="a process that steps environments has ended by itself"):
        rolled(env, 1)
    same(env.get_state(), before)
    env.close()
    assert not any(process.is_alive() for process in env._bodies._vector.processes)


def test_an_environment_that_cannot_be_made_in_a_process_is_a_fault():
    """The second of each process: also the first one, which could be made, has not begun then."""
    made = []

    def maker():
        made.append(1)
        if len(made) == 2 and multiprocessing.parent_process() is not None:
            raise OSError("the port is taken")
        return gymnasium.make("Pendulum-v1")

    env = make("mine", seeds=[0], envs_per_seed=4, workers=2, maker=maker)
    with pytest.raises(EnvironmentFault, match=r"cannot be made in another process .*the port is taken"):
        env.reset()
    env.close()


def test_what_cannot_be_sent_is_refused():
    lock = threading.Lock()
    with pytest.raises(UsageError, match=r"the processes of --workers could not begin .*pickle.*__main__") as error:
        make("mine", seeds=[0, 1], workers=2, maker=lambda: lock and gymnasium.make("Pendulum-v1"))
    assert "\n" not in str(error.value)


def test_what_is_written_in_jax_needs_none():
    with pytest.raises(UsageError, match=r"forethought/Pendulum-v0 is written in JAX .* leave out --workers"):
        make("forethought/Pendulum-v0", seeds=[0], workers=2)


@pytest.mark.slow
def test_a_script_without_a_guard_is_told_of_it(tmp_path):
    script = tmp_path / "unguarded.py"
    script.write_text("from forethought.envs import make\nmake('Pendulum-v1', seeds=[0, 1], workers=2)\n")
    ended = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=False, timeout=120)
    assert ended.returncode != 0
    assert "must stand below `if __name__ == '__main__':`" in ended.stderr


def is_gone(group, seconds=30):
    """Whether no process of a group is left, after a while at most."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False


@pytest.mark.slow
def test_ctrl_c_in_a_terminal_saves_and_leaves_no_process(tmp_path):
    """A terminal sends it to the whole group: the processes of the environments must not end before the save."""
    run = tmp_path / "run"
    words = ["train", "sac", "Pendulum-v1", "--steps", "100000", "--num-envs", "4", "--workers", "2", "--run", str(run)]
    settings = ["--agent.hidden", "8", "--agent.batch-size", "8", "--agent.random-steps", "8", "--no-baselines"]
    process = subprocess.Popen(
        [sys.executable, "-m", "forethought", *words, *settings],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    assert any(line.startswith("step ") for line in iter(process.stdout.readline, ""))
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 130
    assert said.startswith("stopped by Ctrl-C and saved at step ")
    assert len(said.splitlines()) == 1
    assert is_gone(process.pid)
    went_on = forethought.resume(run, steps=None, callback=lambda line: True)
    assert went_on.summary["status"] == "stopped"
