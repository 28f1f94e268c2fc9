import jax
import jax.numpy as jnp
import numpy as np

from forethought.nets.mlp import (
    MLP,
    fan_in_uniform,
    fans,
    glorot_normal,
    glorot_uniform,
    lecun,
    silu,
    truncated_normal,
)


def test_it_is_affine_maps_with_the_activation_between_them():
    net = MLP((3, 5, 4, 2), jax.nn.relu, key=jax.random.key(0))
    net = jax.tree.map(lambda p: p + 0.1, net)  # so that the biases count
    x = np.array([0.5, -1.0, 2.0], np.float32)
    h = x
    for layer in net.layers[:-1]:
        h = np.maximum(h @ np.asarray(layer.weight) + np.asarray(layer.bias), 0.0)
    last = net.layers[-1]
    np.testing.assert_allclose(net(jnp.asarray(x)), h @ np.asarray(last.weight) + np.asarray(last.bias), rtol=1e-5)


def test_shapes_and_zero_biases():
    net = MLP((3, 5, 2), jax.nn.relu, key=jax.random.key(0))
    assert [layer.weight.shape for layer in net.layers] == [(3, 5), (5, 2)]
    assert not any(np.any(layer.bias) for layer in net.layers)
    assert not np.array_equal(net.layers[0].weight[:2, :2], net.layers[1].weight[:2, :2])


def test_fan_in_uniform_fills_its_interval():
    w, biases = map(np.asarray, fan_in_uniform(jax.random.key(0), (25, 400)))
    assert not np.any(biases)
    assert np.abs(w).max() <= 0.2
    assert np.abs(w).max() > 0.199
    np.testing.assert_allclose(w.std(), 0.2 / np.sqrt(3), rtol=0.02)


def test_truncated_normal_is_cut_at_two_deviations_of_half_the_root_fan_in():
    w, biases = map(np.asarray, truncated_normal(jax.random.key(0), (25, 400)))
    assert not np.any(biases)
    assert 0.199 < np.abs(w).max() <= 0.2
    # A standard normal cut at +-2 has variance 1 - 4 phi(2) / (2 Phi(2) - 1) = 0.7737.
    np.testing.assert_allclose(w.var(), 0.1**2 * 0.7737, rtol=0.05)


def test_a_stack_of_networks_is_a_vmap_of_one():
    keys = jax.random.split(jax.random.key(0), 3)
    stack = jax.vmap(lambda k: MLP((2, 4, 1), jax.nn.silu, key=k))(keys)
    x = jnp.array([[0.1, 0.2], [0.3, -0.4]])
    out = jax.vmap(lambda net: jax.vmap(net)(x))(stack)
    for i, key in enumerate(keys):
        alone = MLP((2, 4, 1), jax.nn.silu, key=key)
        np.testing.assert_allclose(out[i], jax.vmap(alone)(x), rtol=1e-5)


def test_silu_is_x_times_sigmoid():
    x = jnp.linspace(-20.0, 20.0, 401)
    # Of outputs up to 20; instruction sets differ in the last bits of tanh.
    np.testing.assert_allclose(silu(x), jax.nn.silu(x), atol=5e-6)
    np.testing.assert_allclose(jax.vmap(jax.grad(silu))(x), jax.vmap(jax.grad(jax.nn.silu))(x), atol=5e-6)


def test_what_a_kernel_counts_as_inputs_and_outputs():
    """Keras: each pixel of the kernel leads to an output, and each leads from an input (Glorot & Bengio 2010)."""
    shape = (4, 4, 3, 32)
    assert fans(shape) == (4 * 4 * 3, 4 * 4 * 32)
    assert fans(shape[-2:]) == (3, 32)
    glorot = 2.0 / (16 * 35)
    kinds = ((glorot_uniform, glorot), (glorot_normal, glorot), (lecun(), 1.0 / 48), (lecun(0.5), 0.25 / 48))
    for init, expected in kinds:
        w, biases = map(np.asarray, init(jax.random.key(0), shape))
        assert biases.shape == (32,)
        assert not np.any(biases)
        np.testing.assert_allclose(w.var(), expected, rtol=0.1)
    assert not np.any(lecun(0.0)(jax.random.key(0), shape)[0])
