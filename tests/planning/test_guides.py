"""What decisions mean, by hand on a linear actor."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from forethought.envs.control import DoubleIntegrator, lqr_gain, riccati
from forethought.errors import UsageError
from forethought.models.ensemble import EnsembleBelief
from forethought.models.normalizer import Normalizer
from forethought.models.oracle import Oracle, OracleBelief
from forethought.planning.guides import Actions, Choices, Corrections, Parameters, Proposals, free
from forethought.planning.planner import Planner, plan_values
from forethought.planning.shooting import RandomShooting
from forethought.types import Box, Discrete
from handmade import Slope, Track, places, small_ensemble

KEY = jax.random.key(0)


class Line(eqx.Module):
    """``weight . x + bias``."""

    weight: jax.Array
    bias: jax.Array

    def __init__(self, weight, bias=0.0):
        self.weight, self.bias = jnp.atleast_1d(jnp.asarray(weight, jnp.float32)), jnp.full(1, bias)

    def __call__(self, x):
        return jnp.sum(self.weight * x, keepdims=True) + self.bias


def values(model, guide, belief, x, horizon, **options):
    return plan_values(model, guide, belief, jnp.asarray(x, jnp.float32), horizon, key=KEY, **options)


def test_actions_are_what_they_are():
    guide = Actions(2)
    assert guide.shape(5) == (5, 2)
    assert guide.prepare(Track(), places(1, 2, 3), 5, key=KEY) is guide
    x = guide.draw((1000, 5, 2), key=KEY)
    assert guide.act(jnp.zeros((3, 1)), x[:3, 0]).tolist() == x[:3, 0].tolist()
    assert x.std() == pytest.approx(3**-0.5, rel=0.03)
    assert float(jnp.abs(x).max()) <= 1.0
    assert guide.value(jnp.ones((3, 1))).tolist() == [0.0] * 3
    assert Actions(2, Slope(5.0)).value(jnp.array([[1.0], [2.0]])).tolist() == [5.0, 10.0]


def test_the_free_guide_of_a_space():
    assert free(Box((3,))).shape(4) == (4, 3)
    choices = free(Discrete(3), Slope(2.0))
    assert isinstance(choices, Choices)
    assert choices.shape(4) == (4,)
    assert set(choices.draw((100,), key=KEY).tolist()) == {0, 1, 2}
    assert choices.value(jnp.ones((1, 1))).tolist() == [2.0]


def test_proposals_are_what_the_policy_would_do_from_here():
    """x -> x / 2 with actions -x / 2, from 1 and from 4; decisions are added to the sequence, and clipped."""
    guide = Proposals(1, actor=Line(-0.5)).prepare(Track(), places(1, 4), 3, key=KEY)
    np.testing.assert_allclose(guide.proposed[..., 0], [[-0.5, -0.25, -0.125], [-2.0, -1.0, -0.5]])
    x = jnp.array([[[0.0, 0.5, 0.0], [0.0, 0.0, 2.0]], [[0.0, 0.25, 0.0], [1.5, 0.0, -2.0]]])[..., None]
    by_hand = [[[-0.5, 0.25, -0.125], [-0.5, -0.25, 1.0]], [[-1.0, -0.75, -0.5], [-0.5, -1.0, -1.0]]]
    np.testing.assert_allclose(guide.place(x)[..., 0], by_hand)
    assert guide.act(jnp.ones((2, 1)), x[:, 0, 0]).tolist() == x[:, 0, 0].tolist()


def test_the_sequence_proposed_is_not_thought_over_again():
    """Unlike corrections: after 1 and the action 0.5 - 0.5 the policy would say -1/2, the sequence says -1/4."""
    x = jnp.array([[[[0.5], [0.0]]]])
    proposals = Proposals(1, actor=Line(-0.5)).prepare(Track(), places(1), 2, key=KEY)
    np.testing.assert_allclose(values(Track(), proposals, places(1), x, 2), [[1.0 + 0.75]])
    corrections = Corrections(1, actor=Line(-0.5))
    np.testing.assert_allclose(values(Track(), corrections, places(1), x, 2), [[1.0 + 0.5]])


def test_a_policy_is_shown_what_is_normalised():
    """(x - 2) / 4, for each of the three guides."""
    seen = Normalizer(jnp.array([2.0]), jnp.array([4.0]))
    features, nothing = jnp.array([[2.0], [4.0]]), jnp.zeros((2, 2))
    for guide in (Corrections(1, actor=Line(-0.5), seen=seen), Parameters(1, actor=Line(-0.5), seen=seen)):
        np.testing.assert_allclose(guide.act(features, nothing[:, : guide.shape(2)[-1]])[:, 0], [0.0, -0.25])
    prepared = Proposals(1, actor=Line(-0.5), seen=seen).prepare(Track(), places(2, 4), 1, key=KEY)
    np.testing.assert_allclose(prepared.proposed[:, 0, 0], [0.0, -0.25])


def test_corrections_are_added_to_the_actions_of_the_policy():
    """-1/2 x + 1/4 at 1 and at 0, corrected by 1/2 and by 2, which is clipped."""
    guide = Corrections(1, actor=Line(-0.5, 0.25))
    assert guide.act(jnp.array([[1.0], [0.0]]), jnp.array([[0.5], [2.0]])).tolist() == [[0.25], [1.0]]
    assert (guide.low, guide.high) == (-2.0, 2.0)
    # In imagination the policy sees where the corrections have led: 1 -> 1 - 0.25 + 0.25 = 1 -> 1 - 0.25 = 0.75.
    found = values(Track(), guide, places(1), [[[[0.25], [0.0]]]], 2)
    assert found.tolist() == [[1.75]]


def test_parameters_are_changed_for_each_step_or_for_all():
    """Weight -1/2 and bias 1/4. With (1/2, 0) the action is 1/4 everywhere, with (0, -1/4) it is -x / 2."""
    guide = Parameters(1, actor=Line(-0.5, 0.25))
    assert guide.shape(3) == (3, 2)
    found = values(Track(), guide, places(1, 2), [[[[0.5, 0.0], [0.0, -0.25]]]] * 2, 2)
    assert found.tolist() == [[1.25 + 0.625], [2.25 + 1.125]]
    shared = Parameters(1, actor=Line(-0.5, 0.25), shared=True)
    assert shared.shape(3) == (1, 2)
    found = values(Track(), shared, places(1, 2), [[[[0.5, 0.0]], [[0.0, -0.25]]]] * 2, 3)
    assert found.tolist() == [[1.25 + 1.5 + 1.75, 0.5 + 0.25 + 0.125], [2.25 + 2.5 + 2.75, 1.0 + 0.5 + 0.25]]


@pytest.mark.slow
@pytest.mark.parametrize("shared", [False, True])
def test_no_change_of_parameters_is_the_policy(shared):
    actor = Line(-0.5, 0.25)
    guide = Parameters(1, actor=actor, shared=shared)
    features = jnp.linspace(-1, 1, 7)[:, None]
    np.testing.assert_array_equal(guide.act(features, jnp.zeros((7, 2))), jax.vmap(actor)(features))
    followed = values(Track(), guide, places(1), jnp.zeros((1, 1, *guide.shape(3))), 3)
    proposals = Proposals(1, actor=actor).prepare(Track(), places(1), 3, key=KEY)
    np.testing.assert_allclose(followed, values(Track(), proposals, places(1), jnp.zeros((1, 1, 3, 1)), 3), rtol=1e-6)


def test_parameters_cannot_be_drawn():
    guide = Parameters(1, actor=Line(-0.5))
    planner = Planner(RandomShooting(5), 2)
    with pytest.raises(UsageError, match="no bounds") as error:
        planner.plan(Track(), guide, places(1), planner.init(guide, 1), jnp.ones(1, bool), key=KEY)
    assert "\n" not in str(error.value)


@pytest.mark.slow
@pytest.mark.parametrize("propagation", ["ts1", "ts_inf", "expectation"])
def test_plans_can_be_followed_back_through_an_ensemble(propagation):
    """The gradient of a plan's value is that of finite differences, for the same random numbers."""
    model = small_ensemble(3, propagation=propagation)
    model = eqx.tree_at(lambda e: e.max_logvar, model, jnp.full(2, -4.0))
    guide, belief = Parameters(1, Slope(0.3), actor=Line(-0.5, 0.1)), EnsembleBelief(jnp.array([[0.5]]))
    x = 0.2 * jax.random.normal(jax.random.key(1), guide.shape(3))

    @jax.jit
    def value(x):
        return values(model, guide, belief, x[None, None], 3, particles=6)[0, 0]

    gradient = np.asarray(jax.grad(value)(x))
    assert np.all(np.isfinite(gradient))
    step = 0.02
    for i in np.ndindex(x.shape):
        aside = jnp.zeros(x.shape).at[i].set(step)
        assert gradient[i] == pytest.approx(float(value(x + aside) - value(x - aside)) / (2 * step), abs=2e-3)
    assert np.abs(gradient).max() > 0.02


def test_the_best_policy_of_the_linear_world_cannot_be_improved():
    """At the gain of the Riccati equation the gradient of the return of 5 steps with the true value behind is 0."""
    p, gain = jnp.asarray(riccati(), jnp.float32), lqr_gain()

    class Cost(eqx.Module):
        def __call__(self, features):
            return -jnp.einsum("ni,ij,nj->n", features, p, features)

    start = jnp.array([[1.0, 0.0]])

    @jax.jit
    def gradient(weight):
        guide = Parameters(1, Cost(), actor=Line(weight))
        belief, x = OracleBelief(start, start), jnp.zeros((1, 1, *guide.shape(5)))
        oracle = Oracle(DoubleIntegrator())
        return jax.grad(lambda x: plan_values(oracle, guide, belief, x, 5, key=KEY)[0, 0])(x)

    best = -jnp.asarray(gain, jnp.float32) / 10
    np.testing.assert_allclose(gradient(best), 0.0, atol=1e-5)
    assert float(jnp.abs(gradient(0.9 * best)).max()) > 0.5
