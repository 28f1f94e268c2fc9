"""What a run tells of itself while it goes on."""

import gymnasium
import numpy as np
import pytest

import forethought
from forethought.training import journal as module

AGENT = {"hidden": (8,), "batch_size": 8, "random_steps": 20, "replay_capacity": 100}


def test_the_time_left_is_reckoned_from_the_whole_of_the_learning(tmp_path, monkeypatch):
    space = gymnasium.spaces.Box(-1.0, 1.0, (2,))
    live = forethought.start("sac", space, space, run=tmp_path / "run", steps=100, agent=AGENT)
    learner, now = live.learner, [1000.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    live.journal.begin(50.0)
    assert live.journal.snapshot().left_s is None  # no step, no speed
    for steps, second in ((10, 1020.0), (20, 1022.0)):
        learner.env_steps, now[0] = steps, second
        seen = live.journal.snapshot()
    # 20 steps in 22 s, 80 steps to go; the speed shown is that of the first ten steps, measured over 20 s.
    assert seen.left_s == pytest.approx(80 * 22 / 20)
    assert seen.steps_per_s == pytest.approx(0.5)
    assert seen.wall_s == pytest.approx(72.0)
    assert np.isfinite(live.journal.wall_s)
