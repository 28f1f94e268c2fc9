"""Planners as a whole: searches in worlds whose best plan is known."""

from functools import cache
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from forethought.envs.control import DoubleIntegrator, lqr_gain, riccati
from forethought.envs.mazes import dyna_maze
from forethought.errors import UsageError
from forethought.models.oracle import Oracle, OracleBelief
from forethought.models.tabular import TabularBelief, TabularModel
from forethought.planning.cem import CEM, ICEM
from forethought.planning.guides import Actions, Choices, Corrections, Proposals
from forethought.planning.mppi import MPPI
from forethought.planning.planner import Planner
from forethought.planning.shooting import RandomShooting
from forethought.types import Transition
from handmade import Fragile, Lock, Track, places

pytestmark = pytest.mark.learned

KEY = jax.random.key(0)
EVERY = pytest.mark.parametrize(
    "search",
    [
        CEM(200, 20, 5),
        ICEM(200, 10, 3, noise_beta=0.0),
        MPPI(300, 5, std=0.5, beta=1.0, temperature=0.02),
        RandomShooting(2000),
    ],
    ids=lambda s: type(s).__name__,
)


@cache
def compiled(planner, guide):
    """One program for all worlds of a kind."""
    return jax.jit(lambda model, *args, key: planner.plan(model, guide, *args, key=key))


def planned(planner, model, guide, belief, *, first=True, carry=None, key=KEY):
    """One decision; every belief begins an episode where nothing else is said."""
    n = jax.tree.leaves(belief)[0].shape[0]
    carry = planner.init(guide, n) if carry is None else carry
    return compiled(planner, guide)(model, belief, carry, jnp.broadcast_to(jnp.asarray(first), n), key=key)


# The linear system with quadratic costs: everything about it is known.

RICCATI = jnp.asarray(riccati(), jnp.float32)
STARTS = jnp.array([[1.0, 0.0], [0.5, 0.5], [1.0, 1.0]])


class CostToGo(eqx.Module):
    """The true value of the rest."""

    def __call__(self, features):
        return -jnp.einsum("ni,ij,nj->n", features, RICCATI, features)


class Driven(NamedTuple):
    action: np.ndarray
    cost: np.ndarray
    value: np.ndarray


def drive(search, horizon, leaf, steps=120):
    """First actions, whole costs and first believed values from each of the starts, in closed loop on the true model.

    After 120 steps the state is at the origin: 9 (1 - 0.18)^120 < 1e-9 (slowest eigenvalue of A - B K).
    """
    oracle, planner, guide, n = Oracle(DoubleIntegrator()), Planner(search, horizon), Actions(1, leaf), len(STARTS)

    @jax.jit
    def live(key):
        def step(carry, t):
            state, memory = carry
            belief, key_t = OracleBelief(state, state), jax.random.fold_in(key, t)
            plan, memory = planner.plan(oracle, guide, belief, memory, jnp.full(n, t == 0), key=key_t)
            after, outcome = oracle.step(belief, plan.action, key=key_t)
            return (after.state, memory), (plan.action[:, 0], outcome.reward, plan.value)

        _, lived = jax.lax.scan(step, (STARTS, planner.init(guide, n)), jnp.arange(steps))
        return lived

    action, reward, value = (np.asarray(x) for x in live(KEY))
    return Driven(action[0], -reward.sum(axis=0), value[0])


BEST_ACTIONS = np.asarray(STARTS) @ -lqr_gain() / 10
LEAST_COSTS = np.einsum("ni,ij,nj->n", STARTS, riccati(), STARTS)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("search", "horizon"),
    [
        (CEM(200, 20, 10), 5),
        (ICEM(100, 10, 10, noise_beta=0.5, shrink=1.0), 5),
        (MPPI(500, 20, std=0.05, beta=1.0, temperature=0.01), 3),
        (RandomShooting(5000), 1),
    ],
    ids=lambda s: type(s).__name__,
)
def test_with_the_true_value_behind_it_every_planner_is_the_linear_regulator(search, horizon):
    driven = drive(search, horizon, CostToGo())
    np.testing.assert_allclose(driven.action, BEST_ACTIONS, rtol=0.02)
    np.testing.assert_allclose(driven.cost, LEAST_COSTS, rtol=0.01)
    np.testing.assert_allclose(driven.value, -LEAST_COSTS, rtol=0.01)


