"""Requests that cannot be served are refused in one line before anything is made: no environment, no compilation."""

import pickle
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

import forethought
from forethought.agents.catalog import ALGORITHMS
from forethought.configure import configure
from forethought.errors import BadSetting, CheckpointError, MissingExtra, UsageError, brief, require_count, require_seed
from forethought.settings import unchecked
from forethought.training import memory
from forethought.training.config import coerced, flatten, from_dict, to_dict

LONG = "x" * 4000


def request(algorithm="sac", env="Pendulum-v1", **options):
    return configure(algorithm, env, **{"steps": 6000, **options})


def refused(error) -> str:
    text = str(error.value)
    assert "\n" not in text
    assert len(text) < 400
    return text


@pytest.mark.parametrize("steps", [np.int64(6000), np.int32(6000), 6000.0, np.float32(6000), Fraction(6000)])
def test_whole_numbers_come_in_many_kinds(steps):
    config = request(steps=steps, num_envs=np.int64(2), agent={"hidden": [np.int64(8)], "tau": np.float64(0.5)})
    assert (config.steps, config.eval_every, config.num_envs) == (6000, 300, 2)
    assert (config.agent["hidden"], config.agent["tau"]) == ([8], 0.5)
    assert {type(value) for value in (config.steps, config.num_envs, config.agent["hidden"][0])} == {int}


@pytest.mark.parametrize("steps", ["6000", 6000.5, None, True, [6000], float("nan"), float("inf"), 1j, np.zeros(3)])
def test_what_is_no_whole_number(steps):
    with pytest.raises(UsageError, match=r"steps is .*; it takes a whole number") as error:
        request(steps=steps)
    refused(error)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"seed": 2**32}, "seed is 4294967296; it must be between 0 and 4,294,967,295"),
        ({"seed": 2**63}, "seed is 9223372036854775808; it must be between"),
        ({"seed": 2**32 - 2, "seeds": 3}, "3 seeds from 4294967294 on go beyond the last one, 4,294,967,295"),
        ({"seed": -1}, "seed is -1; it must be between 0"),
        ({"eval_evry": 3}, "no option 'eval_evry'; did you mean 'eval_every'"),
        ({"agent": {LONG: 4}}, "there is no setting 'xxx"),
        ({"agent": {"hidden": LONG}}, "hidden is 'xxx"),
        ({"agent": {"hidden": np.arange(9000)}}, "hidden is array("),
        ({"env_kwargs": {"terrain": np.zeros(9000)}}, "env_kwargs has terrain=array([0., 0., 0."),
        ({"env_kwargs": {"robot": object()}}, "cannot write down as JSON"),
        ({"env_kwargs": 3}, "env_kwargs is 3; it takes a dict"),
        ({"preset": LONG}, "has no preset 'xxx"),
        ({"algorithm": LONG}, "there is no algorithm 'xxx"),
    ],
)
def test_requests_that_no_run_can_serve(options, said):
    with pytest.raises(UsageError) as error:
        request(**options)
    assert said in refused(error)


@pytest.mark.parametrize(
    ("algorithm", "setting", "value", "said"),
    [
        ("sac", "hidden", [0], "hidden is (0,); a layer has at least 1 unit"),
        ("sac", "hidden", [8, -3], "hidden is (8, -3); a layer has"),
        ("sac", "batch_size", 2**31, "batch_size is 2147483648; it must be at most 2,147,483,647"),
        ("mbpo", "sac.hidden", [0], "sac.hidden is (0,); a layer has"),
        ("mbpo", "model_hidden", [0], "model_hidden is (0,); a layer has"),
        ("mbpo", "sac.learning_rate", 0, "sac.learning_rate is 0.0; it must be above 0"),
        ("mbpo", "fit.learning_rate", float("nan"), "fit.learning_rate is nan; it must be finite"),
        ("mbpo", "fit.learning_rate", 10**400, "fit.learning_rate is inf; it must be finite"),
        ("mbpo", "fit.max_gradient", 0, "fit.max_gradient is 0.0; it must be above 0"),
        ("mbpo", "fit.weight_decay", [], "fit.weight_decay is empty"),
        ("mbpo", "fit.weight_decay", [-1], "fit.weight_decay is -1.0; it must be at least 0"),
        ("mbpo", "fit.calibrate", True, "fit.calibrate needs held-out transitions"),
        ("mbpo", "schedule.first", 0, "schedule.first is 0; it must be at least 1"),
        ("mbpo", "schedule.end", 5, "schedule.end is 5; it must be at least 20,000"),
        ("mbpo", "schedule.start", 10**12, "schedule.start is 1000000000000; it must be at most"),
        ("pets", "search.elites", 5000, "search.elites are 5000 of a population of"),
        ("poplin-a", "policy_hidden", [-1], "policy_hidden is (-1,); a layer has"),
        ("dyna-q", "kappa", -1, "kappa is -1.0; it must be at least 0"),
        ("prioritized-sweeping", "threshold", -1, "threshold is -1.0; it must be at least 0"),
    ],
)
def test_impossible_settings_are_named_with_their_path(algorithm, setting, value, said):
    agent = {setting: value} | ({"fit.holdout_ratio": 0} if setting == "fit.calibrate" else {})
    with pytest.raises(UsageError) as error:
        request(algorithm, agent=agent)
    assert refused(error).startswith(said)
    nested: dict = {}
    for name, item in agent.items():
        head, _, rest = name.partition(".")
        nested[head] = {**nested.get(head, {}), rest: item} if rest else item
    with pytest.raises(UsageError) as error:
        request(algorithm, agent=nested)
    assert refused(error).startswith(said)


