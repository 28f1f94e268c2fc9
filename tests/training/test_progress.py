"""What a person sees of a run."""

import io
import re
import threading
import time

import pytest

import small
from forethought.errors import UsageError
from forethought.training.config import RunConfig
from forethought.training.pace import Pace
from forethought.training.progress import InPlace, Plain, Silent, Snapshot, asked_for, describe


class Screen(io.StringIO):
    """A terminal: ``awaited`` is set once the text that is waited for has been written."""

    def __init__(self, text=""):
        super().__init__()
        self.text, self.awaited = text, threading.Event()

    def isatty(self):
        return True

    def write(self, text):
        if self.text in text:
            self.awaited.set()
        return super().write(text)

    def lines(self):
        """What stands on it, as a terminal would have drawn it."""
        drawn, row, column = [""], 0, 0
        for part in re.findall(r"\x1b\[[?0-9;]*[A-Za-z]|[\r\n]|[^\x1b\r\n]+", self.getvalue()):
            if part == "\n":
                row, column = row + 1, 0
                drawn += [""] * (row == len(drawn))
            elif part == "\r":
                column = 0
            elif part.endswith("A"):
                row -= int(part[2:-1] or 1)
            elif part.endswith("K"):
                drawn[row] = ""
            elif part[0] != "\x1b":
                drawn[row] = drawn[row][:column].ljust(column) + part + drawn[row][column + len(part) :]
                column += len(part)
        return [line.rstrip() for line in drawn]


@pytest.fixture
def live(monkeypatch):
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "100")
    shown = InPlace(Screen("epoch 34"))
    shown.begin("mbpo on Pendulum-v1", ["device: CPU"])
    yield shown
    shown.end()


def test_the_last_picture_stands_once_with_the_notes_above_it(live):
    live.compiling("update")
    live.advance(Snapshot(steps=100, env_steps=50, metrics={"alpha": 0.5}))
    live.note("warning: careful")
    live.working("evaluating the policy, step 3")
    live.advance(Snapshot(steps=100, env_steps=100, episodes=7, metrics={"alpha": 0.25}))
    live.end()
    lines = [line for line in live.console.file.lines() if line]
    assert lines[:3] == ["mbpo on Pendulum-v1", "device: CPU", "warning: careful"]
    assert sum("━" in line for line in lines) == 1
    said = " ".join(lines[3:])
    assert said.count("step 100/100") == said.count("alpha 0.25") == 1
    assert "compiling" not in said
    assert "evaluating" not in said


def test_a_run_that_ends_before_its_first_step_leaves_no_picture(live):
    live.advance(Snapshot(steps=100))
    live.end()
    assert [line for line in live.console.file.lines() if line] == ["mbpo on Pendulum-v1", "device: CPU"]


def test_a_run_without_steps_counts_what_is_left_of_its_pretraining(live):
    out = Screen()
    plain = Plain(out)
    for env_steps, updates in ((-40, 0), (0, 400)):
        for shown in (live, plain):
            shown.advance(Snapshot(steps=0, env_steps=env_steps, updates=updates))
    live.end()
    first, line = out.lines()[:-1]  # the end does not wait for the next one that is due
    assert first.startswith("pretraining left 40 ")
    drawn = [line for line in live.console.file.lines() if line]
    assert drawn[:2] == ["mbpo on Pendulum-v1", "device: CPU"]
    for said in (line, " ".join(drawn[2:])):
        assert said.startswith("pretraining left 0 ")
        assert "updates 400" in said
        assert "step 0" not in said
    assert dict(describe(Snapshot(steps=10)))["step"] == "0/10"


def test_the_display_is_drawn_while_the_run_is_busy(live):
    live.working("fitting the model, epoch 34")
    assert live.console.file.awaited.wait(60)
    assert "0/0" not in live.console.file.getvalue()


def test_lines_go_on_while_the_run_is_busy():
    out = Screen("fitting the model, epoch 34")
    shown = Plain(out)
    shown.begin("mbpo on Pendulum-v1", [])
    shown.activity, shown.last = "fitting the model, epoch 34", -100.0  # nothing was printed for long
    assert out.awaited.wait(60)
    shown.end()
    assert "0/0" not in out.getvalue()


def test_the_clocks_go_on_after_a_snapshot():
    snapshot = Snapshot(steps=100, wall_s=5.0, left_s=100.0, taken=time.monotonic() - 60.0)
    said = dict(describe(snapshot))
    assert (said["elapsed"], said["left"]) == ("1:05", "0:40")
    snapshot.left_s = 10.0  # it takes longer than was thought
    assert dict(describe(snapshot))["left"] == "0:00"
    snapshot.left_s = None
    assert dict(describe(snapshot))["left"] == "-"


@pytest.mark.slow
def test_the_time_left_is_that_of_what_is_left():
    """Random steps and compilation say nothing of it, and nothing is said before every part has been seen."""
    learner = small.train("mbpo", steps=16)  # its first fit is at step 16, and then at every 8th
    config = RunConfig("mbpo", "forethought/ProbeAction-v0", steps=32, eval_every=10)
    pace, seconds = Pace(config, learner), learner.clock.seconds
    learner.env_steps = learner.learned = 15
    seconds.clear()
    assert pace.left(1000.0) is None  # random steps
    learner.env_steps = learner.learned = 17
    seconds.update(act=1.0, env=2.0, record=3.0, compile=500.0, update=2.0, rollout=1.0, evaluate=8.0)
    assert pace.left(2000.0) is None
    learner.env_steps = learner.learned = 20
    seconds.update(compile=700.0, update=5.0)
    # Since then 3 steps took 300 s, of which 200 went to the compiler and 3 to updates.
    assert pace.left(2300.0) is None  # of a fit nothing is known yet
    seconds.update(fit_model=40.0)
    steps, evaluations = 12 * (300 - 203 - 40) / 3, 2 * 8.0 / 3
    assert pace.left(2300.0) == pytest.approx(steps + 12 * 5.0 / 5 + 2 * 40.0 + 2 * 1.0 + evaluations)
    learner.env_steps = 32
    assert pace.left(5000.0) == 0.0


def test_what_a_caller_asks_for():
    assert isinstance(asked_for(True), Plain)  # no terminal here
    assert isinstance(asked_for(None), Silent)
    assert isinstance(asked_for(False), Silent)
    own = Plain()
    assert asked_for(own) is own
    with pytest.raises(UsageError, match="progress is 'loud'; give True, or"):
        asked_for("loud")
