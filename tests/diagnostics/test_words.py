"""A verdict and the numbers that it names say the same."""

import numpy as np
import pytest

from faultless import HORIZON, diagnosis, with_errors
from forethought.diagnostics import advice, findings, verdict
from forethought.diagnostics.calibration import LEVELS
from forethought.diagnostics.exploitation import Exploitation
from forethought.diagnostics.open_loop import Foretold
from forethought.diagnostics.recall import Recall
from forethought.diagnostics.states import WrongStates
from forethought.diagnostics.words import trusted_steps, unforetold
from forethought.report.trust import answers, errors


def test_without_a_fault_it_is_good():
    assert [kind for kind, _ in findings(diagnosis())] == [advice.GOOD]
    assert verdict(diagnosis())[0].startswith("Good: no fault was found. Dreams of up to 30 steps")


@pytest.mark.parametrize(
    ("after_19", "after_30", "said"),
    [
        (0.3004, 0.299, "after 19 steps the median error is 0.3004 standard deviations, the first above 0.3; after 30 "
         "steps it is 0.3, where the model expects 0.1."),
        (0.3004, 0.3049, "the first above 0.3; after 30 steps it is 0.305, where the model expects 0.1."),
        (0.31, 0.29, "is 0.31 standard deviations, the first above 0.3; after 30 steps it is 0.29, where"),
    ],
)  # fmt: skip
def test_the_horizon_is_where_the_curve_first_exceeds_the_limit(after_19, after_30, said):
    d = with_errors(mean=[*np.linspace(0.1, 0.2999, 18), after_19, *[0.5] * (HORIZON - 20), after_30])
    assert trusted_steps(d) == 18
    (sentence,) = verdict(d)
    assert sentence.startswith("Its errors grow: trust rollouts of up to 18 steps; after 19 steps the median error is")
    assert said in sentence


def test_where_the_last_step_or_the_first_is_the_one_beyond():
    (last,) = verdict(with_errors(mean=[*[0.1] * (HORIZON - 1), 0.3001]))
    assert last == (
        "Its errors grow: trust rollouts of up to 29 steps; after 30 steps the median error is 0.3001 standard "
        "deviations, the first above 0.3, where the model expects 0.1."
    )
    first = verdict(with_errors(mean=[0.4] * HORIZON))[0]
    large = (
        "Its errors are large from the first step on: trust no rollout, however short; after 1 step the median error "
    )
    assert first.startswith(f"{large}is 0.4 ")
    assert verdict(with_errors(mean=np.linspace(0.4, 0.5, HORIZON)))[0].startswith("Its errors grow: trust no rollout")


@pytest.mark.parametrize(
    ("promised", "kept", "fault", "changes"),
    [
        (20.0, -3.5, "Exploited", "its promise rises by 20, the real return falls by 3.5"),
        (-1.0, -30.0, "Misled", "its promise falls by 1, the real return falls by 30"),
    ],
)
def test_what_planning_promises_and_what_it_keeps(promised, kept, fault, changes):
    plans = np.zeros((2, 8))
    imagined, real = (np.add(plans, [[0.0], [best]]) for best in (promised, kept))
    found = Exploitation(np.array([1.0, 600.0]), imagined, real)
    said = f"{fault} by planning: from a random plan to the best of 600 plans {changes}."
    assert verdict(diagnosis()._replace(exploitation=found)) == [said]


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (0.0971, "Hardly better than the prediction that nothing changes: after one step the model is off by 0.097"),
        (0.1996, "by 0.1996 standard deviations, that prediction by 0.2."),
        (0.2, "No better than the prediction that nothing changes: after one step the model is off by 0.2"),
        (0.3, "No better than"),
        (0.19999999, "No better than the prediction that nothing changes: after one step the model is off by 0.2"),
    ],
)
def test_hardly_better_is_not_called_no_better(model, said):
    still = 0.112 if model < 0.1 else 0.2
    assert said in verdict(with_errors(mean=[model] * HORIZON, still=[still] * HORIZON))[0]


def test_numbered_states_too():
    def said(wrong):
        shares = WrongStates(*(np.full(HORIZON, x) for x in (wrong, 0.0, 0.5)))
        return verdict(diagnosis()._replace(open_loop=None, calibration=None, wrong_states=shares))[0]

    assert said(0.45).startswith(
        "Hardly better than the prediction that nothing changes: the next state is wrong in 45 %"
    )
    assert said(0.5).startswith("No better than")


def test_numbers_that_differ_are_told_apart():
    d = diagnosis()
    gap = d.value_gap._replace(real=np.full(8, -10_000.3), imagined=np.full(8, -10_000.1), scale=np.float64(0.1))
    (said,) = verdict(d._replace(value_gap=gap))
    assert (
        said == "It promises too much: over 30 steps, the policy earns -10000.1 in imagination and -10000.3 in reality."
    )
    run = d.long_run._replace(distance=np.array([120.0, 0.1]), chance=np.array([119.4, 0.1]))
    (said,) = verdict(d._replace(long_run=run))
    assert said.endswith("most in observation 0 (distance 120, by chance 119).")


def test_a_factor_that_speaks_for_the_other_side_is_left_out():
    d = diagnosis()
    coverage = np.array(d.calibration.coverage)
    coverage[:, 2] = 0.4
    calibration = d.calibration._replace(coverage=coverage)
    (said,) = verdict(d._replace(calibration=calibration._replace(factor=np.full(3, 0.8))))
    assert said == "Over-confident: its 90 % intervals hold 40 % of what has happened after 1 step."
    (said,) = verdict(d._replace(calibration=calibration._replace(factor=np.full(3, 1.8))))
    assert said.endswith("after 1 step; its errors are 1.8 times what it expects.")


