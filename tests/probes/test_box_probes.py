"""Agents for vectors find the values that are known, and the actions that are best."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import small
from forethought.agents.free.sac import q_values
from forethought.envs.probes import Probe

pytestmark = pytest.mark.learned

NAMES = ("Constant", "Observation", "Discount", "Action", "Policy", "Truncation", "Termination")
GAMMA = 0.9
NUM_ENVS = 4
# The temperature is so small that the bonus for entropy does not show in the values.
POLICY = {"hidden": (24,), "learning_rate": 5e-3, "discount": GAMMA, "tau": 0.05, "batch_size": 32, "temperature": 1e-3}
STEPS = {"sac": 1200, "mbpo": 400}
SETTINGS = {
    "sac": {**POLICY, "random_steps": 40, "replay_capacity": 2000},
    "mbpo": {
        **{f"sac.{key}": value for key, value in POLICY.items()},
        "random_steps": 80,
        "model_every": 80,
        "rollouts_per_step": 4,
        "epoch_steps": 80,
        "updates_per_step": 5,
        "real_ratio": 0.1,
        "model_hidden": (16,),
        "fit.learning_rate": 1e-2,
        "fit.batch_size": 32,
        "fit.max_epochs": 60,
        "replay_capacity": 2000,
    },
}


@pytest.fixture(scope="module", params=small.quick(list(STEPS), "sac"))
def learner(request):
    name = request.param
    agent = small.make_agent(name, Probe("Constant").spec, **SETTINGS[name])
    return name, small.Learner(agent, [0], NUM_ENVS, STEPS[name])


def learned(learner, name, steps):
    """(value of the best action as the lesser critic sees it, best action), at every observation of the probe."""
    world = small.envs.make(f"forethought/Probe{name}-v0", seeds=[0], envs_per_seed=NUM_ENVS)
    small.restart(learner)
    small.live(learner, world, steps)
    state = jax.tree.map(lambda x: x[0], getattr(learner.state, "sac", learner.state))
    shown = jnp.asarray(Probe(name).observations())
    act, carry = learner.exploiting(len(shown))
    action, _ = act(small.seen(world.spec, shown), carry, 0)
    return np.asarray(q_values(state.critics, shown, jnp.asarray(action)).min(axis=0)), action


@pytest.mark.parametrize("name", NAMES)
def test_values_and_actions(learner, name):
    algorithm, agent = learner
    values, actions = learned(agent, name, STEPS[algorithm])
    probe = Probe(name)
    expected = probe.optimal_values(GAMMA)
    np.testing.assert_allclose(values, expected, atol=0.1 + 0.05 * np.abs(expected).max())
    if probe.optimal_actions() is not None:
        np.testing.assert_allclose(actions, probe.optimal_actions(), atol=0.15)
