"""The recurrent state-space model with each of its cores and latents."""

from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from forethought.models.rssm import RSSM, DenseCore
from forethought.nets.latents import Normals, OneHots, kl_losses
from forethought.nets.mlp import MLP, Dense, Linear, silu
from forethought.nets.recurrent import GRU, BlockGRU, KerasGRU, NormedGRU

T, N, A, E, H = 7, 3, 2, 4, 6
KEYS = jax.random.split(jax.random.key(0), 6)
RNG = np.random.default_rng(0)
ACTION, SEEN = (jnp.asarray(RNG.normal(size=(T, N, w)), jnp.float32) for w in (A, E))
BELOW = jnp.zeros((T, N), bool).at[0].set(True)


def one_hots(out):
    return OneHots.of(out, 3, 0.01)


def made(core, latents):
    z, out = (4, 8) if latents == Normals.of else (6, 6)
    cores = {
        "PlaNet": lambda: DenseCore(Dense(z + A, 5, jax.nn.elu, key=KEYS[0]), GRU(5, H, key=KEYS[1])),
        "V1": lambda: DenseCore(Dense(z + A, 5, jax.nn.elu, key=KEYS[0]), KerasGRU(5, H, key=KEYS[1])),
        "V2": lambda: DenseCore(Dense(z + A, 5, jax.nn.elu, key=KEYS[0]), NormedGRU(5, H, key=KEYS[1])),
        "V3": lambda: BlockGRU((z, A), H, 4, 2, key=KEYS[0]),
    }
    prior, posterior = (MLP((w, 8, out), silu, key=k) for w, k in ((H, KEYS[2]), (H + E, KEYS[3])))
    return RSSM(cores[core](), prior, posterior, latents, H, z)


CASES = [("PlaNet", Normals.of), ("V1", Normals.of), ("V2", one_hots), ("V3", one_hots)]


@pytest.fixture(params=CASES, ids=[core for core, _ in CASES])
def model(request):
    return made(*request.param)


def same(one, other):
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6), one, other)


def test_filtering_is_seeing_one_moment_after_the_other(model):
    whole, belief = model.filter(model.initial(N), ACTION, SEEN, BELOW, key=KEYS[4]), model.initial(N)
    for t, key in enumerate(jax.random.split(KEYS[4], T)):
        _, prior = model.imagine(belief, ACTION[t] * (t > 0), key=key)
        belief, posterior = model.see(belief, ACTION[t], SEEN[t], BELOW[t], key=key)
        same(jax.tree.map(lambda x, t=t: x[t], tuple(whole)), (belief, prior, posterior))


def test_nothing_of_an_episode_leaks_into_the_next(model):
    """From its beginning on a window is what it is alone, whatever was believed, done and seen before, and no gradient
    goes back over it."""
    first = BELOW.at[4, 1].set(True)

    def after(before):
        action, seen = ACTION.at[:5].add(before), SEEN.at[:4].add(before)
        belief = jax.tree.map(lambda x: x + before, model.initial(N))
        found = model.filter(belief, action, seen, first.at[0].set(False), key=KEYS[4])
        return jax.tree.map(lambda x: x[4:], found)

    one, other = after(0.0), after(1.0)
    same(*(jax.tree.map(lambda x: x[:, 1], found) for found in (one, other)))
    assert not np.allclose(one.belief.deter[:, 0], other.belief.deter[:, 0])
    slopes = jax.jacobian(lambda before: after(before).belief.deter[-1])(0.0)
    assert not slopes[1].any()
    assert slopes[0].any()


def test_what_is_imagined_follows_the_prior_of_what_is_seen(model):
    """After the same belief and action both carry on the same h."""
    belief = model.filter(model.initial(N), ACTION, SEEN, BELOW, key=KEYS[4]).belief
    belief = jax.tree.map(lambda x: x[-1], belief)
    imagined, prior = model.imagine(belief, ACTION[0], key=KEYS[5])
    seen, _ = model.see(belief, ACTION[0], SEEN[0], jnp.zeros(N, bool), key=KEYS[5])
    same(imagined.deter, seen.deter)
    assert imagined.features.shape == (N, model.n_deter + model.n_stoch)
    same(imagined.stoch, prior.sample(key=KEYS[5]))


@pytest.mark.learned
def test_it_learns_what_an_action_leads_to(model):
    """What is seen is the sum of the actions so far, wrapped to three places: the prior must come to know it."""
    action = jax.nn.one_hot(jax.random.randint(KEYS[0], (20, 32), 0, 2), 2)
    place = (jnp.cumsum(action[..., 1], axis=0) % 3).astype(int)
    seen, first = jax.nn.one_hot(place, E), jnp.zeros((20, 32), bool).at[0].set(True)

    def loss(both, key):
        model, decoder = both
        found = model.filter(model.initial(32), action, seen, first, key=key)
        told = jax.vmap(jax.vmap(decoder))(found.belief.features)
        dynamics, representation = kl_losses(found.posterior, found.prior, 0.0)
        error = jnp.sum((told - seen) ** 2, axis=-1)
        return jnp.mean(20.0 * error + dynamics + 0.1 * representation)

    both = model, Linear(model.n_deter + model.n_stoch, E, key=KEYS[1])
    arrays, static = eqx.partition(both, eqx.is_array)
    optimizer = optax.adam(1e-2)

    @jax.jit
    def learn(arrays, key):
        def update(at, key):
            arrays, opt = at
            grads = jax.grad(lambda x: loss(eqx.combine(x, static), key))(arrays)
            change, opt = optimizer.update(grads, opt)
            return (optax.apply_updates(arrays, change), opt), None

        return jax.lax.scan(update, (arrays, optimizer.init(arrays)), jax.random.split(key, 600))[0][0]

    model, decoder = eqx.combine(learn(arrays, KEYS[2]), static)
    believed = model.filter(model.initial(32), action, seen, first, key=KEYS[3]).belief
    guessed, _ = model.imagine(jax.tree.map(lambda x: x[-2], believed), action[-1], key=KEYS[4])
    told = jax.vmap(decoder)(guessed.features)
    assert float(jnp.mean(jnp.argmax(told, axis=-1) == place[-1])) > 0.9
