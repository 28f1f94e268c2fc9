import json
import math

import numpy as np
import pytest

from forethought.errors import CheckpointError
from forethought.report import series
from forethought.report.read import read_run, read_runs


def test_reads_what_was_written(tmp_path, write_run):
    run = read_run(write_run(tmp_path / "a", summary={"status": "finished"}))
    assert run.name == "a"
    assert [len(run.of(kind)) for kind in ("eval", "train", "model", "episode", "warning")] == [7, 6, 6, 36, 1]
    assert run.unreadable == ()
    points = series.evaluations(run)
    assert points.values.shape == (7, 3)
    np.testing.assert_allclose(points.values[-1], [-200.0, -190.0, -180.0])
    np.testing.assert_array_equal(points.env_steps, np.arange(7) * 500)
    end = series.final(run)
    assert (end.env_steps, end.episodes) == (3000, 10)
    np.testing.assert_allclose([end.mean, end.iqm, end.low, end.high], [-190.0, -190.0, -200.0, -180.0])
    progress = series.progress(run)
    assert (progress.status, progress.env_steps, progress.updates, progress.wall_s) == ("finished", 3000, 60000, 242.0)


def test_a_half_written_last_line_is_left_out_silently(tmp_path, write_run):
    path = write_run(tmp_path / "a")
    with open(path / "metrics.jsonl", "a") as file:
        file.write('{"kind": "eval", "env_steps": 3500, "ret')
    run = read_run(path)
    assert len(run.of("eval")) == 7
    assert run.unreadable == ()
    assert series.progress(run).status == "unfinished"


def test_a_broken_line_in_the_middle_is_told(tmp_path, write_run):
    path = write_run(tmp_path / "a")
    lines = (path / "metrics.jsonl").read_text().splitlines()
    lines[3] = lines[3][:20]
    (path / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    run = read_run(path)
    assert run.unreadable == (4,)
    assert "line 4" in series.warnings(run)[-1]


def test_a_resumed_run_replaces_what_lay_after_its_checkpoint(tmp_path, write_run):
    path = write_run(tmp_path / "a", evals=7)
    again = {"kind": "eval", "env_steps": 2000, "wall_s": 300.0, "return": [[1.0], [2.0], [3.0]]}
    with open(path / "metrics.jsonl", "a") as file:
        file.write(json.dumps(again) + "\n")
    points = series.evaluations(read_run(path))
    np.testing.assert_array_equal(points.env_steps, [0, 500, 1000, 1500, 2000, 2000])
    np.testing.assert_array_equal(points.values[-1], [1.0, 2.0, 3.0])


def test_what_is_not_finite_stays_nan(tmp_path, write_run):
    path = write_run(tmp_path / "a", evals=2)
    with open(path / "metrics.jsonl", "a") as file:
        file.write('{"kind": "eval", "env_steps": 1000, "wall_s": 90, "return": [[1, null], [NaN], [4, 6]]}\n')
    run = read_run(path)
    np.testing.assert_array_equal(series.evaluations(run).values[-1], [np.nan, np.nan, 5.0])
    assert math.isnan(series.final(run).mean)


def test_a_run_that_has_only_started_is_a_run(tmp_path, write_run):
    path = write_run(tmp_path / "a")
    (path / "metrics.jsonl").unlink()
    run = read_run(path)
    assert series.final(run) is None
    assert series.progress(run).env_steps == 0
    assert series.metric_names(run, "train") == []


def test_equal_names_are_told_apart(tmp_path, write_run):
    runs = read_runs([write_run(tmp_path / "x" / "a"), write_run(tmp_path / "y" / "a"), write_run(tmp_path / "b")])
    assert [run.name for run in runs] == ["x/a", "y/a", "b"]


def test_what_is_no_run_is_refused_in_one_line(tmp_path, write_run):
    (tmp_path / "empty").mkdir()
    write_run(tmp_path / "pendulum")
    broken = write_run(tmp_path / "broken")
    (broken / "config.json").write_text('{"format": 1,')
    newer = write_run(tmp_path / "newer", config={"format": 9})
    for path, match in [
        (tmp_path / "empty", "no config.json"),
        (tmp_path / "pendulun", "did you mean 'pendulum'"),
        (tmp_path / "nowhere" / "at_all", "forethought train"),
        (broken, "is not JSON"),
        (newer, "format 9"),
    ]:
        with pytest.raises(CheckpointError, match=match) as caught:
            read_run(path)
        assert "\n" not in str(caught.value)
