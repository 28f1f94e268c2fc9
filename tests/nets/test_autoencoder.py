"""What latent models see with: observations of every kind, there and back."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from forethought.agents.dream import elder_nets, v3_nets
from forethought.agents.dream.dreamer_v1 import DreamerV1, DreamerV1Config
from forethought.errors import UsageError
from forethought.nets.autoencoder import Squash, halvings
from forethought.nets.sight import Looks, Sight, shown, sight
from forethought.types import Box, Discrete, EnvSpec, Parts

RNG = np.random.default_rng(0)
KEY = jax.random.key(0)
PICTURE, NUMBERS = Box((16, 16, 1), "uint8"), Box((3,))
SPACES = {
    "64x64x3": Box((64, 64, 3), "uint8"),
    "32x64x1": Box((32, 64, 1), "uint8"),
    "16x16x1": PICTURE,
    "10x10x4": Box((10, 10, 4), "uint8"),
    "vector": NUMBERS,
    "matrix": Box((2, 3)),
    "discrete": Discrete(5),
    "dict": Parts((("a", PICTURE), ("b", NUMBERS), ("c", Discrete(4)), ("d", Box((16, 16, 2), "uint8")))),
}
# Pixels that are left, times channels, and what the vector becomes: of Dreamer V1 with 2 channels first and 8 units,
# and of V3 of 1m.
SEEN = {
    "64x64x3": (2 * 2 * 16, 4 * 4 * 16),
    "32x64x1": (4 * 8 * 8, 4 * 8 * 16),
    "16x16x1": (4 * 4 * 4, 4 * 4 * 12),
    "10x10x4": (5 * 5 * 2, 5 * 5 * 8),
    "vector": (8, 64),
    "matrix": (8, 64),
    "discrete": (8, 64),
    "dict": (4 * 4 * 4 + 8, 4 * 4 * 12 + 64),
}
MAKERS = {"elder": 0, "v3": 1}


def a_model(kind, space):
    spec = EnvSpec("toy", space, Discrete(2))
    if kind == "v3":
        return v3_nets.world_model(v3_nets.SIZES["1m"], spec, 0.99, key=KEY)
    sizes = DreamerV1(DreamerV1Config(deter=8, stoch=4, units=8, depth=2), spec).net_sizes
    return elder_nets.world_model(sizes, spec, 0.99, key=KEY)


def made(kind, space):
    """As one program, which is faster than layer by layer."""
    return jax.jit(lambda: a_model(kind, space))()


def a_model_of_shapes(kind, space):
    """Without its numbers."""
    return jax.eval_shape(lambda: a_model(kind, space))


def drawn(space, n):
    """n observations at random."""
    if isinstance(space, Parts):
        return {name: drawn(part, n) for name, part in space.named}
    if isinstance(space, Discrete):
        return jnp.asarray(RNG.integers(0, space.n, n), jnp.int32)
    if space.dtype == "uint8":
        return jnp.asarray(RNG.integers(0, 256, (n, *space.shape)), jnp.uint8)
    return jnp.asarray(RNG.normal(size=(n, *space.shape)), jnp.float32)


@pytest.mark.parametrize("name", SPACES)
@pytest.mark.parametrize("kind", MAKERS)
def test_what_is_drawn_is_what_could_be_seen(kind, name):
    space = SPACES[name]
    like = lambda x: (x.shape, x.dtype)  # noqa: E731

    def there_and_back(obs):
        model = a_model(kind, space)
        belief, errors = model.initial(2), {}
        seen = jax.vmap(lambda one: sight(space, one))(obs)
        errors = model.decoder.errors(model.decoder(belief.deter, belief.stoch), seen)
        return model.embed(obs), model.decode(belief), errors

    obs = drawn(space, 2)
    embedding, back, errors = jax.eval_shape(there_and_back, obs)
    assert embedding.shape == (2, SEEN[name][MAKERS[kind]])
    assert jax.tree.map(like, back) == jax.tree.map(like, obs)
    pictured = name in ("dict",) or name[0].isdigit()
    assert ("image" in errors, "vector" in errors) == (pictured, not name[0].isdigit())


@pytest.mark.parametrize("name", SPACES)
def test_a_sight_shows_the_observation_that_it_is_of(name):
    space = SPACES[name]
    obs = jax.tree.map(lambda x: x[0], drawn(space, 1))
    seen, looks = sight(space, obs), Looks.of(space)
    assert looks.vector == (0 if isinstance(seen.vector, tuple) else seen.vector.size)
    assert looks.image == (None if isinstance(seen.image, tuple) else seen.image.shape)
    back = shown(space, seen)
    for one, other in zip(jax.tree.leaves(back), jax.tree.leaves(obs), strict=True):
        np.testing.assert_array_equal(one, other)
        assert one.dtype == other.dtype


def test_what_is_beyond_the_colours_is_cut_off():
    back = shown(PICTURE, Sight((), jnp.full((16, 16, 1), 1.2).at[0].set(-0.4)))
    assert (int(back.max()), int(back.min())) == (255, 0)


@pytest.mark.parametrize("size", [(84, 84), (63, 64), (5, 5), (7, 16), (300, 300), (160, 210)])
@pytest.mark.parametrize("kind", MAKERS)
def test_images_that_cannot_be_halved_are_refused_with_the_way_out(kind, size):
    with pytest.raises(UsageError, match=rf"images of {size[0]}x{size[1]}x3 cannot .* 3 to 16 pixels .* --pixels 64"):
        a_model(kind, Box((*size, 3), "uint8"))


@pytest.mark.parametrize(
    ("size", "n"), [((64, 64), 4), ((96, 96), 4), ((256, 256), 4), ((32, 32), 3), ((8, 8), 1), ((12, 20), 1)]
)
def test_images_are_halved_until_few_pixels_are_left(size, n):
    assert halvings((*size, 3)) == n


def test_images_of_two_sizes_are_refused():
    with pytest.raises(UsageError, match=r"images of 16x16x1 and 8x8x1 are seen together; make them one size"):
        Looks.of(Parts((("a", PICTURE), ("b", Box((8, 8, 1), "uint8")))))


def test_an_image_is_seen_about_its_middle_and_drawn_about_it():
    """As the published codes: less 0.5 on the way in; PlaNet to V2 add it on the way out."""
    model = made("elder", PICTURE)
    grey = jnp.full((1, 16, 16, 1), 0.5)
    assert not np.any(model.encoder.image(grey))  # no biases yet
    np.testing.assert_allclose(model.decoder(jnp.zeros((1, 8)), jnp.zeros((1, 4))).image, 0.5)


def test_vectors_are_seen_and_drawn_by_their_symlog_in_v3():
    model, x = made("v3", NUMBERS), jnp.array([[0.0, 1000.0, -1000.0]])
    told = model.decoder(jnp.zeros((1, model.rssm.n_deter)), jnp.zeros((1, model.rssm.n_stoch)))
    squashed = np.sign(x) * np.log1p(np.abs(x))
    expected = np.sum((np.asarray(told.vector) - squashed) ** 2)
    np.testing.assert_allclose(model.decoder.errors(told, Sight(x, ()))["vector"], expected, rtol=1e-5)
    np.testing.assert_allclose(model.decoder.plain(Sight(jnp.asarray(squashed), ())).vector, x, rtol=1e-4)
    elder = made("elder", NUMBERS)
    told = Sight(jnp.zeros((1, 3)), ())
    np.testing.assert_allclose(elder.decoder.errors(told, Sight(x, ()))["vector"], 2e6, rtol=1e-5)
    assert elder.decoder.plain(told) is told


def test_choices_are_seen_as_they_are_and_drawn_by_their_probability_in_v3():
    """Squared errors of rows of an identity matrix would hardly ask for them."""
    space = Parts((("a", Discrete(3)), ("b", Box((2,))), ("c", Discrete(2))))
    assert Looks.of(space).choices == ((0, 3), (5, 2))
    squash = Squash(Looks.of(space).choices)
    seen = sight(space, {"a": jnp.array(1), "b": jnp.array([100.0, -3.0]), "c": jnp.array(0)}).vector
    np.testing.assert_allclose(squash.seen(seen), [0, 1, 0, np.log(101), -np.log(4), 1, 0], rtol=1e-5)
    told = jnp.array([0.3, 1.2, -40.0, 4.0, -1.0, 0.5, 2.0])
    likely = np.exp(1.2) / (np.exp(0.3) + np.exp(1.2)) * np.exp(0.5) / (np.exp(0.5) + np.exp(2.0))
    squared = (4.0 - np.log(101)) ** 2 + (-1.0 + np.log(4)) ** 2
    np.testing.assert_allclose(squash.error(told, seen), squared - np.log(likely), rtol=1e-5)
    plain = squash.plain(told)
    np.testing.assert_allclose(plain, [0.3, 1.2, -40.0, np.exp(4) - 1, 1 - np.exp(1), 0.5, 2.0], rtol=1e-5)
    back = shown(space, Sight(plain, ()))
    assert (int(back["a"]), int(back["c"])) == (1, 1)
    for kind, squashed in (("v3", squash), ("elder", None)):
        model = a_model_of_shapes(kind, space)
        assert model.encoder.squash == model.decoder.squash == squashed


def test_errors_are_summed_over_the_numbers_of_an_observation():
    model = made("elder", SPACES["dict"])
    seen, told = (Sight(jnp.full((1, 7), x), jnp.full((1, 16, 16, 3), x)) for x in (0.0, 2.0))
    found = model.decoder.errors(told, seen)
    assert {name: x.item() for name, x in found.items()} == {"vector": 4.0 * 7, "image": 4.0 * 16 * 16 * 3}
