import json
from dataclasses import dataclass, field

import pytest

from forethought.agents.catalog import ALGORITHMS
from forethought.agents.control.pets import PETSConfig
from forethought.errors import UsageError
from forethought.models.fit import FitConfig
from forethought.training.config import RunConfig, flatten, from_dict, merged, to_dict


@dataclass(frozen=True)
class Inner:
    rate: float = 0.1
    sizes: tuple[int, ...] = (1, 2)


@dataclass(frozen=True)
class Outer:
    steps: int = 10
    name: str = "a"
    limit: float | None = None
    loud: bool = False
    inner: Inner = field(default_factory=Inner)


def test_nested_and_dotted_names_say_the_same():
    expected = Outer(steps=3, inner=Inner(rate=0.5, sizes=(7,)))
    assert from_dict(Outer, {"steps": 3, "inner": {"rate": 0.5, "sizes": [7]}}) == expected
    assert from_dict(Outer, {"steps": 3, "inner.rate": 0.5, "inner.sizes": (7,)}) == expected
    assert from_dict(Outer, {"inner": {"rate": 0.5}, "inner.sizes": [7], "steps": 3}) == expected
    assert from_dict(Outer, {}) == Outer()


def test_dashes_are_underscores():
    assert from_dict(RunConfig, {"algorithm": "sac", "env": "x", "steps": 1, "num-envs": 4}).num_envs == 4


def test_values_take_the_type_of_their_field():
    made = from_dict(Outer, {"limit": 3, "inner.rate": 1, "loud": True})
    assert (made.limit, type(made.limit)) == (3.0, float)
    assert (made.inner.rate, type(made.inner.rate)) == (1.0, float)
    assert made.loud is True
    assert from_dict(Outer, {"limit": None}).limit is None


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"step": 3}, r"there is no setting 'step'; did you mean 'steps'\?"),
        ({"inner.rat": 1.0}, r"there is no setting 'inner.rat'; did you mean 'rate'\?"),
        ({"inner": {"qqq": 1}}, r"there is no setting 'inner.qqq'; known: rate, sizes"),
        ({"steps.more": 3}, "steps has no setting 'more': it is a plain value"),
        ({"inner": 3}, "inner takes settings by name, not 3"),
        ({"steps": "many"}, "steps is 'many'; it takes a whole number"),
        ({"steps": 3.5}, "steps is 3.5; it takes a whole number"),
        ({"steps": True}, "steps is True; it takes a whole number"),
        ({"limit": "no"}, "limit is 'no'; it takes a number or None"),
        ({"loud": 1}, "loud is 1; it takes True or False"),
        ({"name": None}, "name is None; it takes text"),
        ({"inner.sizes": [1, "b"]}, "inner.sizes is 'b'; it takes a whole number"),
        ({"inner.sizes": 4}, "inner.sizes is 4; it takes a list"),
    ],
)
def test_what_is_refused_and_how(values, message):
    with pytest.raises(UsageError, match=message):
        from_dict(Outer, values)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_every_config_survives_json(name):
    config = ALGORITHMS[name].load()[1]()
    assert from_dict(type(config), json.loads(json.dumps(to_dict(config)))) == config
    assert from_dict(type(config), flatten(to_dict(config))) == config


def test_merged_replaces_what_is_named_and_nothing_else():
    base = Outer(steps=3, inner=Inner(rate=0.5))
    assert merged(base, {"inner": {"sizes": [9]}}) == Outer(steps=3, inner=Inner(rate=0.5, sizes=(9,)))
    assert merged(base, {"inner.rate": 0.7, "loud": True}) == Outer(steps=3, loud=True, inner=Inner(rate=0.7))


def run(**values):
    return RunConfig(**({"algorithm": "sac", "env": "x", "steps": 5} | values))


@pytest.mark.parametrize(
    "name", ["steps", "seeds", "num_envs", "action_repeat", "eval_every", "eval_episodes", "log_every", "keep"]
)
def test_a_run_needs_at_least_one_of_each(name):
    run(**{name: 1}).validate()
    with pytest.raises(UsageError, match=f"{name} is 0; it must be at least 1"):
        run(**{name: 0}).validate()


def test_other_impossible_runs():
    with pytest.raises(UsageError, match="seed is -1"):
        run(seed=-1).validate()
    with pytest.raises(UsageError, match="checkpoint_every is 0"):
        run(checkpoint_every=0).validate()
    assert run(seed=4, seeds=3).seed_list == (4, 5, 6)


def test_a_nested_setting_goes_over_the_default_of_its_field():
    made = from_dict(PETSConfig, {"fit.learning_rate": 1e-2})
    assert made.fit.learning_rate == 1e-2
    assert made.fit.max_epochs == PETSConfig().fit.max_epochs != FitConfig().max_epochs


def test_a_choice_takes_what_it_names_and_nothing_else():
    assert from_dict(PETSConfig, {"propagation": "ts1"}).propagation == "ts1"
    with pytest.raises(UsageError, match="propagation is 'ts2'; it takes 'ts1' or 'ts_inf' or 'expectation'"):
        from_dict(PETSConfig, {"propagation": "ts2"})
