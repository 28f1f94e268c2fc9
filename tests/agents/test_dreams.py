"""What Dreamer V1, V2 and V3 make of a dream, against the sums written out."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from forethought.agents.dream.base import dream
from forethought.models.rssm import LatentBelief
from forethought.nets.twohot import symexp_bins, two_hot
from forethought.replay import moments
from forethought.training.program import empty_moment
from forethought.types import TimeStep
from tests.agents.dreamt import (
    ACTIONS,
    KEY,
    MODULES,
    F,
    H,
    N,
    a_dream,
    a_model,
    a_policy,
    a_window,
    an_agent,
    loss_of,
    says,
    state_of,
    stirred,
)

RNG = np.random.default_rng(0)
REWARD, VALUE, SLOW = RNG.normal(size=(3, H + 1, N))  # of each moment
CONTINUES = RNG.uniform(0.6, 1.0, size=(H + 1, N))
ENDED = np.array([False, True, False])
GAMMA, LAMBDA = 0.9, 0.7
SETTINGS = {"discount": GAMMA, "return_lambda": LAMBDA, "horizon": H}
OUT = {"numbers": RNG.normal(size=(H + 1, N, 2)), "choices": RNG.normal(size=(H + 1, N, 2))}
ACTION = {
    "numbers": RNG.uniform(-0.9, 0.9, (H, N, 1)).astype(np.float32),
    "choices": RNG.integers(0, 2, (H, N)).astype(np.int32),
}


def mixed(reward, discount, value):
    """The mean of all n-step returns, weighted by lambda: of rows [t], and values [t + 1] of where each leads."""
    steps, found = len(reward), []
    for t in range(steps):
        returns, earned, share = [], 0.0, 1.0
        for k in range(t, steps):
            earned = earned + share * reward[k]
            share = share * discount[k]
            returns.append(earned + share * value[k + 1])
        weights = [(1 - LAMBDA) * LAMBDA**i for i in range(len(returns) - 1)] + [LAMBDA ** (len(returns) - 1)]
        found.append(sum(w * x for w, x in zip(weights, returns, strict=True)))
    return np.array(found)


def before(discount):
    """The product of all discounts before each moment."""
    return np.stack([np.prod(discount[:t], axis=0) for t in range(len(discount))])


def v1_losses(ended, predicts=True):
    agent = an_agent("dreamer-v1", predict_ends=predicts, **SETTINGS)
    critic = says("dreamer-v1", VALUE)
    held = MODULES["dreamer-v1"].Nets(
        a_model(says("dreamer-v1", REWARD), CONTINUES, GAMMA), a_policy("dreamer-v1", "numbers", OUT["numbers"]), critic
    )
    lived = a_dream(REWARD[1:], CONTINUES[1:], ACTION["numbers"])
    return agent.dream_losses(critic, held, lived, jnp.asarray(ended))


def test_the_losses_of_v1_by_hand():
    """Moments 1 to H are dreamt; a value counts from a moment's own reward on, and its discount leads to the next."""
    discount = GAMMA * CONTINUES[1:]
    target = mixed(REWARD[1:-1], discount[:-1], VALUE[1:])
    weight = before(discount[:-1])
    critic = 0.5 * np.mean(weight * (VALUE[1:-1] - target) ** 2)
    np.testing.assert_allclose(v1_losses([False] * N), (-np.mean(weight * target), critic), rtol=1e-5)
    weight = weight * ~ENDED  # what comes after the end of the world does not count
    critic = 0.5 * np.mean(weight * (VALUE[1:-1] - target) ** 2)
    np.testing.assert_allclose(v1_losses(ENDED), (-np.mean(weight * target), critic), rtol=1e-5)


@pytest.mark.parametrize("kind", ACTIONS)
def test_the_losses_of_v2_by_hand(kind):
    """Values are those of the slow critic; where actions are numbers, returns are climbed, else their likelihood."""
    agent = an_agent("dreamer-v2", kind, entropy_weight=0.3, **SETTINGS)
    model = a_model(says("dreamer-v2", REWARD), CONTINUES, GAMMA, kind)
    actor = a_policy("dreamer-v2", kind, OUT[kind])
    nets = MODULES["dreamer-v2"].Nets(model, actor, says("dreamer-v2", VALUE))
    lived = a_dream(REWARD[1:], CONTINUES[1:], ACTION[kind])
    found = agent.dream_losses(nets, model, says("dreamer-v2", SLOW), lived, jnp.asarray(ENDED))

    discount = GAMMA * np.concatenate([1.0 - ENDED[None], CONTINUES[1:]])
    target = mixed(REWARD[:-1], discount[:-1], SLOW)
    weight = before(discount)
    policy = actor(lived.features[:-2])
    if kind == "choices":
        log_p = np.asarray(policy.log_prob(lived.action[:-1]))
        objective = log_p * (target[1:] - SLOW[:-2])
    else:
        objective = target[1:]
    climbed = objective + 0.3 * np.asarray(policy.entropy())
    critic = 0.5 * np.mean(weight[:-1] * (VALUE[:-1] - target) ** 2)
    np.testing.assert_allclose(found, (-np.mean(weight[:-2] * climbed), critic), rtol=1e-4)


