"""POPLIN: what the policy is taught by plans, and what plans begin from, by hand."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

import small
from forethought.agents.control.poplin import Extras
from forethought.errors import UsageError
from forethought.models.normalizer import Normalizer
from forethought.planning.guides import Corrections, Parameters, Proposals
from forethought.planning.planner import Plan
from forethought.replay import moments
from forethought.training.program import empty_moment
from forethought.types import Box, EnvSpec, Experience

pytestmark = pytest.mark.learned

SPEC = EnvSpec("toy", Box((1,)), Box((1,)))
KEY = jax.random.key(0)


def make(name, **settings):
    return small.make_agent(name, SPEC, **settings)


def replay_of(agent, obs, action, decision, planned, capacity=None, distillations=None):
    """A replay of transitions with the extras of their plans, oldest first."""
    n = len(obs)
    extras = Extras(jnp.asarray(decision, jnp.float32), jnp.asarray(planned), jnp.asarray(distillations or [0] * n))
    one = empty_moment(SPEC)
    replay = moments.create(one, capacity or n, extras=jax.tree.map(lambda x: jnp.zeros(x.shape[1:], x.dtype), extras))
    obs, action = (jnp.asarray(x, jnp.float32)[:, None, None] for x in (obs, action))
    for i in range(n):
        now, reached = (one._replace(obs=obs[i], prev_action=action[i], first=first) for first in (True, False))
        batch = jax.tree.map(lambda x: jnp.atleast_1d(x), (now, reached))
        replay = moments.record(replay, Experience(*batch, jax.tree.map(lambda x, i=i: x[i : i + 1], extras)))
    return replay


@pytest.mark.parametrize(
    ("name", "form", "guide"),
    [
        ("poplin-a", "init", Proposals),
        ("poplin-a", "replan", Corrections),
        ("poplin-p", "sep", Parameters),
        ("poplin-p", "uni", Parameters),
    ],
)
def test_each_form_searches_with_its_guide(name, form, guide):
    agent = make(name, form=form, horizon=3)
    state = agent.init(key=KEY)
    made = agent._guide(state.policy, state.seen)
    assert type(made) is guide
    parameters = 2 * 4 + 4 + 1  # 1 -> 4 -> 1 with biases
    shapes = {"init": (3, 1), "replan": (3, 1), "sep": (3, parameters), "uni": (1, parameters)}
    assert made.shape(3) == shapes[form]
    _, _, extras = jax.eval_shape(lambda: agent.decide(state, agent.init_actor(5), key=KEY, explore=True))
    assert extras.decision.shape == (5, shapes[form][1])


def test_the_average_of_the_changes_since_the_last_lesson_is_added():
    """Of 6 transitions the last 4 count (model_every), and of these the 3 that were planned."""
    agent = make("poplin-p", model_every=4, policy_hidden=())
    state = agent.init(key=KEY)
    decision = [[9.0, 9.0], [9.0, 9.0], [1.0, 0.0], [7.0, 7.0], [2.0, 3.0], [0.0, -6.0]]
    planned = [True, True, True, False, True, True]
    replay = replay_of(agent, np.zeros(6), np.zeros(6), decision, planned)
    before = ravel_pytree(state.policy)[0]
    after, _, info = agent.distil(state, replay, step=jnp.array(6), key=KEY)
    np.testing.assert_allclose(ravel_pytree(after.policy)[0] - before, [1.0, -1.0], atol=1e-6)
    assert float(info["policy_change"]) == pytest.approx(2**0.5, rel=1e-5)


def test_changes_of_another_policy_are_not_averaged():
    """The state has learned once: what was planned with its first policy is no change of this one."""
    agent = make("poplin-p", model_every=4, policy_hidden=())
    state = agent.init(key=KEY)._replace(distillations=jnp.array(1))
    decision = [[8.0, 8.0], [8.0, 8.0], [1.0, 2.0], [3.0, 2.0]]
    replay = replay_of(agent, np.zeros(4), np.zeros(4), decision, [True] * 4, distillations=[0, 0, 1, 1])
    after, _, _ = agent.distil(state, replay, step=jnp.array(4), key=KEY)
    change = ravel_pytree(after.policy)[0] - ravel_pytree(state.policy)[0]
    np.testing.assert_allclose(change, [2.0, 2.0], atol=1e-6)


def test_the_policy_is_shown_observations_normalised_as_the_model_last_saw_them():
    """Statistics change with a distillation only, and a dimension that hardly moves is not blown up."""
    agent = make("poplin-p", policy_hidden=())
    state = agent.init(key=KEY)
    model = eqx.tree_at(
        lambda m: m.inputs, state.model.model, Normalizer(jnp.array([3.0, 0.0]), jnp.array([0.01, 1.0]))
    )
    state = state._replace(model=state.model._replace(model=model))
    assert (float(state.seen.mean[0]), float(state.seen.std[0])) == (0.0, 1.0)
    replay = replay_of(agent, np.zeros(4), np.zeros(4), np.zeros((4, 2)), [True] * 4)
    taught, _, _ = agent.distil(state, replay, step=jnp.array(4), key=KEY)
    assert (float(taught.seen.mean[0]), float(taught.seen.std[0])) == (3.0, pytest.approx(0.1))


def test_what_the_ring_has_forgotten_is_not_averaged():
    agent = make("poplin-p", model_every=4, policy_hidden=())
    state = agent.init(key=KEY)
    decision = [[100.0, 100.0], [100.0, 100.0], [1.0, 1.0], [3.0, 5.0]]
    replay = replay_of(agent, np.zeros(4), np.zeros(4), decision, [True] * 4, capacity=2)
    after, _, _ = agent.distil(state, replay, step=jnp.array(4), key=KEY)
    change = ravel_pytree(after.policy)[0] - ravel_pytree(state.policy)[0]
    np.testing.assert_allclose(change, [2.0, 3.0], atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["poplin-a", "poplin-p"])
def test_cloning_teaches_the_planned_actions_and_no_others(name):
    """Planned: -1/2 where the observation is negative, 1/2 where it is positive. Random actions say the opposite."""
    agent = make(name, policy_updates=400, policy_batch=32, policy_learning_rate=0.02, policy_hidden=(8,), distil="bc")
    state = agent.init(key=KEY)
    obs = np.linspace(-2, 2, 40)
    planned = np.arange(40) % 2 == 0
    action = np.where(planned, 0.5, -0.9) * np.sign(obs)
    decision = np.zeros((40, agent._guide(state.policy, state.seen).shape(agent.config.horizon)[-1]))
    replay = replay_of(agent, obs, action, decision, planned)
    after, _, info = jax.jit(lambda s, r: agent.distil(s, r, step=jnp.array(40), key=KEY))(state, replay)
    said = jax.vmap(after.policy)(after.seen.normalize(jnp.array([[-1.5], [-1.0], [1.0], [1.5]])))[:, 0]
    np.testing.assert_allclose(said, [-0.5, -0.5, 0.5, 0.5], atol=0.1)
    assert float(info["policy_loss"]) < 0.02
    random = replay_of(agent, obs, action, decision, [False] * 40)
    untouched, _, _ = agent.distil(state, random, step=jnp.array(40), key=KEY)
    assert eqx.tree_equal(untouched.policy, state.policy)


def test_cloning_forgets_the_plans_of_early_models():
    """Only the newest 10 of 40 transitions count; the older ones say the opposite."""
    agent = make("poplin-a", policy_newest=10, policy_updates=400, policy_learning_rate=0.02, policy_hidden=(8,))
    obs = np.tile([-1.0, 1.0], 20)
    action = np.where(np.arange(40) < 30, -0.5, 0.5) * obs
    replay = replay_of(agent, obs, action, np.zeros((40, 1)), [True] * 40, capacity=32)
    state = agent.init(key=KEY)
    after, _, _ = jax.jit(lambda s, r: agent.distil(s, r, step=jnp.array(40), key=KEY))(state, replay)
    said = jax.vmap(after.policy)(after.seen.normalize(jnp.array([[-1.0], [1.0]])))[:, 0]
    np.testing.assert_allclose(said, [-0.5, 0.5], atol=0.05)


def test_a_plan_is_gone_on_from_until_the_policy_has_learned():
    """The carry of a search is about the changes to one policy: after a distillation it begins at no change."""
    agent = make("poplin-p", policy_hidden=())
    state, obs = agent.init(key=KEY), jnp.array([[0.3]])
    carry = agent.init_actor(1)._replace(search=jnp.full((1, 2, 2), 0.7), fresh=jnp.zeros(1, bool))
    agent.planner = _Still()

    def plan(state, carry):
        return agent.act(state, carry, small.seen(SPEC, obs, first=False), key=KEY, explore=True)[2]

    assert plan(state, carry).decision.tolist() == [[pytest.approx(0.7)] * 2]
    taught = state._replace(distillations=state.distillations + 1)
    anew = plan(taught, carry)
    assert anew.decision.tolist() == [[0.0, 0.0]]
    assert anew.distillations.tolist() == [1]


@pytest.mark.parametrize(("form", "begun"), [("init", 0.0), ("replan", 0.7)])
def test_noise_on_what_the_policy_proposes_is_not_gone_on_from(form, begun):
    """The proposals of the next state have that noise in them already; corrections in imagined states have not."""
    agent = make("poplin-a", form=form)
    state, obs = agent.init(key=KEY), jnp.array([[0.3]])
    carry = agent.init_actor(1)._replace(search=jnp.full((1, 2, 1), 0.7), fresh=jnp.zeros(1, bool))
    agent.planner = _Still()
    _, _, extras = agent.act(state, carry, small.seen(SPEC, obs, first=False), key=KEY, explore=True)
    assert extras.decision.tolist() == [[pytest.approx(begun)]]


class _Still:
    """A planner whose search returns where it begins."""

    def plan(self, model, guide, belief, carry, first, *, key):
        begun = jnp.where(first[:, None, None], 0.0, carry)
        return Plan(guide.act(belief.obs, begun[:, 0]), begun, jnp.zeros(1)), begun


def test_every_lesson_is_counted():
    agent = make("poplin-p", model_every=4, policy_hidden=())
    replay = replay_of(agent, np.zeros(4), np.zeros(4), np.zeros((4, 2)), [True] * 4)
    state, _, _ = agent.distil(agent.init(key=KEY), replay, step=jnp.array(4), key=KEY)
    state, _, _ = agent.distil(state, replay, step=jnp.array(8), key=KEY)
    assert int(state.distillations) == 2


@pytest.mark.parametrize("name", ["poplin-a", "poplin-p"])
def test_the_policy_alone_is_judged_where_that_is_asked_for(name):
    agent = make(name, evaluate_by="policy")
    state, obs = agent.init(key=KEY), jnp.array([[0.3], [-2.0]])
    now = small.seen(SPEC, obs)
    evaluated, _, _ = agent.act(state, agent.init_actor(2), now, key=KEY, explore=False)
    np.testing.assert_array_equal(evaluated, jax.vmap(state.policy)(obs))
    exploring, _, extras = agent.act(state, agent.init_actor(2), now, key=KEY, explore=True)
    assert not np.allclose(exploring, evaluated)
    assert extras.planned.tolist() == [True, True]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"policy_updates": -1}, "policy_updates"),
        ({"policy_batch": 0}, "policy_batch"),
        ({"policy_newest": 0}, "policy_newest"),
        ({"policy_learning_rate": 0.0}, "policy_learning_rate is 0.0; it must be above 0"),
    ],
)
def test_impossible_settings_are_refused(settings, words):
    with pytest.raises(UsageError, match=words):
        make("poplin-a", **settings)
