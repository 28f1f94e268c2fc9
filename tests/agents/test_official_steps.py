"""The steps that the optimizers of the papers' authors take, one table beside that of `test_official_settings`."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from forethought.agents.catalog import find, find_preset
from forethought.optimizers import clipped_adam, laprop
from forethought.training.config import from_dict
from forethought.types import Box, EnvSpec

# Of Adam: step size, length that gradients are shortened to, epsilon and decay of weights, of model, actor and critic.
# planet/scripts/configs.py (and its TensorFlow's Adam), dreamer/tools.py, dreamerv2/configs.yaml, arXiv 2301.04104v1.
ADAM = {
    ("planet", "none"): [(1e-3, 1000.0, 1e-4)],
    ("dreamer-v1", "none"): [(6e-4, 100.0, 1e-7), (8e-5, 100.0, 1e-7), (8e-5, 100.0, 1e-7)],
    ("dreamer-v2", "none"): [(1e-4, 100.0, 1e-5, 1e-6), (8e-5, 100.0, 1e-5, 1e-6), (2e-4, 100.0, 1e-5, 1e-6)],
    ("dreamer-v3", "2023"): [(1e-4, 1000.0, 1e-8), (3e-5, 100.0, 1e-5), (3e-5, 100.0, 1e-5)],
}
WEIGHT, GRADIENT = jnp.array([40.0, -3.0, 0.5]), jnp.array([2000.0, -1e-5, 3e-6])


def steps_of(optimizer, nets, grads):
    """What two updates with the same gradients change."""
    state, found = optimizer.init(nets), []
    for _ in range(2):
        change, state = optimizer.update(grads, state, nets)
        found += jax.tree.leaves(change)
    return np.asarray(found)


@pytest.mark.parametrize(("algorithm", "preset"), [*ADAM, ("dreamer-v3", "none")])
def test_steps_are_the_official_ones(algorithm, preset):
    agent_class, config_class = find(algorithm).load()
    config = from_dict(config_class, find_preset(algorithm, preset, "")[1])
    agent = agent_class(config, EnvSpec("toy", Box((2,)), Box((1,))))
    n = len(ADAM.get((algorithm, preset), "mac"))
    optimizers = agent.optimizers if hasattr(agent, "optimizers") else [agent.optimizer]
    if len(optimizers) == n:
        found = np.concatenate([steps_of(o, [WEIGHT], [GRADIENT]) for o in optimizers])
    else:  # one for all
        nets = sys.modules[agent_class.__module__].Nets
        found = steps_of(agent.optimizer, nets(*[WEIGHT] * n), nets(*[GRADIENT] * n))
        found = found.reshape(2, n, 3).swapaxes(0, 1).reshape(2 * n, 3)
    if (algorithm, preset) in ADAM:
        official = [clipped_adam(*numbers) for numbers in ADAM[algorithm, preset]]
    else:  # dreamerv3/configs.yaml
        official = [laprop(4e-5, warmup=1000, clip=0.3)] * n
    expected = np.concatenate([steps_of(o, [WEIGHT], [GRADIENT]) for o in official])
    assert np.any(expected[1::2])
    np.testing.assert_allclose(found, expected, rtol=1e-5)
