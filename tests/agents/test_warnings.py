"""What an agent warns of after a fit of its ensemble."""

import pytest

import small
from forethought.types import Box, EnvSpec

SPEC = EnvSpec("toy", Box((3,)), Box((1,)))
LEARNED = [0.1, 0.1, 0.1, 0.1]


def warned_of(outputs, names=(), kind="holdout", **settings):
    """Of a fit that leaves open so much of the reward and of three observations, for each seed."""
    return small.make_agent("mbpo", SPEC, **settings).warnings({f"{kind}_mse_outputs": outputs}, names)


def test_what_is_learned_is_no_concern():
    assert warned_of([LEARNED, [0.49, 0.89, 0.89, 0.89]]) == []


@pytest.mark.parametrize(
    ("kind", "seen"), [("holdout", "on held-out transitions"), ("train", "on the transitions it was trained on")]
)
def test_a_reward_that_the_worst_seed_has_not_learned_is_named(kind, seen):
    (said,) = warned_of([LEARNED, [0.76, 0.1, 0.1, 0.1]], kind=kind)
    assert said.startswith(f"the model has not learned the reward: {seen} its error is 0.76 of the variance; ")


def test_what_is_set_already_is_not_advised():
    unlearned = [[0.76, 0.1, 0.1, 0.1]]
    assert "--agent.fit.beta 0.5" in warned_of(unlearned)[0]
    assert "fit.beta" not in warned_of(unlearned, fit={"beta": 0.5})[0]


def test_observations_that_are_not_learned_are_called_by_their_names():
    outputs = [[0.1, 0.1, 0.95, 0.1], [0.1, 0.1, 0.1, 1.31]]
    (said,) = warned_of(outputs, ("room", "price", "hour"))
    about, figures = said.split(": ", 1)
    assert about == "the model hardly foretells some observations"  # the same after each fit, whichever they are
    assert figures.startswith("price 0.95, hour 1.31, the error on held-out transitions as a share of the variance ")
    (said,) = warned_of(outputs)
    assert said.startswith("the model hardly foretells some observations: observation 1 0.95, observation 2 1.31, the")


def test_of_many_observations_some_are_named():
    wide = small.make_agent("mbpo", EnvSpec("wide", Box((9,)), Box((1,))))
    (said,) = wide.warnings({"holdout_mse_outputs": [[0.0] + [1.0] * 9]})
    assert "observation 4 1.00 and 4 more, the error" in said
    assert "observation 5" not in said
