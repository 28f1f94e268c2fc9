import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from forethought.models.fit import Batch, FitConfig, clip_per_member, gaussian_nll, loss
from small import ensemble, weights_of


def test_gaussian_nll_is_twice_the_negative_log_density_less_a_constant():
    y, mean, logvar = np.array([0.3, -2.0]), np.array([0.0, -1.0]), np.array([0.4, -1.2])
    expected = -2.0 * stats.norm.logpdf(y, mean, np.exp(0.5 * logvar)) - np.log(2 * np.pi)
    said = gaussian_nll(*(jnp.asarray(x, jnp.float32) for x in (y, mean, logvar)))
    np.testing.assert_allclose(said, expected, rtol=1e-5)


def a_batch(model, n=5):
    keys = jax.random.split(jax.random.key(3), 3)
    m = model.n_members
    ended = jax.random.bernoulli(keys[2], 0.5, (m, n))
    return Batch(jax.random.normal(keys[0], (m, n, 3)), jax.random.normal(keys[1], (m, n, 3)), ended)


def gradient(model, batch, **config):
    return jax.jit(jax.grad(lambda w: loss(w, model, batch, FitConfig(**config))[0]))(weights_of(model))


def test_the_loss_is_a_sum_over_members_with_decay_by_layer_and_the_penalty_on_the_bounds():
    model = ensemble(hidden=(4, 4, 4))
    batch, decay = a_batch(model), (0.1, 0.2, 0.3)
    said = model.predict(batch.x)
    nll = np.asarray(gaussian_nll(batch.y, said.mean, said.logvar)).mean(axis=(1, 2))
    squares = [float(jnp.sum(layer.weight**2)) for layer in model.members.layers]
    # Three rates for four layers: the last one serves the fourth too.
    decays = 0.5 * np.dot([0.1, 0.2, 0.3, 0.3], squares)
    total, mean_nll = loss(weights_of(model), model, batch, FitConfig(weight_decay=decay))
    assert float(total) == pytest.approx(nll.sum() + decays + 0.01 * 3 * 10.5, rel=1e-5)
    assert float(mean_nll) == pytest.approx(nll.mean(), rel=1e-5)


def test_the_gradients_of_decay_and_penalty_are_exact():
    model = ensemble(hidden=(4, 4))
    batch, weights = a_batch(model), weights_of(model)
    with_decay, without = (gradient(model, batch, weight_decay=decay) for decay in ((0.1, 0.2, 0.3), (0.0,)))
    for rate, layer, a, b in zip(
        (0.1, 0.2, 0.3), weights.members.layers, with_decay.members.layers, without.members.layers, strict=True
    ):
        np.testing.assert_allclose(a.weight - b.weight, rate * layer.weight, atol=1e-6)
        np.testing.assert_array_equal(a.bias, b.bias)

    def nll_alone(w):
        said = eqx.tree_at(lambda e: (e.members, e.max_logvar, e.min_logvar), model, tuple(w)).predict(batch.x)
        return jnp.sum(jnp.mean(gaussian_nll(batch.y, said.mean, said.logvar), axis=(1, 2)))

    plain = jax.jit(jax.grad(nll_alone))(weights)
    np.testing.assert_allclose(without.max_logvar - plain.max_logvar, 0.01, atol=1e-6)
    np.testing.assert_allclose(without.min_logvar - plain.min_logvar, -0.01, atol=1e-6)


def test_an_error_counts_by_the_power_of_its_variance():
    """A single row, and the last biases, of one output each: their gradients are those of `gaussian_nll`, weighed."""
    model = ensemble()
    batch, n_y = a_batch(model, n=1), model.max_logvar.shape[0]
    var = jnp.exp(model.predict(batch.x).logvar[:, 0])
    grads = [gradient(model, batch, weight_decay=(0.0,), beta=beta) for beta in (0.0, 0.5, 1.0)]
    plain, weighed, squared = (g.members.layers[-1].bias[:, : 2 * n_y].reshape(-1, 2, n_y) for g in grads)
    np.testing.assert_allclose(weighed, plain * jnp.sqrt(var)[:, None], rtol=1e-5)
    np.testing.assert_allclose(squared, plain * var[:, None], rtol=1e-5)
    error = model.predict(batch.x).mean[:, 0] - batch.y[:, 0]
    np.testing.assert_allclose(squared[:, 0], 2.0 * error / n_y, rtol=1e-4)


def test_a_learned_termination_adds_its_cross_entropy():
    known, learned = ensemble(), ensemble(termination=None)
    batch = a_batch(learned)
    p = jax.nn.sigmoid(learned.predict(batch.x).end_logit)
    expected = -np.mean(np.log(np.where(batch.ended, p, 1 - p)), axis=1).sum()
    more, less = (loss(weights_of(m), m, batch, FitConfig(weight_decay=(0.0,)))[0] for m in (learned, known))
    assert float(more - less) == pytest.approx(expected, rel=1e-4)


def test_gradients_are_cut_member_by_member():
    model = ensemble(members=2)
    weights = weights_of(model)
    ones = jax.tree.map(jnp.ones_like, weights)
    # Member 1 has a gradient a hundred times that of member 0; the bounds have one of norm sqrt(2 * 3).
    uneven = ones._replace(members=jax.tree.map(lambda g: g.at[1].mul(100.0), ones.members))
    norm = float(np.sqrt(sum(g[0].size for g in jax.tree.leaves(ones.members))))
    cut = clip_per_member(uneven, 2.0 * norm)
    for before, after in zip(jax.tree.leaves(uneven.members), jax.tree.leaves(cut.members), strict=True):
        np.testing.assert_array_equal(after[0], before[0])
        np.testing.assert_allclose(after[1], 2.0, rtol=1e-5)
    np.testing.assert_array_equal(cut.max_logvar, ones.max_logvar)
    np.testing.assert_allclose(clip_per_member(ones, 0.5).min_logvar, 0.5 / np.sqrt(6.0), rtol=1e-5)
