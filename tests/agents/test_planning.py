"""Planning agents: what they are made of, and what they do with their model."""

from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import forethought
import small
from forethought.agents.catalog import find
from forethought.agents.control.planning import CEMConfig, PlanningAgent
from forethought.agents.ensemble import Known, reward_disagreement
from forethought.envs.control import DoubleIntegrator
from forethought.errors import UsageError
from forethought.models.rewards import double_integrator
from forethought.replay.moments import holding
from forethought.training.config import from_dict
from forethought.types import Box, EnvSpec, Outcome, Transition

SPEC = EnvSpec("toy", Box((1,)), Box((1,)))
KNOWN = EnvSpec("forethought/DoubleIntegrator-v0", Box((2,)), Box((1,)))
PLANNERS = ("random-shooting", "cem", "icem", "mppi", "pets")
SMALL = {"model_hidden": (8,), "horizon": 3, "search.population": 200, "search.elites": 20}


@pytest.mark.parametrize("name", PLANNERS)
def test_the_planner_is_made_of_the_settings(name):
    agent = small.make_agent(name, SPEC, horizon=7, particles=6, discount=0.5, **{"search.population": 123})
    planner = agent.planner
    assert (planner.horizon, planner.particles, planner.discount) == (7, 6, 0.5)
    assert planner.search == agent.config.search
    assert planner.search.population == 123
    assert type(planner.search).__name__.lower() == {"pets": "cem"}.get(name, name.replace("-", ""))


def test_the_model_is_fitted_on_its_schedule():
    (phase,) = PlanningAgent(CEMConfig(random_steps=30, model_every=7), SPEC).phases()
    assert (phase.name, phase.start, phase.every, phase.kind) == ("fit_model", 30, 7, "model")


@pytest.mark.parametrize(
    ("reward", "spec", "known"),
    [("known", KNOWN, True), ("learned", KNOWN, False), ("known", replace(KNOWN, action_repeat=2), False)],
)
def test_a_known_reward_is_used_where_it_is_asked_for_and_there_is_one(reward, spec, known):
    agent = PlanningAgent(from_dict(CEMConfig, {"reward": reward, "model_hidden": (8,)}), spec)
    model = agent.init(key=jax.random.key(0)).model.model
    assert model.reward is (double_integrator if known else None)


def test_a_reward_that_is_not_known_cannot_be_asked_for():
    with pytest.raises(UsageError, match=r"the reward of \S+ is not known, only those of .*Pendulum-v1.*; leave out"):
        PlanningAgent(CEMConfig(reward="known"), SPEC)


def leaning(agent, to, others):
    """The state of an agent whose elites move by ``to`` times the action, and the other member by ``others`` times."""
    state = agent.init(key=jax.random.key(0))
    model = state.model.model
    elites = jnp.arange(1, model.n_members)  # the first member is none of them
    slopes = jnp.full(model.n_members, to).at[0].set(others)
    # One hidden layer: unit 0 follows the action, far enough on the line of silu; unit 1 stands still at its place.
    layers = jax.tree.map(jnp.zeros_like, model.members.layers)
    first, last = layers
    first = eqx.tree_at(lambda x: (x.weight, x.bias), first, (first.weight.at[:, -1, 0].set(1.0), first.bias + 20.0))
    weight = last.weight.at[:, 0, 1].set(slopes)
    bias = last.bias.at[:, 1].set(-20.0 * slopes).at[:, -1].set(-100.0)
    last = eqx.tree_at(lambda x: (x.weight, x.bias), last, (weight, bias))
    model = eqx.tree_at(
        lambda m: (m.members.layers, m.elites, m.min_logvar, m.max_logvar),
        model,
        ((first, last), elites, jnp.full(2, -60.0), jnp.full(2, -50.0)),
    )
    return state._replace(model=state.model._replace(model=model))


def nearness(obs, action, next_obs):
    return -(next_obs[:, 0] ** 2)


def act(agent, state, obs, *, explore=True):
    now = small.seen(agent.spec, np.asarray(obs, np.float32)[:, None])
    carry = agent.init_actor(len(obs))
    return np.asarray(agent.act(state, carry, now, key=jax.random.key(0), explore=explore)[0])[:, 0]


@pytest.mark.slow
@pytest.mark.parametrize(("to", "first_actions"), [(1.0, [-0.5, 0.8]), (-1.0, [0.5, -0.8])])
def test_the_agent_believes_its_elites_and_plans_alike_when_judged(to, first_actions):
    """Back to 0 in one step, in the world of the elites; the other member believes the opposite."""
    agent = small.make_agent("cem", SPEC, members=3, elites=2, **{**SMALL, "search.iterations": 8})
    agent.learner.reward = nearness
    state = leaning(agent, to, -to)
    exploring, evaluated = (act(agent, state, [0.5, -0.8], explore=explore) for explore in (True, False))
    np.testing.assert_allclose(exploring, first_actions, atol=0.05)
    np.testing.assert_array_equal(exploring, evaluated)