@pytest.mark.slow
def test_a_longer_plan_does_not_make_up_for_a_missing_value():
    """With nothing behind the plan, 10 steps are worse than 2 with the true value."""
    without, guided = drive(CEM(100, 10, 5), 10, None), drive(CEM(100, 10, 5), 2, CostToGo())
    assert np.all(guided.cost < 1.01 * LEAST_COSTS)
    assert np.all(without.cost > 1.05 * LEAST_COSTS)
    assert np.all(np.abs(without.action) < np.abs(guided.action))


# Worlds that pay for one sequence only.


@EVERY
def test_a_plan_that_pays_only_as_a_whole(search):
    """One in 16 random plans opens the lock. With 3 or 2 signs right already, only what is missing matters."""
    plan, _ = planned(Planner(search, 4, discount=0.9), Lock(1, -1, -1, 1), Actions(1), places(0, 0, 3, 2))
    signs = np.sign(plan.decisions[..., 0])
    assert signs[:2].tolist() == [[1, -1, -1, 1]] * 2
    assert signs[2, 0] == 1
    assert signs[3, :2].tolist() == [-1, 1]
    np.testing.assert_allclose(plan.value, [0.9**3, 0.9**3, 1.0, 0.9], rtol=1e-5)
    np.testing.assert_array_equal(plan.action, plan.decisions[:, 0])


def learned(n_states, n_actions, arrows):
    """A table that has seen these (state, action, reward, next state, terminated)."""
    model, learn = TabularModel(n_states, n_actions), jax.jit(TabularModel.learn)
    for s, a, r, after, ended in arrows:
        no = jnp.array(False)
        row = Transition(jnp.int32(s), jnp.int32(a), jnp.float32(r), jnp.int32(after), jnp.array(bool(ended)), no)
        model = learn(model, row)
    return model


def test_random_shooting_walks_a_learned_chain():
    """Of three actions one leads on, a different one in each state, and the others back to the start."""
    right = [2, 0, 1, 2, 1]
    arrows = [(s, a, 0.0, s + 1 if a == right[s] else 0, False) for s in range(4) for a in range(3)]
    arrows += [(4, a, a == right[4], 0, a == right[4]) for a in range(3)]
    model = learned(5, 3, arrows)
    planner = Planner(RandomShooting(3000), 5, discount=0.9)
    plan, _ = planned(planner, model, Choices(3), TabularBelief(jnp.array([0, 3], jnp.int32)))
    assert plan.decisions[0].tolist() == right
    assert plan.decisions[1, :2].tolist() == right[3:]
    assert plan.action.tolist() == [2, 2]
    assert plan.action.dtype == jnp.int32
    np.testing.assert_allclose(plan.value, [0.9**4, 0.9], rtol=1e-6)


def test_random_shooting_finds_the_goal_of_the_maze():
    """From four steps below the goal, in a model that has seen every move; each plan is made anew."""
    maze = dyna_maze()
    state, arrows, step = maze.init(KEY), [], jax.jit(maze.step)
    for cell in range(54):
        for action in range(4):
            _, after, reward, ended = step(state._replace(cell=jnp.int32(cell)), jnp.int32(action), KEY)
            arrows.append((cell, action, float(reward), int(after), bool(ended)))
    model, planner, guide = learned(54, 4, arrows), Planner(RandomShooting(1500), 5, discount=0.9), Choices(4)
    carry, cell, decide = planner.init(guide, 1), 4 * 9 + 8, None
    for t in range(4):
        plan, carry = planned(planner, model, guide, TabularBelief(jnp.array([cell], jnp.int32)), carry=carry)
        decide, (_, _, _, after, ended) = int(plan.action[0]), arrows[4 * cell + int(plan.action[0])]
        assert decide == 0
        np.testing.assert_allclose(plan.value, 0.9 ** (3 - t), rtol=1e-6)
        cell = after
    assert cell == 8
    assert ended


# What is broken.


@pytest.mark.slow
@EVERY
def test_plans_that_break_are_not_followed(search):
    """The best action is 0.5, but the model says NaN for anything above 0; one in 8 random plans is sound."""
    plan, carry = planned(Planner(search, 3, particles=2), Fragile(breaks=0.0), Actions(1), places(0.5, 0.5))
    assert np.all(plan.decisions <= 0.0)
    assert np.all(plan.decisions > -0.45)
    assert np.all(np.isfinite(plan.value))
    assert np.all(plan.value <= -3 * 0.25 + 1e-6)
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(carry))


