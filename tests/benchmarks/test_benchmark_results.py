"""What benchmarks write, and the page and the picture made of it."""

import json
from dataclasses import asdict

import numpy as np
import pytest

from benchmarks import results, scores, tables
from benchmarks.results import Check, Result
from benchmarks.tasks import TASKS
from benchmarks.workloads import WORKLOADS


def example(value: float | None, *, partial: bool = False) -> Result:
    check = Check("share of the peak", value, 50, "%")
    return Result("sac_update", "speed", "SAC update", (check,), {"a": np.float32(1.5)}, "command", partial)


@pytest.mark.parametrize(
    ("value", "sense", "met"),
    [
        (2.0, "at least", True),
        (1.9, "at least", False),
        (2.0, "at most", True),
        (2.1, "at most", False),
        (2.0, "more than", False),
        (2.1, "more than", True),
        (float("nan"), "at most", False),
        (None, "at least", None),
    ],
)
def test_a_check_knows_whether_it_is_met(value, sense, met):
    assert Check("x", value, 2.0, "s", sense).met is met


def test_a_shortened_run_meets_no_target():
    assert example(60.0).met
    assert not example(60.0, partial=True).met
    assert not example(None).met


def test_results_survive_the_file(tmp_path):
    kept = results.stamped(example(43.1))
    results.write(tmp_path / "a.json", [kept])
    assert results.read(tmp_path / "a.json") == [kept]
    assert kept["details"] == {"a": 1.5}
    assert kept["checks"][0]["met"] is False
    assert kept["machine"]["cores"] >= 1
    assert "jax" in kept["versions"]


def test_the_newest_result_counts(tmp_path):
    for name, value, date in (("b", 51.0, "2030-01-02"), ("a", 49.0, "2030-01-01")):
        results.write(tmp_path / f"{name}.json", [results.stamped(example(value), date)])
    newest = results.read_folder(tmp_path)
    assert newest["speed", "sac_update"]["checks"][0]["value"] == 51.0


def test_numbers_that_are_not_finite_become_null():
    assert results.plain({"a": (float("inf"), np.array([1.0, np.nan]))}) == {"a": [None, [1.0, None]]}


def test_the_page_says_what_is_met_and_by_how_much_not():
    page = tables.page({("speed", "sac_update"): results.stamped(example(43.1), "2030-01-02")})
    row = next(line for line in page.splitlines() if line.startswith("| SAC update"))
    assert "43.1 %" in row
    assert "at least 50 %" in row
    assert "short by 6.9 percentage points" in row
    assert "2030-01-02" in row
    assert "`command`" in row
    unmeasured = next(line for line in page.splitlines() if line.startswith("| `mbpo_hopper`"))
    assert "not measured yet" in unmeasured


def test_the_page_begins_with_what_is_met_and_what_is_not():
    found = {("speed", "sac_update"): results.stamped(example(51.0))}
    found["speed", "plan_small"] = {
        **results.stamped(example(43.1)),
        "command": "python -m benchmarks.speed plan_small",
        "checks": [
            {**asdict(Check("one", 4.0, 5.0, "ms", "at most")), "met": True},
            {**asdict(Check("two", 6.0, 5.0, "ms", "at most")), "met": False},
            {**asdict(Check("three", None, 5.0, "ms", "at most")), "met": None},
        ],
    }
    head, *lines, unknown, _ = tables.summary(found).split("\n")
    assert [head, *lines] == [
        "In short: 2 of 4 numbers meet their targets.",
        "",
        "- Met in speed (`python -m benchmarks.speed NAME`): `sac_update` 51 % (at least 50 %).",
        "- Short in speed: two: 6 ms (at most 5 ms), and 1 more (`python -m benchmarks.speed plan_small`).",
    ]
    assert unknown.startswith("- Not measured yet: `train_sac`, `ensemble_epoch`, ")
    assert tables.page(found).startswith(f"# Benchmarks\n\n{head}\n")
    assert tables.summary({}) == ""


def test_the_summary_of_what_was_measured_is_about_ten_lines():
    assert len(tables.summary(results.read_folder()).strip().splitlines()) <= 12


def test_the_page_is_the_one_of_the_results():
    found, on_gpu = results.read_folder(), results.read_folder(results.FOLDER / "gpu")
    assert tables.page(found, on_gpu) == (results.ROOT / "docs" / "benchmarks.md").read_text()


def test_the_page_lists_every_benchmark():
    assert set(tables.SPEED) == set(WORKLOADS)
    assert set(tables.LEARNING) == set(TASKS)


def test_pages_have_equally_long_rows():
    for block in tables.page({}).split("\n\n"):
        rows = [line for line in block.splitlines() if line.startswith("|")]
        assert len({line.count("|") for line in rows}) <= 1


def test_a_file_of_another_format_is_refused(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps({"format": 99}))
    with pytest.raises(ValueError, match="format 99"):
        results.read(tmp_path / "a.json")


def test_the_picture_has_a_panel_for_each_environment_with_a_curve():
    from benchmarks.picture import picture

    curve = {"env_steps": [0, 10], "wall_s": [0.0, 1.0], "returns": [[1.0, 2.0], [3.0, None]]}
    alone = {**curve, "returns": [[1.0], [3.0]]}
    found = {
        ("learning", "mbpo_pendulum"): {"details": {"mbpo": {"curve": curve}}},
        ("learning", "mbpo_hopper"): {"details": {"mbpo": {"curve": alone}}},
    }
    drawn = picture(found, ["Pendulum-v1", "InvertedPendulum-v5", "Hopper-v5"])
    assert [note.text for note in drawn.layout.annotations] == ["Pendulum-v1, 2 seeds", "Hopper-v5, 1 seed"]
    assert [trace.name for trace in drawn.data if trace.showlegend] == ["MBPO"]
    assert picture({}, ["Pendulum-v1"]) is None


def test_controllers_of_dreams_stand_beside_the_published_ones():
    at = {"dream": 2054.2, "real": 580.4, "real_deviation": 99.6, "curve": [1.0]}
    details = {"temperatures": {"0.1": at}, "published": {"0.1": {"real": 193, "dream": 2086}}, "settings": {}}
    found = {("learning", "world_models_take_cover"): {"details": {"world-models": details}}}
    assert "| 0.1 | 2054 | 580 +- 100 | 2086 | 193 |" in scores.temperatures(found)
    assert scores.temperatures({}) == ""
