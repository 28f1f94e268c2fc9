"""Agents that see anything and choose among discrete actions find known values and the best actions."""

import jax
import numpy as np
import pytest

import small
from forethought.envs.probes import Probe

pytestmark = pytest.mark.learned

NAMES = ("Constant", "Observation", "Discount", "Action", "Policy", "Truncation", "Termination")
GAMMA = 0.9
NUM_ENVS = 8
SHOWN = {"images": "image", "numbers": "discrete", "both": "dict"}  # the others see vectors
SETTINGS = {
    "ppo": {
        "hidden": (24,),
        "rollout_steps": 16,
        "epochs": 4,
        "minibatches": 4,
        "learning_rate": 1e-2,
        "anneal": False,
        "discount": GAMMA,
        "max_grad_norm": 10.0,
    },
}
DQN = {
    "hidden": (24,),
    "learning_rate": 1e-2,  # Adam moves a bias by that in an update: 2,300 of them must suffice for values of 10
    "batch_size": 32,
    "train_every": 8,
    "updates": 8,
    "target_every": 20,
    "epsilon_last": 0.3,
    "epsilon_steps": 1000,
    "random_steps": 80,
    "replay_capacity": 2000,
    "discount": GAMMA,
}
SETTINGS |= {
    "dqn": DQN,
    "dqn with everything": {**DQN, "double": True, "dueling": True, "n_step": 3, "prioritized": True},
}
SETTINGS |= {
    f"{name} from {shown}": {**SETTINGS[name], "conv": ((8, 2, 1),)} for name in ("ppo", "dqn") for shown in SHOWN
}
# With steps of 1e-2 a policy is sure of one action for both pictures, in some seeds, before it can tell them apart.
for _shown in ("images", "both"):
    SETTINGS[f"ppo from {_shown}"]["learning_rate"] = 3e-3
STEPS = {name: 8000 if name.startswith("ppo") else 2400 for name in SETTINGS}


# How something is seen shows where it is to be looked at, and where that decides.
LOOKING = ("Observation", "Policy", "Termination")
CASES = [
    pytest.param(algorithm, name, marks=[] if algorithm == "dqn" else pytest.mark.slow)
    for algorithm in STEPS
    for name in (LOOKING if " from " in algorithm else NAMES)
]


@pytest.fixture(scope="module")
def learner(request):
    name = request.param
    spec = Probe("Termination", **kinds(name)).spec  # of all, it has the most numbers
    agent = small.make_agent(name.split(maxsplit=1)[0], spec, **SETTINGS[name])
    return name, small.Learner(agent, [0], NUM_ENVS, STEPS[name])


def kinds(name):
    return {"obs": SHOWN.get(name.rpartition(" from ")[2], "box"), "action": "discrete"}


def values(name, state, shown):
    """Of the best action, at every observation of the probe."""
    return np.asarray(state.nets.value(shown)[:, 0] if name.startswith("ppo") else state.online(shown).max(axis=1))


@pytest.mark.parametrize(("learner", "name"), CASES, indirect=["learner"])
def test_values_and_actions(learner, name):
    algorithm, agent = learner
    world = small.envs.make(
        f"forethought/Probe{name}-v0", seeds=[0], envs_per_seed=NUM_ENVS, env_kwargs=kinds(algorithm)
    )
    small.restart(agent)
    small.live(agent, world, STEPS[algorithm])
    probe = Probe(name, **kinds(algorithm))
    shown = probe.observations()
    expected = probe.optimal_values(GAMMA)
    found = values(algorithm, jax.tree.map(lambda x: x[0], agent.state), shown)
    np.testing.assert_allclose(found, expected, atol=0.1 + 0.05 * np.abs(expected).max())
    if probe.optimal_actions() is not None:
        act, carry = agent.exploiting(len(expected))
        action, _ = act(small.seen(world.spec, shown), carry, 0)
        np.testing.assert_array_equal(action, probe.optimal_actions())
