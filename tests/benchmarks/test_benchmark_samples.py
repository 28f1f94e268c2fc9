"""When a return was first reached, and the table of it, on records written by hand."""

import sys

import numpy as np
import pytest

from benchmarks import results
from benchmarks.learning import _kept
from benchmarks.scores import samples as samples_table
from benchmarks.tasks import TASKS
from benchmarks.tasks.common import Request
from benchmarks.tasks.control import planned_trials
from benchmarks.tasks.samples import first_steps, samples
from forethought.configure import configure

LABELS = ("sac", "mbpo", "pets", "poplin-a")


class Records:
    """What is read of a run."""

    def __init__(self, *records, random_steps=100):
        self.records, self.config = records, {"agent": {"random_steps": random_steps}}

    def of(self, kind):
        return [record for record in self.records if record["kind"] == kind]


def evaluation(step, *of_seeds):
    return {"kind": "eval", "env_steps": step, "return": of_seeds}


def episode(end, length, value, seed=0):
    return {"kind": "episode", "env_steps": end, "length": length, "return": value, "seed": seed}


def test_the_first_evaluation_whose_mean_reaches_the_goal_counts():
    run = Records(
        evaluation(0, [0.0, 0.0], [0.0, 0.0], [0.0, 0.0]),
        evaluation(50, [9.0, 11.0], [9.0, 10.9], [0.0, 9.0]),
        evaluation(100, [0.0, 0.0], [10.0, 12.0], [9.0, 10.0]),
    )
    assert first_steps(run, 3, 10.0, planner=False).tolist() == [50.0, 100.0, np.inf]


def test_planners_count_to_the_end_of_the_first_of_two_good_trials():
    """The trial of 12 at step 150 is alone; those that end at 220 and 260 have a mean of 10.

    The model goes on learning in the first of them, so that it is not known before step 220.
    """
    good = [episode(150, 40, 12.0), episode(180, 30, 1.0), episode(220, 40, 8.0), episode(260, 40, 12.0)]
    never = [episode(150, 40, 1.0, seed=1), episode(190, 40, 12.0, seed=1)]
    assert first_steps(Records(*good, *never), 2, 10.0, planner=True).tolist() == [220.0, np.inf]


def test_trials_that_began_with_random_actions_do_not_count():
    run = Records(episode(90, 90, 50.0), episode(130, 40, 60.0), episode(170, 40, 1.0), episode(140, 40, 2.0, seed=1))
    assert [[trial["return"] for trial in of_seed] for of_seed in planned_trials(run, 2)] == [[1.0], [2.0]]


@pytest.mark.parametrize("name", [name for name in TASKS if name.startswith("samples_")])
def test_all_have_the_random_steps_of_mbpo_and_sac_its_target_entropy_and_evaluations(tmp_path, monkeypatch, name):
    """As the runs would be configured: nothing that both have may differ, but for what was not set for MBPO either."""
    made = {}

    class Asked(Exception):
        pass

    def configured(training, folder, **_):
        made[training.label] = configure(training.algorithm, training.env, steps=training.steps, **training.options)
        raise Asked

    monkeypatch.setattr(sys.modules[first_steps.__module__], "trained", configured)
    anything = {"iqm": 1.0}
    for label in LABELS:
        with pytest.raises(Asked):
            TASKS[name].run(Request(tmp_path, 5, 10, {other: anything for other in LABELS if other != label}))
    sac, mbpo = made["sac"], made["mbpo"]
    shared = set(mbpo.agent["sac"]) | {"random_steps"}
    assert {key: sac.agent[key] for key in shared} == {**mbpo.agent["sac"], "random_steps": mbpo.agent["random_steps"]}
    assert sac.agent["target_entropy"] is not None
    assert (sac.eval_every, sac.eval_episodes) == (mbpo.eval_every, mbpo.eval_episodes)
    assert {config.agent["random_steps"] for config in made.values()} == {mbpo.agent["random_steps"]}