def test_the_precision_reaches_the_model_that_plans():
    agent = small.make_agent("cem", SPEC, **{**SMALL, "model_hidden": (8, 8), "precision": "bfloat16"})
    state = agent.init(key=jax.random.key(0))
    first, middle, last = agent.world_model(state).members[0].layers
    assert [x.weight.dtype for x in (first, middle, last)] == [jnp.float32, jnp.bfloat16, jnp.float32]
    assert np.all(np.isfinite(act(agent, state, [0.5, -0.8])))


def rows(obs, action, reward):
    obs, action = (jnp.asarray(x, jnp.float32) for x in (obs, action))
    no = jnp.zeros(len(obs), bool)
    return Transition(obs, action, jnp.asarray(reward, jnp.float32), obs, no, no)


def test_a_known_reward_is_held_against_the_data():
    """-(x^2 + v^2 + 0.1 (10 a)^2): -1.25, -10, 0; off by more than 1 % of itself or of the mean size is wrong."""
    obs, action = [[1.0, 0.5], [0.0, 0.0], [0.0, 0.0]], [[0.0], [1.0], [0.0]]
    cases = (([-1.25, -10.09, 0.03], 0.0), ([-1.3, -10.0, 0.03], 1 / 3), ([-1.3, -10.2, 0.05], 1.0))
    for reward, share in (([-1.25, -10.0, 0.0], 0.0), *cases):
        replay = holding(rows(obs, action, reward), 5)
        assert float(reward_disagreement(double_integrator, replay)) == pytest.approx(share)
    empty = eqx.tree_at(lambda r: r.ends.size, replay, jnp.array(0))
    assert float(reward_disagreement(double_integrator, empty)) == 0.0
    # A function that is no number is wrong everywhere, and free slots of the ring count neither way.
    assert float(reward_disagreement(lambda o, a, n: o[:, 0] * jnp.nan, replay)) == 1.0
    assert float(reward_disagreement(lambda o, a, n: o[:, 0] * 0.0 + 7.0, replay)) == 1.0


def test_one_great_reward_does_not_hide_what_is_wrong_with_the_others():
    """A crash that costs 1000 among 200 rewards of -1, of which each is missed by a tenth."""
    n = 200
    obs, action = np.zeros((n, 2)), np.full((n, 1), 10.0**-0.5)
    crashed = np.arange(n) == 7
    obs[crashed, 0] = 1e3**0.5
    replay = holding(rows(obs, action, np.where(crashed, -1001.0, -1.1)), n)
    assert float(reward_disagreement(double_integrator, replay)) == pytest.approx((n - 1) / n)


def test_a_contradicted_reward_is_a_concern():
    agent = small.make_agent("cem", KNOWN, reward="known")
    assert agent.warnings({"reward_disagreement": [0.0, 0.0005]}) == []
    (concern,) = agent.warnings({"reward_disagreement": [0.0, 0.25]})
    assert concern.startswith("the reward function known for forethought/DoubleIntegrator-v0 contradicts the real ")
    assert "transitions: 25.0 % of them" in concern
    assert "\n" not in concern


@pytest.mark.slow
def test_the_fit_reports_on_the_known_reward():
    learner = small.train("cem", KNOWN.id, steps=17, settings={"reward": "known"})
    assert learner.metrics("fit_model")["reward_disagreement"] == [0.0]
    assert "reward_disagreement" not in small.train("cem", KNOWN.id, steps=17).metrics("fit_model")


@pytest.mark.parametrize("name", PLANNERS)
@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"horizon": 0}, "horizon is 0; it must be at least 1"),
        ({"particles": 0}, "particles is 0; it must be at least 1"),
        ({"discount": 1.1}, "discount is 1.1; it must be between 0.0 and 1.0"),
        ({"search.population": 0}, "population is 0; it must be at least 1"),
        ({"propagation": "ts2"}, "propagation"),
        (
            {"propagation": "ts_inf", "particles": 4},
            "particles is 4; with ts_inf it must be a multiple of the 5 elites",
        ),
        ({"reward": "guessed"}, "reward"),
    ],
)
def test_impossible_settings_are_refused(name, settings, words):
    with pytest.raises(UsageError) as error:
        from_dict(find(name).load()[1], settings)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "settings", "said"),
    [
        ("pets", {"members": 7}, "7 members and 5 elites"),  # PETS holds nothing out
        ("cem", {"fit.holdout_ratio": 0.0, "elites": 2}, "5 members and 2 elites"),
        ("mbpo", {"fit.holdout_ratio": 0.0}, "7 members and 5 elites"),
    ],
)
def test_elites_are_not_simply_the_first_where_nothing_is_held_out_to_choose_them_by(name, settings, said):
    config = find(name).load()[1]
    with pytest.raises(UsageError) as error:
        from_dict(config, settings)
    members = said[0]
    assert str(error.value) == (
        f"there are {said}, and nothing is held out to choose them by; set elites to {members}, or fit.holdout_ratio "
        "above 0, such as 0.2"
    )
    assert from_dict(config, {**settings, "fit.holdout_ratio": 0.2}).fit.holdout_ratio == 0.2
    every = {"elites": int(members), **({"particles": 21} if name == "pets" else {})}  # a multiple of 7
    assert from_dict(config, {**settings, **every}).elites == int(members)


