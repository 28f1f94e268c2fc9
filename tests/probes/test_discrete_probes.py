"""Tables find the values that are known, and the actions that are best."""

from functools import cache

import numpy as np
import pytest

import small
from forethought.envs.probes import Probe
from forethought.types import Discrete, EnvSpec

pytestmark = pytest.mark.learned

NAMES = ("Constant", "Observation", "Discount", "Action", "Policy", "Truncation", "Termination")
GAMMA = 0.9
TABLES = {
    "q-learning": ("dyna-q", {"planning_steps": 0, "step_size": 0.5, "epsilon": 0.3}),
    "dyna-q": ("dyna-q", {"planning_steps": 20}),
    "dyna-q-plus": ("dyna-q-plus", {"planning_steps": 20}),
    "prioritized-sweeping": ("prioritized-sweeping", {"planning_steps": 10}),
}


STEPS = 250


@cache
def learner_for(table, n_states):
    """One learner for all probes with so many observations: its programs are compiled once."""
    algorithm, settings = TABLES[table]
    spec = EnvSpec("probe", Discrete(n_states), Discrete(2))
    agent = small.make_agent(algorithm, spec, **{"discount": GAMMA, "epsilon": 0.2, **settings})
    return small.Learner(agent, [0], 1, STEPS)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("table", small.quick(list(TABLES), "dyna-q"))
def test_values_and_actions(table, name):
    kinds = {"obs": "discrete", "action": "discrete"}
    probe, world = Probe(name, **kinds), small.envs.make(f"forethought/Probe{name}-v0", seeds=[0], env_kwargs=kinds)
    learner = learner_for(table, world.spec.obs.n)
    small.restart(learner)
    small.live(learner, world, STEPS)
    q = np.asarray(learner.state.q)[0]
    # Dyna-Q+ sees a bonus of at most kappa sqrt(250) per step.
    bonus = 1e-4 * np.sqrt(STEPS) / (1 - GAMMA) if table == "dyna-q-plus" else 0.0
    np.testing.assert_allclose(q.max(axis=1), probe.optimal_values(GAMMA), atol=0.02 + bonus)
    best = probe.optimal_actions()
    if best is not None:
        shown = probe.observations()[None]
        act, carry = learner.exploiting(shown.size)
        evaluated, _ = act(small.seen(world.spec, shown[0]), carry, 0)
        np.testing.assert_array_equal(evaluated, best)
        wrong = np.take_along_axis(q, 1 - best[:, None], axis=1)[:, 0]
        np.testing.assert_allclose(wrong, -1.0, atol=0.05)  # one step, then nothing
