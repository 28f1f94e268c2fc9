"""V of World Models against the published sizes, its loss by hand, and what it learns."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from forethought.errors import UsageError
from forethought.nets.vae import VAE

KEY = jax.random.key(0)


def small_vae(shape=(8, 8, 1), n_latent=3, channels=(4, 8), key=KEY):
    return VAE(shape, n_latent, channels, key=key)


def pictures(n, shape=(8, 8, 1), seed=0):
    return jnp.asarray(np.random.default_rng(seed).integers(0, 256, (n, *shape)), jnp.uint8)


@pytest.mark.parametrize(("n_latent", "parameters"), [(32, 4_348_547), (64, 4_446_915)])
def test_it_has_the_published_parameters_and_kernels(n_latent, parameters):
    vae = jax.eval_shape(lambda: VAE((64, 64, 3), n_latent, key=KEY))
    assert sum(x.size for x in jax.tree.leaves(vae)) == parameters
    assert [layer.weight.shape[1] for layer in vae.decoder] == [5, 5, 6, 6]
    assert vae.begin == (1, 1, 1024)


@pytest.mark.parametrize("side", [5, 6, 7, 8, 9, 10, 16, 20, 33, 64, 84, 96, 128, 210])
def test_an_image_of_any_side_comes_back_in_its_size(side):
    vae = small_vae((side, side, 3), channels=(2, 3, 4, 5))
    seen = jnp.zeros((2, side, side, 3), jnp.uint8)
    mean, log_std = jax.eval_shape(vae.encode, seen)
    assert mean.shape == log_std.shape == (2, 3)
    assert jax.eval_shape(vae.decode, mean).shape == seen.shape


@pytest.mark.parametrize("shape", [(4, 4, 3), (48, 64, 3), (8,)])
def test_other_images_are_refused_with_their_size_and_the_way_out(shape):
    with pytest.raises(UsageError, match=f"images of {'x'.join(map(str, shape))} do not suit .* --pixels 64"):
        VAE(shape, key=KEY)


def blind(log_var, mean):
    """A VAE that says the same of every image, and draws every z as grey."""
    vae = jax.tree.map(jnp.zeros_like, small_vae())
    heads = lambda v: (v.mean.bias, v.log_var.bias)  # noqa: E731
    return eqx.tree_at(heads, vae, (jnp.full(3, mean), jnp.full(3, log_var)))


def test_the_loss_by_hand():
    x = pictures(2)
    said = blind(log_var=np.log(4.0), mean=2.0).loss(x, key=KEY)
    error = ((np.asarray(x) / 255.0 - 0.5) ** 2).sum(axis=(1, 2, 3))
    kl = 3 * 0.5 * (4.0 + 2.0**2 - 1.0 - np.log(4.0))
    np.testing.assert_allclose(said.error, error, rtol=1e-5)
    np.testing.assert_allclose(said.kl, [kl, kl], rtol=1e-5)
    np.testing.assert_allclose(said.total, error + kl, rtol=1e-5)


def test_information_below_the_tolerance_costs_nothing_and_is_not_taught_away():
    x = pictures(2)
    little = blind(log_var=0.0, mean=0.5)  # 3 * 0.125 nats, below 3 * 0.5
    said = little.loss(x, key=KEY)
    np.testing.assert_allclose(said.kl, 3 * 0.125, rtol=1e-5)
    np.testing.assert_allclose(said.total - said.error, 1.5, rtol=1e-4)
    np.testing.assert_allclose(little.loss(x, key=KEY, tolerance=0.1).total - said.error, 3 * 0.125, rtol=1e-3)

    def total(mean, tolerance):
        moved = eqx.tree_at(lambda v: v.mean.bias, little, mean)
        said = moved.loss(x, key=KEY, tolerance=tolerance)
        return jnp.mean(said.total - said.error)

    assert np.all(jax.grad(total)(jnp.full(3, 0.5), 0.5) == 0.0)
    np.testing.assert_allclose(jax.grad(total)(jnp.full(3, 0.5), 0.1), 0.5, rtol=1e-5)


def test_what_is_decoded_lies_between_black_and_white():
    drawn = small_vae().decode(100.0 * jax.random.normal(KEY, (20, 3)))
    assert 0.0 <= float(drawn.min()) < float(drawn.max()) <= 1.0


@pytest.mark.learned
@pytest.mark.parametrize("seed", range(3))
def test_it_learns_to_give_back_squares_that_it_has_not_seen(seed):
    """Of 5 x 5 pixels at any of the 144 places in 16 x 16; a quarter of the places is held out."""
    places = np.random.default_rng(seed).permutation(144)
    x = np.zeros((144, 16, 16, 1), np.uint8)
    for i, (row, column) in enumerate(zip(*np.divmod(places, 12), strict=True)):
        x[i, row : row + 5, column : column + 5] = 255
    held, seen = jnp.asarray(x[:36]), jnp.asarray(x[36:])
    vae, optimizer = small_vae((16, 16, 1), 4, (16, 32), key=jax.random.key(seed)), optax.adam(3e-3)

    def update(at, key):
        vae, opt = at
        batch = seen[jax.random.randint(key, (32,), 0, len(seen))]
        grads = jax.grad(lambda v: jnp.mean(v.loss(batch, key=key).total))(vae)
        change, opt = optimizer.update(grads, opt, vae)
        return (optax.apply_updates(vae, change), opt), None

    keys = jax.random.split(jax.random.key(seed + 1), 1200)
    (vae, _), _ = jax.jit(lambda at: jax.lax.scan(update, at, keys))((vae, optimizer.init(vae)))
    error = float(jnp.mean(vae.loss(held, key=KEY).error))
    grey = float(
        np.mean(np.sum((np.asarray(held) / 255.0 - np.asarray(seen).mean(axis=0) / 255.0) ** 2, axis=(1, 2, 3)))
    )
    assert error < 0.5 * grey


def test_what_is_given_back_is_drawn_from_what_is_said_of_the_image():
    """With the deviation that is said: another key gives another z."""
    x, keys = pictures(2), jax.random.split(KEY)
    for log_var, same in ((-100.0, True), (0.0, False)):
        vae = eqx.tree_at(lambda v: v.log_var.bias, small_vae(), jnp.full(3, log_var))
        one, other = (vae.loss(x, key=key).error for key in keys)
        plain = np.sum((np.asarray(x) / 255.0 - np.asarray(vae.decode(vae.encode(x)[0]))) ** 2, axis=(1, 2, 3))
        assert np.allclose(one, other, rtol=1e-6) == same
        assert np.allclose(one, plain, rtol=1e-4) == same
