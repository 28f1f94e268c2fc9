"""Proximal policy optimization against its equations."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import small
from forethought.agents.base import Seen, Setting
from forethought.agents.free.ppo import PPO, Nets, Steps
from forethought.errors import UsageError
from forethought.nets.distributions import Categorical
from forethought.replay.moments import of_seed, record
from forethought.types import Box, Discrete, EnvSpec, Experience, TimeStep, Transition

CHOICE = EnvSpec("toy", Box((2,)), Discrete(2))
KEY = jax.random.key(0)
RNG = np.random.default_rng(0)


def an_agent(spec=CHOICE, num_envs=2, steps=1000, **settings):
    agent = small.make_agent("ppo", spec, **settings)
    agent.setting = Setting(num_envs, steps)
    return agent


def fixed(logits, value):
    """Nets that say the same whatever is seen."""
    policy = lambda obs, legal: Categorical(jnp.broadcast_to(jnp.asarray(logits), (len(obs), 2)))  # noqa: E731
    return Nets(policy, lambda obs: jnp.full((len(obs), 1), value))


def steps_of(advantage, returns, actions, log_prob, own=None):
    n = len(actions)
    own = jnp.ones(n) if own is None else jnp.array(own, jnp.float32)
    says = {"drawn": jnp.array(actions), "log_prob": jnp.asarray(log_prob, jnp.float32), "legal": (), "own": own}
    return Steps(jnp.zeros((n, 2)), says, jnp.array(advantage), jnp.array(returns))


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
    action, _, extras = agent.decide(state, Seen(obs[:-1].reshape(t * n, 2)), key=KEY, explore=True)
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
    _, steps = agent._targets(state, rows)
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
    assert float(state.obs.met.count) == (16 if normalize else 0)


def test_actions_are_cut_off_at_the_bounds_and_the_draw_is_kept():
    agent = an_agent(EnvSpec("toy", Box((2,)), Box((1,))))
    state = agent.init(key=KEY)
    action, _, extras = agent.decide(state, Seen(jnp.zeros((500, 2))), key=KEY, explore=True)
    assert float(jnp.abs(action).max()) == 1.0
    assert float(jnp.abs(extras["drawn"]).max()) > 1.0
    np.testing.assert_array_equal(action, jnp.clip(extras["drawn"], -1.0, 1.0))
    np.testing.assert_allclose(extras["log_prob"], -0.5 * (extras["drawn"][:, 0] ** 2 + np.log(2 * np.pi)), atol=0.05)
    evaluated, _, _ = agent.decide(state, Seen(jnp.zeros((3, 2))), key=KEY, explore=False)
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


def test_advantages_are_centred_and_scaled_in_the_batch():
    """Their mean is 2 and their deviation 3: (5 - 2) / 3 and (-1 - 2) / 3, both with a ratio of 1."""
    agent = an_agent(value_weight=0.0)
    steps = steps_of([5.0, -1.0], [0.0, 0.0], [0, 1], np.log([0.5, 0.5]))
    push = jax.grad(lambda logits: agent.loss(steps, fixed(logits, 0.0))[0])(jnp.zeros(2))
    np.testing.assert_allclose(push, [-0.5, 0.5], rtol=1e-5)  # -A_0 / 2 times (1 - 1/2), and so for the other


def test_a_gradient_is_shortened_before_adam_sees_it():
    """Of length 5, shortened to 0.5: 1e-4 becomes 1e-5, which is Adam's epsilon, so the step is half of the rate."""
    agent = an_agent(learning_rate=1.0, anneal=False, max_grad_norm=0.5)
    grads = jnp.array([3.0, 4.0, 1e-4])
    change, _ = agent.optimizer.update(grads, agent.optimizer.init(grads), grads)
    np.testing.assert_allclose(change, [-1.0, -1.0, -0.5], rtol=1e-3)


