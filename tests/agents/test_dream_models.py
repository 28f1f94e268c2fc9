"""What PlaNet and the Dreamers learn their models by, against the sums written out."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import expit, log_softmax

import small
from forethought.models.latent import Regression, Unsquashed
from forethought.models.rssm import LatentBelief
from forethought.nets.latents import OneHots
from forethought.types import Box, EnvSpec
from tests.agents.dreamt import ACTIONS, KEY, F, a_window, an_agent, loss_of, state_of, stirred, table

WINDOW = a_window("numbers")
WINDOW = WINDOW._replace(reward=2.0 * WINDOW.reward)
ENDS = 1.0 - np.asarray(WINDOW.terminated)


def believed(name, window=WINDOW):
    """A model away from zeros, what it believes of the window, and what it says of that."""
    state = state_of(name, "numbers", **({"predict_ends": True} if name == "dreamer-v1" else {}))
    model = stirred(state.model)
    found, seen = jax.jit(lambda model: model.filter(model.initial(3), window, key=KEY))(model)
    told = jax.vmap(model.decoder)(found.belief.deter, found.belief.stoch)
    said = {
        "vector": np.asarray(told.vector),
        "reward": np.asarray(model.reward(found.belief.features).mean()),
        "ends": None
        if model.going_on is None
        else np.asarray(jax.vmap(jax.vmap(model.going_on))(found.belief.features)),
    }
    return model, found, seen, said


def divergence(found):
    """KL of the posterior from the prior [t, n]."""
    if isinstance(found.posterior, OneHots):
        p, q = (log_softmax(np.asarray(x.logits, np.float64), axis=-1) for x in (found.posterior, found.prior))
        return np.sum(np.exp(p) * (p - q), axis=(-2, -1))
    (m, s), (n, r) = (map(np.asarray, x) for x in (found.posterior, found.prior))
    return np.sum(np.log(r / s) + (s**2 + (m - n) ** 2) / (2 * r**2) - 0.5, axis=-1)


def squared(said):
    return np.sum((said["vector"] - np.asarray(WINDOW.obs)) ** 2, axis=-1).mean()


def surprise(said, goes_on):
    """Of the ends, whose probability of going on is taught to be that."""
    p = expit(said["ends"][..., 0].astype(np.float64))
    return -np.mean(goes_on * np.log(p) + (1 - goes_on) * np.log(1 - p))


@pytest.mark.parametrize("free", ["below", "above"])
def test_the_model_of_v1(free):
    """The mean divergence may be ``free_nats``; whatever is seen and earned is normal with variance 1."""
    model, found, seen, said = believed("dreamer-v1")
    mean = divergence(found).mean()
    nats = 0.5 * mean if free == "below" else 1.5 * mean
    agent = an_agent("dreamer-v1", free_nats=float(nats), predict_ends=True, ends_weight=7.0)
    total, info = agent.model_loss(model, found, seen, WINDOW)
    assert divergence(found).min() < nats < divergence(found).max() or free == "above"
    reward = 0.5 * np.mean((said["reward"] - np.asarray(WINDOW.reward)) ** 2)
    ends = surprise(said, 0.99 * ENDS)
    np.testing.assert_allclose(total, 0.5 * squared(said) + reward + 7.0 * ends + max(mean, nats), rtol=1e-4)
    np.testing.assert_allclose(info["divergence"], mean, rtol=1e-4)


@pytest.mark.parametrize("rewards", ["tanh", "as they are"])
def test_the_model_of_v2(rewards):
    model, found, seen, said = believed("dreamer-v2")
    agent = an_agent("dreamer-v2", rewards=rewards, ends_weight=7.0, kl_weight=0.3, kl_balance=0.8)
    total, _ = agent.model_loss(model, found, seen, WINDOW)
    earned = np.tanh(WINDOW.reward) if rewards == "tanh" else np.asarray(WINDOW.reward)
    reward = 0.5 * np.mean((said["reward"] - earned) ** 2)
    ends = surprise(said, 0.99 * ENDS)
    expected = 0.5 * squared(said) + reward + 7.0 * ends + 0.3 * divergence(found).mean()
    np.testing.assert_allclose(total, expected, rtol=1e-4)


@pytest.mark.parametrize("rewards", ["tanh", "as they are"])
def test_v2s_world_model_speaks_of_rewards_as_they_are(rewards):
    agent, state = an_agent("dreamer-v2", rewards=rewards), state_of("dreamer-v2", rewards=rewards)
    learned, said = (m.reward(jnp.ones((1, sum(agent.sizes)))).mean() for m in (state.model, agent.world_model(state)))
    np.testing.assert_allclose(np.tanh(said) if rewards == "tanh" else said, learned, rtol=1e-5)


def test_large_rewards_are_told_as_the_largest_that_can_be():
    large = Unsquashed(Regression(table(np.full((F, 1), 1.7))))
    assert float(large(jnp.eye(F)[0]).mean()) == pytest.approx(np.arctanh(0.9999), rel=1e-3)


def test_numbers_beyond_the_bounds_are_cut_off_and_have_a_gradient():
    """An action of 2 is carried out as 1, and a policy that climbs still learns from it which way is up."""
    model, action = state_of("dreamer-v3").model, jnp.array([[-2.0], [0.3], [4.0]])
    np.testing.assert_allclose(model.as_vectors(action), [[-1.0], [0.3], [1.0]])
    slope = jax.grad(lambda a: jnp.sum(model.as_vectors(a)))(action)
    np.testing.assert_allclose(slope, [[0.5], [1.0], [0.25]])


@pytest.mark.parametrize("nats", [0.0, 100.0])
def test_four_fifths_of_v2s_divergence_teach_the_prior(nats):
    """And a fifth the posterior; where both are within the free nats, nothing."""
    model, found, seen, _ = believed("dreamer-v2")
    agent = an_agent("dreamer-v2", kl_weight=1.0, kl_balance=0.8, free_nats=nats)

    def loss(prior, posterior):
        both = found._replace(prior=OneHots(prior), posterior=OneHots(posterior))
        return agent.model_loss(model, both, seen, WINDOW)[0]

    def plain(prior, posterior):
        return jnp.mean(OneHots(posterior).kl(OneHots(prior)))

    at = found.prior.logits, found.posterior.logits
    slopes, wanted = (jax.grad(f, (0, 1))(*at) for f in (loss, plain))
    for slope, want, share in zip(slopes, wanted, (0.8, 0.2), strict=True):
        np.testing.assert_allclose(slope, share * want if nats == 0.0 else 0.0 * want, rtol=1e-3, atol=1e-6)


def test_a_window_of_v2_begins_as_an_episode_does():
    """What was done before it is not known."""
    state = state_of("dreamer-v2")
    agent, nets = an_agent("dreamer-v2"), stirred(state.nets)
    loss = jax.jit(lambda window: agent.loss(state.slow, window, nets, key=KEY)[0])
    action = WINDOW.prev_action
    assert float(loss(WINDOW)) == float(loss(WINDOW._replace(prev_action=action.at[0].set(0.9))))
    assert float(loss(WINDOW)) != float(loss(WINDOW._replace(prev_action=action.at[1].set(0.9))))


def test_the_model_of_planet():
    """Each divergence beyond the free nats counts by itself."""
    model, found, _, said = believed("planet")
    nats = float(np.median(divergence(found)))
    agent = an_agent("planet", free_nats=nats, reward_weight=7.0)
    total, info = agent.loss(WINDOW, model, key=KEY)
    beyond = np.maximum(divergence(found) - nats, 0.0).mean()
    assert beyond > 1.01 * max(divergence(found).mean() - nats, 0.0)
    reward = 0.5 * np.mean((said["reward"] - np.asarray(WINDOW.reward)) ** 2)
    np.testing.assert_allclose(total, 0.5 * squared(said) + 7.0 * reward + beyond, rtol=1e-4)
    np.testing.assert_allclose(info["divergence"], divergence(found).mean(), rtol=1e-4)


def test_pictures_weigh_as_is_set():
    picture = EnvSpec("toy", Box((16, 16, 1), "uint8"), ACTIONS["numbers"])
    one, four = (small.make_agent("planet", picture, image_weight=weight) for weight in (1.0, 4.0))
    model, window = one.init(key=KEY).model, a_window("numbers")
    window = window._replace(obs=jax.random.randint(KEY, (*window.first.shape, 16, 16, 1), 0, 256).astype(jnp.uint8))
    (less, info), (more, _) = (jax.jit(partial(agent.loss, window))(model, key=KEY) for agent in (one, four))
    assert info["image_loss"] > 1.0
    np.testing.assert_allclose(more - less, 1.5 * info["image_loss"], rtol=1e-4)


@pytest.mark.slow
def test_the_model_of_v3_and_the_sum_of_all_losses():
    model, found, seen, said = believed("dreamer-v3")
    nats = float(np.median(divergence(found)))
    agent = an_agent("dreamer-v3", free_nats=nats)
    losses = agent.model_losses(model, found, seen, WINDOW)
    for name in ("dynamics", "representation"):  # each by itself, as PlaNet
        np.testing.assert_allclose(losses[name], np.maximum(divergence(found), nats), rtol=1e-3)
    symlog = np.sign(WINDOW.obs) * np.log1p(np.abs(WINDOW.obs))
    np.testing.assert_allclose(losses["vector"], np.sum((said["vector"] - symlog) ** 2, axis=-1), rtol=1e-4)
    np.testing.assert_allclose(losses["going_on"].mean(), surprise(said, (1 - 1 / 333) * ENDS), rtol=1e-3)
    np.testing.assert_allclose(
        losses["reward"], -model.reward(found.belief.features).log_prob(WINDOW.reward), rtol=1e-4
    )

    agent = an_agent("dreamer-v3", dynamics_weight=0.7, representation_weight=0.2, replay_value_weight=0.4)
    state = state_of("dreamer-v3")
    told = jax.jit(loss_of(agent, state, "numbers"))(stirred(state.nets))
    weights = {"dynamics": 0.7, "representation": 0.2, "replay_value": 0.4}
    parts = {name.removesuffix("_loss"): float(x) for name, x in told.items() if name.endswith("_loss")}
    expected = {"vector", "reward", "going_on", "dynamics", "representation", "actor", "critic", "replay_value"}
    assert set(parts) == expected
    np.testing.assert_allclose(told["total"], sum(weights.get(k, 1.0) * x for k, x in parts.items()), rtol=1e-4)


def test_the_probability_of_going_on_has_the_discount_taken_out():
    state = state_of("dreamer-v3")
    model = stirred(state.model)
    features = jax.random.normal(KEY, (50, sum(an_agent("dreamer-v3").sizes)))
    p = expit(np.asarray(jax.vmap(model.going_on)(features))[:, 0])
    np.testing.assert_allclose(model.continues(features), np.minimum(p / (1 - 1 / 333), 1.0), rtol=1e-5)
    for_ever = state_of("dreamer-v1").model
    assert (np.asarray(for_ever.continues(features)) == 1.0).all()
    belief = LatentBelief(features[:, :512], features[:, 512:])
    after, outcome = model.step(belief, jnp.zeros((50, 1)), key=KEY)
    np.testing.assert_allclose(outcome.continues, model.continues(after.features), rtol=1e-5)  # of where it leads
    np.testing.assert_allclose(outcome.reward, model.reward(after.features).mean(), rtol=1e-4)


def test_where_an_episode_begins_what_was_believed_and_done_before_is_forgotten():
    model = stirred(state_of("dreamer-v1").model)
    seen, action = jnp.array([[0.3, -0.8]] * 2), jnp.array([[0.9], [0.9]])
    before = jax.tree.map(lambda x: x + 0.7, model.initial(2))
    after = model.observe(before, action, seen, jnp.array([True, False]), key=KEY)
    fresh = model.observe(model.initial(2), 0.0 * action, seen, jnp.array([False, False]), key=KEY)
    for one, other in zip(after, fresh, strict=True):
        np.testing.assert_allclose(one[0], other[0], rtol=1e-5, atol=1e-6)
        assert not np.allclose(one[1], other[1])


def test_what_v3_draws_is_shown_in_the_units_of_the_observation():
    model = stirred(state_of("dreamer-v3").model)
    belief = jax.tree.map(lambda x: x + 0.7, model.initial(2))
    told = np.asarray(model.decoder(belief.deter, belief.stoch).vector)
    assert np.abs(told).min() > 0.05  # else it would hardly differ
    np.testing.assert_allclose(model.decode(belief), np.sign(told) * np.expm1(np.abs(told)), rtol=1e-4)


def test_of_v3_nothing_is_earned_or_worth_anything_at_first():
    """Bins go up to 5e8: whatever is said at random is far off."""
    state, features = state_of("dreamer-v3"), jax.random.normal(KEY, (5, sum(an_agent("dreamer-v3").sizes)))
    for says in (state.nets.model.reward, state.nets.critic, state.slow):
        np.testing.assert_array_equal(says(features).mean(), 0.0)
