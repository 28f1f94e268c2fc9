"""The measurements themselves, on numbers that are known."""

import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import learning
from benchmarks.measure import Timing, timed
from benchmarks.tasks.common import standard_error
from benchmarks.tasks.continuous import around, first_reached
from benchmarks.tasks.tabular import read_reference
from benchmarks.workloads import replay_add, replay_images, train_sac
from benchmarks.workloads.mbpo_end_to_end import spent_between
from benchmarks.workloads.plan_cem import CONFIG, gflop_of, time_decisions
from benchmarks.workloads.setting import MODEL_SIZES, POLICY_SIZES, full_replay, multiply_adds
from forethought.agents.control.pets import PETSConfig
from forethought.planning.cem import CEM


def test_shares_of_the_peak():
    timing = Timing(seconds=(2.0, 1.0, 4.0), peaks=(10.0, 20.0, 10.0, 5.0))
    assert timing.share(10.0) == 0.5  # 10 GFLOP/s against 20
    assert timing.paired_share(10.0) == pytest.approx(0.25)  # of 5/20, 10/20 and 2.5/10
    described = timing.described(10.0, units=5)
    assert described["seconds_best"] == 0.2
    assert described["gflop"] == 2.0
    assert described["gflop_per_s"] == 10.0


def test_every_repeat_does_work_of_its_own():
    seen = []
    timing = timed(lambda i: jnp.array(seen.append(i) or i), 3)
    assert seen == [0, 1, 2, 3, 4]
    assert len(timing.seconds) == 3
    assert len(timing.peaks) == 4
    assert min(timing.peaks) > 0


def test_the_count_of_the_rollouts_is_41_gflop():
    per_start = multiply_adds(MODEL_SIZES) + multiply_adds(POLICY_SIZES)
    assert per_start == 132_000 + 72_960
    assert 2 * per_start * 100_000 / 1e9 == pytest.approx(41, rel=0.001)


def test_the_count_of_a_decision_is_129_gflop():
    assert multiply_adds((5, 200, 200, 200, 200, 11)) == 123_200
    assert gflop_of(CONFIG) == pytest.approx(2 * 123_200 * 350 * 5 * 20 * 15 / 1e9)
    assert gflop_of(CONFIG) == pytest.approx(129.36)


@pytest.mark.slow
def test_decisions_are_timed_in_a_row():
    config = PETSConfig(model_hidden=(8,), horizon=2, particles=5, search=CEM(population=8, elites=2, iterations=1))
    timing = time_decisions(config, 2, per_repeat=3)
    assert len(timing.seconds) == 2
    assert timing.best > 0


def test_the_replay_of_the_workloads_is_full():
    replay = full_replay(50)
    assert replay.rows.obs.shape == (1, 100, 17)
    assert int(replay.size) == int(replay.capacity) == 50


def test_time_outside_of_learning():
    def record(step, wall, **seconds):
        return {"kind": "train", "env_steps": step, "wall_s": wall, "seconds": seconds}

    begin = record(500, 10.0, compile=4.0, update=1.0, env=0.5)
    end = record(1500, 115.0, compile=6.0, evaluate=3.0, update=81.0, fit_model=10.0, env=5.5)
    spent = spent_between([begin, {"kind": "eval", "env_steps": 500}, end], 500, 1500, ("update", "fit_model"))
    assert spent["steps"] == 1000
    assert spent["seconds"] == 105 - 2 - 3
    assert spent["other_share"] == pytest.approx(0.1)


@pytest.mark.slow
def test_the_windows_of_train_sac_are_as_many_and_as_long_as_they_are_said_to_be():
    spent = train_sac._ours(20, 2)
    assert [window["steps"] for window in spent] == [20, 20]
    for window in spent:
        assert window["seconds"] > 0
        assert set(train_sac.LEARNING) <= window["seconds_by_kind"].keys()
        assert "compile" not in window["seconds_by_kind"]


def test_adding_to_the_replay_is_measured():
    result = replay_add.run(True)
    assert result.partial
    assert result.checks[0].value > 0


def test_the_memory_and_the_saves_of_images_are_measured():
    memory, written, _ = replay_images.run(True).checks
    assert 0.127 < memory.value < 0.15  # a hundredth of the rows, and room for at least 1,000 episodes
    assert 12.3 < written.value < 12.6


def test_the_reference_of_the_maze_has_fifty_episodes():
    reference = read_reference()
    assert [len(reference[n]) for n in (0, 50)] == [50, 50]
    assert reference[0][2] == (738.6, 50.04)


def test_the_standard_error_is_that_of_the_mean():
    assert standard_error(np.array([[1.0, 3.0, 5.0, 7.0]])) == pytest.approx(np.sqrt(20 / 3) / 2)


def test_when_the_greatest_return_is_reached_and_whether_it_is_kept():
    points = {"env_steps": [0, 250, 500, 750], "returns": [[10, 10], [1000, 50], [900, 60], [1000, 70]]}
    reached = first_reached(points)
    assert reached["first_step"] == [250, None]
    assert reached["share_kept"] == [pytest.approx(2 / 3), None]
    assert list(reached["held_at_the_end"]) == [True, False]


def test_a_point_of_a_curve_is_an_average_around_it():
    points = {"env_steps": [0, 48_000, 50_000, 52_000, 54_000], "returns": [[0.0], [1.0], [2.0], [6.0], [100.0]]}
    assert around(points, 50_000) == 3.0
    assert around(points, 75_000) is None


def test_fewer_seeds_or_steps_than_the_target_asks_for_are_partial():
    assert not learning.is_partial("sac_pendulum", None, None)
    assert learning.is_partial("sac_pendulum", 2, None)
    assert learning.is_partial("sac_pendulum", None, 100)
    assert not learning.is_partial("mbpo_hopper", None, 50_000)


@pytest.mark.slow
def test_a_learning_benchmark_is_trained_once(tmp_path, capsys):
    asked = ["blocking_maze", "--seeds", "2", "--steps", "1000", "--runs", str(tmp_path / "runs")]
    asked += ["--json", str(tmp_path / "found.json")]
    assert learning.main(asked) == 0
    first = capsys.readouterr().out
    assert "going on" not in first
    assert learning.main(asked) == 0
    assert "its result is in" in capsys.readouterr().out
    assert learning.main([*asked, "--again"]) == 0
    assert "compiling" not in capsys.readouterr().out  # the runs are there


def test_a_shortened_run_needs_a_place_of_its_own(capsys):
    with pytest.raises(SystemExit):
        learning.main(["sac_pendulum", "--steps", "10"])
    assert "--json" in capsys.readouterr().err