@pytest.mark.parametrize("space", [Discrete(3), Box((3,))], ids=["discrete", "continuous"])
def test_networks_begin_orthogonal(space):
    """As published: hidden layers at the root of 2, a policy of 0.01, a value of 1, a deviation of 1."""
    policy, value = an_agent(EnvSpec("toy", Box((8,)), space), hidden=(8, 8)).init(key=KEY).nets
    lengths = lambda layer: np.linalg.svd(layer.weight, compute_uv=False)  # noqa: E731
    for net, last in ((policy.net.net, 0.01), (value.net, 1.0)):
        for layer in net.layers[:-1]:
            np.testing.assert_allclose(lengths(layer), 2.0**0.5, rtol=1e-4)
        np.testing.assert_allclose(lengths(net.layers[-1]), last, rtol=1e-4)
    assert policy.log_std is None or not np.any(policy.log_std)


def targets(agent, state, reward, terminated):
    """Steps of one environment, at which every value is 0."""
    t = len(reward)
    zeros, flags = jnp.zeros((t, 1, 2)), jnp.asarray(terminated, bool)[:, None]
    nothing, drawn = jnp.zeros((t, 1)), jnp.zeros((t, 1), jnp.int32)
    extras = {"drawn": drawn, "log_prob": nothing, "legal": (), "own": nothing + 1.0}
    rows = Transition(zeros, jnp.zeros((t, 1), jnp.int32), jnp.asarray(reward)[:, None], zeros, flags, flags & False)
    return agent._targets(state, rows._replace(extras=extras))


def test_rewards_are_divided_by_the_deviation_of_what_was_earned():
    """1 and then 3 with a discount of 1/2 are sums of 1 and 3.5, whose deviation is 1.25. The episode goes on: 8 makes
    9.75 of them, and ends it; the next begins with nothing.
    """
    agent = an_agent(num_envs=1, normalize=True, discount=0.5, gae_lambda=1.0)
    state = agent.init(key=KEY)._replace(nets=fixed(jnp.zeros(2), 0.0))
    state, steps = targets(agent, state, [1.0, 3.0], [False, False])
    np.testing.assert_allclose(steps.returns, [2.5 / 1.25, 3.0 / 1.25], rtol=1e-5)
    state, steps = targets(agent, state, [8.0, 4.0], [True, False])
    np.testing.assert_allclose(steps.returns, np.array([8.0, 4.0]) / np.std([1.0, 3.5, 9.75, 4.0]), rtol=1e-5)
    np.testing.assert_allclose(state.rewards.earned, [4.0])
    plain = an_agent(normalize=False, discount=0.5, gae_lambda=1.0)
    np.testing.assert_allclose(targets(plain, state, [1.0, 3.0], [False, True])[1].returns, [2.5, 3.0])


def test_what_is_seen_and_where_it_led_have_one_scale_and_a_limit():
    """Seen so far: 3 and 7, a mean of 5 and a deviation of 2. A value that is the first number tells what it was."""
    agent = an_agent(normalize=True, discount=0.5, rollout_steps=2)
    state = agent.init(key=KEY)
    state = state._replace(obs=state.obs.add(jnp.array([[3.0, 0.0], [7.0, 1.0]])))
    np.testing.assert_allclose(agent._seen(state, jnp.array([[9.0, 0.5], [1e3, -1e3]])), [[2.0, 0.0], [10.0, -10.0]])
    state = state._replace(nets=Nets(state.nets.policy, lambda obs: obs[:, :1]))
    obs, led = jnp.array([[[9.0, 0.5]], [[5.0, 0.5]]]), jnp.array([[[11.0, 0.5]], [[1e3, 0.5]]])
    no, one = jnp.zeros((2, 1), bool), jnp.ones((2, 1))
    extras = {"drawn": jnp.zeros((2, 1), jnp.int32), "log_prob": one, "legal": (), "own": one}
    # Each step is an episode, so that no advantage runs on; rewards of 0 have no deviation.
    rows = Transition(obs, jnp.zeros((2, 1), jnp.int32), 0.0 * one, led, no, ~no, extras)
    _, steps = agent._targets(state, rows)
    np.testing.assert_allclose(steps.obs, [[2.0, 0.0], [0.0, 0.0]])
    np.testing.assert_allclose(steps.advantage, [0.5 * 3.0 - 2.0, 0.5 * 10.0 - 0.0], rtol=1e-6)


