import json

import numpy as np
import pytest

from forethought.report import figures
from forethought.report.read import read_run
from forethought.report.style import INK, MOST_POINTS, MUTED, PAGE, PALETTE, on_dark, pen, rounded, thinned


@pytest.fixture
def three(tmp_path, write_run):
    return read_run(write_run(tmp_path / "three", seeds=3))


@pytest.fixture
def one(tmp_path, write_run):
    return read_run(write_run(tmp_path / "one", seeds=1, algorithm="sac", model=False))


def test_the_learning_curve_draws_mean_band_seeds_and_episodes(three):
    drawn = figures.learning_curve_by_steps([three])
    traces = {trace.name: trace for trace in drawn.data}
    assert [trace.name for trace in drawn.data].count("single seeds") == 3
    assert traces["mean of 3 seeds"].y[-1] == pytest.approx(-190.0)
    assert list(traces["mean of 3 seeds"].x) == [0, 500, 1000, 1500, 2000, 2500, 3000]
    assert len(traces["training episodes"].x) == 36
    band = traces["95 % interval of the mean"]
    assert band.y[6] == pytest.approx(-200.0)  # the end of the lower side, then the upper side backwards
    assert band.y[7] == pytest.approx(-180.0)
    assert drawn.layout.xaxis.title.text == "environment steps (per seed)"
    assert drawn.layout.yaxis.title.text == "evaluation return, mean of 10 episodes"


def test_wall_time_has_a_unit_that_suits(three):
    drawn = figures.learning_curve_by_time([three])
    assert drawn.layout.xaxis.title.text == "wall time (minutes)"
    assert drawn.data[-1].x[-1] == pytest.approx(242 / 60, rel=1e-5)


def test_one_seed_has_no_band_and_no_single_seeds(one):
    assert [trace.name for trace in figures.learning_curve_by_steps([one]).data] == ["training episodes", "evaluations"]


def test_no_line_of_one_seed_is_called_a_seed(one):
    assert [trace.name for trace in figures.metric_panel([one], "train", "q").data] == ["q"]
    assert [trace.name for trace in figures.throughput([one]).data] == ["all seeds together"]


def test_a_band_has_a_gap_where_a_seed_has_one(tmp_path, write_run):
    path = write_run(tmp_path / "gap", evals=7)
    lines = (path / "metrics.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    third = [record for record in records if record["kind"] == "eval"][2]
    third["return"][1] = [None]
    (path / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    drawn = figures.learning_curve_by_steps([read_run(path)])
    band = next(trace for trace in drawn.data if trace.fill == "toself")
    assert list(band.x) == [0, 500, 500, 0, None, 1500, 2000, 2500, 3000, 3000, 2500, 2000, 1500]


def test_a_run_keeps_its_colour_in_every_figure(three, one):
    runs = [three, one]
    for drawn in (
        figures.learning_curve_by_steps(runs),
        figures.learning_curve_by_time(runs),
        figures.metric_panel(runs, "train", "actor_loss"),
        figures.throughput(runs),
    ):
        colours = {trace.name: trace.line.color for trace in drawn.data if trace.name in ("three", "one")}
        assert colours == {"three": PALETTE[0], "one": PALETTE[1]}
    assert len({pen(index) for index in range(24)}) == 24


def test_only_positive_metrics_over_two_decades_are_logarithmic(three):
    assert figures.metric_panel([three], "train", "critic_loss").layout.yaxis.type == "log"
    assert figures.metric_panel([three], "train", "actor_loss").layout.yaxis.type is None
    assert figures.metric_panel([three], "model", "holdout_nll").layout.yaxis.type is None


@pytest.mark.parametrize("page", [lambda colour: colour, on_dark], ids=["white", "dark"])
def test_lines_and_text_read_on_both_pages(page):
    ground = luminance(page(PAGE))
    contrast = lambda colour: ratio(luminance(page(colour)), ground)  # noqa: E731
    assert min(contrast(colour) for colour in PALETTE) > 3.0  # WCAG 2.1, 1.4.11: graphical objects
    assert min(contrast(colour) for colour in (INK, MUTED)) > 4.5  # 1.4.3: text


def luminance(colour):
    parts = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    return np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4) @ [0.2126, 0.7152, 0.0722]


def ratio(a, b):
    return (max(a, b) + 0.05) / (min(a, b) + 0.05)


def test_tints_and_other_words_on_a_dark_page():
    assert on_dark(pen(0).tint(0.16)) == "rgba(37,133,196,0.24)"
    assert on_dark(pen(1).tint(0.5)) == "rgba(213,94,0,0.75)"
    assert on_dark("evaluations") == "evaluations"
    assert on_dark("rgba(0,0,0,0)") == "rgba(0,0,0,0)"


def test_nothing_finite_is_no_panel(three, one):
    assert figures.metric_panel([three], "train", "always_null") is None
    assert figures.model_error([one]) is None


def test_the_held_out_error_is_drawn_where_there_is_a_model(three, one):
    drawn = figures.model_error([three, one])
    assert drawn.layout.yaxis.title.text == "held-out mean squared error"
    assert [trace.name for trace in drawn.data if trace.showlegend is not False] == ["three"]


def test_the_phases_add_up_to_the_wall_time(three):
    seconds = figures.phases(three)
    assert sum(seconds.values()) == pytest.approx(242.0)
    assert next(iter(seconds)) == "update"
    drawn = figures.time_by_phase([three])
    assert sum(trace.x[0] for trace in drawn.data) == pytest.approx(242 / 60, rel=1e-4)
    assert drawn.layout.xaxis.title.text == "wall time (minutes)"


def test_long_lines_are_thinned_and_numbers_are_short():
    kept = thinned(100_000)
    assert (len(kept), kept[0], kept[-1]) == (MOST_POINTS, 0, 99_999)
    assert rounded(np.array([0.1 + 0.2, np.nan, np.inf, 123456789.0])) == [0.3, None, None, 123457000.0]