def test_runs_that_are_kept_are_not_made_anew(tmp_path, monkeypatch):
    runs = {name: {"iqm": steps, "first_step": [steps]} for name, steps in (("sac", 4000.0), ("mbpo", 400.0))}
    path = tmp_path / "samples.json"
    results.write(path, [{"name": "samples_pole", "details": runs, "command": "this"}])
    made = []
    task = sys.modules[first_steps.__module__]
    monkeypatch.setattr(task, "_trained", lambda run, *_, **__: made.append(run.label) or {"iqm": 200.0})
    measure = task.samples("Pendulum-v1", 9.0, {"sac": 10, "mbpo": 10}, "samples_pole")
    result = measure(Request(tmp_path, 1, 10, _kept(path, "samples_pole", ["mbpo"], "this")))
    assert made == ["mbpo"]
    assert result.checks[0].value == 20.0
    with pytest.raises(KeyError, match="has no run 'pets'; it has sac, mbpo"):
        _kept(path, "samples_pole", ["pets"], "this")
    with pytest.raises(LookupError, match="made by `this`; --only needs the same seeds"):
        _kept(path, "samples_pole", ["mbpo"], "this --seeds 2")


@pytest.mark.parametrize(
    ("pets", "value", "met", "words"), [(500.0, 2.0, True, ""), (None, 0.0, False, ", which never gets there")]
)
def test_an_algorithm_that_never_gets_there_is_short_of_its_target(tmp_path, pets, value, met, words):
    measure = samples("Pendulum-v1", 9.0, {"sac": 10, "pets": 10}, "samples_pole")
    (check,) = measure(Request(tmp_path, 1, 10, {"sac": {"iqm": 1000.0}, "pets": {"iqm": pets}})).checks
    assert (check.what, check.value, check.met) == (f"steps of SAC over those of pets{words}", value, met)


@pytest.mark.parametrize(("iqm", "mean", "fewer"), [(500.0, "500", "4"), (None, "never", "-")])
def test_the_table_says_how_many_seeds_got_there_and_how_much_sooner_than_sac(iqm, mean, fewer):
    def run(iqm, steps):
        return {
            "first_step": steps,
            "iqm": iqm,
            "interval": [400.0, None],
            "env": "E-v0",
            "goal": -200.0,
            "budget": 3000,
            "random_steps": 200,
        }

    details = {"sac": run(2000.0, [2000, 2000]), "pets": run(iqm, [500, None])}
    page = samples_table({("learning", "samples_e"): {"details": details}})
    assert f"| E-v0, -200 | pets | {mean} | 400 to never | 1 of 2 | {fewer} | 200 | 3,000 |" in page
    said = "4 times fewer than SAC (1 of 1" if iqm else "no times fewer than SAC (0 of 1"
    assert f"pets {said} environments)." in page


@pytest.mark.parametrize(
    ("sac", "factor"),
    [
        ({}, "4"),
        ({"random_steps": 1000}, "not alike"),
        ({"target_entropy": -1.0}, "not alike"),
        ({"eval_every": 250}, "not alike"),
    ],
)
def test_no_factor_is_told_where_sac_and_mbpo_were_not_treated_alike(sac, factor):
    def run(iqm, prefix="", random_steps=500, target_entropy=-0.5, eval_every=50):
        settings = {f"agent.{prefix}target_entropy": target_entropy, "eval_every": eval_every}
        of_run = {"first_step": [iqm], "iqm": iqm, "interval": [iqm, iqm], "env": "E-v0", "goal": 1.0, "budget": 9000}
        return {**of_run, "random_steps": random_steps, "settings": settings}

    details = {"sac": run(2000.0, **sac), "mbpo": run(500.0, "sac.")}
    page = samples_table({("learning", "samples_e"): {"details": details}})
    assert f"| E-v0, 1 | mbpo | 500 | 500 to 500 | 1 of 1 | {factor} | 500 | 9,000 |" in page
    assert (f"mbpo {factor} times fewer" in page) == (factor == "4")