@pytest.mark.parametrize("at", range(3))
def test_intervals_that_miss_twice_as_often_as_they_say_are_not_good(at):
    """90 % that hold less than 80 %, after whichever number of steps."""

    def said(held):
        d = diagnosis()
        coverage = np.array(d.calibration.coverage)
        coverage[at, LEVELS.index(0.9)] = held
        return verdict(d._replace(calibration=d.calibration._replace(coverage=coverage)))[0]

    steps = ("1 step", "5 steps", "30 steps")[at]
    assert said(0.78) == f"Over-confident: its 90 % intervals hold 78 % of what has happened after {steps}."
    assert said(0.81).startswith("Good")


def foretelling(left_open, expected, surprise=(1.0, 1.0), **fields):
    """The diagnosis without a fault, but for what is foretold one step ahead."""
    return diagnosis()._replace(foretold=Foretold(*map(np.array, (left_open, expected, surprise))), **fields)


def test_what_the_model_is_blind_to_is_called_by_its_name():
    (said,) = verdict(foretelling([0.91, 1.02], [0.1, 0.3], obs_names=["room", "hour"]))
    assert said.startswith("It is blind to some of what it sees: one step ahead it leaves open 102 % of hour, 91 % of ")
    assert said.endswith("many small steps), and does not expect that of room.")
    (said,) = verdict(foretelling([0.89, 1.02], [0.1, 0.2]))
    assert "leaves open 102 % of observation 1 (of" in said


def test_what_is_known_to_be_random_is_no_fault():
    d = foretelling([1.0, np.nan], [0.26, np.nan])
    assert verdict(d)[0].startswith("Good")
    assert unforetold(d) == {0: 1.0}
    assert ("Not foretold", "observation 0 100 % of the mean squared change of one step") in answers(d)
    assert "Not foretold" not in dict(answers(diagnosis()))


def test_of_much_that_is_missed_some_is_named():
    (said,) = verdict(foretelling(np.linspace(0.91, 1.0, 7), np.zeros(7)))
    assert "of observation 2 and most of 2 more (of" in said
    assert said.endswith(
        "does not expect that of " + ", ".join(f"observation {i}" for i in (6, 5, 4, 3, 2)) + " and 2 more."
    )


def test_steps_are_trusted_in_all_but_what_is_missed():
    d = with_errors(mean=[0.1] * 21 + [0.5] * (HORIZON - 21))
    (said,) = verdict(d)
    assert "trust rollouts of up to 21 steps; after" in said
    said = verdict(d._replace(foretold=Foretold(*(np.array([x, 1.0]) for x in (0.1, 1.0, 1.0)))))[0]
    assert "trust rollouts of up to 21 steps in all but what it does not foretell; after" in said


def test_what_is_taken_for_impossible_is_said_where_errors_do_not_show_it():
    (said,) = findings(
        foretelling([0.3, 0.5], [1.0, 0.1], [2.0, 90.0], nll=np.float64(26.3), obs_names=["room", "hour"])
    )
    assert said.kind is advice.BLIND
    assert said.sentence == (
        "It takes some of what happens for impossible, most in hour: a negative log density of 26.3 nats per "
        "dimension, where 1.42 is to know nothing."
    )
    (said,) = verdict(diagnosis()._replace(nll=np.float64(26.3)))
    assert said.startswith("It takes some of what happens for impossible: a negative")
    assert verdict(diagnosis()._replace(nll=np.float64(1.9)))[0].startswith("Good")
    (said,) = verdict(foretelling([0.3, 1.5], [1.0, 0.1], nll=np.float64(26.3)))
    assert said.startswith("It is blind to")


def of_latents(error=0.1, left_open=(0.1, np.nan), **medians):
    d = with_errors(**medians)
    nothing = dict.fromkeys(("calibration", "nll", "foretold", "disagreement_rank"))
    recalled = Recall(np.array([0.5, 1.0, 2.0]) * error, np.array(left_open))
    return d._replace(latent=True, recall=recalled, **nothing)


def test_what_a_latent_model_does_not_keep():
    assert verdict(of_latents())[0].startswith("Good")
    (roughly,) = findings(of_latents(error=0.3001))
    assert roughly == (
        advice.FORGETS,
        "It does not keep what it sees: what it has just seen is decoded 0.3001 standard deviations off "
        "(median); dreams begin there.",
    )
    (lost,) = verdict(of_latents(left_open=(0.95, 0.1)))
    assert lost.endswith(
        "what it has just seen leaves open 95 % of observation 0 (of the variance, where 100 % is a guess)."
    )


def test_a_latent_model_must_be_better_than_nothing_changes_at_some_step():
    """What the decoder leaves out is more than what changes in a step."""
    still = np.linspace(0.05, 0.9, HORIZON)
    (grows,) = verdict(of_latents(error=0.2, mean=[0.2] * (HORIZON - 1) + [0.4], still=still))
    assert grows.endswith("the first above 0.3, where its dreams differ by 0.1.")
    assert verdict(of_latents(mean=still, still=still))[0] == (
        "No better than the prediction that nothing changes, at any of 30 steps: after the last the model is off by "
        "0.9 standard deviations, that prediction by 0.9."
    )


def test_the_table_begins_with_what_was_just_seen():
    head, now, *_ = errors(of_latents(error=0.25))
    assert head == ("After", "Error", "It expects", '"Nothing changes"')  # a latent model has no intervals
    assert now == ("0 steps", "0.25", "", "0")
    head, first, *_ = errors(diagnosis())
    assert (head[-1], first[0]) == ("90 % intervals hold", "1 step")
