"""Runs of agents with latent models, diagnosed from the command line and from Python."""

import base64
import io
import json

import imageio.v2 as imageio
import numpy as np
import pytest
from dreamers import SMALL
from PIL import Image

import forethought
from forethought import cli, examine
from forethought.api import start_run
from forethought.configure import configure
from forethought.diagnostics import read_diagnosis
from forethought.errors import UsageError
from forethought.policy import load_learner
from forethought.training.progress import Silent

pytestmark = pytest.mark.slow

TINY = {"batch_size": 2, "batch_length": 4, "random_steps": 16, "train_every": 16, "replay_capacity": 100}


def trained(path, algorithm, env, **settings):
    agent = {**TINY, **settings}
    config = configure(algorithm, env, preset="none", steps=40, eval_every=40, eval_episodes=1, agent=agent)
    return start_run(config, path, Silent()).path


@pytest.fixture(scope="module")
def watching(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("runs") / "watching", "dreamer-v3", "watching:Watching-v0")


@pytest.fixture(scope="module")
def logged(watching, tmp_path_factory):
    return forethought.transitions(watching).save(tmp_path_factory.mktemp("data") / "seen.npz")


def test_a_picture_a_number_and_a_vector_with_choices(watching, capsys):
    assert cli.main(["diagnose", str(watching), "--horizon", "2", "--episodes", "3"]) == 0
    out = capsys.readouterr().out
    assert not out.startswith("Good")
    assert f"{'a dream beside reality':<30}{watching / 'dream.mp4'}" in out
    d = read_diagnosis(watching / "diagnostics.json")
    assert d.obs_names == ["speed[0]", "speed[1]", "gear", "picture"]
    assert d.latent
    assert d.value_gap.closed_loop
    assert d.exploitation.effort.tolist() == [1, 8, 64, 512]
    frames = [frame for frame in imageio.get_reader(watching / "dream.mp4")]  # noqa: C416 - it has no length
    assert 2 <= len(frames) <= 13  # an episode has 12 steps at most
    assert d.strip.moments[:2] == [0, d.strip.context - 1]
    picture = Image.open(io.BytesIO(base64.b64decode(d.strip.png)))
    assert picture.size[0] > picture.size[1] > 200
    text = (watching / "report.html").read_text()
    assert f"data:image/png;base64,{d.strip.png}" in text
    assert "is decoded to be compared" in text


def test_logged_episodes_of_several_parts(watching, logged, tmp_path):
    found = forethought.diagnose(watching, episodes=logged, output=tmp_path, settings=SMALL, horizon=2)
    assert found.diagnosis.logged
    assert found.film == tmp_path / "dream.mp4"
    assert found.film.is_file()
    assert not found.diagnosis.value_gap.closed_loop


def test_what_was_measured_stays_where_no_film_can_be_made(watching, logged, tmp_path, monkeypatch):
    def refused(*args, **kwargs):
        raise UsageError("no film")

    monkeypatch.setattr(examine, "film", refused)
    with pytest.raises(UsageError, match="no film"):
        forethought.diagnose(watching, episodes=logged, output=tmp_path, settings=SMALL, horizon=2)
    assert np.isfinite(read_diagnosis(tmp_path / "diagnostics.json").recall.error).all()


def test_a_model_that_has_learned_nothing_is_named_so(watching, logged, tmp_path, monkeypatch):
    def as_begun(*args, **kwargs):
        held, learner = load_learner(*args, **kwargs)
        learner.env_steps = learner.updates = 0
        return held, learner

    monkeypatch.setattr(examine, "load_learner", as_begun)
    found = forethought.diagnose(watching, episodes=logged, output=tmp_path, settings=SMALL, horizon=2)
    assert found.verdict[0].startswith("Nothing was learned")
    assert len(found.verdict) > 1


def test_a_planner_in_latents_does_what_it_did(tmp_path):
    settings = {"deter": 8, "stoch": 2, "units": 8, "horizon": 2, "search.population": 8, "search.elites": 2}
    run = trained(tmp_path / "planet", "planet", "forethought/ProbeAction-v0", **settings)
    found = forethought.diagnose(run, settings=SMALL, output=tmp_path)
    assert (found.film, found.diagnosis.strip) == (None, None)
    assert not found.diagnosis.value_gap.closed_loop
    assert json.loads(found.path.read_text())["latent"]
    assert np.isfinite(found.diagnosis.recall.error).all()
