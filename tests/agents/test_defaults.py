"""Defaults of environments without a preset: made for the budget, never over what a preset or the user says."""

import gymnasium
import jax.numpy as jnp
import numpy as np
import pytest

import forethought
from forethought import cli
from forethought.agents.defaults import OWN, fitted, words
from forethought.agents.dyna.mbpo import RolloutSchedule
from forethought.configure import configure, settings_for
from forethought.training.config import flatten

PLAIN = {
    "random_steps": 5000,
    "model_every": 250,
    "epoch_steps": 1000,
    "schedule.first": 1,
    "schedule.last": 1,
    "schedule.start": 20_000,
    "schedule.end": 150_000,
}
HOUSE = "mine:House-v0"  # never made here


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        (1, (1, 1, 1)),
        (60, (10, 5, 5)),
        (1500, (250, 100, 100)),
        (3000, (500, 250, 250)),
        (10_000, (1500, 250, 800)),
        (50_000, (5000, 250, 1000)),
    ],
)
def test_what_counts_steps_fits_the_budget(steps, expected):
    agent = configure("mbpo", HOUSE, steps=steps).agent
    assert tuple(agent[name] for name in ("random_steps", "model_every", "epoch_steps")) == expected


def test_planners_and_sac_fit_theirs():
    assert configure("sac", HOUSE, steps=600).agent["random_steps"] == 100
    assert configure("sac", HOUSE, steps=6000).agent["random_steps"] == 1000
    pets = configure("pets", HOUSE, steps=600).agent
    assert (pets["random_steps"], pets["model_every"]) == (100, 50)
    pets, plain = (flatten(configure("pets", HOUSE, steps=3000, preset=name).agent) for name in (None, "none"))
    changed = {name: value for name, value in pets.items() if value != plain[name]}
    own = {"fit.batch_size": 64, "fit.patience_updates": 200, "fit.beta": 0.5, "fit.select": "geometric"}
    assert changed == own


def test_environments_of_ones_own_get_settings_of_our_own():
    mbpo = flatten(configure("mbpo", HOUSE, steps=3000).agent)
    assert {name: mbpo[name] for name in OWN if name != "normalize"} == {
        "sac.normalize": True,
        "fit.batch_size": 64,
        "fit.patience_updates": 200,
        "fit.beta": 0.5,
        "fit.select": "geometric",
    }
    assert configure("sac", HOUSE, steps=3000).agent["normalize"] is True
    kept = flatten(configure("mbpo", HOUSE, steps=3000, agent={"fit.beta": 0.0}).agent)
    assert (kept["fit.beta"], kept["fit.batch_size"]) == (0.0, 64)
    papers = flatten(configure("mbpo", HOUSE, steps=6000, preset="none").agent)
    assert [papers[name] for name in OWN if name in papers] == [False, 256, 0, 0.0, "mean"]
    hopper = flatten(configure("mbpo", "Hopper-v5", steps=6000).agent)
    assert [hopper[name] for name in OWN if name in hopper] == [False, 256, 0, 0.0, "mean"]
    pendulum = flatten(configure("mbpo", "Pendulum-v1", steps=6000, preset="fitted").agent)
    assert pendulum["sac.normalize"] is True


def test_rollouts_that_grow_do_so_within_the_budget():
    grown = fitted(PLAIN, 3000, {"schedule.last": 5})
    assert (grown["random_steps"], grown["epoch_steps"]) == (500, 250)
    assert (grown["schedule.start"], grown["schedule.end"]) == (333, 2250)
    schedule = RolloutSchedule(first=1, last=5, start=333, end=2250)
    last_epoch = (3000 - 1 - 500) // 250 * 250
    assert int(schedule.length(jnp.array(last_epoch))) == 5
    assert "schedule.end" not in fitted(PLAIN, 3000, {})  # nothing grows
    assert fitted(PLAIN, 3000, {"schedule.last": 5, "schedule.end": 100})["schedule.start"] == 100
    assert fitted(PLAIN, 3000, {"schedule.last": 5, "schedule.start": 4000})["schedule.end"] == 4000


def test_an_epoch_holds_the_users_interval_between_fits():
    assert fitted(PLAIN, 3000, {"model_every": 600})["epoch_steps"] == 600
    assert fitted(PLAIN, 50_000, {"model_every": 2000})["epoch_steps"] == 2000  # also above the papers' 1000


def test_settings_presets_and_the_papers_numbers_stay():
    told = configure("mbpo", HOUSE, steps=3000, agent={"random-steps": 2000, "model_every": 250}).agent
    assert (told["random_steps"], told["model_every"]) == (2000, 250)
    assert configure("mbpo", HOUSE, steps=3000, preset="none").agent["random_steps"] == 5000
    assert configure("mbpo", "Hopper-v5", steps=6000).agent["random_steps"] == 5000
    assert settings_for("mbpo", None, "Hopper-v5", 100)[0] == "hopper"
    assert settings_for("mbpo", "none", "Hopper-v5", 100) == (None, {})


