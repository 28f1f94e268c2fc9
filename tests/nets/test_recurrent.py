"""Recurrent cells against their equations in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from forethought.nets.mlp import Norm, glorot_uniform
from forethought.nets.recurrent import GRU, LSTM, BlockGRU, BlockLinear, KerasGRU, NormedGRU

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
H, X = (jnp.asarray(RNG.normal(size=n), jnp.float32) for n in (6, 4))


def sigmoid(x):
    return 1.0 / (1.0 + np.exp(-x))


def dense(layer, x):
    return np.asarray(x) @ np.asarray(layer.weight) + np.asarray(layer.bias)


def test_norms_are_what_they_are_called():
    x = 3.0 + 2.0 * np.asarray(H)
    rms = Norm(6, eps=0.0)(jnp.asarray(x))
    np.testing.assert_allclose(rms, x / np.sqrt(np.mean(x**2)), rtol=1e-5)
    layer = Norm(6, "layer", eps=0.0)(jnp.asarray(x))
    np.testing.assert_allclose(layer, (x - x.mean()) / x.std(), rtol=1e-4)
    assert Norm(6)(jnp.asarray(x, jnp.bfloat16)).dtype == jnp.bfloat16


def test_block_linear_is_a_block_diagonal_matrix():
    layer = BlockLinear(6, 9, 3, key=KEY)
    whole = np.zeros((6, 9))
    for g in range(3):
        whole[2 * g : 2 * g + 2, 3 * g : 3 * g + 3] = layer.weight[g]
    np.testing.assert_allclose(layer(H), np.asarray(H) @ whole + layer.bias, rtol=1e-5)
    assert len(np.unique(np.asarray(layer.weight))) == layer.weight.size  # no block is another's


def test_the_gru_is_that_of_cho():
    cell, h, x = GRU(4, 6, key=KEY), np.asarray(H), np.asarray(X)
    reset, update = np.split(sigmoid(dense(cell.gates, np.concatenate([x, h])) + 1.0), 2)
    candidate = np.tanh(dense(cell.candidate, np.concatenate([x, reset * h])))
    np.testing.assert_allclose(cell(H, X), update * h + (1 - update) * candidate, rtol=1e-5)


def test_keras_gru_resets_after_the_product():
    cell, h = KerasGRU(4, 6, key=KEY), np.asarray(H)
    seen, kept = (np.split(dense(layer, x), 3) for layer, x in ((cell.seen, X), (cell.kept, H)))
    update, reset = (sigmoid(seen[i] + kept[i]) for i in (0, 1))
    np.testing.assert_allclose(cell(H, X), update * h + (1 - update) * np.tanh(seen[2] + reset * kept[2]), rtol=1e-5)


def test_keras_gru_begins_with_orthogonal_rows_of_what_is_kept():
    cell = KerasGRU(4, 6, key=KEY, init=glorot_uniform)
    np.testing.assert_allclose(cell.kept.weight @ cell.kept.weight.T, np.eye(6), atol=1e-5)
    assert float(jnp.abs(cell.seen.weight).max()) <= np.sqrt(6 / (4 + 3 * 6))


def gated(h, reset, candidate, update):
    u = sigmoid(update - 1.0)
    return u * np.tanh(sigmoid(reset) * candidate) + (1 - u) * h


def test_the_normed_gru_is_that_of_dreamer_v2():
    cell, h = NormedGRU(4, 6, key=KEY), np.asarray(H)
    parts = dense(cell.gates, np.concatenate([np.asarray(X), h]))
    parts = (parts - parts.mean()) / np.sqrt(parts.var() + 1e-3)
    np.testing.assert_allclose(cell(H, X), gated(h, *np.split(parts, 3)), rtol=1e-4, atol=1e-6)


def test_the_block_gru_is_that_of_dreamer_v3():
    g, hidden = 2, 3
    cell, h = BlockGRU((4, 4), 6, hidden, g, key=KEY), np.asarray(H)
    inputs = [h, np.asarray(X), -np.asarray(X)]

    def normed(x):
        return x / np.sqrt(np.mean(x**2) + 1e-4)

    told = [dense(layer, x) for layer, x in zip((part.linear for part in cell.enter), inputs, strict=True)]
    told = np.concatenate([normed(x) * sigmoid(normed(x)) for x in told])
    inner, gates = np.asarray(cell.inner[0].weight), np.asarray(cell.gates.weight)
    x = np.concatenate([np.concatenate([h.reshape(g, -1)[i], told]) @ inner[i] for i in range(g)])
    x = normed(x + np.asarray(cell.inner[0].bias))
    x = (x * sigmoid(x)).reshape(g, -1)
    of_blocks = [np.split(x[i] @ gates[i], 3) for i in range(g)]
    reset, candidate, update = (np.concatenate([parts[j] for parts in of_blocks]) for j in range(3))
    np.testing.assert_allclose(cell(H, X, -X), gated(h, reset, candidate, update), rtol=1e-4, atol=1e-6)


def test_the_lstm_forgets_little_at_first():
    cell, h, c = LSTM(4, 6, key=KEY), np.asarray(H), 2.0 * np.asarray(H)
    i, g, f, o = np.split(dense(cell.gates, np.concatenate([np.asarray(X), h])), 4)
    after = sigmoid(f + 1.0) * c + sigmoid(i) * np.tanh(g)
    found = cell((H, jnp.asarray(c)), X)
    np.testing.assert_allclose(found[1], after, rtol=1e-5)
    np.testing.assert_allclose(found[0], sigmoid(o) * np.tanh(after), rtol=1e-5)


@pytest.mark.parametrize("cell", [GRU(4, 6, key=KEY), NormedGRU(4, 6, key=KEY), BlockGRU((4,), 6, 3, 2, key=KEY)])
def test_a_gradient_reaches_far_back(cell):
    """Through 50 steps it neither vanishes nor explodes."""

    def last(h):
        return jnp.sum(jax.lax.scan(lambda h, x: (cell(h, x), None), h, jnp.zeros((50, 4)))[0])

    assert 1e-8 < float(jnp.abs(jax.grad(last)(H)).max()) < 10.0