@pytest.mark.parametrize("kind", ACTIONS)
def test_the_losses_of_v3_by_hand(kind):
    """Rewards are those that follow; the returns' range is brought up to date before it divides the advantages."""
    agent = an_agent("dreamer-v3", kind, entropy_weight=0.3, range_rate=0.25, **SETTINGS)
    actor = a_policy("dreamer-v3", kind, OUT[kind])
    model = a_model(says("dreamer-v2", REWARD), CONTINUES, GAMMA, kind)
    nets = MODULES["dreamer-v3"].Nets(model, actor, says("dreamer-v3", VALUE))
    state = MODULES["dreamer-v3"].DreamerV3State(nets, says("dreamer-v3", SLOW), (), jnp.array(-6.0), jnp.array(3.0))
    lived = a_dream(REWARD[1:], CONTINUES[1:], ACTION[kind])
    losses, returns, low, high = agent.dream_losses(state, nets, lived, jnp.asarray(CONTINUES[0]))

    discount = GAMMA * CONTINUES
    target = mixed(REWARD[1:], discount[1:], VALUE)
    np.testing.assert_allclose(returns, target, rtol=1e-3, atol=1e-3)
    ends = [0.75 * was + 0.25 * np.percentile(target, share) for was, share in ((-6.0, 5), (3.0, 95))]
    np.testing.assert_allclose((low, high), ends, rtol=1e-3)
    assert ends[1] - ends[0] > 1.5  # else the range would not count
    weight = np.cumprod(discount, axis=0)[:-1]
    policy = actor(lived.features[:-1])
    gain = np.asarray(policy.log_prob(lived.action)) * (target - VALUE[:-1]) / (ends[1] - ends[0])
    np.testing.assert_allclose(losses["actor"], -weight * (gain + 0.3 * policy.entropy()), rtol=5e-3, atol=2e-3)

    log_p = nets.critic(lived.features[:-1])
    log_p = np.asarray(jax.nn.log_softmax(log_p.logits))
    both = sum(np.asarray(two_hot(jnp.asarray(x, jnp.float32), symexp_bins())) for x in (target, SLOW[:-1]))
    np.testing.assert_allclose(losses["critic"], -weight * np.sum(both * log_p, axis=-1), rtol=5e-3)


def test_small_ranges_are_not_blown_up():
    agent = an_agent("dreamer-v3", entropy_weight=0.0, range_rate=1.0, **SETTINGS)
    nets = MODULES["dreamer-v3"].Nets(
        a_model(says("dreamer-v2", REWARD), CONTINUES, GAMMA),
        a_policy("dreamer-v3", "numbers", OUT["numbers"]),
        says("dreamer-v3", 0 * VALUE),
    )
    state = MODULES["dreamer-v3"].DreamerV3State(nets, nets.critic, (), jnp.array(0.0), jnp.array(0.0))
    lived = a_dream(1e-3 * REWARD[1:], CONTINUES[1:], ACTION["numbers"])
    losses, returns, low, high = agent.dream_losses(state, nets, lived, jnp.asarray(CONTINUES[0]))
    assert float(high - low) < 0.01
    weight = np.cumprod(GAMMA * CONTINUES, axis=0)[:-1]
    expected = -weight * np.asarray(nets.actor(lived.features[:-1]).log_prob(lived.action)) * np.asarray(returns)
    np.testing.assert_allclose(losses["actor"], expected, rtol=1e-3, atol=1e-6)


