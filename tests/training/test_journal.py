"""What a run tells of itself while it goes on."""

import json
from dataclasses import replace

import gymnasium
import numpy as np
import pytest

import forethought
from forethought.agents.base import Phase
from forethought.report import figures, series
from forethought.report.read import read_run
from forethought.training import journal as module

AGENT = {"hidden": (8,), "batch_size": 8, "random_steps": 20, "replay_capacity": 100}
FIT = Phase("fit_model", 1, lambda *args, **options: None, kind="model")


def test_the_speed_is_that_of_the_last_seconds(tmp_path, monkeypatch):
    space = gymnasium.spaces.Box(-1.0, 1.0, (2,))
    live = forethought.start("sac", space, space, run=tmp_path / "run", steps=100, agent=AGENT)
    learner, now = live.learner, [1000.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    live.journal.begin(50.0)
    for steps, second in ((10, 1020.0), (20, 1022.0)):
        learner.env_steps, now[0] = steps, second
        seen = live.journal.snapshot(None)
    # The first ten steps, measured over 20 s; two seconds are too short to be measured again.
    assert seen.steps_per_s == pytest.approx(0.5)
    assert seen.wall_s == pytest.approx(72.0)
    assert np.isfinite(live.journal.wall_s)


def test_what_was_said_once_is_not_said_again_after_a_resume(tmp_path):
    space = gymnasium.spaces.Box(-1.0, 1.0, (2,))
    live = forethought.start("sac", space, space, run=tmp_path / "run", steps=100, agent=AGENT)
    live.journal.warn("the reward is not learned: 0.9 of its variance is missed")
    live.save()
    live = forethought.resume_live(tmp_path / "run")
    live.journal.warn("the reward is not learned: 0.8 of its variance is missed")
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [line["text"] for line in lines] == ["the reward is not learned: 0.9 of its variance is missed"]


def test_what_a_later_fit_has_mended_is_taken_back(tmp_path, capsys):
    """Shown when it comes and when it goes; written down with the newest figures as long as it lasts."""
    space = gymnasium.spaces.Box(-1.0, 1.0, (2,))
    live = forethought.start("sac", space, space, run=tmp_path / "run", steps=100, agent=AGENT, obs_names=("x", "v"))
    shown, found = [], [["reward: 0.9", "x: 1.0"], ["reward: 0.8"], [], ["reward: 0.7"]]
    live.journal.show = shown.append
    live.learner.metrics = lambda phase: {"loss": [0.0]}
    for concerns in found[:2]:
        live.agent.warnings = lambda metrics, names, concerns=concerns: concerns if names == ("x", "v") else [names]
        live.journal.learned([FIT])
    assert shown == ["warning: reward: 0.9", "warning: x: 1.0", "no longer, by the newest fit: x"]  # 0.8: written down
    assert series.standing_warnings(read_run(tmp_path / "run")) == {"reward": "reward: 0.8"}
    live.save()
    live = forethought.resume_live(tmp_path / "run")  # which knows what stands
    live.journal.show = shown.append
    live.learner.metrics = lambda phase: {"loss": [0.0]}
    for concerns in found[2:]:
        live.agent.warnings = lambda metrics, names, concerns=concerns: concerns
        live.journal.learned([FIT])
    assert shown[3:] == ["no longer, by the newest fit: reward", "warning: again, reward"]
    run = read_run(tmp_path / "run")
    assert series.warnings(run) == ["reward: 0.7", "x: no longer, since the fit at step 0"]


def test_the_parts_of_a_stage_are_lines_of_their_own_and_drawn_along_the_updates(tmp_path):
    space = gymnasium.spaces.Box(-1.0, 1.0, (2,))
    live = forethought.start("sac", space, space, run=tmp_path / "run", steps=100, agent=AGENT)
    live.learner.env_steps = 40
    vision, warm_up = replace(FIT, name="vision"), replace(FIT, name="pretrain", kind="train")
    live.learner.phases = (vision, warm_up)
    for done in range(1, 1000):  # of which a hundredth is written down
        live.learner.updates = done
        live.learner.metrics = lambda phase, done=done: {"image_loss": [1.0 / done]} if phase == "vision" else {}
        live.journal.parted("vision", done, 1000)
    live.learner.updates = 1000
    live.journal.learned([FIT])
    live.journal.parted("vision", 10, 1000)  # of the next stage
    live.journal.parted("pretrain", 3, 100)
    run = read_run(tmp_path / "run")
    assert [record["part"] for record in run.of("model")] == [*range(10, 1000, 10), 10]
    assert [record["part"] for record in run.of("train") if "part" in record] == [3]
    assert series.progress(run).fits == 0
    panel = figures.metric_panel([run], "model", "image_loss")
    assert panel.layout.xaxis.title.text == "updates (per seed)"
    assert list(panel.data[0].x[:3]) == [10, 20, 30]
