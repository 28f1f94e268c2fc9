"""What each search does with its samples."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from forethought.errors import UsageError
from forethought.planning.cem import CEM, ICEM, PlainCEM, Proposal, best_of, mean_value, refit
from forethought.planning.guides import Actions, Choices
from forethought.planning.mppi import MPPI
from forethought.planning.shooting import RandomShooting

pytestmark = pytest.mark.learned

KEY = jax.random.key(0)
FREE = Actions(1)
EVERY = [
    CEM(60, 6, 6),
    ICEM(80, 6, 4, noise_beta=0.5),
    MPPI(200, 6, std=0.3, beta=1.0, temperature=0.01),
    RandomShooting(3000),
]
INFINITE = float("inf")


def watched(objective=lambda x: -jnp.sum(x**2, axis=(2, 3))):
    """An objective, and the list of the samples that it was asked about, in order."""
    seen = []

    def evaluate(x, key):
        jax.debug.callback(lambda x: seen.append(np.asarray(x)), x, ordered=True)
        return objective(x)

    return evaluate, seen


def searched(search, objective, mean, key=KEY, guide=FREE):
    found, carry = search.search(objective, guide, search.begin(jnp.asarray(mean, jnp.float32)), key=key)
    jax.effects_barrier()
    return found, carry


def column(*x):
    """Plans of one decision each, as elites of one state."""
    return jnp.array(x, jnp.float32)[None, :, None, None]


def test_refit_mixes_old_moments_with_those_of_the_elites():
    """Elites 0, 0.3, 0.6: mean 0.3, variance 0.06; a quarter is old: 0.25 + 0.225 and 0.125 + 0.045."""
    old = Proposal(jnp.full((1, 1, 1), 1.0), jnp.full((1, 1, 1), 0.5))
    mean, var = refit(old, column(0.0, 0.3, 0.6), jnp.array([[3.0, 2.0, 1.0]]), 0.25)
    np.testing.assert_allclose((mean.item(), var.item()), (0.475, 0.17), rtol=1e-6)
    mean, var = refit(old, column(0.0, 0.3, 0.6), jnp.array([[3.0, 2.0, 1.0]]), 0.0)
    np.testing.assert_allclose((mean.item(), var.item()), (0.3, 0.06), rtol=1e-6)


def test_broken_elites_do_not_count():
    """Of 0.2, 0.4 and a broken one: mean 0.3, variance 0.01. Where all are broken, nothing changes."""
    old = Proposal(jnp.full((2, 1, 1), 1.0), jnp.full((2, 1, 1), 0.5))
    elites = jnp.concatenate([column(0.2, 0.4, -1.0)] * 2)
    value = jnp.array([[1.0, 1.0, -INFINITE], [-INFINITE] * 3])
    mean, var = refit(old, elites, value, 0.0)
    np.testing.assert_allclose(mean[:, 0, 0], [0.3, 1.0], rtol=1e-6)
    np.testing.assert_allclose(var[:, 0, 0], [0.01, 0.5], rtol=1e-5)
    assert mean_value(value).tolist() == [1.0, -INFINITE]


def test_the_best_come_first():
    elites, value = best_of(column(0.1, 0.2, 0.3, 0.4), jnp.array([[5.0, -INFINITE, 7.0, 6.0]]), 3)
    assert value.tolist() == [[7.0, 6.0, 5.0]]
    np.testing.assert_allclose(elites[0, :, 0, 0], [0.3, 0.4, 0.1])


def test_cem_fits_what_it_draws():
    """Each mean is that of the elites among the samples; without momentum the next ones lie around it."""
    objective, seen = watched(lambda x: -jnp.sum((x - 0.2) ** 2, axis=(2, 3)))
    found, carry = searched(CEM(50, 5, 3, momentum=0.0), objective, np.zeros((1, 2, 1)))
    assert [x.shape for x in seen] == [(1, 50, 2, 1)] * 3
    for x, after in zip(seen, [*(x.mean(axis=1) for x in seen[1:]), found.decisions], strict=True):
        value = -((x - 0.2) ** 2).sum(axis=(2, 3))
        elites = x[0, np.argsort(-value[0])[:5]]
        # Samples are cut at two standard deviations, so their mean is within 0.88 of it over the root of their number.
        np.testing.assert_allclose(after[0], elites.mean(axis=0), atol=1e-6 if after is found.decisions else 0.15)
    assert found.value[0] == pytest.approx(np.sort(value[0])[-5:].mean(), rel=1e-4)
    np.testing.assert_array_equal(carry, found.decisions)


def test_cem_stays_within_bounds_and_is_narrow_near_them():
    """A mean of 0.8 is 0.2 from the bound: a standard deviation of at most 0.1, samples within two of them."""
    objective, seen = watched()
    means = [0.0, 0.8, -0.96]
    searched(CEM(4000, 40, 1), objective, np.array(means)[:, None, None])
    deviations = seen[0][:, :, 0, 0] - np.array(means)[:, None]
    expected = np.array([0.5, 0.1, 0.02])
    # The standard deviation of a standard normal that is cut at 2 is 0.8796.
    np.testing.assert_allclose(deviations.std(axis=1), 0.8796 * expected, rtol=0.04)
    assert np.all(np.abs(deviations) <= 2 * expected[:, None] + 1e-6)
    assert np.abs(seen[0]).max() <= 1.0


def test_plain_cem_fits_what_it_draws_and_keeps_nothing():
    """PlaNet: normal samples about the last mean, cut off at the bounds; the next search begins anew."""
    search = PlainCEM(2000, 200, 4)
    objective, seen = watched(lambda x: -jnp.sum((x - 0.2) ** 2, axis=(2, 3)))
    found, carry = searched(search, objective, np.zeros((1, 2, 1)))
    inside = seen[0][np.abs(seen[0]) < 1.0]
    assert inside.std() == pytest.approx(0.5394, abs=0.02)  # of N(0, 1) within [-1, 1]
    assert (np.abs(seen[0]) == 1.0).mean() == pytest.approx(0.3173, abs=0.03)  # what lay beyond is on the bounds
    elites = seen[-1][0, np.argsort(((seen[-1][0] - 0.2) ** 2).sum(axis=(1, 2)))[:200]]
    np.testing.assert_allclose(found.decisions[0], elites.mean(axis=0), atol=1e-4)
    np.testing.assert_allclose(found.decisions, 0.2, atol=0.02)
    spread = [x.std(axis=1).mean() for x in seen]
    assert spread[0] > 2 * spread[1] > 4 * spread[2]
    assert not np.any(search.move_on(carry))


def test_cem_has_no_bounds_where_there_are_none():
    class Unbounded(Actions):
        low: float = -INFINITE
        high: float = INFINITE

    objective, seen = watched()
    searched(CEM(4000, 40, 1, initial_std=3.0), objective, np.full((1, 1, 1), 5.0), guide=Unbounded(1))
    assert seen[0].std() == pytest.approx(0.8796 * 3.0, rel=0.04)


@pytest.mark.slow
def test_icem_population_kept_elites_and_mean():
    """20, then 20 / 2, then not 5 but twice the elites: 8; two plans are kept; the mean is among the last."""
    objective, seen = watched(lambda x: -jnp.sum((x - 0.3) ** 2, axis=(2, 3)))
    search = ICEM(20, 4, 3, momentum=0.1, shrink=2.0, keep=0.5)
    start = np.full((1, 3, 1), 0.1)
    found, carry = searched(search, objective, start)
    assert [x.shape[1] for x in seen] == [20 + 2, 10 + 2, 8 + 2 + 1]
    np.testing.assert_allclose(seen[0][:, 20:], np.broadcast_to(start[:, None], (1, 2, 3, 1)))

    def elites(x):
        value = -((x - 0.3) ** 2).sum(axis=(2, 3))
        order = np.argsort(-value[0], kind="stable")[:4]
        return x[:, order], value[:, order]

    gaussian = Proposal(jnp.asarray(start, jnp.float32), jnp.full((1, 3, 1), 0.25))
    for i in range(2):
        best, value = elites(seen[i])
        kept = seen[i + 1][:, 10:12] if i == 0 else seen[i + 1][:, 8:10]
        np.testing.assert_array_equal(kept, best[:, :2])
        gaussian = refit(gaussian, jnp.asarray(best), jnp.asarray(value), 0.1)
    np.testing.assert_allclose(seen[2][:, 10], gaussian.mean, atol=1e-6)
    best, value = elites(seen[2])
    np.testing.assert_array_equal(found.decisions, best[:, 0])
    assert found.value[0] == pytest.approx(value[0, 0], rel=1e-5)
    np.testing.assert_array_equal(carry.kept, best[:, :2])
    assert all(np.abs(x).max() <= 1.0 for x in seen)


def test_icem_keeps_one_plan_at_least():
    assert [ICEM(elites=10, keep=keep).n_kept for keep in (0.0, 0.09, 0.3, 1.0)] == [1, 1, 3, 10]


def test_icem_samples_are_correlated_over_time():
    """From one of 8 steps to the next: none for 0, and for 2, with powers of 1/f^2 at f = 1/8 (twice) to 4/8, 0.58.

    That is (1 + 2 cos 45 + 2/4 cos 90 + 2/9 cos 135 + 1/16 cos 180) / (1 + 2 + 2/4 + 2/9 + 1/16).
    """
    for beta, expected in ((0.0, 0.0), (2.0, 0.580)):
        objective, seen = watched()
        searched(ICEM(2000, 10, 1, initial_std=0.2, noise_beta=beta), objective, np.zeros((1, 8, 1)))
        x = seen[0][0, :2000, :, 0]
        assert np.corrcoef(x[:, 3], x[:, 4])[0, 1] == pytest.approx(expected, abs=0.06)
        assert x.std() == pytest.approx(0.2, rel=0.05)


def test_mppi_weighs_by_value():
    """At a temperature of 2: exp(-1/2) : 1, and nothing for the broken one."""
    value = jnp.array([[0.0, 1.0, -INFINITE], [-INFINITE] * 3])
    weight, expected = MPPI(temperature=2.0).weigh(value)
    a = np.exp(-0.5)
    np.testing.assert_allclose(weight, [[a / (1 + a), 1 / (1 + a), 0.0], [0.0] * 3], rtol=1e-6)
    np.testing.assert_allclose(expected, [1 / (1 + a), -INFINITE], rtol=1e-6)


def test_mppi_averages_what_it_draws():
    objective, seen = watched(lambda x: jnp.sum(x, axis=(2, 3)))
    found, carry = searched(MPPI(30, 1, std=0.2, temperature=0.5), objective, np.zeros((2, 3, 1)))
    value = seen[0].sum(axis=(2, 3))
    weight = np.exp((value - value.max(axis=1, keepdims=True)) / 0.5)
    weight /= weight.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(found.decisions, np.einsum("np,npsd->nsd", weight, seen[0]), atol=1e-5)
    np.testing.assert_allclose(found.value, (weight * value).sum(axis=1), rtol=1e-5)
    np.testing.assert_array_equal(carry.mean, found.decisions)


def test_mppi_moves_smoothly_away_from_the_decision_before():
    """Half of the mean and half of what came before: 0.2 -> (0.4 + 0.2) / 2 -> (0.8 + 0.3) / 2; then clipped."""
    search = MPPI(8, 1, std=1e-8, beta=0.5)
    carry = search.begin(jnp.array([0.4, 0.8, 3.0])[None, :, None])._replace(before=jnp.array([[0.2]]))
    objective, _ = watched()
    found, carry = search.search(objective, FREE, carry, key=KEY)
    np.testing.assert_allclose(found.decisions[0, :, 0], [0.3, 0.55, 1.0], atol=1e-6)
    carry = search.move_on(carry)
    np.testing.assert_allclose(carry.mean[0, :, 0], [0.55, 1.0, 1.0], atol=1e-6)
    np.testing.assert_allclose(carry.before, [[0.3]], atol=1e-6)


def test_mppi_cuts_to_the_bounds_what_has_been_smoothed():
    """6 / 4 is cut to 1, and does not enter the next decision as that: -1 / 4 + 3 / 4 of 1.5."""
    objective, seen = watched()
    found, _ = searched(MPPI(8, 1, std=1e-8, beta=0.25), objective, np.array([6.0, -1.0])[None, :, None])
    np.testing.assert_allclose(found.decisions[0, :, 0], [1.0, 0.875], atol=1e-6)
    np.testing.assert_allclose(seen[0][0, :, :, 0], [[1.0, 0.875]] * 8, atol=1e-6)  # what is evaluated is cut as well


def test_mppi_is_rough_at_a_beta_of_one_and_its_noise_is_normal():
    objective, seen = watched()
    searched(MPPI(4000, 1, std=0.2, beta=1.0), objective, np.zeros((1, 4, 1)))
    x = seen[0][0, :, :, 0]
    assert abs(np.corrcoef(x[:, 0], x[:, 1])[0, 1]) < 0.05
    np.testing.assert_allclose(x.std(axis=0), 0.2, rtol=0.05)
    assert np.mean(np.abs(x) > 2 * 0.2) == pytest.approx(0.0455, abs=0.008)  # of 16,000: +- 5 standard errors


def test_random_shooting_takes_the_best_of_uniform_plans():
    objective, seen = watched(lambda x: -jnp.sum((x - 0.3) ** 2, axis=(2, 3)))
    found, _ = searched(RandomShooting(500), objective, np.zeros((2, 2, 1)))
    value = -((seen[0] - 0.3) ** 2).sum(axis=(2, 3))
    for i in range(2):
        np.testing.assert_array_equal(found.decisions[i], seen[0][i, value[i].argmax()])
    np.testing.assert_allclose(found.value, value.max(axis=1), rtol=1e-5)
    assert seen[0].std() == pytest.approx(12**-0.5 * 2, rel=0.05)
    assert 0.98 < np.abs(seen[0]).max() <= 1.0


def test_random_shooting_draws_every_choice():
    objective, seen = watched(lambda x: jnp.sum(x, axis=2) * 1.0)
    found, _ = searched(RandomShooting(300), objective, np.zeros((1, 2)), guide=Choices(3))
    assert seen[0].dtype == np.int32
    assert np.bincount(seen[0].ravel(), minlength=3).min() > 150
    assert found.decisions.tolist() == [[2, 2]]
    assert found.value.tolist() == [4.0]


@pytest.mark.slow
@pytest.mark.parametrize("search", EVERY, ids=lambda s: type(s).__name__)
def test_each_of_several_states_finds_its_own_optimum(search):
    targets = jnp.array([-0.6, 0.0, 0.3])

    def objective(x, key):
        return -jnp.sum((x - targets[:, None, None, None]) ** 2, axis=(2, 3))

    found, _ = jax.jit(lambda: searched(search, objective, np.zeros((3, 2, 1))))()
    np.testing.assert_allclose(found.decisions[:, :, 0], np.repeat(targets[:, None], 2, axis=1), atol=0.08)
    assert np.all(np.asarray(found.value) > -0.03)
    assert np.all(np.asarray(found.value) <= 0.0)


@pytest.mark.parametrize("search", [*EVERY, CEM(60, 20, 5)], ids=lambda s: type(s).__name__)
def test_plans_at_the_bound_do_not_cross_it(search):
    """Not even by the rounding of a mean of ones: the best is far beyond, and the search begins at the bound."""

    def objective(x, key):
        return -jnp.sum((x - 3.0) ** 2, axis=(2, 3))

    run = jax.jit(lambda key: searched(search, objective, np.ones((3, 2, 1)), key)[0].decisions)
    for seed in range(5):
        decisions = run(jax.random.key(seed))
        assert float(jnp.max(decisions)) <= 1.0
        assert float(jnp.min(decisions)) > 0.85


@pytest.mark.slow
@pytest.mark.parametrize("search", EVERY, ids=lambda s: type(s).__name__)
def test_if_every_plan_is_broken_something_finite_is_done(search):
    found, carry = searched(search, lambda x, key: jnp.full(x.shape[:2], -INFINITE), np.full((2, 3, 1), 0.25))
    assert found.value.tolist() == [-INFINITE] * 2
    assert np.all(np.abs(found.decisions) <= 1.0)
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(search.move_on(carry)))
    if isinstance(search, CEM | MPPI):
        np.testing.assert_allclose(found.decisions, 0.25)  # nothing was learned


@pytest.mark.parametrize("search", EVERY, ids=lambda s: type(s).__name__)
def test_a_carry_moves_on_by_one_step(search):
    mean = jnp.array([0.1, 0.2, 0.3])[None, :, None]
    moved = search.move_on(search.begin(mean))
    if isinstance(search, RandomShooting):
        return
    got = moved if isinstance(search, CEM) else moved.mean
    last = 0.0 if isinstance(search, CEM) else 0.3
    np.testing.assert_allclose(got[0, :, 0], [0.2, 0.3, last])
    if isinstance(search, ICEM):
        np.testing.assert_allclose(moved.kept[0, :, :, 0], [[0.2, 0.3, 0.3]] * search.n_kept)
    if isinstance(search, MPPI):
        np.testing.assert_allclose(moved.before, [[0.1]])
    one = search.move_on(search.begin(jnp.full((1, 1, 4), 0.5)))  # one decision for all steps stays
    np.testing.assert_allclose(one if isinstance(search, CEM) else one.mean, 0.5)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: CEM(population=10, elites=11), "elites are 11 of a population of 10; lower search.elites"),
        (lambda: ICEM(population=10, elites=11), "elites are 11 of a population of 10; lower search.elites"),
        (lambda: CEM(population=0), "population is 0; it must be at least 1"),
        (lambda: ICEM(population=0), "population is 0"),
        (lambda: MPPI(population=0), "population is 0"),
        (lambda: RandomShooting(population=0), "population is 0"),
        (lambda: CEM(elites=0), "elites is 0"),
        (lambda: CEM(iterations=0), "iterations is 0"),
        (lambda: CEM(momentum=1.5), "momentum is 1.5"),
        (lambda: ICEM(shrink=0.5), "shrink is 0.5"),
        (lambda: ICEM(noise_beta=-1.0), "noise_beta is -1.0"),
        (lambda: MPPI(temperature=0.0), "temperature is 0.0"),
        (lambda: MPPI(std=0.0), "std is 0.0"),
    ],
)
def test_impossible_settings_are_refused(make, words):
    with pytest.raises(UsageError) as error:
        make()
    assert words in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("search", EVERY[:3], ids=lambda s: type(s).__name__)
def test_choices_are_for_random_shooting(search):
    with pytest.raises(UsageError, match="for discrete ones use random shooting") as error:
        search.search(watched()[0], Choices(3), search.begin(jnp.zeros((1, 2, 1))), key=KEY)
    assert "\n" not in str(error.value)
