"""The code of the pages does what it says."""

import re
import sys
from pathlib import Path

import gymnasium
import jax.numpy as jnp
import numpy as np
import pytest

import forethought
from forethought.agents import catalog
from forethought.agents.dyna.mbpo import MBPO, MBPOConfig, MBPOState, RolloutSchedule
from forethought.agents.free.sac import ActorCritic, SACState
from forethought.configure import configure
from forethought.envs import make
from forethought.models.ensemble import Ensemble
from forethought.planning.cem import CEM
from forethought.planning.planner import Planner
from forethought.training.config import flatten, to_dict

PAGE = Path(__file__).parents[1] / "docs" / "your-environment.md"


@pytest.fixture
def page(tmp_path, monkeypatch):
    """The Python of the page up to the loop that the user owns; `train` only says what it would do."""
    module, *blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text().partition("## It is not a Gym")[0], re.S)
    (tmp_path / "my_robot.py").write_text(module)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(gymnasium.registry, "Cart-v0", raising=False)  # comes back at the end, where others have one
    asked = []
    monkeypatch.setattr(forethought, "train", lambda *args, **options: asked.append(configure(*args, **options)))
    names = {"np": np, "gymnasium": gymnasium}
    for block in blocks:
        exec(block, names)
    yield asked, names
    sys.modules.pop("my_robot")
    del gymnasium.registry["Cart-v0"]


def test_the_three_ways_to_name_an_environment_are_the_same(page):
    asked, _ = page
    worlds = [
        make(c.env, seeds=[0], env_kwargs=c.env_kwargs, maker=c.given.env) for c in (*asked[:3], configure_named(asked))
    ]
    assert [world.spec.max_episode_steps for world in worlds] == [100] * 4
    assert [c.env for c in asked[:3]] == ["my_robot:Cart", "my_robot:Cart", "my_robot:Cart-v0"]
    assert len({world.reset().obs.tobytes() for world in worlds}) == 1
    assert asked[0].agent["random_steps"] == 300  # a sixth of 2,000, rounded


def configure_named(asked):
    """What the shell makes of the name that the first of them keeps."""
    return configure("mbpo", asked[0].env, steps=2000, env_kwargs=asked[0].env_kwargs)


def test_the_reward_of_the_page_is_that_of_its_cart(page):
    asked, names = page
    world = make("my_robot:Cart-v0", seeds=[0])
    obs = world.reset().obs
    step = world.step(np.float32([[0.5]]))
    said = names["reward"](jnp.asarray(obs), jnp.array([[1.5]]), jnp.asarray(step.reached.obs))
    np.testing.assert_allclose(said, step.reached.reward, rtol=1e-5)
    assert asked[3].given.reward is names["reward"]
    assert names["termination"](obs, obs[:, :1], np.float32([[5.5, 0.0]])).tolist() == [True]


DOCS = sorted(PAGE.parent.glob("*.md"))
SOURCE = Path(forethought.__file__).parent


@pytest.mark.parametrize("path", DOCS, ids=lambda path: path.stem)
def test_settings_and_files_that_pages_name_exist(path):
    text = path.read_text(encoding="utf-8")
    known = {name for a in catalog.ALGORITHMS for name in flatten(to_dict(catalog.find(a).load()[1]()))}
    named = {name.replace("-", "_").removeprefix("no_") for name in re.findall(r"--agent\.([\w.-]*\w)", text)}
    whole = named - {"FIELD", "search", "sac", "fit"}  # what is only the beginning of a name
    assert not whole - known
    files = re.findall(r"`((?:agents|models|planning|training|diagnostics|nets|replay|report)/[\w/]+\.py)`", text)
    assert not [name for name in files if not (SOURCE / name).exists()]


@pytest.mark.parametrize("path", DOCS, ids=lambda path: path.stem)
def test_names_that_the_tables_of_papers_point_at_exist(path):
    """``Class.attribute`` between backticks, of the classes that the pages of the papers name."""
    homes = {
        c.__name__: c
        for c in (ActorCritic, CEM, Ensemble, MBPO, MBPOConfig, MBPOState, Planner, RolloutSchedule, SACState)
    }
    text = path.read_text(encoding="utf-8")
    for name, attribute in re.findall(r"`(\w+)\.(\w+)`", text):
        if name in homes:
            assert attribute in {*dir(homes[name]), *getattr(homes[name], "__annotations__", {})}, f"{name}.{attribute}"