FLOATS = [
    (name, setting)
    for name, entry in ALGORITHMS.items()
    for setting, value in flatten(to_dict(entry.load()[1]())).items()
    if isinstance(value, float)
]


@pytest.mark.parametrize(("algorithm", "setting"), FLOATS)
def test_no_setting_is_nan_or_infinite(algorithm, setting):
    for value in (float("nan"), float("inf"), -float("inf"), 1e39):
        with pytest.raises(BadSetting) as error:
            request(algorithm, agent={setting: value})
        assert refused(error) == f"{setting} is {value}; it must be finite"


def test_settings_are_looked_at_once_they_are_complete():
    config = ALGORITHMS["mbpo"].load()[1]
    with unchecked():
        wrong = from_dict(config, {"schedule.end": 5})
    with pytest.raises(UsageError, match=r"^schedule\.end is 5"):
        from_dict(config, to_dict(wrong))
    with pytest.raises(UsageError, match=r"^end is 5"):
        type(wrong.schedule)(end=5)


def test_plain_values_take_the_type_of_their_field():
    config = ALGORITHMS["sac"].load()[1]
    assert coerced(config, {"tau": 1, "batch_size": 8.0, "hidden": [4]}) == {
        "tau": 1.0,
        "batch_size": 8,
        "hidden": (4,),
    }


@pytest.mark.parametrize(("algorithm", "seeds"), [("sac", 100_000), ("dyna-q", 100_000), ("sac", 2**32 - 1)])
def test_memory_is_looked_at_before_anything_of_the_size_of_seeds_is_made(tmp_path, algorithm, seeds, monkeypatch):
    made = []
    monkeypatch.setattr("forethought.api.make_world", lambda *args: made.append(args))
    env = "FrozenLake-v1" if algorithm == "dyna-q" else "Pendulum-v1"
    capacity = {"outcomes": 100_000} if algorithm == "dyna-q" else {"replay_capacity": 1_000_000}
    with pytest.raises(UsageError, match=r"the run needs about .* of memory"):
        forethought.train(algorithm, env, steps=10**6, run=tmp_path / "run", agent=capacity, seeds=seeds)
    assert not made
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("held", "said"),
    [
        ((9, 1, 1), "for the replay: lower --agent.replay-capacity, or"),
        ((1, 9, 1), "for the imagined transitions: lower --agent.rollouts-per-step, or"),
        ((1, 1, 9), "for the model, policy and optimizers: choose a smaller model and policy, or"),
    ],
)
def test_what_takes_the_most_memory_is_named(held, said):
    plan = memory.MemoryPlan(*held, free=14)
    plan.refuse_if_too_large()
    with pytest.raises(UsageError, match=said):
        replace(plan, free=13).refuse_if_too_large()


@pytest.mark.parametrize("name", ["x" * 300, "a\0b"])
def test_names_that_no_file_can_have(tmp_path, name):
    path = tmp_path / name
    for use in (
        lambda: forethought.train("sac", "Pendulum-v1", steps=2000, run=path),
        lambda: forethought.resume(path),
        lambda: forethought.evaluate(path),
        lambda: forethought.load(path),
    ):
        with pytest.raises(UsageError, match=r"there can be no .*; choose another name") as error:
            use()
        refused(error)


def test_a_file_where_a_run_is_meant(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "notes.txt").write_text("")
    for use in (forethought.resume, forethought.evaluate, forethought.load, forethought.diagnose):
        with pytest.raises(CheckpointError, match=r"config\.json is a file; the run is .*"):
            use(tmp_path / "config.json")
        with pytest.raises(CheckpointError, match=r"notes\.txt is a file; a run is a directory"):
            use(tmp_path / "more" / "notes.txt")


@pytest.mark.parametrize(
    ("use", "said"),
    [
        (lambda: forethought.evaluate("none", episodes=0), "episodes is 0; it must be at least 1"),
        (lambda: forethought.evaluate("none", seed=2**32), "seed is 4294967296; it must be between"),
        (lambda: forethought.diagnose("none", horizon=0), "horizon is 0; it must be at least 1"),
        (lambda: forethought.diagnose("none", episodes=1), "episodes is 1; it must be at least 2"),
        (lambda: forethought.diagnose("none", seed=-1), "seed is -1; it must be between"),
        (lambda: forethought.film("none", "v.mp4", seed=2**63), "seed is 9223372036854775808; it must be"),
        (lambda: forethought.film("none", "v.txt"), "cannot write a video as '.txt'"),
    ],
)
def test_what_is_asked_of_a_run_is_looked_at_first(use, said):
    with pytest.raises(UsageError) as error:
        use()
    assert said in refused(error)


@pytest.mark.parametrize("value", ["ten", 2.5, None, True, [3], float("nan")])
def test_counts_are_whole_numbers(value):
    with pytest.raises(UsageError, match=r"n is .*; it must be a whole number"):
        require_count("n", value)
    assert require_count("n", np.int64(3)) == require_seed("n", 3.0) == 3


def test_errors_travel_between_processes():
    for error in (BadSetting("tau", "is 3").below("sac."), MissingExtra("Ant-v5", "mujoco"), UsageError("no")):
        assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_a_brief_value_is_one_short_line():
    assert brief("a\nb") == r"'a\nb'"
    assert brief(np.zeros((2, 2))) == "array([[0., 0.], [0., 0.]])"
    assert len(brief("x" * 4000)) == 80
    assert brief(ValueError("a\n b")) == "a b"
