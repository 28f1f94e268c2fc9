"""Policies and values at unit scale, whatever the units of the environment."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from forethought.agents.dyna.mbpo import MBPO, MBPOConfig
from forethought.agents.free.sac import SAC, ActorCritic, ActorCriticConfig, SACConfig, Scales, fit_scales
from forethought.models.fit import FitConfig
from forethought.models.normalizer import identity
from forethought.replay import ring
from forethought.types import Box, EnvSpec, Transition

SPEC = EnvSpec("toy", Box((2,)), Box((1,)))
KEY = jax.random.key(3)
# Kelvin and watts: a shift of 290 and a spread of a few; rewards in hundreds.
SHIFT, UNIT, PAID = jnp.array([290.0, -5000.0]), jnp.array([4.0, 800.0]), 250.0


def filled(n=64, terminated=0.1, in_units=False):
    keys = jax.random.split(jax.random.key(1), 5)
    obs, next_obs = (jax.random.normal(key, (n, 2)) for key in keys[:2])
    action = jax.random.uniform(keys[2], (n, 1), minval=-1.0, maxval=1.0)
    reward = 2.0 + jax.random.normal(keys[3], (n,))
    ended = jax.random.bernoulli(keys[4], terminated, (n,))
    if in_units:
        obs, next_obs, reward = SHIFT + UNIT * obs, SHIFT + UNIT * next_obs, PAID * reward
    rows = Transition(obs, action, reward, next_obs, ended, jnp.zeros(n, bool))
    return ring.add(ring.create(jax.tree.map(lambda x: x[0], rows), 2 * n), rows)  # half of it is free


def test_the_scales_by_hand():
    replay = filled()
    t = jax.tree.map(lambda x: np.asarray(x[:64], np.float64), replay.data)
    scales = fit_scales(replay, 0.9)
    np.testing.assert_allclose(scales.obs.mean, t.obs.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(scales.obs.std, t.obs.std(axis=0), rtol=1e-5)
    assert float(scales.reward) == pytest.approx(t.reward.std(), rel=1e-5)
    value = t.reward.mean() / t.reward.std() / (1 - 0.9 * (1 - t.terminated.mean()))
    assert float(scales.value) == pytest.approx(value, rel=1e-5)


def test_a_reward_that_never_varies_keeps_its_unit():
    replay = filled(terminated=0.0)
    constant = jax.tree.map(lambda x: x, replay.data)._replace(reward=jnp.ones(128))
    scales = fit_scales(ring.Ring(constant, replay.cursor, replay.size, replay.limit), 0.99)
    assert float(scales.reward) == 1.0
    assert float(scales.value) == pytest.approx(100.0, rel=1e-4)


@pytest.fixture(scope="module")
def agent():
    return SAC(SACConfig(hidden=(8, 8), batch_size=16, updates_per_step=6, normalize=True), SPEC)


@pytest.fixture(scope="module")
def learned(agent):
    """The same world in unit scale and in units of its own, learned with the same random numbers."""

    @jax.jit
    def learn(replay):
        state, _ = agent.rescale(agent.init(key=jax.random.key(0)), replay, step=jnp.array(1), key=KEY)
        return agent.update(state, replay, step=jnp.array(1), key=KEY)

    return {in_units: learn(filled(in_units=in_units)) for in_units in (False, True)}


def test_what_is_learned_does_not_depend_on_the_units(agent, learned):
    (plain, told), (scaled, told_in_units) = learned[False], learned[True]
    for name in ("actor", "critics", "targets", "log_alpha"):
        a, b = jax.tree.leaves(getattr(plain, name)), jax.tree.leaves(getattr(scaled, name))
        for x, y in zip(a, b, strict=True):
            np.testing.assert_allclose(x, y, rtol=2e-3, atol=2e-4)
    assert float(told_in_units["q"]) == pytest.approx(PAID * float(told["q"]), rel=1e-3)
    obs, first = jax.random.normal(jax.random.key(9), (5, 2)), jnp.ones(5, bool)
    for explore in (False, True):
        a, _ = agent.act(plain, (), obs, first, key=KEY, explore=explore)
        b, _ = agent.act(scaled, (), SHIFT + UNIT * obs, first, key=KEY, explore=explore)
        np.testing.assert_allclose(a, b, atol=2e-3)
        assert np.ptp(np.asarray(b)) > 1e-3  # it sees the observations


@pytest.mark.slow
def test_the_value_is_an_offset_and_no_other_problem():
    """A critic that is lower by the offset everywhere has the same errors, also at termination."""
    made = ActorCritic(ActorCriticConfig(hidden=(4,)), SPEC)
    state, batch = made.init(key=jax.random.key(0)), ring.sample(filled(terminated=0.5), 32, key=KEY)
    lower = jax.tree.map(lambda x: x, state)

    def shifted(critics, by):
        import equinox as eqx

        return tuple(eqx.tree_at(lambda c: c.net.layers[-1].bias, c, c.net.layers[-1].bias - by) for c in critics)

    lower = lower._replace(
        critics=shifted(state.critics, 7.0),
        targets=shifted(state.targets, 7.0),
        scales=Scales(identity(2), jnp.array(1.0), jnp.array(7.0)),
    )
    _, plain = made.learn(state, batch, key=KEY)
    _, offset = made.learn(lower, batch, key=KEY)
    for name in ("critic_loss", "q", "entropy"):
        assert float(offset[name]) == pytest.approx(float(plain[name]), rel=1e-4, abs=1e-4)


def test_without_normalisation_nothing_is_scaled():
    agent = SAC(SACConfig(hidden=(8,)), SPEC)
    assert [phase.name for phase in agent.phases()] == ["update"]
    state = agent.init(key=jax.random.key(0))
    jax.tree.map(np.testing.assert_array_equal, agent.learner.rescaled(state, filled(in_units=True)), state)


@pytest.mark.slow
def test_imagined_rollouts_act_at_the_same_scale(monkeypatch):
    """MBPO takes the scales with each fit, before its policy acts in the model."""
    config = MBPOConfig(
        model_every=4, rollouts_per_step=2, epoch_steps=4, random_steps=4, model_hidden=(8,), members=2, elites=1,
        sac=ActorCriticConfig(hidden=(8,), normalize=True), fit=FitConfig(max_epochs=1),
    )  # fmt: skip
    agent = MBPO(config, SPEC)
    replay, state = filled(in_units=True), agent.init(key=jax.random.key(0))
    after, _ = jax.jit(agent.rollout)(state, replay, step=jnp.array(4), key=KEY)
    wanted = fit_scales(replay, config.sac.discount)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), after.sac.scales, wanted)
    # The imagined actions are those of the policy that sees the observations at unit scale.
    t = jax.tree.map(lambda x: x[:8], after.imagined.data)
    mean, log_std = jax.vmap(after.sac.actor)(wanted.obs.normalize(t.obs))
    u = np.arctanh(np.asarray(t.action, np.float64))
    assert np.all(np.abs(u - mean) < 5.0 * np.exp(log_std))