@pytest.mark.parametrize("name", ["cem", "icem", "pets"])
def test_no_more_elites_than_plans(name):
    with pytest.raises(UsageError, match=r"search\.elites are 30 of a population of 20; lower search\.elites"):
        from_dict(find(name).load()[1], {"search.population": 20, "search.elites": 30})


WORLD = {"model": "world", "particles": 1, "horizon": 4, "search.population": 64, "search.elites": 8}


def test_the_world_itself_can_be_the_model():
    """On the double integrator: plans are right to rounding, nothing is fitted, and no step is random."""
    env = DoubleIntegrator()
    agent = PlanningAgent(from_dict(CEMConfig, WORLD), env.spec, Known(world=env))
    assert (agent.phases(), agent.random_steps) == ((), 0)
    state = agent.init(key=jax.random.key(0))
    obs = np.float32([[1.0, 0.0], [-1.0, 0.5]])
    now = small.seen(env.spec, obs)
    carry = agent.observe(state, agent.init_actor(2), now, key=jax.random.key(0))
    action, _, _ = agent.decide(state, carry, key=jax.random.key(1), explore=True)
    belief, outcome = agent.world_model(state).step(carry.belief, action, key=jax.random.key(2))
    np.testing.assert_allclose(outcome.reward, -(obs**2).sum(axis=1) - 0.1 * (10 * action[:, 0]) ** 2, rtol=1e-5)
    np.testing.assert_allclose(belief.obs[:, 0], obs[:, 0] + 0.1 * obs[:, 1], rtol=1e-5)


@pytest.mark.parametrize(
    ("algorithm", "env", "options", "said"),
    [
        ("cem", "Pendulum-v1", {}, "Pendulum-v1 does not give: it is no environment written in JAX; leave out"),
        ("cem", "forethought/Pendulum-v0", {"action_repeat": 2}, "plans single steps; leave out --action-repeat"),
        ("poplin-a", "forethought/Pendulum-v0", {}, "POPLIN learns its policy from what its ensemble is shown"),
    ],
)
def test_where_the_world_cannot_be_the_model(tmp_path, algorithm, env, options, said):
    with pytest.raises(UsageError, match=said):
        forethought.train(algorithm, env, steps=10, agent={"model": "world"}, run=tmp_path / "run", **options)
    assert not (tmp_path / "run").exists()


@pytest.mark.learned
def test_planning_in_the_world_swings_the_pendulum_up(tmp_path):
    """From the command's side: no training, and far better than the best constant action (-1420)."""
    agent = {**WORLD, "horizon": 30, "search.population": 200, "search.elites": 20}
    run = forethought.train(
        "cem", "forethought/Pendulum-v0", steps=5, agent=agent, run=tmp_path / "run", baselines=False, eval_episodes=4
    )
    assert run.final_return > -400.0
    again = forethought.resume(run.path, steps=8)
    assert again.summary["env_steps"] == 8


class Remembers(eqx.Module):
    """A recurrent latent model: what was seen fades by half each step, and pays what is left of it where one pushes."""

    def initial(self, n):
        return jnp.zeros((n, 1))

    def observe(self, belief, action, obs, first, *, key):
        return jnp.where(first[:, None], 0.0, 0.5 * belief) + obs

    def step(self, belief, action, *, key):
        return 0.5 * belief, Outcome(action[:, 0] * belief[:, 0], jnp.ones(len(belief)))

    def features(self, belief):
        return belief


def test_a_model_with_a_memory_is_filtered_through_every_time_step():
    """What is seen last is the same; what was seen before decides whether to push forwards or backwards."""
    agent = PlanningAgent(from_dict(CEMConfig, {**WORLD, "horizon": 1}), SPEC, Known(world=DoubleIntegrator()))
    agent.learner.model = Remembers()
    state, carry = agent.init(key=jax.random.key(0)), agent.init_actor(3)
    for t, seen in enumerate(([8.0, -8.0, -8.0], [1.0, 1.0, 1.0])):
        now = small.seen(SPEC, np.float32(seen)[:, None], first=t == 0)
        now = now._replace(first=jnp.array([t == 0, t == 0, True]))  # the third begins a new episode
        action, carry, _ = agent.act(state, carry, now, key=jax.random.key(t), explore=True)
    np.testing.assert_allclose(carry.belief[:, 0], [5.0, -3.0, 1.0])
    assert action[0] > 0.5 > -0.5 > action[1]
    assert action[2] > 0.5
