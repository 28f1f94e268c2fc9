"""PlaNet, Dreamer V1 and V2 find the values that are known, and the actions that are best."""

from functools import cache

import jax
import numpy as np
import pytest

import probing
import small
from forethought.envs.probes import Probe

pytestmark = [pytest.mark.learned, pytest.mark.slow]

ELDER = {
    **probing.DREAM,
    "deter": 32,
    "units": 32,
    "model_rate": 3e-3,
    "critic_rate": 3e-3,
    "actor_rate": 1e-3,
    "discount": probing.GAMMA,
    "predict_ends": True,
    "ends_weight": 5.0,
}
SETTINGS = {
    # With free nats the prior need not follow what is seen, and dreams of when the world ends are blurred.
    "dreamer-v1": {**ELDER, "stoch": 4, "free_nats": 0.0},
    "dreamer-v2": {
        **ELDER,
        "choices": 4,
        "classes": 4,
        "rewards": "as they are",
        "slow_every": 20,
        "kl_weight": 0.1,
        "entropy_weight": 3e-3,
    },
}
# A mean is a tanh: it stays at the bound for long where a policy of numbers runs there before its model is right.
NUMBERS_OF_V2 = {"model_rate": 2e-3, "actor_rate": 1e-4, "entropy_weight": 3e-2, "random_steps": 500}
# Standard deviations of V1 begin at 5 and of V2 at 1.1, here both at 0.5.
NARROWER = {("dreamer-v1", "box"): 5.43, ("dreamer-v2", "box"): 2.77}
STEPS = 6000
LONGER = {"Policy": 8000}
CASES = [
    *(("dreamer-v2", "discrete", name) for name in probing.NAMES),
    *(("dreamer-v2", "box", name) for name in ("Action", "Policy")),  # numbers differ from choices in their actions
    *(("dreamer-v1", "box", name) for name in probing.NAMES),
]


@pytest.fixture(scope="module")
def learners():
    @cache
    def learner(algorithm, kind):
        settings = SETTINGS[algorithm] | (NUMBERS_OF_V2 if (algorithm, kind) == ("dreamer-v2", "box") else {})
        return probing.learner(algorithm, kind, settings, max(LONGER.values()))

    return learner


@pytest.mark.parametrize(("algorithm", "kind", "name"), CASES)
def test_values_and_actions(learners, algorithm, kind, name):
    agent = learners(algorithm, kind)
    counts = {"on_arrival": True} if algorithm == "dreamer-v2" else {"ahead": True}
    narrower = NARROWER.get((algorithm, kind), 0.0)
    probing.values_and_actions(agent, name, kind, LONGER.get(name, STEPS), **counts, narrower=narrower)


@pytest.fixture(scope="module")
def planet():
    settings = {
        **probing.DREAM,
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
    return small.Learner(small.make_agent("planet", Probe("Action").spec, **settings), [0], probing.NUM_ENVS, 3000)


@pytest.mark.parametrize("name", ["Action", "Policy"])
def test_plans(planet, name):
    world = small.envs.make(f"forethought/Probe{name}-v0", seeds=[0], envs_per_seed=probing.NUM_ENVS)
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
