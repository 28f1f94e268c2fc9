"""What plans are worth, against numbers worked out by hand."""

from functools import partial
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from forethought.models.ensemble import EnsembleBelief
from forethought.planning.guides import Actions, Choices
from forethought.planning.planner import plan_values
from forethought.types import Outcome
from handmade import Slope, Track, adding, constant, places

KEY = jax.random.key(0)
LEAF = Actions(1, Slope(100.0))


@partial(jax.jit, static_argnames=("horizon", "particles", "discount"))
def _values(model, guide, belief, x, horizon, particles, discount, key):
    return plan_values(model, guide, belief, x, horizon, particles, discount, key=key)


def values(model, belief, plans, *, guide=Actions(1), horizon=None, particles=1, discount=1.0, key=KEY):  # noqa: B008
    """Of plans [n][p][s], as an array [n, p]."""
    x = jnp.array(plans, jnp.float32)[..., None]
    return np.asarray(_values(model, guide, belief, x, horizon or x.shape[2], particles, discount, key))


# Two plans for each of two beliefs.
PLANS = [[[0.5, 0.25, -0.25], [0.0, 0.0, 1.0]], [[1.0, 1.0, 1.0], [-1.0, 0.0, 0.0]]]


def test_the_sum_of_rewards():
    """From 0: 0.5, 0.75, 0.5 and 0, 0, 1. From 10: 11, 12, 13 and 9, 9, 9."""
    assert values(Track(), places(0, 10), PLANS).tolist() == [[1.75, 1.0], [36.0, 27.0]]


def test_the_discount_counts_from_the_first_reward():
    """Powers 1, 1/2, 1/4."""
    found = values(Track(), places(0, 10), PLANS, discount=0.5)
    assert found.tolist() == [[0.5 + 0.375 + 0.125, 0.25], [11 + 6 + 3.25, 9 + 4.5 + 2.25]]
    assert values(Track(), places(0, 10), PLANS, discount=0.0).tolist() == [[0.5, 0.0], [11.0, 9.0]]


def test_nothing_is_earned_after_the_end():
    """The step that ends the world at 0.75 is paid, what follows is not. Belief 10 has ended after one step."""
    found = values(Track(end=0.75), places(0, 10), PLANS)
    assert found.tolist() == [[0.5 + 0.75, 1.0], [11.0, 9.0]]


def test_only_the_living_have_a_future():
    """100 x at the last place, discounted three times."""
    found = values(Track(), places(0, 10), PLANS, guide=LEAF, discount=0.5)
    assert found.tolist() == [[1.0 + 6.25, 0.25 + 12.5], [20.25 + 162.5, 15.75 + 112.5]]
    found = values(Track(end=9.5), places(0, 10), PLANS, guide=LEAF)
    assert found.tolist() == [[51.75, 101.0], [11.0, 27.0 + 900.0]]
    # An end in the very last step: the reward counts, the future does not.
    assert values(Track(end=1.0), places(0), [PLANS[0][1:]], guide=LEAF).tolist() == [[1.0]]


def test_one_decision_can_stand_for_all_steps():
    shared = values(Track(), places(0, 10), [[[0.5], [-1.0]], [[0.0], [1.0]]], horizon=3)
    assert shared.tolist() == [[0.5 + 1.0 + 1.5, -6.0], [30.0, 36.0]]


class Row(NamedTuple):
    number: jax.Array


class Lottery(eqx.Module):
    """Every step pays the number of the row of the batch; the broken row pays ``ill``."""

    broken: jax.Array
    ill: jax.Array

    def __init__(self, broken=-1, ill=jnp.nan):
        self.broken, self.ill = jnp.asarray(broken), jnp.asarray(ill, jnp.float32)

    def initial(self, n):
        return Row(jnp.zeros((n, 1)))

    def observe(self, belief, action, obs, first, *, key):
        return belief

    def features(self, belief):
        return belief.number

    def step(self, belief, action, *, key):
        row = jnp.arange(action.shape[0])
        reward = jnp.where(row == self.broken, self.ill, row * 1.0)
        return belief, Outcome(reward, jnp.ones_like(reward))


def test_the_mean_over_particles_which_are_the_outermost_axis():
    """Row (particle, belief, plan) of 4 x 2 x 2: particle k of belief i and plan j is in row 4 k + 2 i + j."""
    found = values(Lottery(), Row(jnp.zeros((2, 1))), PLANS, particles=4)
    assert found.tolist() == [[3 * 6.0, 3 * 7.0], [3 * 8.0, 3 * 9.0]]


