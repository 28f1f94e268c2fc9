import numpy as np
import pytest

from forethought.errors import UsageError
from forethought.statistics import bootstrap_interval, curve, iqm, mean


def test_mean_reduces_the_last_axis():
    np.testing.assert_allclose(mean([[1.0, 2.0, 6.0], [0.0, 0.0, 3.0]]), [3.0, 1.0])


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([7.0], 7.0),
        ([1.0, 5.0], 3.0),
        ([100.0, 0.0, 2.0], (0.25 * 0 + 1 * 2 + 0.25 * 100) / 1.5),  # the middle half of [0, 3] is [0.75, 2.25]
        ([9.0, 1.0, 2.0, -50.0], 1.5),  # n = 4: exactly the two in the middle
        ([0.0, 1.0, 2.0, 3.0, 100.0], (0.75 * 1 + 1 * 2 + 0.75 * 3) / 2.5),
        ([5.0, 1.0, 2.0, 3.0, 4.0, 6.0, 7.0, 1000.0], (3 + 4 + 5 + 6) / 4),
        ([1.0, 2.0, 3.0, 4.0, np.inf], (0.75 * 2 + 1 * 3 + 0.75 * 4) / 2.5),  # without weight
        ([1.0, 2.0, 3.0, np.inf, np.inf], np.inf),
    ],
)
def test_iqm_against_hand_computed_numbers(values, expected):
    assert iqm(values) == pytest.approx(expected)


def test_iqm_reduces_the_last_axis_and_ignores_one_wild_seed_of_eight():
    calm = np.arange(8.0)
    wild = np.array([0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 1e9])
    np.testing.assert_allclose(iqm(np.stack([calm, wild])), [3.5, 3.5])


@pytest.mark.parametrize("statistic", [mean, iqm])
def test_a_diverged_seed_is_not_left_out(statistic):
    assert np.isnan(statistic([1.0, 2.0, 3.0, np.nan]))
    assert np.isnan(bootstrap_interval([1.0, 2.0, 3.0, np.nan], statistic)).all()


def test_a_seed_that_is_infinitely_late_moves_the_end_of_the_interval_only():
    # The mean of the middle is infinite where two or more of five draws hit the last seed: in 26 % of the resamples.
    late = [1.0, 2.0, 3.0, 4.0, np.inf]
    assert bootstrap_interval(late, iqm)[0] == bootstrap_interval([*late[:4], 1e6], iqm)[0]
    assert bootstrap_interval(late, iqm)[1] == np.inf
    assert bootstrap_interval([np.inf] * 3, iqm) == (np.inf, np.inf)


def test_the_bootstrap_finds_the_quantiles_of_the_binomial_it_draws_from():
    # The mean of a resample of (0, 0, 0, 1) is k / 4 with k ~ Binomial(4, 1/4):
    # P(k = 0) = 0.316, P(k <= 1) = 0.738, P(k <= 2) = 0.949, P(k <= 3) = 0.996.
    assert bootstrap_interval([0.0, 0.0, 0.0, 1.0]) == (0.0, 0.75)
    assert bootstrap_interval([0.0, 0.0, 0.0, 1.0], level=0.8) == (0.0, 0.5)
    assert bootstrap_interval([0.0, 0.0, 0.0, 1.0], level=0.2) == (0.25, 0.25)


def test_with_three_seeds_the_interval_is_the_lowest_to_the_highest():
    # All three draws hit the lowest seed in 1/27 = 3.7 % of resamples, which is more than the tail of 2.5 %.
    assert bootstrap_interval([-12.0, 3.0, 40.0]) == (-12.0, 40.0)


def test_the_interval_is_that_of_the_normal_approximation_with_many_seeds():
    values = np.random.default_rng(3).normal(5.0, 2.0, size=400)
    low, high = bootstrap_interval(values)
    half = 1.96 * values.std() / np.sqrt(len(values))
    np.testing.assert_allclose([low, high], [values.mean() - half, values.mean() + half], atol=0.02)


def test_the_same_values_always_give_the_same_interval():
    values = [3.0, 1.0, 4.0, 1.0, 5.0]
    assert bootstrap_interval(values, iqm) == bootstrap_interval(values, iqm)
    assert bootstrap_interval(values, seed=0) != bootstrap_interval(values, seed=1, resamples=50)


def test_one_seed_has_no_interval():
    assert np.isnan(bootstrap_interval([4.0])).all()
    centre, low, high = curve([[4.0], [5.0]])
    np.testing.assert_array_equal(centre, [4.0, 5.0])
    assert np.isnan(low).all()
    assert np.isnan(high).all()


def test_every_step_of_a_curve_has_the_interval_of_its_own_scores():
    points = np.array([[0.0, 1.0, 5.0, 2.0], [1.0, 1.0, 1.0, 1.0], [np.nan, 1.0, 2.0, 3.0]])
    centre, low, high = curve(points, iqm)
    np.testing.assert_allclose(centre[:2], [1.5, 1.0])
    assert (low[0], high[0]) == bootstrap_interval(points[0], iqm)
    assert (low[1], high[1]) == (1.0, 1.0)
    assert np.isnan([centre[2], low[2], high[2]]).all()


def test_a_curve_without_steps_is_empty():
    assert [len(part) for part in curve(np.zeros((0, 3)))] == [0, 0, 0]


@pytest.mark.parametrize(
    "call",
    [
        lambda: mean([]),
        lambda: iqm(np.array(3.0)),
        lambda: bootstrap_interval([]),
        lambda: bootstrap_interval([[1.0, 2.0]]),
        lambda: bootstrap_interval([1.0, 2.0], level=95.0),
        lambda: bootstrap_interval([1.0, 2.0], resamples=0),
        lambda: curve([1.0, 2.0]),
    ],
)
def test_nonsense_is_refused_in_one_line(call):
    with pytest.raises(UsageError, match=r"pass") as caught:
        call()
    assert "\n" not in str(caught.value)
