"""Agents that learn in a latent model find the values that are known, and the actions that are best.

With Dreamer V3 and numbers for actions, Policy ended at the bound for one observation in 2 of 5 other seeds: open.
"""

import jax
import numpy as np
import pytest

import small
from forethought.envs.probes import Probe

pytestmark = [pytest.mark.learned, pytest.mark.slow]

NAMES = ("Constant", "Observation", "Discount", "Action", "Policy", "Truncation", "Termination")
GAMMA = 0.9
NUM_ENVS = 4
DREAM = {
    "batch_size": 8,
    "batch_length": 8,
    "train_every": NUM_ENVS,
    "updates": 1,
    "pretrain": 0,
    "random_steps": 64,
    "replay_capacity": 10_000,
    "horizon": 5,
}
ELDER = {
    **DREAM,
    "deter": 32,
    "units": 32,
    "model_rate": 3e-3,
    "critic_rate": 3e-3,
    "actor_rate": 1e-3,
    "discount": GAMMA,
    "predict_ends": True,
    "ends_weight": 5.0,
}
SETTINGS = {
    "dreamer-v1": {**ELDER, "stoch": 4, "free_nats": 1.0},
    "dreamer-v2": {
        **ELDER,
        "choices": 4,
        "classes": 4,
        "rewards": "as they are",
        "slow_every": 20,
        "kl_weight": 0.1,
        "entropy_weight": 3e-3,
    },
    "dreamer-v3": {**DREAM, "learning_rate": 1e-3, "warmup": 20, "discount": GAMMA, "slow_rate": 0.1},
}
STEPS = {"dreamer-v1": 6000, "dreamer-v2": 6000, "dreamer-v3": 4000}
CASES = [
    ("dreamer-v3", "box"),
    ("dreamer-v3", "discrete"),
    ("dreamer-v2", "discrete"),
    ("dreamer-v2", "box"),
    ("dreamer-v1", "box"),
]
# Not right with these settings, with seed 0 or others; why is not known yet.
OPEN = {("dreamer-v2", "box", "Policy"), ("dreamer-v1", "box", "Constant"), ("dreamer-v1", "box", "Action")}


@pytest.fixture(scope="module", params=CASES, ids=" ".join)
def learner(request):
    name, kind = request.param
    agent = small.make_agent(name, Probe("Constant", action=kind).spec, **SETTINGS[name])
    return name, kind, small.Learner(agent, [0], NUM_ENVS, STEPS[name])


def walked(learner, world, steps=12):
    """What is seen, earned, believed to be worth and done on the way, by a policy that does not explore."""
    agent, state = learner.agent, jax.tree.map(lambda x: x[0], learner.state)

    @jax.jit
    def act(carry, now, key):
        carry = agent.observe(state, carry, now, key=key)
        action, carry, _ = agent.decide(state, carry, key=key, explore=False)
        return action, carry, state.nets.critic(carry.features).mean()

    now, carry, found = world.reset(), agent.init_actor(world.num_slots), []
    for t in range(steps):
        action, carry, value = act(carry, now, jax.random.key(t))
        found.append([now.obs[:, 0], now.reward, np.asarray(value), np.asarray(action).reshape(world.num_slots)])
        now = world.step(np.asarray(action)).now
    return np.array(found).transpose(1, 0, 2).reshape(4, -1)


def live(learner, name, kind, steps):
    """A new life in this probe; returns the probe and `walked`."""
    kinds = {"action": kind}
    world = small.envs.make(f"forethought/Probe{name}-v0", seeds=[0], envs_per_seed=NUM_ENVS, env_kwargs=kinds)
    small.restart(learner)
    small.live(learner, world, steps)
    fresh = small.envs.make(f"forethought/Probe{name}-v0", seeds=[1], envs_per_seed=16, env_kwargs=kinds)
    return Probe(name, **kinds), walked(learner, fresh)


@pytest.mark.parametrize("name", NAMES)
def test_values_and_actions(learner, name):
    algorithm, kind, agent = learner
    if (algorithm, kind, name) in OPEN:
        pytest.xfail("open: see OPEN")
    probe, (seen, earned, values, actions) = live(agent, name, kind, STEPS[algorithm])
    expected, best = probe.optimal_values(GAMMA), probe.optimal_actions()
    # A policy of numbers goes on exploring, which costs what it strays by, squared.
    tolerance = 0.15 + 0.08 * np.abs(expected).max() + (0.15 if best is not None and kind == "box" else 0.0)
    for i, shown in enumerate(probe.observations()[:, 0]):
        here = np.isclose(seen, shown)
        assert here.any()
        worth = expected[i]
        if algorithm != "dreamer-v3":  # values count what was earned on arrival too
            worth = earned[here] + GAMMA * worth
        # What is believed is drawn: now and then it is wrong.
        assert abs(np.median(values[here] - worth)) <= tolerance
        if best is not None:
            wanted = np.asarray(best).reshape(-1)[i]
            assert np.median(np.abs(actions[here] - wanted)) <= (0.3 if kind == "box" else 0.0)


@pytest.fixture(scope="module")
def planet():
    settings = {
        **DREAM,
        "deter": 32,
        "stoch": 4,
        "units": 32,
        "free_nats": 1.0,
        "learning_rate": 3e-3,
        "horizon": 2,
        "search.population": 60,
        "search.elites": 8,
        "search.iterations": 4,
    }
    return small.Learner(small.make_agent("planet", Probe("Action").spec, **settings), [0], NUM_ENVS, 3000)


@pytest.mark.parametrize("name", ["Action", "Policy"])
def test_plans(planet, name):
    world = small.envs.make(f"forethought/Probe{name}-v0", seeds=[0], envs_per_seed=NUM_ENVS)
    small.restart(planet)
    small.live(planet, world, 3000)
    agent, state = planet.agent, jax.tree.map(lambda x: x[0], planet.state)
    fresh = small.envs.make(f"forethought/Probe{name}-v0", seeds=[1], envs_per_seed=32)
    now = fresh.reset()
    act = jax.jit(lambda now: agent.act(state, agent.init_actor(32), now, key=jax.random.key(1), explore=False)[0])
    action = np.asarray(act(now))[:, 0]
    for shown, best in zip(Probe(name).observations()[:, 0], Probe(name).optimal_actions()[:, 0], strict=True):
        here = np.isclose(now.obs[:, 0], shown)
        assert here.any()
        assert abs(np.median(action[here]) - best) <= 0.3