def test_the_replay_value_of_v3_by_hand():
    """Rewards that were earned, values that were dreamt; it stops where an episode ended, in whatever way."""
    agent, t = an_agent("dreamer-v3", **SETTINGS), H + 1
    dreamt, reward = RNG.normal(size=(2, t, N))
    no = np.zeros((t, N), bool)
    terminated, truncated, first = no.copy(), no.copy(), no.copy()
    terminated[2, 0] = truncated[3, 1] = first[2, 2] = True  # the last was broken off after its moment 1
    first[3, 0] = first[4, 1] = True
    window = TimeStep((), (), *(jnp.asarray(x) for x in (reward.astype(np.float32), first, terminated, truncated)))
    critic = says("dreamer-v3", VALUE)
    state = MODULES["dreamer-v3"].DreamerV3State((), says("dreamer-v3", SLOW), (), jnp.array(0.0), jnp.array(0.0))
    features = a_dream(REWARD[1:], CONTINUES[1:], ACTION["numbers"]).features
    found = agent.replay_value_loss(state, critic, features, window, jnp.asarray(dreamt.ravel(), jnp.float32))

    last = {0: 2, 1: 3, 2: 1}
    expected = np.zeros((t - 1, N))
    for i in range(N):
        for begin, end in ((0, last[i]), (last[i] + 1, t - 1)):
            discount = GAMMA * (1.0 - terminated[begin + 1 : end + 1, i])
            target = mixed(reward[begin + 1 : end + 1, i], discount, dreamt[begin : end + 1, i])
            for k, x in enumerate(target, begin):
                both = sum(np.asarray(two_hot(jnp.float32(v), symexp_bins())) for v in (x, SLOW[k, i]))
                log_p = jax.nn.log_softmax(critic(features[k, i]).logits)
                expected[k, i] = -np.sum(both * np.asarray(log_p))
    np.testing.assert_allclose(found, expected, rtol=5e-3)
    assert [found[last[i], i] for i in range(N)] == [0.0] * N  # nothing is said of where an episode ended


def test_a_dream_tells_of_the_moment_of_each_action_and_of_the_one_that_it_leads_to():
    model = a_model(says("dreamer-v1", REWARD), CONTINUES, GAMMA)
    begin = LatentBelief(*(jax.random.normal(KEY, (2, 3, n)) for n in (F - 2, 2)))
    lived = dream(model, lambda features, key: jnp.tanh(features[:, :1]), begin, 3, key=KEY)
    assert lived.features.shape == (4, 6, F)
    np.testing.assert_array_equal(lived.features[0], begin.features.reshape(6, F))
    np.testing.assert_allclose(lived.action, np.tanh(lived.features[:-1, :, :1]), rtol=1e-5)
    np.testing.assert_allclose(lived.reward, model.reward(lived.features[1:]).mean(), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(lived.continues, model.continues(lived.features[1:]), rtol=1e-4)


def losses_of_single_rewards(name, lived):
    """The sum of those of actor and critic, where values are 0, and a return is the reward that follows."""
    more = {"dreamer-v1": {}, "dreamer-v2": {"entropy_weight": 0.3}}
    more["dreamer-v3"] = {"entropy_weight": 0.3, "range_rate": 0.25, "elder": True}
    agent = an_agent(name, discount=GAMMA, return_lambda=0.0, horizon=H, **more[name])
    model, nothing = a_model(says("dreamer-v1", REWARD), CONTINUES, GAMMA), says(name, 0 * VALUE)
    nets = MODULES[name].Nets(model, a_policy(name, "numbers", OUT["numbers"]), nothing)
    if name == "dreamer-v1":
        return sum(agent.dream_losses(nothing, nets, lived, jnp.asarray(ENDED)))
    if name == "dreamer-v2":
        return sum(agent.dream_losses(nets, model, nothing, lived, jnp.asarray(ENDED)))
    state = MODULES[name].DreamerV3State(nets, nothing, (), jnp.array(-6.0), jnp.array(3.0))
    losses = agent.dream_losses(state, nets, lived, jnp.asarray(CONTINUES[0], jnp.float32))[0]
    return jnp.mean(losses["actor"]) + jnp.mean(losses["critic"])


@pytest.mark.parametrize("name", MODULES)
def test_nothing_is_climbed_but_returns(name):
    """Not how much a moment counts, nor how uncertain the policy is in it, nor the range of returns: the rewards alone
    have a gradient, which is their weight.
    """
    lived = a_dream(REWARD[1:], CONTINUES[1:], ACTION["numbers"])

    def loss(features, reward, continues):
        return losses_of_single_rewards(name, lived._replace(features=features, reward=reward, continues=continues))

    of_features, of_reward, of_continues = jax.grad(loss, (0, 1, 2))(lived.features, lived.reward, lived.continues)
    if name == "dreamer-v1":
        weight = ~ENDED * before(GAMMA * CONTINUES[1:-1])
    elif name == "dreamer-v2":
        weight = before(GAMMA * np.concatenate([1.0 - ENDED[None], CONTINUES[1:]]))[:-2]
    else:
        low, high = (np.percentile(REWARD[1:], share) for share in (5, 95))
        weight = np.cumprod(GAMMA * CONTINUES, axis=0)[:-1] / GAMMA / (0.75 * 9.0 + 0.25 * (high - low))
    np.testing.assert_allclose(of_reward[: len(weight)], -weight / weight.size, rtol=1e-4)
    np.testing.assert_array_equal(of_reward[len(weight) :], 0.0)
    np.testing.assert_allclose(of_features, 0.0, atol=1e-6)
    np.testing.assert_allclose(of_continues, 0.0, atol=1e-6)


class Enough(Exception):
    pass


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        *(pytest.param(f"dreamer-v{i}", {"predict_ends": ends}) for i in (1, 2) for ends in (True, False)),
        *(pytest.param("dreamer-v3", {"elder": elder}) for elder in (True, False)),
    ],
)
def test_dreams_begin_in_every_moment_and_count_where_the_world_goes_on(name, settings, monkeypatch):
    """V3 of 2025 takes the model's word for it in the first moment too."""
    agent, nets, window = an_agent(name, **settings), stirred(state_of(name).nets), a_window("numbers")
    dreamt, told = a_dream(REWARD[1:], CONTINUES[1:] - 0.3, ACTION["numbers"]), []

    def dream(model, policy, belief, horizon, *, key):
        told.append(belief)
        return dreamt

    def dream_losses(self, *args):
        told.extend(args[-2:])
        raise Enough

    monkeypatch.setattr(MODULES[name], "dream", dream)
    monkeypatch.setattr(type(agent), "dream_losses", dream_losses)
    with pytest.raises(Enough):
        loss_of(agent, state_of(name), "numbers")(nets)
    begin, lived, counts = told
    assert begin.deter.shape[:2] == window.first.shape
    ended = np.asarray(window.terminated).ravel()
    assert ended.any()
    if name != "dreamer-v3":
        np.testing.assert_array_equal(counts, ended & settings["predict_ends"])
    elif settings["elder"]:
        np.testing.assert_array_equal(counts, 1.0 - ended)
    else:
        expected = nets.model.continues(begin.features.reshape(ended.size, -1))
        assert np.ptp(np.asarray(expected)) > 0.001
        np.testing.assert_allclose(counts, expected, rtol=1e-5)
    continues = np.round(dreamt.continues) if settings.get("elder") else dreamt.continues
    np.testing.assert_array_equal(lived.continues, continues)


