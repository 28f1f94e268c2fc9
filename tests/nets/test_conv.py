"""Convolutions against sums written out, and their two forms against each other."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from forethought.nets import conv
from forethought.nets.conv import Conv, TransposedConv, UpsampledConv, in_portions, max_pool
from forethought.nets.mlp import narrowed

KEY = jax.random.key(0)
apply = jax.jit(lambda layer, x: layer(x))


def by_hand(x, weight, stride, padding):
    side = weight.shape[0]
    x = np.pad(x, ((padding, padding), (padding, padding), (0, 0)))
    rows, columns = ((n - side) // stride + 1 for n in x.shape[:2])
    out = np.zeros((rows, columns, weight.shape[3]))
    for i in range(rows):
        for j in range(columns):
            seen = x[stride * i : stride * i + side, stride * j : stride * j + side]
            out[i, j] = np.einsum("ijc,ijcd->d", seen, weight)
    return out


def transposed_by_hand(x, weight, stride, crop):
    side, (h, w) = weight.shape[0], x.shape[:2]
    out = np.zeros((stride * (h - 1) + side, stride * (w - 1) + side, weight.shape[3]))
    for i in range(h):
        for j in range(w):
            given = np.einsum("c,ijcd->ijd", x[i, j], weight)
            out[stride * i : stride * i + side, stride * j : stride * j + side] += given
    return out[crop : out.shape[0] - crop, crop : out.shape[1] - crop]


def image(h, w, c):
    return jax.random.normal(jax.random.key(1), (h, w, c))


def close(got, wanted):
    np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("channels", [1, 3, 20])
@pytest.mark.parametrize(
    ("side", "stride", "padding"), [(4, 2, 0), (4, 2, 1), (5, 1, 2), (3, 1, 0), (8, 4, 0), (5, 2, 0)]
)
def test_plain(channels, side, stride, padding):
    layer, x = Conv(channels, 2, side, stride, padding, key=KEY), image(13, 16, channels)
    wanted = by_hand(np.asarray(x), np.asarray(layer.weight), stride, padding)
    found = apply(layer, x)
    assert found.shape == wanted.shape
    close(found, wanted)


@pytest.mark.parametrize("channels", [1, 3, 20])
@pytest.mark.parametrize(("side", "stride", "crop"), [(5, 2, 0), (6, 2, 0), (4, 2, 1), (3, 3, 0)])
@pytest.mark.parametrize("size", [(1, 1), (5, 4)])
def test_transposed(channels, side, stride, crop, size):
    layer, x = TransposedConv(channels, 2, side, stride, crop, key=KEY), image(*size, channels)
    wanted = transposed_by_hand(np.asarray(x), np.asarray(layer.kernel), stride, crop)
    found = apply(layer, x)
    assert found.shape == wanted.shape
    close(found, wanted)


@pytest.mark.parametrize("channels", [1, 20])
def test_upsampled(channels):
    layer, x = UpsampledConv(channels, 2, 5, key=KEY), image(4, 6, channels)
    larger = np.asarray(x).repeat(2, 0).repeat(2, 1)
    close(apply(layer, x), by_hand(larger, np.asarray(layer.weight), 1, 2))


@pytest.mark.parametrize(
    "layer",
    [
        Conv(3, 5, 4, 2, key=KEY),
        Conv(3, 5, 5, 1, 2, key=KEY),
        TransposedConv(3, 5, 6, 2, key=KEY),
        TransposedConv(3, 5, 4, 2, 1, key=KEY),
        UpsampledConv(3, 5, 5, key=KEY),
    ],
)
def test_the_forms_agree(layer, monkeypatch):
    """Values and gradients, of a batch."""
    x = jax.random.normal(KEY, (3, 12, 12, 3))

    def loss(layer, x):
        return jnp.sum(jnp.sin(jax.vmap(layer)(x)))

    one = jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))(layer, x)
    monkeypatch.setattr(conv, "_by_platform", lambda product, own, *args: own(*args))
    other = jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))(layer, x)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)


def test_biases_are_added():
    for kind in (Conv(1, 2, 3, 1, key=KEY), TransposedConv(1, 2, 3, 1, key=KEY), UpsampledConv(1, 2, 3, key=KEY)):
        shifted = jax.tree.map(lambda x: x + jnp.array([1.0, -2.0]) if x.shape == (2,) else x, kind)
        x = image(5, 5, 1)
        close(apply(shifted, x) - apply(kind, x), jnp.broadcast_to(jnp.array([1.0, -2.0]), kind(x).shape))


def test_pooling():
    x = jnp.arange(16.0).reshape(4, 4, 1)
    np.testing.assert_array_equal(max_pool(x)[..., 0], [[5, 7], [13, 15]])


@pytest.mark.parametrize("n", [3, 16, 48, 50, 53])
def test_portions_are_as_the_whole(n):
    """Values, and gradients towards weights and images; of 53 no portion is made, of 50 five."""
    layer, x = Conv(2, 3, 4, 2, key=KEY), jax.random.normal(KEY, (n, 8, 8, 2))

    def loss(layer, x, over):
        return jnp.sum(jnp.sin(over(lambda net, some: jax.nn.relu(net(some)).reshape(len(some), -1), layer, x)))

    def whole(function, layer, x):
        return function(layer, x)

    assert in_portions(lambda net, some: net(some), layer, x).shape == (n, 3, 3, 3)
    slopes = jax.jit(jax.grad(loss, (0, 1)), static_argnums=2)
    for a, b in zip(
        jax.tree.leaves(slopes(layer, x, in_portions)), jax.tree.leaves(slopes(layer, x, whole)), strict=True
    ):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_portions_keep_little():
    """What lies between products is not kept for the gradient: one array of each image beside what goes in."""
    layer, x = Conv(2, 3, 4, 2, key=KEY), jnp.zeros((64, 8, 8, 2))
    _, pull = jax.vjp(lambda layer: in_portions(lambda net, some: jnp.tanh(jnp.tanh(net(some))), layer, x), layer)
    kept = sum(leaf.size for leaf in jax.tree.leaves(pull) if leaf.ndim)
    assert kept < x.size + 2 * 64 * 27


@pytest.mark.parametrize("kind", [Conv, TransposedConv])
def test_what_moves_less_is_chosen(kind):
    """Images of many channels that become few are spread after the product; the tests above meet both ways."""
    assert kind(20, 2, 4, 2, 1, key=KEY).ready((13, 16)).scatter
    assert not kind(1, 20, 4, 2, 1, key=KEY).ready((13, 16)).scatter


def test_what_is_added_up_after_a_narrow_product_is_added_in_float32():
    """Rounding of operands alone leaves about 0.23 % here; sums in bfloat16 would leave 0.46 %."""
    layer, x = TransposedConv(32, 3, 6, 2, key=KEY), jax.random.normal(jax.random.key(1), (16, 13, 13, 32))
    assert layer.ready((13, 13)).scatter
    wide = layer(x)
    off = jnp.sqrt(jnp.mean((narrowed(layer, "bfloat16").ready((13, 13))(x) - wide) ** 2)) / jnp.std(wide)
    assert 0.0005 < float(off) < 0.0035
