"""Tables find the values that are known, and the actions that are best."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small

from forethought.envs.probes import Probe

NAMES = ("Constant", "Observation", "Discount", "Action", "Policy", "Truncation", "Termination")
GAMMA = 0.9
TABLES = {
    "q-learning": ("dyna-q", {"planning_steps": 0, "step_size": 0.5, "epsilon": 0.3}),
    "dyna-q": ("dyna-q", {"planning_steps": 20}),
    "dyna-q-plus": ("dyna-q-plus", {"planning_steps": 20}),
    "prioritized-sweeping": ("prioritized-sweeping", {"planning_steps": 10}),
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("table", TABLES)
def test_values_and_actions(table, name):
    algorithm, settings = TABLES[table]
    kinds = {"obs": "discrete", "action": "discrete"}
    learner = small.train(
        algorithm,
        f"forethought/Probe{name}-v0",
        steps=250,
        env_kwargs=kinds,
        settings={"discount": GAMMA, "epsilon": 0.2, **settings},
    )
    probe, q = Probe(name, **kinds), np.asarray(learner.state.q)[0]
    # Dyna-Q+ sees a bonus of at most kappa sqrt(250) per step.
    bonus = 1e-4 * np.sqrt(250) / (1 - GAMMA) if table == "dyna-q-plus" else 0.0
    np.testing.assert_allclose(q.max(axis=1), probe.optimal_values(GAMMA), atol=0.02 + bonus)
    best = probe.optimal_actions()
    if best is not None:
        state = jax.tree.map(lambda x: x[0], learner.state)
        shown = jnp.asarray(probe.observations())
        first = jnp.ones(len(shown), bool)
        judged, _ = learner.agent.act(state, (), shown, first, key=jax.random.key(0), explore=False)
        np.testing.assert_array_equal(judged, best)
        wrong = np.take_along_axis(q, 1 - best[:, None], axis=1)[:, 0]
        np.testing.assert_allclose(wrong, -1.0, atol=0.05)  # one step, then nothing
