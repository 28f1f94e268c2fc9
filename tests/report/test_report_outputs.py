import json

import numpy as np
import pytest

from forethought.report import outputs, series, tables
from forethought.report.html import write_report
from forethought.report.read import read_run
from forethought.runs import model_errors


@pytest.fixture
def run(tmp_path, write_run):
    """Two fits of two seeds; the second observation is noise."""
    path = write_run(tmp_path / "a", seeds=2)
    records = [
        {"kind": "model", "env_steps": 500 * i, "holdout_mse_outputs": [[r, 0.01, 1.1], [2 * r, 0.02, 1.3]]}
        for i, r in ((1, 0.5), (2, 0.125))
    ]
    played = {"kind": "baselines", "env_steps": 0, "random actions": {"mean": -900.5, "error": 3.0, "action": None}}
    played["best constant action"] = {"mean": -700.25, "error": 3.0, "action": [4.8]}
    with open(path / "metrics.jsonl", "a") as file:
        file.writelines(json.dumps(record) + "\n" for record in [*records, played])
    return path


def test_errors_are_read_per_output(run):
    found = outputs.errors(read_run(run))
    assert found is not None
    assert found.labels == ("reward", "observation 0", "observation 1")
    np.testing.assert_allclose(found.values[-1].mean(axis=0), [0.1875, 0.015, 1.2])
    assert outputs.last_errors(found) == [
        ("reward", "0.1875", "0.25"),
        ("observation 0", "0.015", "0.02"),
        ("observation 1", "1.2", "1.3"),
    ]
    drawn = outputs.over_training(found)
    assert [line.name for line in drawn.data] == ["reward", "observation 0", "observation 1"]
    np.testing.assert_allclose(drawn.data[0].y, [0.75, 0.1875])


def test_outputs_have_the_names_of_the_run(tmp_path, run, write_run):
    path = write_run(tmp_path / "named", config={"spaces": {"obs_names": ["room", "hour"]}})
    (path / "metrics.jsonl").write_text((run / "metrics.jsonl").read_text())
    found = outputs.errors(read_run(path))
    assert found is not None
    assert found.labels == ("reward", "room", "hour")
    assert model_errors(path) == {
        "error of reward": "0.188 of its variance, held out",
        "error of observations": "0.015 (room) to 1.2 (hour) of the variance of their change",
    }


def test_the_command_of_an_extended_run_has_its_extension(tmp_path, write_run):
    path = write_run(tmp_path / "longer", config={"command": "train --steps 2", "extended_by": ["resume --steps 3"]})
    page = write_report([path], path / "report.html").read_text()
    assert "<pre>train --steps 2\nresume --steps 3</pre>" in page


def test_of_many_observations_the_worst_are_shown(tmp_path, write_run):
    path = write_run(tmp_path / "many", seeds=1)
    record = {"kind": "model", "env_steps": 500, "holdout_mse_outputs": [[0.3, *np.linspace(0.0, 1.0, 40)]]}
    with open(path / "metrics.jsonl", "a") as file:
        file.write(json.dumps(record) + "\n")
    many = outputs.errors(read_run(path))
    assert many is not None
    assert outputs.shown(many) == [0, *range(29, 41)]
    assert [label for label, _ in outputs.last_errors(many)] == ["reward", *(f"observation {i}" for i in range(28, 40))]
    assert "28 more observations" in write_report([path], path / "report.html").read_text()


def test_the_report_has_baselines_and_every_output(run):
    page = write_report([run], run / "report.html").read_text()
    assert "Output by output" in page
    rows = {what: returns for what, _, returns, _ in tables.standings(read_run(run))}
    assert rows["Random actions"] == "−900.5 [−906.4, −894.6]"  # 1.96 standard errors
    assert rows["Best constant action [4.8]"].startswith("−700.2")
    assert not any("Best evaluation" in what for what in rows)  # it is the newest one
    assert all(text in page for cells in rows.items() for text in cells)
    # One number per seed and output is no metric with a number per seed.
    assert "holdout_mse_outputs" not in series.metric_names(read_run(run), "model")


def test_the_best_evaluation_of_each_seed_stands_beside_the_newest(run):
    """A third evaluation in which only the first seed is better."""
    with open(run / "metrics.jsonl", "a") as file:
        file.write(json.dumps({"kind": "eval", "env_steps": 9000, "return": [[-100.0], [-500.0]]}) + "\n")
    best = series.best(read_run(run))
    assert best is not None
    assert best.per_seed == (-100.0, -190.0)
    assert best.env_steps == 9000
    what, _, returns, _ = tables.standings(read_run(run))[2]
    assert what.startswith("Best evaluation of each seed")
    assert returns.startswith("−145")


def test_a_run_without_such_a_model_has_none(tmp_path, write_run):
    assert outputs.errors(read_run(write_run(tmp_path / "a", model=False))) is None