@pytest.mark.parametrize("ill", [jnp.nan, jnp.inf, -jnp.inf])
def test_one_broken_particle_breaks_its_plan_and_no_other(ill):
    """Row 14 is particle 3 of plan 0 in belief 1."""
    found = values(Lottery(14, ill), Row(jnp.zeros((2, 1))), PLANS, particles=4)
    assert found.tolist() == [[18.0, 21.0], [-np.inf, 27.0]]


@pytest.mark.parametrize("world", [Track(unpaid=0.7), Track(unseen=0.7), Track(unseen=0.7, blind_end=True)])
def test_what_is_not_a_number_breaks_a_plan(world):
    """0.75 is beyond the fault, also where the world takes it for an end."""
    plans = [[[0.5, 0.25, -0.25], [0.5, 0.0, 0.0], [0.0, 0.0, 0.75]]]
    assert values(world, places(0), plans).tolist() == [[-np.inf, 1.5, -np.inf]]


def test_faults_after_the_end_break_nothing():
    world = Track(end=0.5, unpaid=0.7, unseen=0.7)
    assert values(world, places(0), [[[0.5, 0.25, 0.0], [0.25, 0.5, 0.0]]], guide=LEAF).tolist() == [[0.5, -np.inf]]


def seen(*x):
    return EnsembleBelief(jnp.array(x)[:, None])


def test_a_cheap_end_with_a_known_reward_is_no_way_out():
    """The known terminations count an observation that is not finite as an end; costs would stop there."""

    def cost(obs, action, next_obs):
        return -jnp.ones(obs.shape[0])

    model = constant([[0.0, 1.0]] * 2, members=2, reward=cost)
    broken = eqx.tree_at(lambda e: e.outputs.std, model, jnp.array([1.0, jnp.inf]))
    assert values(model, seen(0.0), [[[0.0, 0.0, 0.0]]]).tolist() == [[-3.0]]
    assert values(broken, seen(0.0), [[[0.0, 0.0, 0.0]]]).tolist() == [[-np.inf]]


def square(obs, action, next_obs):
    return next_obs[:, 0] ** 2


@pytest.mark.parametrize("particles", [2, 4, 6])
def test_ts_infinity_gives_every_plan_an_equal_share_of_members(particles):
    """Members move by 1 and 2; paid is the square of the place.

    From 0: 1 + 4 + 9 = 14 and 4 + 16 + 36 = 56. From 1: 4 + 9 + 16 = 29 and 9 + 25 + 49 = 83. The mean over members.
    """
    model = adding(2, propagation="ts_inf", reward=square)
    found = values(model, seen(0.0, 1.0), np.zeros((2, 5, 3)), particles=particles)
    np.testing.assert_allclose(found, [[35.0] * 5, [56.0] * 5], rtol=1e-5)


def test_expectation_moves_by_the_mean_of_the_members():
    """1.5, 3, 4.5 from 0, with one particle; 2.5, 4, 5.5 from 1."""
    model = adding(2, propagation="expectation", reward=square)
    found = values(model, seen(0.0, 1.0), np.zeros((2, 2, 3)))
    np.testing.assert_allclose(found, [[31.5] * 2, [6.25 + 16 + 30.25] * 2], rtol=1e-5)


@pytest.mark.slow
def test_ts1_changes_members_on_the_way():
    """The four ways through two steps are worth 1 + 4, 1 + 9, 4 + 9 and 4 + 16, each a quarter of the time."""
    model = adding(2, propagation="ts1", reward=square)
    found = values(model, seen(0.0), np.zeros((1, 1, 2)), particles=4000)
    np.testing.assert_allclose(found, [[12.0]], atol=0.3)  # standard deviation of one particle: 5.4
    single = values(model, seen(0.0), np.zeros((1, 200, 2)))
    assert set(np.round(single[0]).tolist()) == {5.0, 10.0, 13.0, 20.0}


def test_learned_rewards_and_a_learned_end():
    """Rewards 10 and 20; member 1 ends at every step, member 0 never: 30 and 20."""
    model = adding(2, propagation="ts_inf", termination=None)
    model = eqx.tree_at(lambda e: e.members.layers[-1].bias, model, replace_fn=lambda b: b.at[1, -1].set(100.0))
    found = values(model, seen(0.0), np.zeros((1, 2, 3)), particles=2)
    np.testing.assert_allclose(found, [[25.0, 25.0]], rtol=1e-5)


def test_choices_are_whole_numbers():
    """Each choice moves by so much."""

    class Stairs(Track):
        def step(self, belief, action, *, key):
            assert action.dtype == jnp.int32
            return super().step(belief, action[:, None].astype(jnp.float32), key=key)

    plans = jnp.array([[[0, 1, 2], [2, 0, 0]]], jnp.int32)
    found = plan_values(Stairs(), Choices(3), places(0), plans, 3, key=KEY)
    assert found.tolist() == [[0 + 1 + 3, 6.0]]
