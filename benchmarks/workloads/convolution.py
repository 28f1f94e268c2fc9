"""A convolution and its gradient within a compiled loop, where all updates of a run are: ours against XLA's own."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from benchmarks.measure import timed
from benchmarks.results import Check, Result
from forethought.nets.conv import Conv, in_portions

_SIDE, _CHANNELS, _OUT, _KERNEL = 31, 32, 64, 4  # the second layer of Dreamer V1 and of World Models
_IMAGES, _TARGET = 64, 4.0
Layers = Callable[[Array, Array], Array]  # weights [k, k, c, d] and images [n, h, w, c] to [n, i, j, d]


def run(quick: bool) -> Result:
    """Both forms on the same numbers; a repeat is one turn of a loop of which XLA does not know the length."""
    layer = Conv(_CHANNELS, _OUT, _KERNEL, 2, key=jax.random.key(0))
    images = jax.random.normal(jax.random.key(1), (_IMAGES, _SIDE, _SIDE, _CHANNELS))

    def ours(weight: Array, images: Array) -> Array:
        of_weight = eqx.tree_at(lambda layer: layer.weight, layer, weight)
        return in_portions(lambda layer, images: layer(images), of_weight, images)

    def own(weight: Array, images: Array) -> Array:
        numbers = ("NHWC", "HWIO", "NHWC")
        return jax.lax.conv_general_dilated(images, weight, (2, 2), "VALID", dimension_numbers=numbers)

    repeats, gflop = 2 if quick else 10, 3 * 2e-9 * _IMAGES * 14**2 * _KERNEL**2 * _CHANNELS * _OUT
    found = {
        name: timed(_descent(form, images, layer.weight), repeats) for name, form in (("ours", ours), ("own", own))
    }
    ratio = found["own"].best / found["ours"].best
    return Result(
        name="convolution",
        kind="speed",
        title=f"A convolution of {_KERNEL} x {_KERNEL}, {_IMAGES} images of {_SIDE} x {_SIDE} x {_CHANNELS}, in a loop",
        checks=(Check("speed against XLA's own", ratio, _TARGET, "times"),),
        details={name: timing.described(gflop) for name, timing in found.items()},
        command="python -m benchmarks.speed convolution",
        partial=quick,
    )


def _descent(form: Layers, images: Array, weight: Array) -> Callable[[int], Array]:
    """A turn of a loop: a step down ``sum y^2`` by weights and images."""

    @jax.jit
    def turns(n: Array, weight: Array, images: Array) -> tuple[Array, Array]:
        def turn(_: Array, at: tuple[Array, Array]) -> tuple[Array, Array]:
            slopes = jax.grad(lambda w, x: jnp.sum(form(w, x) ** 2), (0, 1))(*at)
            return at[0] - 1e-6 * slopes[0], at[1] - 1e-6 * slopes[1]

        return jax.lax.fori_loop(0, n, turn, (weight, images))

    return lambda i: turns(jnp.int32(1), weight + 1e-3 * i, images)
