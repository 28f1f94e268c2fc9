"""Proximal policy optimization against its equations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import small
from forethought.agents.base import Setting
from forethought.agents.free.ppo import Nets, Steps
from forethought.nets.distributions import Categorical
from forethought.replay.moments import of_seed, record
from forethought.types import Box, Discrete, EnvSpec, Experience, TimeStep

CHOICE = EnvSpec("toy", Box((2,)), Discrete(2))
KEY = jax.random.key(0)
RNG = np.random.default_rng(0)


def an_agent(spec=CHOICE, num_envs=2, steps=1000, **settings):
    agent = small.make_agent("ppo", spec, **settings)
    agent.setting = Setting(num_envs, steps)
    return agent


def fixed(logits, value):
    """Nets that say the same whatever is seen."""
    policy = lambda obs: Categorical(jnp.broadcast_to(jnp.asarray(logits), (len(obs), 2)))  # noqa: E731
    return Nets(policy, lambda obs: jnp.full((len(obs), 1), value))


def steps_of(advantage, returns, actions, log_prob, own=None):
    n = len(actions)
    own = np.ones(n) if own is None else own
    rows = np.zeros((n, 2)), np.array(actions), np.array(log_prob), own, np.array(advantage), np.array(returns)
    return Steps(*(jnp.asarray(x, jnp.int32 if i == 1 else jnp.float32) for i, x in enumerate(rows)))


def test_the_loss_by_hand():
    """Probabilities were 1/2 and are 0.8 and 0.2: ratios of 1.6 and 0.4, of which a gain is cut off at 1.2 and 0.8."""
    agent = an_agent(clip=0.2, value_weight=0.5, entropy_weight=0.1)
    p = np.array([0.8, 0.2])
    steps = steps_of([4.0, 1.0, -1.0, -4.0], [1.0, 2.0, 3.0, 4.0], [0, 1, 0, 1], np.log([0.5] * 4))
    loss, info = agent.loss(steps, fixed(np.log(p), 2.0))
    advantage = np.array([4.0, 1.0, -1.0, -4.0]) / np.sqrt(8.5)
    # Good and likelier: cut off. Good and rarer: no gain to cut off. Bad and likelier: not. Bad and rarer: cut off.
    gain = np.array([1.2, 0.4, 1.6, 0.8]) * advantage
    value_loss = 0.5 * np.mean((2.0 - np.array([1.0, 2.0, 3.0, 4.0])) ** 2)
    entropy = -np.sum(p * np.log(p))
    np.testing.assert_allclose(info["surrogate"], gain.mean(), rtol=1e-5)
    np.testing.assert_allclose(info["value_loss"], value_loss, rtol=1e-5)
    np.testing.assert_allclose(info["entropy"], entropy, rtol=1e-5)
    np.testing.assert_allclose(loss, -gain.mean() + 0.5 * value_loss - 0.1 * entropy, rtol=1e-5)
    ratio = np.array([1.6, 0.4, 1.6, 0.4])
    np.testing.assert_allclose(info["kl"], np.mean(ratio - 1.0 - np.log(ratio)), rtol=1e-5)
    assert float(info["clipped"]) == 1.0


def test_what_others_did_is_left_out():
    agent, p = an_agent(), np.log([0.8, 0.2])
    one = steps_of([1.0, -2.0, 0.5], [1.0, 2.0, 3.0], [0, 1, 0], np.log([0.5] * 3))
    other = steps_of([1.0, -2.0, 0.5, 9.0], [1.0, 2.0, 3.0, 9.0], [0, 1, 0, 1], [*np.log([0.5] * 3), 0.0], [1, 1, 1, 0])
    for left, right in zip(*(jax.tree.leaves(agent.loss(s, fixed(p, 2.0))) for s in (one, other)), strict=True):
        np.testing.assert_allclose(left, right, rtol=1e-6)


def lived(agent, t, n, **changed):
    """A replay of t steps in n environments."""
    state = agent.init(key=KEY)
    program = small.Learner(agent, [0], n, t * n).program
    replay = of_seed(program.init_replay(), 0)
    obs = jnp.asarray(RNG.normal(size=(t + 1, n, 2)), jnp.float32)
    action, _, extras = agent.decide(state, obs[:-1].reshape(t * n, 2), key=KEY, explore=True)
    by_step = jax.tree.map(lambda x: x.reshape(t, n, *x.shape[1:]), (action, extras, changed))
    no, nothing = jnp.zeros(n, bool), jnp.zeros(n)
    ended = ~no
    for i in range(t):
        action, extras, happened = jax.tree.map(lambda x, i=i: x[i], by_step)
        now = TimeStep(obs[i], action, nothing, ended, no, no)
        reached = TimeStep(obs[i + 1], action, nothing, no, no, no)._replace(**happened)
        replay = record(replay, Experience(now, reached, extras))
        ended = reached.terminated | reached.truncated
    return state, replay


def test_advantages_are_taken_along_each_environment():
    """Rows are of two environments in turn; the first is cut off at its second step, the second terminates there."""
    agent = an_agent(rollout_steps=3, discount=0.9, gae_lambda=0.8)
    reward = jnp.asarray(RNG.normal(size=6), jnp.float32)
    flags = [jnp.array([0, 0, a, b, 0, 0], bool) for a, b in ((0, 1), (1, 0))]
    state, replay = lived(agent, 3, 2, reward=reward, terminated=flags[0], truncated=flags[1])
    rows = jax.tree.map(lambda x: x.reshape(3, 2, *x.shape[1:]), replay.last(6))
    _, steps = agent._judged(state, rows)
    v, led = (np.asarray(state.nets.value(x.reshape(6, 2))).reshape(3, 2) for x in (rows.obs, rows.next_obs))
    r, expected = np.asarray(rows.reward), np.zeros((3, 2))
    for env in (0, 1):
        delta = r[:, env] + 0.9 * led[:, env] - v[:, env]
        if env == 1:
            delta[1] = r[1, 1] - v[1, 1]
        expected[2, env], expected[1, env] = delta[2], delta[1]
        expected[0, env] = delta[0] + 0.9 * 0.8 * delta[1]
    np.testing.assert_allclose(steps.advantage, expected.ravel(), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(steps.returns, expected.ravel() + v.ravel(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("space", [Discrete(2), Box((3,))], ids=["discrete", "continuous"])
@pytest.mark.parametrize("normalize", [False, True])
def test_the_first_ratio_is_one(space, normalize):
    """Of the policy that acted to itself, at whatever scale it sees; so the first gradient is the policy gradient."""
    agent = an_agent(EnvSpec("toy", Box((2,)), space), rollout_steps=8, epochs=1, minibatches=1, normalize=normalize)
    state, replay = lived(agent, 8, 2)
    step, key = jnp.array(16), jax.random.key(1)
    state, _, info = agent.update(state, replay, step=step, key=key)
    assert abs(float(info["kl"])) < 1e-6
    assert float(info["clipped"]) == 0.0
    assert float(state.obs.count) == (16 if normalize else 0)


def test_actions_are_cut_off_at_the_bounds_and_the_draw_is_kept():
    agent = an_agent(EnvSpec("toy", Box((2,)), Box((1,))))
    state = agent.init(key=KEY)
    action, _, extras = agent.decide(state, jnp.zeros((500, 2)), key=KEY, explore=True)
    assert float(jnp.abs(action).max()) == 1.0
    assert float(jnp.abs(extras["drawn"]).max()) > 1.0
    np.testing.assert_array_equal(action, jnp.clip(extras["drawn"], -1.0, 1.0))
    np.testing.assert_allclose(extras["log_prob"], -0.5 * (extras["drawn"][:, 0] ** 2 + np.log(2 * np.pi)), atol=0.05)
    evaluated, _, _ = agent.decide(state, jnp.zeros((3, 2)), key=KEY, explore=False)
    np.testing.assert_allclose(evaluated, 0.0, atol=0.05)  # the last layer begins near 0


def test_the_step_size_falls_to_nothing_with_the_last_update():
    agent = an_agent(num_envs=2, steps=80, rollout_steps=8, epochs=2, minibatches=4)  # 5 updates of 8
    nets = agent.init(key=KEY).nets
    opt, grads = agent.optimizer.init(nets), jax.tree.map(jnp.ones_like, nets)
    sizes = []
    for _ in range(40):
        updates, opt = agent.optimizer.update(grads, opt, nets)
        sizes.append(float(jnp.abs(updates.value.net.layers[0].bias).max()))
    np.testing.assert_allclose(sizes, 3e-4 * (1.0 - np.arange(40) / 40), rtol=5e-3)
    (phase,) = agent.phases()
    assert (phase.every, phase.start, phase.updates) == (16, 16, 8)
