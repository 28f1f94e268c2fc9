"""The arithmetic that benchmarks report, against products written out."""

import jax
import jax.numpy as jnp
import pytest

from benchmarks.work import gflop
from forethought.nets.conv import Conv, TransposedConv, in_portions

KEY = jax.random.key(0)
A, B = jnp.ones((10, 20)), jnp.ones((20, 20))
PRODUCT = 2 * 10 * 20 * 20


@pytest.mark.parametrize(
    ("function", "products"),
    [
        (jnp.matmul, 1),
        (lambda a, b: jax.lax.scan(lambda a, _: (a @ b, ()), a, None, length=7), 7),
        (lambda a, b: jax.vmap(jnp.dot, (0, None))(a, b), 1),
        (lambda a, b: jax.lax.cond(a[0, 0] > 0, lambda: a @ b, lambda: a @ b @ b), 1),
        (lambda a, b: jax.grad(lambda a, b: jnp.sum((a @ b) ** 2), (0, 1))(a, b), 3),
        (lambda a, b: jax.jit(jnp.matmul)(a, b) + jax.checkpoint(jnp.matmul)(a, b), 2),
        (lambda a, b: jnp.sin(a) + jnp.sum(b), 0),
    ],
)
def test_products_are_counted_as_often_as_they_are_made(function, products):
    assert gflop(function, A, B) == pytest.approx(products * PRODUCT / 1e9)


@pytest.mark.parametrize(
    ("layer", "size", "expected"),
    [
        (Conv(3, 32, 4, 2, key=KEY), (31, 31, 3), 14**2 * 16 * 3 * 32),
        (TransposedConv(64, 32, 6, 2, key=KEY), (13, 13, 64), 13**2 * 36 * 64 * 32),
    ],
)
def test_convolutions_count_without_zeros_between_pixels(layer, size, expected):
    x = jnp.ones((16, *size))
    for function in (lambda layer, x: layer(x), lambda layer, x: in_portions(lambda net, x: net(x), layer, x)):
        assert gflop(function, layer, x) == pytest.approx(2e-9 * 16 * expected)