@EVERY
def test_where_all_plans_break_the_agent_goes_on(search):
    guide, planner = Actions(1), Planner(search, 3, particles=2)
    plan, carry = planned(planner, Fragile(breaks=-2.0), guide, places(0.5, -0.5))
    assert np.all(np.abs(plan.action) <= 1.0)
    assert plan.value.tolist() == [-np.inf] * 2
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(carry))
    after, _ = planned(planner, Fragile(), guide, places(0.5, -0.5), first=False, carry=carry)
    np.testing.assert_allclose(after.action[:, 0], [0.5, -0.5], atol=0.2)


# From one decision to the next.


@EVERY
def test_environments_side_by_side_do_not_see_each_other(search):
    best = [[-0.7, 0.0], [0.4, 0.8]]
    for pair in best:
        plan, _ = planned(Planner(search, 3, particles=2), Fragile(), Actions(1), places(*pair))
        np.testing.assert_allclose(plan.action[:, 0], pair, atol=0.15)


STILL = [  # these hardly move from where they begin
    CEM(4, 4, 1, momentum=0.0, initial_std=1e-6),
    ICEM(4, 4, 1, momentum=0.0, initial_std=1e-6),
    MPPI(4, 1, std=1e-6, beta=1.0),
]


@pytest.mark.parametrize("search", STILL, ids=lambda s: type(s).__name__)
def test_a_search_goes_on_from_the_last_plan_and_anew_where_an_episode_begins(search):
    planner, guide, belief = Planner(search, 3), Actions(1), places(0, 0)
    carry = search.begin(jnp.broadcast_to(jnp.array([0.1, 0.2, 0.3])[:, None], (2, 3, 1)))
    plan, carry = planned(planner, Track(), guide, belief, first=[False, True], carry=carry)
    np.testing.assert_allclose(plan.decisions[..., 0], [[0.1, 0.2, 0.3], [0.0, 0.0, 0.0]], atol=1e-4)
    plan, carry = planned(planner, Track(), guide, belief, first=False, carry=carry)
    last = 0.0 if isinstance(search, CEM) else 0.3
    np.testing.assert_allclose(plan.decisions[..., 0], [[0.2, 0.3, last], [0.0, 0.0, 0.0]], atol=1e-4)
    plan, _ = planned(planner, Track(), guide, belief, first=[True, False], carry=carry)
    np.testing.assert_allclose(plan.decisions[..., 0], np.zeros((2, 3)), atol=1e-4)


def halve(x):
    return -0.5 * x


@pytest.mark.parametrize("search", STILL, ids=lambda s: type(s).__name__)
def test_changes_of_what_a_policy_proposes_go_on(search):
    """0.75 more than the -1/2 and -1/4 of the policy, as a sequence or in the states that are met."""
    carry = search.begin(jnp.full((1, 2, 1), 0.75))
    plan, _ = planned(Planner(search, 2), Track(), Proposals(1, actor=halve), places(1), first=False, carry=carry)
    np.testing.assert_allclose(plan.decisions[0, :, 0], [0.75, 0.75], atol=1e-4)
    np.testing.assert_allclose(plan.action, [[0.25]], atol=1e-4)
    plan, _ = planned(Planner(search, 2), Track(), Corrections(1, actor=halve), places(1), first=False, carry=carry)
    np.testing.assert_allclose(plan.decisions[0, :, 0], [0.75, 0.75], atol=1e-4)
    np.testing.assert_allclose(plan.action, [[0.25]], atol=1e-4)


@pytest.mark.slow
@EVERY
def test_the_second_decision_compiles_nothing_and_the_same_key_decides_the_same(search):
    planner, guide, model = Planner(search, 3, particles=2, discount=0.9), Actions(1), Fragile()
    once, carry = planned(planner, model, guide, places(0.1, 0.2))
    again, _ = planned(planner, model, guide, places(0.1, 0.2))
    other, _ = planned(planner, model, guide, places(0.1, 0.2), key=jax.random.key(1))
    planned(planner, model, guide, places(0.3, 0.4), first=False, carry=carry)
    assert compiled(planner, guide)._cache_size() == 1
    for leaf, expected in zip(jax.tree.leaves(once), jax.tree.leaves(again), strict=True):
        np.testing.assert_array_equal(leaf, expected)
    assert not np.array_equal(once.decisions, other.decisions)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"horizon": 0}, "horizon is 0; it must be at least 1"),
        ({"horizon": 3, "particles": 0}, "particles is 0; it must be at least 1"),
        ({"horizon": 3, "discount": 1.5}, "discount is 1.5; it must be between 0.0 and 1.0"),
    ],
)
def test_impossible_planners_are_refused(settings, words):
    with pytest.raises(UsageError) as error:
        Planner(CEM(), **settings)
    assert str(error.value) == words