def test_each_epoch_deals_out_every_step_anew(monkeypatch):
    """Networks that do nothing but write down which steps they were shown, two environments of four steps."""
    agent = an_agent(rollout_steps=4, epochs=3, minibatches=2)
    monkeypatch.setattr(PPO, "optimizer", optax.sgd(1.0))
    place = (10.0 * jnp.arange(4)[:, None] + jnp.arange(2)).reshape(-1)  # step and environment
    state, replay = lived(agent, 4, 2, reward=place)
    shown = []

    def as_they_are(state, rows):
        shown.append(rows.reward)
        flat = rows.reward.reshape(-1)
        return state, Steps(flat, {}, flat, flat)

    def writes(steps, nets):
        at = jax.lax.stop_gradient(nets["n"]).astype(int)
        return -jnp.sum(nets["seen"][at] * steps.obs) - nets["n"], {}

    monkeypatch.setattr(agent, "_targets", as_they_are)
    monkeypatch.setattr(agent, "loss", writes)
    nets = {"n": jnp.array(0.0), "seen": jnp.zeros((6, 4))}
    state = state._replace(nets=nets, opt=agent.optimizer.init(nets))
    after, _, _ = agent.update(state, replay, step=jnp.array(8), key=KEY)
    np.testing.assert_array_equal(shown[0], place.reshape(4, 2))  # time, environment
    assert float(after.nets["n"]) == 6
    order = np.asarray(after.nets["seen"]).reshape(3, 8)
    for epoch in order:
        np.testing.assert_array_equal(np.sort(epoch), np.sort(place))
    assert len({tuple(epoch) for epoch in order} | {tuple(np.asarray(place))}) == 4


def test_the_agent_says_that_an_action_is_its_own():
    agent = an_agent()
    for explore in (True, False):
        _, _, extras = agent.decide(agent.init(key=KEY), Seen(jnp.zeros((3, 2))), key=KEY, explore=explore)
        np.testing.assert_array_equal(extras["own"], 1.0)


def test_nothing_illegal_is_drawn_and_the_mask_is_kept():
    """The loss sees the policy that acted: ratios of 1, and an entropy over what was legal."""
    agent, legal = an_agent(), jnp.array([[True, False]] * 100 + [[True, True]] * 100)
    state, seen = agent.init(key=KEY), Seen(jnp.asarray(RNG.normal(size=(200, 2)), jnp.float32), legal)
    action, _, extras = agent.decide(state, seen, key=KEY, explore=True)
    assert not np.any(action[:100])
    assert np.any(action[100:])
    np.testing.assert_array_equal(extras["legal"], legal)
    steps = Steps(seen.obs, extras, jnp.asarray(RNG.normal(size=200), jnp.float32), jnp.zeros(200))
    grads, info = jax.grad(lambda nets: agent.loss(steps, nets), has_aux=True)(state.nets)
    assert all(np.all(np.isfinite(x)) for x in jax.tree.leaves(grads))
    np.testing.assert_allclose([info["kl"], info["entropy"]], [0.0, 0.5 * np.log(2.0)], atol=1e-3)


@pytest.mark.parametrize(
    ("steps", "settings", "says"),
    [(1000, {"rollout_steps": 600}, "1,000 steps end before the first update, which takes 1,200"),
     (1000, {"rollout_steps": 8, "minibatches": 17}, "an update has 16 steps, too few for --agent.minibatches 17")],
)  # fmt: skip
def test_a_run_that_could_not_learn_is_refused(steps, settings, says):
    with pytest.raises(UsageError, match=says):
        small.Learner(small.make_agent("ppo", CHOICE, **settings), [0], 2, steps)
