"""Steps of optimizers against the same ones by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from forethought.optimizers import clip_by_tensor, clipped_adam, laprop

WEIGHT = {"big": jnp.array([[3.0, 4.0]]), "small": jnp.array([0.0, 1e-5])}  # of lengths 5 and almost 0
GRADS = [
    {"big": jnp.array([[0.5, -1.0]]) * scale, "small": jnp.array([2e-4, -1e-4]) * scale} for scale in (1.0, 9.0, -0.2)
]


def run(optimizer, weight=WEIGHT):
    """The weights after each step."""
    state, found = optimizer.init(weight), []
    for grads in GRADS:
        change, state = optimizer.update(grads, state, weight)
        weight = optax.apply_updates(weight, change)
        found.append(weight)
    return found


def shortened(gradient, weight, share):
    """To the share of the length of what it is the gradient of, which counts as 0.001 at least."""
    most = share * max(1e-3, np.sqrt(np.sum(weight**2)))
    return gradient * min(1.0, most / np.sqrt(np.sum(gradient**2)))


def test_gradients_are_shortened_tensor_by_tensor():
    clip = clip_by_tensor(0.3)
    grads = {"big": jnp.array([[6.0, 8.0]]), "small": jnp.array([3.0, 4.0])}
    found, _ = clip.update(grads, clip.init(WEIGHT), WEIGHT)
    np.testing.assert_allclose(found["big"], [[0.9, 1.2]], rtol=1e-5)  # 0.3 of 5 is 1.5
    np.testing.assert_allclose(found["small"], [0.3e-3 * 0.6, 0.3e-3 * 0.8], rtol=1e-5)
    short, _ = clip.update(GRADS[0], clip.init(WEIGHT), WEIGHT)
    np.testing.assert_array_equal(short["big"], GRADS[0]["big"])


@pytest.mark.parametrize("name", WEIGHT)
def test_laprop_by_hand(name):
    """Divided by the root mean square before the momentum, not after; both without the bias of their beginning."""
    found = [step[name] for step in run(laprop(1e-2, 4, 0.3))]
    weight = np.asarray(WEIGHT[name], np.float64)
    square = momentum = 0.0
    for t, grads in enumerate(GRADS):
        g = shortened(np.asarray(grads[name], np.float64), weight, 0.3)
        square = 0.999 * square + 0.001 * g**2
        momentum = 0.9 * momentum + 0.1 * g / (np.sqrt(square / (1 - 0.999 ** (t + 1))) + 1e-20)
        rate = 1e-2 * min(1.0, t / 4)  # from 0 over 4 updates
        weight = weight - rate * momentum / (1 - 0.9 ** (t + 1))
        np.testing.assert_allclose(found[t], weight, rtol=1e-4)


def test_without_warmup_the_first_step_is_a_whole_one():
    first = run(laprop(1e-2, 0, 0.3))[0]
    np.testing.assert_allclose(first["big"], WEIGHT["big"] - 1e-2 * jnp.sign(GRADS[0]["big"]), rtol=1e-5)


@pytest.mark.parametrize("decay", [0.0, 0.01])
def test_clipped_adam_by_hand(decay):
    """The length is that of all gradients together; weights shrink by a share of themselves, not of the step size."""
    most, rate, eps = 2.0, 1e-2, 1e-3
    found = run(clipped_adam(rate, most, eps, decay))
    weight = {k: np.asarray(x, np.float64) for k, x in WEIGHT.items()}
    m, v = (dict.fromkeys(weight, 0.0) for _ in range(2))
    for t, grads in enumerate(GRADS):
        length = np.sqrt(sum(np.sum(np.square(x)) for x in grads.values()))
        for k, g in grads.items():
            g = np.asarray(g, np.float64) * min(1.0, most / length)
            m[k], v[k] = 0.9 * m[k] + 0.1 * g, 0.999 * v[k] + 0.001 * g**2
            step = m[k] / (1 - 0.9 ** (t + 1)) / (np.sqrt(v[k] / (1 - 0.999 ** (t + 1))) + eps)
            weight[k] = (1 - decay) * weight[k] - rate * step
            np.testing.assert_allclose(found[t][k], weight[k], rtol=1e-4, atol=1e-9)


def test_nothing_moves_where_nothing_is_wrong():
    """Rewards that are always 0 have no gradient: no division of 0 by 0."""
    optimizer, nothing = laprop(1e-2, 0, 0.3), jax.tree.map(jnp.zeros_like, WEIGHT)
    change, _ = optimizer.update(nothing, optimizer.init(WEIGHT), WEIGHT)
    assert not any(np.any(x) for x in jax.tree.leaves(change))
