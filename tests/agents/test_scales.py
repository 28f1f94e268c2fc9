"""Policies and values at unit scale, whatever the units of the environment."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from forethought.agents.base import Seen
from forethought.agents.dyna.mbpo import MBPO, MBPOConfig
from forethought.agents.free.sac import SAC, ActorCritic, ActorCriticConfig, SACConfig, q_values
from forethought.agents.free.scales import Scales, fit_scales, preserve_outputs
from forethought.models.fit import FitConfig
from forethought.models.normalizer import identity
from forethought.replay.moments import holding
from forethought.training.schedule import Schedule
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
    return held(Transition(obs, action, reward, next_obs, ended, jnp.zeros(n, bool)))


def held(rows):
    """A replay of these rows, of which as much again is free, and filled with what must not count."""
    n = rows.reward.shape[0]
    more = jax.tree.map(lambda x: jnp.full_like(x, True if x.dtype == bool else 1e6), rows)
    replay = holding(jax.tree.map(lambda *x: jnp.concatenate(x), rows, more), 2 * n)
    return eqx.tree_at(lambda r: r.ends.size, replay, jnp.array(n))


def test_the_scales_by_hand():
    replay = filled()
    t = jax.tree.map(lambda x: np.asarray(x[:64], np.float64), replay.all())
    scales = fit_scales(replay, 0.9)
    np.testing.assert_allclose(scales.obs.mean, t.obs.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(scales.obs.std, t.obs.std(axis=0), rtol=1e-5)
    value = t.reward.mean() / (1 - 0.9 * (1 - t.terminated.mean()))
    assert float(scales.value) == pytest.approx(value, rel=1e-5)
    # What a critic has to learn of a step: what it pays and what follows, less what is expected of both.
    surplus = t.reward + 0.9 * (1 - t.terminated) * value - value
    assert abs(surplus.mean()) < 1e-6
    assert float(scales.unit) == pytest.approx(surplus.std(), rel=1e-5)
    rewards = scales.reward(replay.all().reward[:64], replay.all().terminated[:64], 0.9)
    np.testing.assert_allclose(rewards, surplus / surplus.std(), rtol=1e-4, atol=1e-5)


def test_a_reward_that_never_varies_has_its_size_for_a_unit():
    rows = jax.tree.map(lambda x: x[:64], filled(terminated=0.0).all())
    for size in (1.0, -1e6):
        scales = fit_scales(held(rows._replace(reward=jnp.full(64, size))), 0.99)
        assert float(scales.unit) == pytest.approx(abs(size), rel=1e-6)
        assert float(scales.value) == pytest.approx(100.0 * size, rel=1e-4)
        assert not scales.known
    assert float(fit_scales(held(rows._replace(reward=jnp.zeros(64))), 0.99).unit) == 1.0
    # Nor is rounding a spread.
    shaken = fit_scales(held(rows._replace(reward=jnp.where(jnp.arange(64) % 2 == 0, 1.0, 1.0 + 1e-7))), 0.99)
    assert (float(shaken.unit), bool(shaken.known)) == (pytest.approx(1.0), False)


@pytest.mark.parametrize("unit", [1e-3, 1e3])
def test_what_is_found_late_does_not_depend_on_the_units_either(unit):
    """No reward at first: temperature and critics go on at unit scale when the first one comes."""
    made = ActorCritic(ActorCriticConfig(hidden=(4,), normalize=True), SPEC)
    rows = jax.tree.map(lambda x: x[:64], filled(terminated=0.0).all())
    state = made.rescaled(made.init(key=jax.random.key(0)), held(rows._replace(reward=jnp.zeros(64))))
    state = state._replace(log_alpha=state.log_alpha - 1.5)  # learned meanwhile
    paid = held(rows._replace(reward=jnp.where(jnp.arange(64) == 5, unit, 0.0)))
    found = made.rescaled(state, paid)
    assert bool(found.scales.known)
    assert float(jnp.exp(found.log_alpha) / found.scales.unit) == pytest.approx(np.exp(-1.5), rel=1e-5)
    jax.tree.map(np.testing.assert_array_equal, found.critics, state.critics)
    again = made.rescaled(found, paid)
    assert float(again.log_alpha) == float(found.log_alpha)
    # What was found is not forgotten with the transition that showed it.
    after = made.rescaled(found, held(rows._replace(reward=jnp.zeros(64))))
    assert bool(after.scales.known)
    assert float(after.scales.unit) == float(found.scales.unit)
    assert float(after.log_alpha) == float(found.log_alpha)


def test_the_size_of_what_ends_counts_where_rewards_hardly_vary():
    """1 while alive: all that is to be learned is when the world ends."""
    rows = jax.tree.map(lambda x: x[:64], filled(terminated=0.1).all())
    rows = rows._replace(reward=1.0 - 1e-3 * rows.action[:, 0] ** 2)
    scales = fit_scales(held(rows), 0.99)
    p = float(rows.terminated.mean())
    assert float(scales.unit) == pytest.approx(0.99 / (1 - 0.99 * (1 - p)) * np.sqrt(p * (1 - p)), rel=1e-2)
    rewards = np.asarray(scales.reward(rows.reward, rows.terminated, 0.99))
    assert np.abs(rewards).max() < 1.1 / np.sqrt(p)


def test_without_discount_and_without_end_the_value_is_finite():
    scales = fit_scales(filled(terminated=0.0), 1.0)
    mean = float(filled(terminated=0.0).all().reward[:64].mean())
    assert float(scales.value) == pytest.approx(1000.0 * mean, rel=1e-4)


@pytest.fixture(scope="module")
def agent():
    return SAC(SACConfig(hidden=(8, 8), batch_size=16, updates_per_step=6, normalize=True), SPEC)


@pytest.fixture(scope="module")
def learned(agent):
    """The same world in unit scale and in units of its own, learned with the same random numbers."""

    @jax.jit
    def learn(replay):
        state, _, _ = agent.rescale(agent.init(key=jax.random.key(0)), replay, step=jnp.array(1), key=KEY)
        return agent.update(state, replay, step=jnp.array(1), key=KEY)

    return {in_units: learn(filled(in_units=in_units)) for in_units in (False, True)}


def test_what_is_learned_does_not_depend_on_the_units(agent, learned):
    (plain, _, told), (scaled, _, told_in_units) = learned[False], learned[True]
    np.testing.assert_allclose(plain.log_alpha + np.log(PAID), scaled.log_alpha, rtol=1e-4)
    for name in ("actor", "critics", "targets"):
        a, b = jax.tree.leaves(getattr(plain, name)), jax.tree.leaves(getattr(scaled, name))
        for x, y in zip(a, b, strict=True):
            np.testing.assert_allclose(x, y, rtol=2e-3, atol=2e-4)
    assert float(told_in_units["q"]) == pytest.approx(PAID * float(told["q"]), rel=1e-3)
    obs = jax.random.normal(jax.random.key(9), (5, 2))
    for explore in (False, True):
        a, _, _ = agent.decide(plain, Seen(obs), key=KEY, explore=explore)
        b, _, _ = agent.decide(scaled, Seen(SHIFT + UNIT * obs), key=KEY, explore=explore)
        np.testing.assert_allclose(a, b, atol=2e-3)
        assert np.ptp(np.asarray(b)) > 1e-3  # it sees the observations


def test_a_change_of_units_is_the_same_problem():
    """Critics that give the same values in other units have the same errors, also at termination."""
    made = ActorCritic(ActorCriticConfig(hidden=(4,), temperature=0.3), SPEC)
    state, batch = made.init(key=jax.random.key(0)), filled(terminated=0.5).sample(32, key=KEY)
    old = state.scales._replace(known=jnp.array(True))
    new = Scales(identity(2), jnp.array(7.0), jnp.array(5.0), jnp.array(True))

    def told(critics):
        return tuple(eqx.tree_at(lambda c: c.net, c, preserve_outputs(c.net, old, new)) for c in critics)

    scaled = state._replace(critics=told(state.critics), targets=told(state.targets), scales=new)
    learn = jax.jit(made.learn)
    (_, plain), (_, other) = learn(state, batch, key=KEY), learn(scaled, batch, key=KEY)
    assert 5.0**2 * float(other["critic_loss"]) == pytest.approx(float(plain["critic_loss"]), rel=1e-4)
    assert float(other["q"]) == pytest.approx(float(plain["q"]), rel=1e-4, abs=1e-4)
    assert float(other["entropy"]) == pytest.approx(float(plain["entropy"]), rel=1e-4)
    assert float(other["alpha"]) == pytest.approx(0.3)  # in units of reward, as it was set


@pytest.mark.parametrize("temperature", [None, 0.3])
def test_values_stay_what_they_were_where_the_scales_move(temperature):
    made = ActorCritic(ActorCriticConfig(hidden=(8, 8), normalize=True, temperature=temperature), SPEC)
    fresh, rescaled = made.init(key=jax.random.key(0)), jax.jit(made.rescaled)
    fresh = fresh._replace(targets=jax.tree.map(lambda x: x + 0.05, fresh.targets))
    first = rescaled(fresh, filled())
    for name in ("actor", "critics", "targets"):  # nothing was learned yet: they begin at unit scale
        jax.tree.map(np.testing.assert_array_equal, getattr(first, name), getattr(fresh, name))
    alpha = float(first.scales.unit) if temperature is None else temperature
    assert float(jnp.exp(first.log_alpha)) == pytest.approx(alpha)
    rows = jax.tree.map(lambda x: x[:64], filled(terminated=0.4).all())
    second = rescaled(first, held(rows._replace(obs=3.0 * rows.obs - 2.0, reward=5.0 * rows.reward + 1.0)))
    assert abs(float(second.scales.unit / first.scales.unit) - 1.0) > 0.5
    for name in ("critics", "targets"):
        before, after = (
            state.scales.value + state.scales.unit * q_values(getattr(state, name), rows.obs, rows.action)
            for state in (first, second)
        )
        assert np.ptp(np.asarray(before)) > 0.1
        np.testing.assert_allclose(before, after, rtol=1e-4, atol=1e-3)
    jax.tree.map(np.testing.assert_array_equal, second.actor, first.actor)
    assert float(second.log_alpha) == float(first.log_alpha)


def test_scales_are_taken_before_the_updates_that_see_them():
    scale, update = SAC(SACConfig(random_steps=500, normalize=True), SPEC).phases()
    assert (scale.name, update.name) == ("rescale", "update")
    assert scale.start == update.start == 500
    assert [Schedule([scale], 1).due(scale, step) for step in (499, 500, 501, 749, 750)] == [0, 1, 0, 0, 1]
    assert SAC(SACConfig(random_steps=0, normalize=True), SPEC).phases()[0].start == 1  # of none there are no scales


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
    after, _, _ = jax.jit(agent.rollout)(state, replay, step=jnp.array(4), key=KEY)
    wanted = fit_scales(replay, config.sac.discount)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), after.sac.scales, wanted)
    # The imagined actions are those of the policy that sees the observations at unit scale.
    t = jax.tree.map(lambda x: x[:8], after.imagined.data)
    mean, log_std = jax.vmap(after.sac.actor)(wanted.obs.normalize(t.obs))
    u = np.arctanh(np.asarray(t.action, np.float64))
    assert np.all(np.abs(u - mean) < 5.0 * np.exp(log_std))
