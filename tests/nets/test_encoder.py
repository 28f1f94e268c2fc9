"""Encoders of images against sums by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from forethought.errors import UsageError
from forethought.nets.conv import Conv
from forethought.nets.encoder import LARGE, SMALL, Encoder
from forethought.nets.mlp import orthogonal
from forethought.types import Box, Discrete, Parts

KEY = jax.random.key(0)


@pytest.mark.parametrize("stride", [1, 2])
def test_a_convolution_is_a_sum_over_its_window(stride):
    conv = Conv(3, 4, 2, stride, key=KEY)
    x = np.random.default_rng(0).normal(size=(6, 5, 3)).astype(np.float32)
    out = np.asarray(conv(jnp.asarray(x)))
    assert out.shape == ((6 - 2) // stride + 1, (5 - 2) // stride + 1, 4)
    for i, j in np.ndindex(out.shape[:2]):
        window = x[i * stride : i * stride + 2, j * stride : j * stride + 2]
        np.testing.assert_allclose(out[i, j], np.einsum("abc,abcd->d", window, conv.weight) + conv.bias, atol=1e-5)


def test_its_weights_are_as_large_as_those_of_a_dense_layer_of_its_window():
    weights = np.asarray(Conv(4, 64, 3, 1, key=KEY).weight)
    assert 0.95 < np.abs(weights).max() * np.sqrt(3 * 3 * 4) <= 1.0


def test_pixels_become_shares_and_other_numbers_stay():
    image = np.full((10, 10, 2), 51, np.uint8)
    of_pixels, of_numbers = Encoder(Box((10, 10, 2), "uint8"), key=KEY), Encoder(Box((10, 10, 2)), key=KEY)
    seen = of_pixels(jnp.asarray(image))
    np.testing.assert_allclose(seen, of_numbers(jnp.full((10, 10, 2), 0.2)), atol=1e-6)
    assert seen.shape == (of_pixels.size,) == (8 * 8 * 16,)
    assert np.all(np.asarray(seen) >= 0.0)
    assert np.any(np.asarray(seen) > 0.0)


def test_a_vector_stays_as_it_is():
    encoder = Encoder(Box((3,)), key=KEY)
    assert encoder.size == 3
    np.testing.assert_array_equal(encoder(jnp.arange(3.0)), np.arange(3.0))


@pytest.mark.parametrize(("shape", "layout", "size"), [((10, 10, 4), SMALL, 1024), ((84, 84, 4), LARGE, 7 * 7 * 64)])
def test_the_layout_is_that_of_the_papers(shape, layout, size):
    encoder = Encoder(Box(shape, "uint8"), key=KEY)
    assert [(conv.weight.shape[3], conv.weight.shape[0], conv.stride) for conv in encoder.layers] == list(layout)
    assert encoder.size == size


def test_of_a_number_comes_the_row_of_an_identity_matrix():
    encoder = Encoder(Discrete(3), key=KEY)
    np.testing.assert_array_equal(jax.vmap(encoder)(jnp.arange(3)), np.eye(3))


def test_parts_stand_one_after_the_other():
    space = Parts((("gear", Discrete(2)), ("see", Box((10, 10, 1), "uint8")), ("feel", Box((3,)))))
    encoder = Encoder(space, key=KEY)
    obs = {"feel": jnp.arange(3.0), "gear": jnp.array(1), "see": jnp.full((10, 10, 1), 9, jnp.uint8)}
    seen, image = encoder(obs), Encoder(space.named[1][1], key=jax.random.split(KEY, 3)[1])
    assert seen.shape == (encoder.size,) == (2 + image.size + 3,)
    np.testing.assert_allclose(seen, np.concatenate([[0, 1], image(obs["see"]), [0, 1, 2]]), rtol=1e-6)


def test_a_small_image_is_said_to_be_too_small():
    with pytest.raises(UsageError, match="images of 2x5x1 are too small"):
        Encoder(Box((2, 5, 1)), key=KEY)


def test_convolutions_begin_as_they_are_told_to():
    (layer,) = Encoder(Box((6, 6, 2)), ((5, 3, 1),), key=jax.random.key(0), init=orthogonal(2.0)).layers
    flat = np.asarray(layer.weight).reshape(-1, 5)
    np.testing.assert_allclose(flat.T @ flat, 4.0 * np.eye(5), atol=1e-5)