def test_a_run_begins_by_saying_so():
    assert words(PLAIN, 3000, {**PLAIN, "random_steps": 500, "epoch_steps": 250}) == [
        "fitted to the budget: 500 random steps of 3,000 (the default 5,000 would leave nothing to learn from), "
        "epoch_steps 250 (default 1,000)"
    ]
    assert words(PLAIN, 10_000, {**PLAIN, "random_steps": 1500}) == [
        "fitted to the budget: 1,500 random steps of 10,000 (default 5,000)"
    ]
    assert words(PLAIN, 3000, PLAIN) == []  # the user wanted them so
    # What follows from what the user says is told too.
    held = {**PLAIN, "random_steps": 500, "model_every": 2000, "epoch_steps": 2000}
    assert "epoch_steps 2,000 (default 1,000)" in words(PLAIN, 3000, held)[0]
    held = {**PLAIN, "schedule.last": 5, **fitted(PLAIN, 3000, {"schedule.last": 5})}
    assert "schedule.end 2,250 (default 150,000)" in words(PLAIN, 3000, held)[0]


def test_numpys_numbers_fit_as_pythons_do():
    for last, random in ((10, 500), (np.int64(10), np.int64(500)), (10.0, 500.0)):
        fit_to = fitted(PLAIN, 3000, {"schedule.last": last, "random_steps": random})
        assert (fit_to["schedule.start"], fit_to["schedule.end"]) == (333, 2250)
    assert "epoch_steps" not in fitted(PLAIN, 3000, {"model_every": np.int64(1000)})  # the default of 1,000


def test_what_goes_with_an_epoch_of_ones_own_is_told():
    given = {"schedule.last": 10, "epoch_steps": 500}
    held = {**PLAIN, **fitted(PLAIN, 3000, given), **given}
    (said,) = words(PLAIN, 3000, held)
    assert f"schedule.end {held['schedule.end']:,} (default 150,000)" in said
    assert "epoch_steps" not in said


@pytest.mark.parametrize(
    ("algorithm", "name"), [("sac", "schedule.last"), ("pets", "schedule.first"), ("dyna-q", "schedule.end")]
)
def test_settings_of_other_algorithms_are_named(algorithm, name):
    with pytest.raises(forethought.ForethoughtError, match="there is no setting 'schedule'"):
        configure(algorithm, HOUSE, steps=3000, agent={name: 10})


def test_a_setting_of_the_wrong_kind_is_named():
    with pytest.raises(forethought.ForethoughtError, match="model_every is 'often'; it takes a whole number"):
        configure("mbpo", HOUSE, steps=3000, agent={"model_every": "often"})


def test_ask_and_tell_fits_its_budget_too(tmp_path):
    spaces = gymnasium.spaces.Box(-1.0, 1.0, (3,)), gymnasium.spaces.Box(-1.0, 1.0, (1,))
    agent = forethought.start("sac", *spaces, run=tmp_path / "run", steps=300, agent={"hidden": (4,)})
    assert agent.agent.random_steps == 50


@pytest.fixture
def configured(monkeypatch):
    """The config that a command line leads to; nothing is trained."""
    seen = []

    def keep(config, *_, **__):
        seen.append(config)
        raise forethought.ForethoughtError("enough")

    monkeypatch.setattr("forethought.api.start_run", keep)

    def ask(*words):
        cli.main(["train", *words])
        return seen[-1]

    return ask


def test_the_command_line_does_as_python_does(configured):
    assert configured("mbpo", HOUSE, "--steps", "3000") == configure("mbpo", HOUSE, steps=3000)
    assert configured("mbpo", HOUSE, "--steps=3000", "--preset", "none").agent["random_steps"] == 5000
    asked = configured("mbpo", HOUSE, "--steps", "3000", "--agent.schedule.last", "5", "--agent.random-steps", "700")
    assert asked == configure("mbpo", HOUSE, steps=3000, agent={"schedule.last": 5, "random_steps": 700})
    # Said aloud, the default is no default any more.
    asked = configured("mbpo", HOUSE, "--steps", "3000", "--agent.schedule.last", "5", "--agent.schedule.end=150000")
    assert asked.agent["schedule"]["end"] == 150_000


def test_the_help_shows_what_the_budget_leads_to(capsys):
    with pytest.raises(SystemExit):
        cli.main(["train", "mbpo", HOUSE, "--steps", "3000", "--help"])
    said = " ".join(capsys.readouterr().out.replace("│", " ").split())
    start = said.rindex("--agent.random-steps")
    assert "default: 500" in said[start : start + 150]


@pytest.mark.parametrize(
    ("words", "steps"),
    [
        (("mbpo", HOUSE), "10,000"),
        (("mbpo", HOUSE, "--steps", "3000"), "3,000"),
        (("mbpo", HOUSE, "--preset", "none"), None),
        (("mbpo", "Pendulum-v1"), None),  # a preset's are the same whatever the budget
        (("ppo", HOUSE), None),  # none of its defaults follows it
    ],
)
def test_the_help_says_which_budget_its_defaults_are_for(words, steps, capsys):
    with pytest.raises(SystemExit):
        cli.main(["train", *words, "--help"])
    said = " ".join(capsys.readouterr().out.split())
    line = f"Defaults that follow the budget are those for {steps} steps; --steps N --help shows others."
    assert line in said if steps else "follow the budget" not in said
