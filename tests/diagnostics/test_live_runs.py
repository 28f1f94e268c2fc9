"""Runs that were driven by their user: evaluated and diagnosed in a world that is named, or by what was logged."""

import shutil

import gymnasium
import numpy as np
import pytest
from dreamers import SMALL

import forethought
import small
from forethought import cli
from forethought.data import FIELDS
from forethought.diagnostics import read_diagnosis, split
from forethought.errors import UsageError
from forethought.types import Transition

pytestmark = pytest.mark.slow

PENDULUM = "forethought/Pendulum-v0"
OBS, ACTION = gymnasium.spaces.Box(-8.0, 8.0, (3,)), gymnasium.spaces.Box(-1.0, 1.0, (1,))


@pytest.fixture(scope="module")
def robot(tmp_path_factory):
    """A run with the spaces of the pendulum and three episodes."""
    path = tmp_path_factory.mktemp("live") / "robot"
    settings = small.SETTINGS["mbpo"]
    agent = forethought.start("mbpo", OBS, ACTION, run=path, steps=100, agent=settings, name=PENDULUM)
    rng = np.random.default_rng(0)
    for t in range(24):
        agent.act(rng.uniform(-1.0, 1.0, 3))
        agent.observe(rng.uniform(-1.0, 1.0, 3), 1.0, terminated=False, truncated=t % 8 == 7)
    agent.save()
    return path


def rows(episodes=3, steps=8, seed=1):
    """Logged steps in the units of the pendulum, which are those of agents."""
    rng, n = np.random.default_rng(seed), episodes * steps
    seen = rng.uniform(-1.0, 1.0, (episodes, steps + 1, 3)).astype(np.float32)
    return {
        "obs": seen[:, :-1].reshape(n, 3),
        "action": rng.uniform(-1.0, 1.0, (n, 1)).astype(np.float32),
        "reward": rng.normal(size=n).astype(np.float32),
        "next_obs": seen[:, 1:].reshape(n, 3),
        "terminated": np.zeros(n, bool),
        "truncated": np.arange(n) % steps == steps - 1,
    }


def episodes_of(named):
    return split(Transition(*(named[name] for name in FIELDS)))


def test_a_live_run_is_judged_by_its_last_episodes_or_in_a_world_that_is_named(robot, capsys):
    told = forethought.evaluate(robot, episodes=2)
    assert told.explored
    assert (told.returns.tolist(), told.lengths.tolist(), told.env_steps) == ([[8.0, 8.0]], [[8, 8]], 24)
    assert cli.main(["eval", str(robot)]) == 0
    said = "step 24: return 8 over 3 episodes (the last of the training, with exploration; --env ID plays others"
    assert said in capsys.readouterr().out
    played = forethought.evaluate(robot, episodes=2, env=PENDULUM)
    assert not played.explored
    assert played.lengths.tolist() == [[200, 200]]
    assert (played.returns < 0.0).all()


def test_a_live_run_is_diagnosed_in_a_world_that_is_named(robot, tmp_path):
    found = forethought.diagnose(robot, env=PENDULUM, horizon=6, episodes=2, output=tmp_path, settings=SMALL)
    assert (found.diagnosis.episodes, found.diagnosis.steps, found.diagnosis.logged) == (3, 600, False)
    assert found.diagnosis.exploitation is not None


def test_a_live_run_is_diagnosed_on_logged_episodes(robot, tmp_path):
    np.savez(tmp_path / "log.npz", **rows())
    run = shutil.copytree(robot, tmp_path / "run")
    assert cli.main(["diagnose", str(run), "--episodes-from", str(tmp_path / "log.npz")]) == 0
    d = read_diagnosis(run / "diagnostics.json")
    assert (d.horizon, d.episodes, d.steps, d.logged) == (8, 3, 24, True)
    assert (d.exploitation, d.favoured, d.value_gap.closed_loop) == (None, None, False)
    np.testing.assert_allclose(d.traces[0].real, rows()["next_obs"][:8], rtol=1e-5)
    assert "24 steps that were logged;" in (run / "report.html").read_text()


def test_logged_steps_are_cut_into_episodes():
    given = rows(2, 4)
    given["terminated"][3], given["truncated"][:] = True, False
    first, second = episodes_of(given)
    assert (first.terminated, first.truncated, second.terminated, second.truncated) == (True, False, False, True)
    assert first.obs.shape == (5, 3)
    np.testing.assert_array_equal(second.obs, [*given["obs"][4:], given["next_obs"][-1]])
    np.testing.assert_array_equal(second.action, given["action"][4:])
    assert len(episodes_of(rows(2, 1))) == 2
    given["terminated"][3] = False
    with pytest.raises(UsageError, match="row 4 does not begin where row 3 led to"):
        episodes_of(given)


def test_what_is_no_log_of_this_robot_is_one_line(robot, tmp_path):
    def refused(said, episodes, **options):
        with pytest.raises(UsageError, match=said):
            forethought.diagnose(robot, episodes=episodes, output=tmp_path, **options)

    (tmp_path / "no.npz").write_text("no")
    good = episodes_of(rows())
    refused("there are 1 held-out episodes; two at least", good[:1])
    refused("env plays episodes, and there are logged ones", good, env=PENDULUM)
    refused("shape", [e._replace(obs=e.obs[:, :2]) for e in good])
    refused("episode 0 has 8 observations, 8 actions", [e._replace(obs=e.obs[:-1]) for e in good])
    refused("rewards of logged episode 0 are not all finite", [e._replace(reward=e.reward * np.nan) for e in good])
    refused(r"no.npz' is no .npz file of plain arrays", str(tmp_path / "no.npz"))
    refused("obs has 24 rows, reward has 23", rows() | {"reward": np.zeros(23)})
    refused("row 1 does not begin where row 0 led to", rows() | {"obs": np.zeros((24, 3))})
    refused("robot is what the run has learned from", str(robot))


def test_a_world_with_other_spaces_is_refused(robot, tmp_path):
    with pytest.raises(UsageError, match=r"CartPole-v1 has other spaces than .*robot: obs is Box\(shape=\(4,\)"):
        forethought.evaluate(robot, env="CartPole-v1")
    with pytest.raises(UsageError, match=r"Pendulum-v1 has other bounds than .*robot: action_low is \(-2.0,\) and not"):
        forethought.film(robot, tmp_path / "film.gif", env="Pendulum-v1")
    with pytest.raises(UsageError, match=r"name one with env=.*or give logged episodes with episodes=\[...\]"):
        forethought.diagnose(robot)
