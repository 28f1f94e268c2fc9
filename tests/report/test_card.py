import re
from xml.etree import ElementTree

import pytest

import forethought
from forethought.errors import CheckpointError, UsageError
from forethought.report.card import HEIGHT, WIDTH, card, facts, sketch
from forethought.report.read import read_run
from forethought.runs import Run

SUMMARY = {
    "status": "finished",
    "message": "",
    "fits": 7,
    "best": {"return": [-150.0, -160.0, -170.0], "step": [3000, 2500, 3000]},
}


@pytest.fixture(scope="module")
def path(write_run, tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("card") / "<run>", summary=SUMMARY)


def test_the_card_has_the_main_numbers(path):
    told = dict(facts(read_run(path)))
    assert told["return"] == "−190 (3 seeds × 10 episodes) at step 3,000"
    assert told["best return"] == "−160 at step 3,000, 2,500"
    assert told["environment steps"] == "3,000 per seed"
    assert told["fits of the model"] == "7"
    shown = Run.open(path)._repr_html_()
    assert "mbpo on Pendulum-v1" in shown
    assert "<script" not in shown
    assert "&lt;run&gt;" in shown
    assert len(shown) < 6000


def test_the_sketch_draws_the_mean_and_its_band_inside_of_the_picture(path):
    drawn = ElementTree.fromstring(sketch(read_run(path)))
    band, line = drawn[0].get("points").split(), drawn[1].get("points").split()
    assert (len(line), len(band)) == (7, 14)
    for point in [*line, *band]:
        x, y = (float(v) for v in point.split(","))
        assert 0 <= x <= WIDTH
        assert 0 <= y <= HEIGHT
    texts = [t.text for t in drawn if t.tag.endswith("text")]
    assert texts[-2:] == ["0", "3,000 steps"]
    assert "to −190" in drawn.get("aria-label")


def test_one_seed_has_no_band_and_one_evaluation_no_sketch(write_run, tmp_path):
    assert "polygon" not in sketch(read_run(write_run(tmp_path / "one", seeds=1)))
    young = write_run(tmp_path / "young", evals=2)
    lines = (young / "metrics.jsonl").read_text().splitlines(keepends=True)
    (young / "metrics.jsonl").write_text(lines[0])
    assert sketch(read_run(young)) == ""
    assert "unfinished" in card(read_run(young))


def test_a_run_is_opened_and_plotted(path, tmp_path):
    run = forethought.open_run(path)
    assert run.summary["best"]["step"] == [3000, 2500, 3000]
    drawn = run.plot()
    assert [round(y) for y in drawn.data[-1].y][-1] == -190
    assert any(re.search("95 %", trace.name or "") for trace in drawn.data)
    with pytest.raises(CheckpointError, match="there is no run directory"):
        forethought.open_run(tmp_path / "none")
    (path / "metrics.jsonl").write_text("")
    with pytest.raises(UsageError, match="has no evaluation and no finished episode to draw yet"):
        run.plot()
