"""V and M as one world model: its contract, its loss by hand, what it forgets and what it learns."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from forethought.imagine import imagined_returns
from forethought.models.base import WorldModel
from forethought.models.latent import Decodes
from forethought.models.mdn_rnn import MDNRNN, Coded, MDNBelief, Memory
from forethought.nets.mixture import Mixture
from forethought.nets.vae import VAE
from forethought.types import Box, Discrete

KEY = jax.random.key(0)
Z, A, H, K = 3, 2, 5, 2


def a_memory(key=KEY, **settings):
    return Memory(Z, A, H, K, key=key, **settings)


def a_model(temperature=1.0, cell=False, action=None, **settings):
    vision = VAE((8, 8, 1), Z, (4,), key=KEY)
    return MDNRNN(vision, a_memory(**settings), jnp.array(temperature), action or Box((A,)), cell)


def pictures(n, seed=0):
    return jnp.asarray(np.random.default_rng(seed).integers(0, 256, (n, 8, 8, 1)), jnp.uint8)


def a_window(t=4, n=2, seed=0):
    rng = np.random.default_rng(seed)
    normal = lambda *shape: jnp.asarray(rng.normal(size=shape), jnp.float32)  # noqa: E731
    no = jnp.zeros((t, n), bool)
    return Coded(normal(t, n, Z), jnp.full((t, n, Z), -50.0), normal(t, n, A), normal(t, n), no, no, ~no)


def test_it_has_the_published_parameters():
    def size(*args, **settings):
        return sum(x.size for x in jax.tree.leaves(jax.eval_shape(lambda: Memory(*args, key=KEY, **settings))))

    assert size(32, 3, 256, 5, reward=False, ending=False) == 422_368  # CarRacing
    doom = size(64, 1, 512, 5, reward=False)
    assert doom + 2048 == 1_678_785  # its LSTM is told besides that an episode begins; ours begins at 0 then


def test_it_is_a_world_model_that_can_be_drawn():
    model = a_model()
    assert isinstance(model, WorldModel)
    assert isinstance(model, Decodes)
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(model))
    belief = model.observe(model.initial(2), jnp.zeros((2, A)), pictures(2), jnp.ones(2, bool), key=KEY)
    drawn = model.decode(belief)
    assert drawn.shape == (2, 8, 8, 1)
    assert drawn.dtype == np.uint8
    np.testing.assert_allclose(drawn, 255.0 * model.vision.decode(belief.z), atol=0.51)
    assert model.features(belief).shape == (2, Z + H)
    assert a_model(cell=True).features(belief).shape == (2, Z + 2 * H)


def test_choices_are_rows_of_an_identity_matrix():
    box, discrete = a_model(), a_model(action=Discrete(2))
    belief = jax.tree.map(lambda x: x + 0.3, box.initial(2))
    one, _ = box.step(belief, jnp.array([[0.0, 1.0], [1.0, 0.0]]), key=KEY)
    other, _ = discrete.step(belief, jnp.array([1, 0]), key=KEY)
    np.testing.assert_array_equal(one.h, other.h)


def test_nothing_of_an_episode_is_remembered_in_the_next():
    memory, window = a_memory(), a_window(6, 1)
    z, action = window.mean[:, 0], window.action[:, 0]
    first = jnp.array([True, False, False, True, False, False])
    whole = memory.along(z, action, first)
    alone = memory.along(z[3:], action[3:], first[3:])
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a[3:], b, rtol=1e-6), whole, alone)

    def after(z, action):
        said = memory.along(z, action, first)
        return sum(jnp.sum(x[3:]) for x in jax.tree.leaves(said))

    of_z, of_action = jax.grad(after, argnums=(0, 1))(z, action)
    assert np.all(np.asarray(of_z[:3]) == 0.0)
    assert np.all(np.asarray(of_action[:3]) == 0.0)
    assert np.all(np.abs(np.asarray(of_z[3:])).sum(axis=1) > 0.0)


def test_what_is_observed_first_is_believed_alone():
    model, seen = a_model(), pictures(2)
    before = jax.tree.map(lambda x: x + 0.7, model.initial(2))
    first = jnp.array([True, False])
    belief = model.observe(before, jnp.ones((2, A)), seen, first, key=KEY)
    assert np.all(np.asarray(belief.h[0]) == 0.0)
    assert np.all(np.asarray(belief.c[0]) == 0.0)
    assert np.all(np.asarray(belief.h[1]) != 0.0)

    def remembered(before):
        return jnp.sum(model.observe(before, jnp.ones((2, A)), seen, first, key=KEY).h[0])

    assert all(np.all(np.asarray(x) == 0.0) for x in jax.tree.leaves(jax.grad(remembered)(before)))


def test_filtering_is_what_is_learned_along():
    """Seeing one moment after the other leads to the h that the loss foretells from."""
    model, t = a_model(), 5
    seen, action, first = pictures(t), a_window(t, 1).action[:, 0], jnp.arange(t) == 0
    belief, zs, hs = model.initial(1), [], []
    for i in range(t):
        before = action[i - 1][None] if i else jnp.zeros((1, A))
        belief = model.observe(belief, before, seen[i][None], first[i][None], key=jax.random.fold_in(KEY, i))
        zs.append(belief.z[0])
        hs.append(model._ahead(belief, action[i][None])[0][0])
    said = model.memory.along(jnp.stack(zs), action, first)
    expected = jax.vmap(model.memory.foretell)(jnp.stack(hs))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), said, expected)


def test_the_loss_by_hand():
    memory, window = a_memory(), a_window()
    window = window._replace(terminated=window.terminated.at[2, 0].set(True), first=window.first.at[3, 0].set(True))
    said = jax.vmap(memory.along, in_axes=1, out_axes=1)(window.mean[:-1], window.action[1:], window.first[:-1])
    log_prob = np.asarray(said.z.log_prob(window.mean[1:])).mean(axis=-1)  # deviations are nearly 0
    asked = np.array([[True, True], [True, True], [False, True]])  # nothing leads to a first moment
    going_on = asked & ~np.asarray(window.terminated[1:])
    found = memory.loss(window, key=KEY, ending_weight=10.0)
    np.testing.assert_allclose(found.nll, -log_prob[going_on].mean(), rtol=1e-5)
    np.testing.assert_allclose(found.reward, ((said.reward - window.reward[1:]) ** 2)[asked].mean(), rtol=1e-5)
    p = 1.0 / (1.0 + np.exp(-np.asarray(said.ending, np.float64)))
    ended = np.asarray(window.terminated[1:])
    entropy = np.where(ended, -10.0 * np.log(p), -np.log(1.0 - p))
    np.testing.assert_allclose(found.ending, entropy[asked].mean(), rtol=1e-5)
    scale = max(1.0, (np.asarray(window.reward[1:]) ** 2)[asked].mean())
    assert scale > 1.1
    np.testing.assert_allclose(found.total, found.nll + found.reward / scale + found.ending, rtol=1e-6)


def test_what_is_seen_where_the_world_ends_is_not_asked_of():
    """In VizDoom it is a black picture, which leads nowhere."""
    memory, window = a_memory(), a_window()
    window = window._replace(terminated=window.terminated.at[2].set(True), first=window.first.at[3].set(True))
    other = window._replace(mean=window.mean.at[2].add(5.0))
    one, two = (memory.loss(w, key=KEY) for w in (window, other))
    np.testing.assert_allclose(one.total, two.total, rtol=1e-6)


def test_moments_that_never_were_count_for_nothing():
    memory, window = a_memory(), a_window(6)
    cut = window._replace(known=window.known.at[4:].set(False), mean=window.mean.at[4:].set(9.0))
    short = jax.tree.map(lambda x: x[:4], window)
    np.testing.assert_allclose(memory.loss(cut, key=KEY).nll, memory.loss(short, key=KEY).nll, rtol=1e-5)


def test_rewards_for_every_step_alive_are_known():
    model = a_model(reward=False)
    _, outcome = model.step(model.initial(3), jnp.zeros((3, A)), key=KEY)
    assert np.all(np.asarray(outcome.reward) == 1.0)
    assert float(model.memory.loss(a_window(), key=KEY).reward) == 0.0


@pytest.mark.parametrize(("logit", "steps"), [(3.0, 1), (-3.0, 7)])
def test_a_dream_ends_where_an_end_is_likelier_than_none(logit, steps):
    model = a_model(reward=False)
    where = lambda m: (m.memory.ending.weight, m.memory.ending.bias)  # noqa: E731
    model = eqx.tree_at(where, model, (jnp.zeros((H, 1)), jnp.array([logit])))
    earned, lived = imagined_returns(model, lambda f, key: f[:, :A], model.initial(4), 7, key=KEY)
    np.testing.assert_array_equal(lived, [steps] * 4)
    np.testing.assert_array_equal(earned, [float(steps)] * 4)


def mixed(temperature, n=4000):
    """z of many dreams by one mixture of two Gaussians, the left one likelier."""
    model = a_model(temperature)
    logits, mean, log_std = (np.zeros((Z, K), np.float32) for _ in range(3))
    logits[:, 0], mean[:], log_std[:] = np.log(4.0), [-1.0, 1.0], np.log(0.1)
    bias = jnp.asarray(np.stack([logits, mean, log_std]).reshape(-1))
    where = lambda m: (m.memory.mixture.weight, m.memory.mixture.bias)  # noqa: E731
    model = eqx.tree_at(where, model, (jnp.zeros((H, 3 * Z * K)), bias))
    said = Mixture.of(bias, K)
    np.testing.assert_allclose(said.mean, mean)
    return np.asarray(model.step(model.initial(n), jnp.zeros((n, A)), key=KEY)[0].z)


@pytest.mark.parametrize("temperature", [0.1, 1.0, 2.0])
def test_temperature_makes_a_dream_less_certain(temperature):
    z = mixed(temperature)
    share = 4.0 ** (1.0 / temperature) / (4.0 ** (1.0 / temperature) + 1.0)
    np.testing.assert_allclose(np.mean(z < 0.0), share, atol=0.02)
    left = z[z < 0.0]
    np.testing.assert_allclose(left.std(), 0.1 * temperature**0.5, rtol=0.05)
    np.testing.assert_allclose(left.mean(), -1.0, atol=0.01)


def test_a_temperature_is_no_reason_to_compile_again():
    step = jax.jit(lambda model: model.step(model.initial(2), jnp.zeros((2, A)), key=KEY)[0].z)
    step(a_model(1.0))
    before = step._cache_size()
    step(a_model(1.15))
    assert step._cache_size() == before


def turning(rng, n, t):
    """z on a circle: each action turns it by a third of a right angle, forth (1) or back (-1); noise of 0.05."""
    action = rng.choice([-1.0, 1.0], size=(t, n))
    angle = rng.uniform(0, 2 * np.pi, n) + np.cumsum(action, axis=0) * np.pi / 6
    z = np.stack([np.cos(angle), np.sin(angle)], axis=-1) + 0.05 * rng.normal(size=(t, n, 2))
    f = lambda x: jnp.asarray(x, jnp.float32)  # noqa: E731
    no = jnp.zeros((t, n), bool)
    return Coded(f(z), jnp.full((t, n, 2), -50.0), f(action)[..., None], f(np.cos(angle)), no.at[0].set(True), no, ~no)


@pytest.mark.learned
@pytest.mark.parametrize("seed", range(3))
def test_it_foretells_what_it_has_not_seen_better_than_any_distribution_of_it_alone(seed):
    rng = np.random.default_rng(seed)
    seen, held = turning(rng, 64, 33), turning(rng, 64, 33)
    memory, optimizer = Memory(2, 1, 32, 3, key=jax.random.key(seed)), optax.adam(5e-3)

    def update(at, key):
        memory, opt = at
        lanes = jax.random.randint(key, (16,), 0, 64)
        window = jax.tree.map(lambda x: x[:, lanes], seen)
        grads = jax.grad(lambda m: m.loss(window, key=key).total)(memory)
        change, opt = optimizer.update(grads, opt, memory)
        return (optax.apply_updates(memory, change), opt), None

    keys = jax.random.split(jax.random.key(seed + 1), 600)
    (memory, _), _ = jax.jit(lambda at: jax.lax.scan(update, at, keys))((memory, optimizer.init(memory)))
    found = memory.loss(held, key=KEY)
    values, counts = np.histogram(np.asarray(seen.mean).ravel(), bins=40, density=True)[::-1]
    density = np.interp(np.asarray(held.mean).ravel(), 0.5 * (values[1:] + values[:-1]), counts)
    alone = -np.log(density).mean()  # of each number of z, as it is distributed over all
    assert float(found.nll) < alone - 1.0  # it would be 1.5 nats where all but the noise of 0.05 is known
    assert float(found.reward) < 0.1  # of a variance of 0.5


def test_beliefs_are_what_the_contract_says():
    belief = a_model().initial(3)
    assert isinstance(belief, MDNBelief)
    assert {x.shape[0] for x in jax.tree.leaves(belief)} == {3}


def test_what_is_learned_of_an_episode_does_not_depend_on_the_one_before():
    memory, window = a_memory(), a_window(6)
    window = window._replace(first=window.first.at[3].set(True), terminated=window.terminated.at[2].set(True))
    later = window._replace(known=window.known.at[:3].set(False))
    alone = jax.tree.map(lambda x: x[3:], window)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), *(memory.loss(w, key=KEY) for w in (later, alone))
    )


def test_each_z_is_drawn_with_the_deviation_that_v_says():
    """Where M learns from it, and where a policy sees it."""
    coded = a_window(2000, 1)._replace(mean=jnp.full((2000, 1, Z), 1.5), log_std=jnp.full((2000, 1, Z), np.log(0.3)))
    model = a_model()
    where = lambda m: (m.vision.mean, m.vision.log_var)  # noqa: E731
    blind = [jax.tree.map(jnp.zeros_like, head) for head in where(model)]
    said = (jnp.full(Z, 1.5), jnp.full(Z, 2.0 * np.log(0.3)))
    blind = [eqx.tree_at(lambda head: head.bias, head, bias) for head, bias in zip(blind, said, strict=True)]
    model = eqx.tree_at(where, model, tuple(blind))
    seen = jnp.broadcast_to(pictures(1), (2000, 8, 8, 1))
    believed = model.observe(model.initial(2000), jnp.zeros((2000, A)), seen, jnp.zeros(2000, bool), key=KEY)
    for z in (coded.sample(key=KEY), believed.z):
        np.testing.assert_allclose([z.mean(), z.std()], [1.5, 0.3], atol=0.015)