def test_what_is_dreamt_from_a_moment_stands_for_its_value(monkeypatch):
    """The return of the first imagined step, of every moment of the window."""
    agent, state, told = an_agent("dreamer-v3"), state_of("dreamer-v3"), []
    returns = jnp.arange(5.0 * 12).reshape(5, 12)
    monkeypatch.setattr(type(agent), "dream_losses", lambda self, *args: ({}, returns, state.low, state.high))

    def replay_value_loss(self, state, critic, features, window, returns):
        told.extend([features, returns])
        raise Enough

    monkeypatch.setattr(MODULES["dreamer-v3"], "dream", lambda *args, key: a_dream(REWARD[1:], CONTINUES[1:], ()))
    monkeypatch.setattr(type(agent), "replay_value_loss", replay_value_loss)
    with pytest.raises(Enough):
        loss_of(agent, state, "numbers")(state.nets)
    assert told[0].shape == (4, 3, sum(agent.sizes))
    np.testing.assert_array_equal(told[1], returns[0])


def test_an_update_of_v3_carries_on_the_range_the_slow_critic_and_what_was_believed(monkeypatch):
    agent, module = an_agent("dreamer-v3", batch_length=4, slow_rate=0.25), MODULES["dreamer-v3"]
    found = LatentBelief(jnp.arange(1.0, 9.0).reshape(4, 1, 2), -jnp.arange(1.0, 13.0).reshape(4, 1, 3))
    notes = LatentBelief(jnp.zeros(2), jnp.zeros(3))
    replay = moments.create(empty_moment(agent.spec), 20, 1, notes=notes)
    moved = module.Nets((), (), jnp.array(5.0))
    monkeypatch.setattr(module, "gradient", lambda *args: (moved, (), (found, jnp.array(1.5), jnp.array(7.5), {})))
    monkeypatch.setattr(type(agent), "draw", lambda self, replay, *, key: (jnp.array([3]), None))
    state = module.DreamerV3State((), jnp.array(1.0), (), jnp.array(0.0), jnp.array(0.0))
    after, replay, _ = agent.learn(state, replay, key=KEY)
    assert (float(after.low), float(after.high)) == (1.5, 7.5)
    assert float(after.slow) == 2.0  # a quarter of the way
    assert float(after.nets.critic) == 5.0
    np.testing.assert_array_equal(replay.notes.deter[4:7], found.deter[:3, 0])
    np.testing.assert_array_equal(replay.notes.stoch[4:7], found.stoch[:3, 0])
    assert not np.any(replay.notes.deter[:4])
    assert not np.any(replay.notes.deter[7:])
