import json
import re
import shutil
import subprocess
from html.parser import HTMLParser

import numpy as np
import pytest

from forethought.errors import CheckpointError, UsageError
from forethought.report.html import write_report
from forethought.report.read import read_run
from forethought.report.summary import verdict
from forethought.report.video import write_video

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class Reader(HTMLParser):
    """Collects what a browser would see: tags with attributes, text outside scripts, and the table rows."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.rows, self.text, self.scripts = [], [], "", []
        self._inside, self._in_cell = None, False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag in ("script", "style"):
            self._inside = tag
        if tag == "script":
            self.scripts.append("")
        if tag == "tr":
            self.rows.append((dict(attrs).get("class", ""), []))
        if tag in ("td", "th") and self.rows:
            self.rows[-1][1].append("")
            self._in_cell = True

    def handle_endtag(self, tag):
        if tag == self._inside:
            self._inside = None
        if tag in ("td", "th"):
            self._in_cell = False

    def handle_data(self, data):
        if self._inside == "script":
            self.scripts[-1] += data
        elif self._inside is None:
            self.text += data
            if self._in_cell:
                self.rows[-1][1][-1] += data

    def figures(self):
        return json.loads(next(script for script in self.scripts if script.startswith('[{"id"')))


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def three(root, write_run):
    path = write_run(root / "three", seeds=3, summary={"status": "finished"})
    write_video([np.full((32, 32, 3), 20 * i, np.uint8) for i in range(10)], path / "videos" / "step_3000.mp4", fps=10)
    return path


@pytest.fixture(scope="module")
def one(root, write_run):
    return write_run(root / "one", seeds=1, algorithm="sac", model=False)


@pytest.fixture(scope="module")
def report(root, three):
    return write_report([three], root / "three.html")


@pytest.fixture(scope="module")
def both(root, three, one):
    return write_report([three, one], root / "both.html")


@pytest.fixture(scope="module")
def short(root, one):
    return write_report([one], root / "one.html")


@pytest.mark.parametrize("name", ["report", "short", "both"])
def test_the_file_loads_nothing(request, name):
    output = request.getfixturevalue(name)
    reader = Reader(output.read_text())
    loads = [value for _, attrs in reader.tags for name, value in attrs.items() if name in ("src", "href", "srcset")]
    assert all(value.startswith(("data:", "#")) for value in loads), loads
    assert len(output.read_bytes()) < 1.5e6
    assert not any(tag in ("link", "iframe", "object", "embed", "base") for tag, _ in reader.tags)
    assert "@import" not in reader.text
    policy = next(attrs["content"] for tag, attrs in reader.tags if attrs.get("http-equiv"))
    assert policy.startswith("default-src 'none'")
    assert "http" not in policy


def test_the_curve_is_in_the_file(report):
    figures = Reader(report.read_text()).figures()
    first = {trace["name"]: trace for trace in figures[0]["data"]}
    assert first["mean of 3 seeds"]["y"][-1] == pytest.approx(-190.0)
    assert first["mean of 3 seeds"]["x"] == [0, 500, 1000, 1500, 2000, 2500, 3000]


def test_the_verdict_counts_updates_and_fits_and_leaves_out_what_was_not_done(tmp_path, write_run):
    def said(name, **summary):
        run = write_run(tmp_path / name, seeds=1, summary={"status": "finished", **summary})
        return verdict(read_run(run))

    assert "after 3,000 environment steps, 6 fits of the model and 4 min" in said("planner", updates=0)
    assert "steps, 0 updates and 4 min" in said("nothing", updates=0, fits=0)
    assert "steps, 1 update, 5 fits of the model and 4 min" in said("both", updates=1, fits=5)


def test_the_verdict_says_it_all(report, short):
    assert (
        "mbpo on Pendulum-v1: final return −190.0 [−200.0, −180.0] (mean [95 % interval] over 3 seeds × 10 episodes) "
        "after 3,000 environment steps per seed, 60,000 updates, 6 fits of the model and 4 min 02 s of wall time; "
        "status: finished."
    ) in Reader(report.read_text()).text
    alone = Reader(short.read_text()).text
    assert "final return −200 (mean over 1 seed × 10 episodes) after 3,000 environment steps, 60,000 updates" in alone
    assert "status: unfinished" in alone
    assert "One seed gives no interval" in alone


def test_what_a_run_says_is_escaped(report):
    text = report.read_text()
    assert "<script>alert" not in text
    assert "<b>often</b>" not in text
    reader = Reader(text)
    assert "<script>alert('config')</script>" in reader.text
    assert "<b>often</b>" in reader.text


def test_a_name_cannot_break_out_of_the_figures(tmp_path, write_run):
    hostile = write_run(tmp_path / "x<img src=a onerror=alert(1)>")
    runs = [hostile, write_run(tmp_path / "b")]
    reader = Reader(write_report(runs, tmp_path / "out.html").read_text())
    assert not any(tag == "img" for tag, _ in reader.tags)
    names = {trace.get("name") for figure in reader.figures() for trace in figure["data"]}
    assert "x&lt;img src=a onerror=alert(1)&gt;" in names  # plotly reads names as HTML


def test_exactly_the_changed_fields_are_highlighted(report):
    reader = Reader(report.read_text())
    changed = [cells for kind, cells in reader.rows if kind == "changed"]
    assert changed == [
        ["learning_rate", "0.3", "0.0003"],
        ["note", "<script>alert('config')</script>", "plain"],
        ["rollout.last", "25", "15"],
    ]
    plain = {cells[0] for kind, cells in reader.rows if kind != "changed" and cells}
    assert {"discount", "ensemble", "hidden", "rollout.first", "target_entropy"} <= plain
    assert plain.isdisjoint({"learning_rate", "note", "rollout.last"})
    assert "7 agent fields at the default" in reader.text


def test_no_number_has_seventeen_digits(report):
    reader = Reader(report.read_text())
    assert not re.search(r"\d\.\d{9}", reader.text)
    assert not re.search(r"\d\.\d{9}", json.dumps(reader.figures()[0]["data"]))


def test_sections_appear_only_where_there_is_something_to_say(report, short):
    full = report.read_text()
    for heading in ("Learning curves", "Learned model", "Where the time went", "Configuration"):
        assert f"<h2>{heading}</h2>" in full
    assert "<h2>Learned model</h2>" not in short.read_text()
    assert "<video" not in short.read_text()
    video = next(attrs for tag, attrs in Reader(full).tags if tag == "video")
    assert video["src"].startswith("data:video/mp4;base64,")
    assert {"controls", "loop", "muted"} <= video.keys()


@pytest.mark.parametrize(("name", "chapters"), [("report", 5), ("both", 6)])
def test_the_contents_lead_to_every_chapter(request, name, chapters):
    reader = Reader(request.getfixturevalue(name).read_text())
    anchors = [attrs["id"] for tag, attrs in reader.tags if tag == "h1" or attrs.get("class") == "chapter"]
    links = [attrs["href"] for tag, attrs in reader.tags if tag == "a"]
    assert links == [f"#{anchor}" for anchor in anchors]
    assert len(set(anchors)) == len(anchors) == 1 + chapters


def test_what_matters_stands_before_the_first_chapter(report):
    before, after = report.read_text().split('<details class="chapter"', 1)
    for words in ("final return", "Newest evaluation", "<video", "hit the time limit"):
        assert words in before
        assert words not in after.split("<script")[0]
    folded = {attrs["id"]: "open" not in attrs for _, attrs in Reader(report.read_text()).tags if "id" in attrs}
    assert [folded[name] for name in ("learning", "model", "metrics", "time", "configuration")] == [False] * 2 + [
        True
    ] * 3


def test_the_first_and_the_newest_evaluation_stand_beside_each_other(report):
    rows = [
        cells for _, cells in Reader(report.read_text()).rows if cells and cells[0].split(" ")[0] in ("First", "Newest")
    ]
    assert [row[:2] for row in rows] == [["First evaluation", "0"], ["Newest evaluation", "3,000"]]
    assert rows[1][2:] == ["−190.0 [−200.0, −180.0]", "3 × 10"]


def test_a_metric_that_never_varies_is_a_line_of_text(report, root, three, write_run):
    reader = Reader(report.read_text())
    assert "Constant throughout: epochs per fit = 10." in reader.text
    titles = [figure["layout"].get("title", {}).get("text") for figure in reader.figures()]
    assert "imagined rollout length (steps)" in titles
    assert "epochs per fit" not in titles
    other = write_run(root / "other")
    metrics = other / "metrics.jsonl"
    metrics.write_text(metrics.read_text().replace('"epochs": [10.0, 10.0, 10.0]', '"epochs": [7.0, 7.0, 7.0]'))
    text = Reader(write_report([three, other], root / "two.html").read_text()).text
    assert "Constant throughout: epochs per fit: three = 10, other = 7." in text


def test_metrics_and_phases_are_explained_where_they_stand(report):
    text = Reader(report.read_text()).text
    assert "Discounted return that the critics expect from here on" in text
    rows = {cells[0]: cells for _, cells in Reader(report.read_text()).rows if cells}
    assert rows["compiling"][2] == "translating the programs for this device, once each"


def test_every_trace_is_one_that_the_bundle_draws(report):
    kinds = {trace["type"] for figure in Reader(report.read_text()).figures() for trace in figure["data"]}
    assert kinds == {"scatter", "bar"}


def test_several_runs_are_compared(both):
    reader = Reader(both.read_text())
    rows = [cells for _, cells in reader.rows if cells and cells[0] in ("three", "one") and len(cells) == 9]
    assert [row[4] for row in rows] == ["−190.0 [−200.0, −180.0]", "−200"]
    assert [row[8] for row in rows] == ["finished", "unfinished"]
    names = [trace["name"] for trace in reader.figures()[0]["data"] if trace.get("showlegend") is not False]
    assert names == ["three", "one"]
    assert "Run three" in reader.text
    assert "Run one" in reader.text


def test_a_run_that_has_only_started_still_gives_a_report(tmp_path, write_run):
    path = write_run(tmp_path / "a")
    (path / "metrics.jsonl").unlink()
    text = Reader(write_report([path], tmp_path / "deep" / "out.html").read_text()).text
    assert "no evaluation yet" in text


def test_a_failed_run_says_why(tmp_path, write_run):
    summary = {"status": "failed", "message": "critic_loss became NaN at step 3000"}
    runs = [write_run(tmp_path / "bad", summary=summary), write_run(tmp_path / "good", summary={"status": "finished"})]
    alone = Reader(write_report(runs[:1], tmp_path / "out.html").read_text()).text
    assert "status: failed." in alone
    assert "critic_loss became NaN at step 3000" in alone
    assert "bad: critic_loss became NaN" in Reader(write_report(runs, tmp_path / "out.html").read_text()).text


def test_many_warnings_are_folded_away(tmp_path, write_run):
    path = write_run(tmp_path / "warned", seeds=1)
    with open(path / "metrics.jsonl", "a") as file:
        for i in range(6):
            file.write(
                json.dumps({"kind": "warning", "env_steps": 3000, "text": f"warning {i}: try `--seed {i}`"}) + "\n"
            )
    text = write_report([path], tmp_path / "out.html").read_text()
    assert text.count('<p class="warning">') == 9  # why there is no summary, seven warnings, and for want of JavaScript
    assert "<details><summary>3 more warnings</summary>" in text
    assert "warning 5: try <code>--seed 5</code>" in text


def test_what_cannot_be_written_is_one_line(tmp_path, three):
    (tmp_path / "file").write_text("no directory")
    with pytest.raises(CheckpointError, match="cannot write") as caught:
        write_report([three], tmp_path / "file" / "out.html")
    assert "\n" not in str(caught.value)
    assert write_report([three], tmp_path) == tmp_path / "report.html"
    with pytest.raises(UsageError, match="no run"):
        write_report([], tmp_path / "out.html")


def browse(page, profile, *more):
    """What Chromium makes of a page without a network: its document, and what it wrote on the console."""
    flags = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    quiet = "--disable-component-update --disable-sync --virtual-time-budget=20000 --enable-logging=stderr"
    offline = ["--host-resolver-rules=MAP * ~NOTFOUND", f"--user-data-dir={profile}"]
    command = [CHROMIUM, *flags.split(), *quiet.split(), *offline, *more, "--dump-dom", page]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)
    return Reader(done.stdout), [line for line in done.stderr.splitlines() if "CONSOLE" in line]


def plots(reader):
    """The classes of the places of figures, drawn or not, by identifier."""
    classes = [(attrs.get("id"), attrs.get("class", "").split()) for tag, attrs in reader.tags if tag == "div"]
    return {name: found for name, found in classes if found[:1] == ["plot"]}


def ground(reader):
    """The colours that figures are drawn on."""
    styles = [attrs["style"] for _, attrs in reader.tags if attrs.get("class") == "main-svg" and "style" in attrs]
    return {colour for style in styles for colour in re.findall(r"rgb\([\d, ]+\)", style)}


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
def test_a_real_browser_draws_every_figure_offline_on_a_dark_page(both, tmp_path):
    output = tmp_path / "unfolded.html"
    output.write_text(re.sub(r'<details(?! class="chapter" id="\w+" open)', "<details open", both.read_text()))
    reader, console = browse(output.as_uri(), tmp_path, "--blink-settings=preferredColorScheme=0")
    drawn = plots(reader)
    assert len(drawn) == len(reader.figures()) >= 10
    assert all("js-plotly-plot" in names and "broken" not in names for names in drawn.values())
    classes = [(tag, attrs.get("class", "")) for tag, attrs in reader.tags]
    assert sum(tag == "svg" and "main-svg" in names for tag, names in classes) >= len(drawn)
    assert sum(tag == "path" and "js-line" in names for tag, names in classes) > 40
    assert sum(tag == "g" and "bars" in names.split() for tag, names in classes) > 5
    assert "cannot be drawn" not in reader.text
    assert ground(reader) == {"rgb(20, 24, 29)"}
    assert not console, console


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
def test_what_is_folded_away_is_drawn_when_a_link_leads_there(report, tmp_path):
    reader, console = browse(report.as_uri() + "#time", tmp_path, "--blink-settings=preferredColorScheme=1")
    labels = {attrs["aria-label"]: attrs["class"] for _, attrs in reader.tags if attrs.get("role") == "img"}
    for label, shown in (("Wall time by phase of training", True), ("q over training", False)):
        assert ("js-plotly-plot" in labels[label]) == shown
    assert ground(reader) == {"rgb(255, 255, 255)"}
    assert not console, console
