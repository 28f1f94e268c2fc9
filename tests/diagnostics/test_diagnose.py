"""The model of a run, from Python and from the command line."""

import json
import shutil

import jax
import pytest
from dreamers import SMALL

import forethought
import small
from forethought import cli
from forethought.agents.catalog import ALGORITHMS
from forethought.api import start_run
from forethought.configure import configure
from forethought.diagnostics import read_diagnosis, verdict
from forethought.errors import UsageError
from forethought.models.base import WorldModel
from forethought.report.html import write_report
from forethought.training.progress import Silent

pytestmark = [pytest.mark.slow, pytest.mark.learned]

PENDULUM, MAZE = "forethought/Pendulum-v0", "forethought/DynaMaze-v0"


def trained(path, algorithm, env, steps, **settings):
    agent = {**small.SETTINGS[algorithm], **settings}
    config = configure(algorithm, env, steps=steps, seeds=2, eval_every=steps, eval_episodes=1, agent=agent)
    return start_run(config, path, Silent()).path


@pytest.fixture(scope="module")
def mbpo(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("runs") / "mbpo", "mbpo", PENDULUM, 60)


@pytest.fixture(scope="module")
def dyna(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("runs") / "dyna", "dyna-q", MAZE, 2000, planning_steps=5, epsilon=1.0)


def run(*args) -> int:
    return cli.main([str(a) for a in args])


@pytest.mark.parametrize("name", ALGORITHMS)
def test_every_algorithm_shows_its_model_or_has_none(name):
    agent = small.make_agent(name, small.envs.env_spec(small.WORLDS[name]))
    model = agent.world_model(agent.init(key=jax.random.key(0)))
    assert (model is None) == (ALGORITHMS[name].use == "none (baseline)")
    assert model is None or isinstance(model, WorldModel)


def test_a_model_that_has_hardly_learned_is_found_out(mbpo, tmp_path):
    found = forethought.diagnose(mbpo, horizon=6, episodes=2, output=tmp_path, settings=SMALL)
    d = found.diagnosis
    assert (d.horizon, d.episodes, d.steps) == (6, 3, 600)
    assert not found.verdict[0].startswith("Good")
    assert d.value_gap.closed_loop
    assert d.exploitation.real.shape == (5, 8)
    assert d.beside_plans.real.shape == (8,)
    assert found.path == tmp_path / "diagnostics.json"
    assert verdict(read_diagnosis(found.path)) == found.verdict
    assert not (mbpo / "diagnostics.json").exists()


def test_the_same_seed_gives_the_same_diagnosis(mbpo, tmp_path):
    def look(**more):
        forethought.diagnose(mbpo, horizon=6, episodes=2, output=tmp_path, settings=SMALL, **more)
        return (tmp_path / "diagnostics.json").read_text()

    first = look()
    assert look() == first
    assert look(seed=1) != first
    assert look(of_seed=1) != first


def test_a_maze_from_the_command_line_and_its_chapter(dyna, capsys):
    assert run("diagnose", dyna, "--episodes", 4) == 0
    out = capsys.readouterr().out
    assert out.startswith("Good")
    assert '"Nothing changes"' in out
    d = read_diagnosis(dyna / "diagnostics.json")
    assert d.open_loop is None
    assert d.wrong_states.wrong.max() < 0.1  # nearly every pair was tried
    assert d.exploitation.effort.tolist() == [1, 8, 64, 512]
    text = (dyna / "report.html").read_text()
    assert "How far can the model be trusted?" in text
    assert "share of wrong states" in text


def test_the_chapter_of_a_report(mbpo, dyna, tmp_path, capsys):
    copy = shutil.copytree(mbpo, tmp_path / "run")
    without = write_report([copy], tmp_path / "a.html").read_text()
    assert "be trusted" not in without
    found = forethought.diagnose(copy, horizon=6, episodes=2, settings=SMALL)
    said = write_report([copy], tmp_path / "b.html").read_text()
    assert found.verdict[0].split('"')[0].split("'")[0][:40] in said
    for words in (
        "Dreams beside reality",
        "predicted share below",
        "plans evaluated before deciding",
        "imagined steps",
    ):
        assert words in said
    both = write_report([copy, mbpo], tmp_path / "c.html").read_text()
    assert "be trusted? (run)" in both


def test_a_planner_is_judged_by_the_actions_it_took(tmp_path):
    path = trained(tmp_path / "pets", "pets", "forethought/ProbeAction-v0", 40)
    found = forethought.diagnose(path, settings=SMALL)
    assert found.diagnosis.horizon == 1
    assert not found.diagnosis.value_gap.closed_loop
    assert not found.diagnosis.long_run.closed_loop
    assert not found.diagnosis.beside_plans.closed_loop


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--horizon", "0"], "horizon is 0; it must be at least 1"),
        (["--episodes", "1"], "episodes is 1; it must be at least 2"),
        (["--horizon", "201", "--episodes", "2"], "horizon is 201; no episode of forethought/Pendulum-v0 has more"),
        (["--of-seed", "7"], "the run has seeds 0 to 1, not 7"),
        (["--horizn", "3"], "did you mean '--horizon'"),
    ],
)
def test_bad_requests_are_one_line(mbpo, capsys, words, said):
    assert run("diagnose", mbpo, *words) == 2
    err = capsys.readouterr().err
    assert said in err
    assert err.strip().splitlines()[-1].startswith("error: ")


def test_runs_that_cannot_be_diagnosed_are_one_line(tmp_path, capsys):
    assert run("diagnose", tmp_path) == 4
    sac = trained(tmp_path / "sac", "sac", PENDULUM, 20)
    assert run("diagnose", sac) == 2
    assert "a run without a model" in capsys.readouterr().err
    gone = trained(tmp_path / "gone", "mbpo", "forethought/ProbeAction-v0", 40)
    config = json.loads((gone / "config.json").read_text())
    (gone / "config.json").write_text(json.dumps(config | {"env": "forethought/Gone-v0"}))
    assert run("diagnose", gone) == 4  # not the environment that it was made with
    assert "forethought/Gone-v0" in capsys.readouterr().err
    (gone / "config.json").write_text(json.dumps(config | {"live": True}))
    with pytest.raises(UsageError, match=r"driven from Python by forethought\.start"):
        forethought.diagnose(gone)
