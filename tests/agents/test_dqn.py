"""Deep Q-learning against its equations."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import small
from forethought.agents.base import Seen, Setting
from forethought.replay.moments import create, holding, record
from forethought.types import Box, Discrete, EnvSpec, Experience, TimeStep, Transition

SPEC = EnvSpec("toy", Box((1,)), Discrete(3))
KEY = jax.random.key(0)
recorded = jax.jit(record)


def an_agent(num_envs=1, steps=1000, **settings):
    agent = small.make_agent("dqn", SPEC, **settings)
    agent.setting = Setting(num_envs, steps)
    return agent


class Says:
    """Action values ``table[number that is seen]``."""

    def __init__(self, table):
        self.table = jnp.asarray(table, jnp.float32)

    def __call__(self, obs):
        return self.table[obs[:, 0].astype(int)]


def rows(n, **columns):
    """A replay of n transitions of one environment; number i sees i and leads to the number after it."""
    seen = np.arange(n, dtype=np.float32)[:, None]
    plain = {
        "obs": seen, "action": np.zeros(n, np.int32), "reward": np.zeros(n, np.float32), "next_obs": seen + 1.0,
        "terminated": np.zeros(n, bool), "truncated": np.zeros(n, bool),
    }  # fmt: skip
    return holding(Transition(**{name: jnp.asarray(columns.get(name, value)) for name, value in plain.items()}), n)


def begins(replay):
    """Where the transitions begin, oldest first."""
    return replay.after(replay.ends.data, -1)


def targets(agent, online, target, replay, places, length):
    """Of windows from these places on, where the networks say what stands in these tables."""
    state = agent.init(key=KEY)._replace(online=Says(online), target=Says(target))
    return jax.jit(lambda: agent.target(state, replay.windows(places, length)))()


ONLINE, TARGET = np.zeros((8, 3)), np.arange(24.0).reshape(8, 3)
ONLINE[:, 1] = 1.0  # chooses the second action, where the target network would choose the third


@pytest.mark.parametrize(("double", "column"), [(False, 2), (True, 1)])
def test_the_target_by_hand(double, column):
    agent = an_agent(discount=0.5, double=double)
    replay = rows(7, reward=jnp.arange(7.0), terminated=jnp.arange(7) == 3, truncated=jnp.arange(7) == 5)
    expected = np.arange(7.0) + 0.5 * TARGET[1:, column]
    expected[3] = 3.0  # a time limit (5) does not stop the bootstrap
    np.testing.assert_allclose(targets(agent, ONLINE, TARGET, replay, begins(replay), 2), expected)


def test_targets_of_several_steps_end_with_the_episode():
    agent = an_agent(discount=0.5, n_step=3)
    reward = 2.0 ** np.arange(7)
    replay = rows(
        7, reward=jnp.asarray(reward, jnp.float32), terminated=jnp.arange(7) == 1, truncated=jnp.arange(7) == 4
    )
    found = targets(agent, ONLINE, TARGET, replay, begins(replay)[:5], 4)
    best = TARGET.max(axis=1)
    expected = [
        reward[0] + 0.5 * reward[1],  # the world ends
        reward[1],
        reward[2] + 0.5 * reward[3] + 0.25 * reward[4] + 0.125 * best[5],
        reward[3] + 0.5 * reward[4] + 0.25 * best[5],  # the watching ends
        reward[4] + 0.5 * best[5],
    ]
    np.testing.assert_allclose(found, expected)


def test_a_target_does_not_go_over_a_gap_in_what_was_given():
    """The second transition does not begin where the first one led: neither ended, and still there is a break."""
    agent = an_agent(discount=0.5, n_step=3)
    obs = jnp.array([[0.0], [3.0], [4.0]])
    replay = rows(3, obs=obs, next_obs=obs + 1.0, reward=jnp.array([1.0, 2.0, 4.0]))
    assert replay.rows.first.sum() == 2
    found = targets(agent, ONLINE, TARGET, replay, begins(replay)[:1], 4)
    np.testing.assert_allclose(found, [1.0 + 0.5 * TARGET[1].max()])


def drawn_places(agent, state, replay, draws=200):
    keys = jax.random.split(KEY, draws)
    places, weights = jax.jit(jax.vmap(lambda key: agent._draw(state, replay, key=key)))(keys)
    return np.asarray(places).ravel(), np.asarray(weights).ravel()


@pytest.mark.learned
def test_windows_begin_anywhere_but_where_they_would_run_over_the_newest_row():
    """Of 6 steps of two environments, in a ring that has gone round: the newest two begin none of three steps."""
    agent, no = an_agent(num_envs=2, n_step=3), jnp.zeros(2, bool)
    replay = create(TimeStep(jnp.zeros(1), jnp.int32(0), jnp.float32(0), *no[:1].repeat(3)), 12, 2)
    for t in range(8):
        now = TimeStep(jnp.array([[t], [t + 100.0]]), jnp.zeros(2, jnp.int32), jnp.zeros(2), no | (t == 0), no, no)
        replay = recorded(replay, Experience(now, now._replace(obs=now.obs + 1.0, first=no)))
    places, _ = drawn_places(agent, agent.init(key=KEY), replay)
    seen = np.asarray(replay.rows.obs)[places, 0]
    counts = np.array([np.sum(seen == t + of_env) for t in range(2, 6) for of_env in (0, 100)])
    assert counts.sum() == len(seen)
    assert stats.chisquare(counts).pvalue > 1e-4
    windows = replay.windows(jnp.asarray(places[:50]), 4)
    assert np.all(np.diff(np.asarray(windows.obs)[..., 0], axis=0) == 1)  # each of one environment, in its order


@pytest.mark.learned
def test_prioritized_draws_are_proportional_and_weighed():
    agent = an_agent(prioritized=True, alpha=1.0, beta=0.5)
    state, replay = agent.init(key=KEY), noted(rows(5), [1.0, 1e-9, 2.0, 3.0, 4.0])
    places, weights = drawn_places(agent, state, replay, draws=1000)
    p = np.array([1.0, 0.0, 2.0, 3.0, 4.0]) / 10.0
    counts = np.array([np.sum(places == place) for place in begins(replay)])
    assert counts[1] == 0
    assert stats.chisquare(np.delete(counts, 1), np.delete(p, 1) * len(places)).pvalue > 1e-4
    expected = ((5 * p[places]) ** -0.5).reshape(1000, -1)  # of each batch; one episode, so that it begins at place 0
    np.testing.assert_allclose(weights, (expected / expected.max(axis=1, keepdims=True)).ravel(), rtol=1e-5)


def noted(replay, notes):
    """With the notes of as many transitions as there are of them, and room for those of all."""
    nothing = jnp.zeros(replay.room)
    replay = eqx.tree_at(lambda r: r.notes, replay, nothing, is_leaf=lambda x: isinstance(x, tuple) and not x)
    return replay.note(begins(replay)[: len(notes)], jnp.array(notes))


@pytest.mark.learned
@pytest.mark.parametrize(("notes", "masses"), [([], [1, 1, 1]), ([0.5, 0.2], [0.5, 0.2, 0.5])])
def test_what_was_not_drawn_yet_has_the_greatest_priority(notes, masses):
    agent = an_agent(prioritized=True, alpha=0.5)
    replay = noted(rows(3), notes)
    places, _ = drawn_places(agent, agent.init(key=KEY), replay, draws=1000)
    counts = np.array([np.sum(places == place) for place in begins(replay)])
    assert stats.chisquare(counts, np.array(masses) / sum(masses) * len(places)).pvalue > 1e-4


@pytest.mark.parametrize("prioritized", [False, True])
def test_nothing_is_learned_before_there_is_a_window(prioritized):
    """Three steps of two environments are six transitions; before them there is nothing to draw."""
    spec = small.envs.env_spec("CartPole-v1")
    settings = {"n_step": 3, "random_steps": 0, "train_every": 1, "batch_size": 4, "prioritized": prioritized}
    world = small.envs.make("CartPole-v1", seeds=[0], envs_per_seed=2)
    learner = small.Learner(small.make_agent("dqn", spec, **settings), [0], 2, 12)
    small.live(learner, world, 12)
    learner.check_finite()
    assert learner.phases[0].start == 6
    assert learner.updates == 7


def test_before_the_first_step_nothing_lies_outside_of_its_bounds():
    agent = an_agent(prioritized=True, steps=100, beta=0.4, epsilon_first=1.0)
    replay = noted(rows(8), [9.0, *[0.1] * 7])
    state = agent.init(key=KEY)._replace(step=jnp.array(-399))
    _, weights = drawn_places(agent, state, replay)
    np.testing.assert_allclose([weights.min(), weights.max()], [(9.0 / 0.1) ** -0.4, 1.0], rtol=1e-4)
    assert float(agent.epsilon(jnp.array(-399))) == 1.0


def test_a_drawn_row_has_the_error_that_it_had():
    agent = an_agent(prioritized=True, alpha=0.5, batch_size=4)
    state, replay = agent.init(key=KEY), rows(1, reward=jnp.array([2.0]), terminated=jnp.array([True]))
    q = float(state.online(replay.all().obs)[0, 0])
    state, replay, info = jax.jit(agent.learn)(state, noted(replay, []), key=KEY)
    np.testing.assert_allclose(replay.notes, [(abs(q - 2.0) + 1e-6) ** 0.5, 0.0], rtol=1e-5)
    np.testing.assert_allclose(
        info["td_loss"], abs(q - 2.0) - 0.5 if abs(q - 2.0) > 1.0 else 0.5 * (q - 2.0) ** 2, rtol=1e-5
    )


def test_epsilon_falls_with_the_step_and_decides_how_often_chance_does():
    agent = an_agent(epsilon_first=1.0, epsilon_last=0.1, epsilon_steps=90)
    np.testing.assert_allclose(
        [agent.epsilon(jnp.array(t)) for t in (0, 45, 90, 900)], [1.0, 0.55, 0.1, 0.1], rtol=1e-6
    )
    state = agent.init(key=KEY)._replace(online=Says([[0.0, 5.0, 0.0]]), step=jnp.array(45))
    actions = np.asarray(agent.decide(state, Seen(jnp.zeros((20_000, 1))), key=KEY, explore=True)[0])
    np.testing.assert_allclose(np.bincount(actions) / 20_000, [0.55 / 3, 0.45 + 0.55 / 3, 0.55 / 3], atol=0.015)
    assert np.all(np.asarray(agent.decide(state, Seen(jnp.zeros((9, 1))), key=KEY, explore=False)[0]) == 1)


def test_the_target_network_is_a_copy_now_and_then():
    agent = an_agent(target_every=3, updates=2, learning_rate=0.1)
    state, replay = agent.init(key=KEY), rows(6, reward=jnp.ones(6))
    equal, update = [], jax.jit(agent.update)
    for step in range(3):
        state, replay, _ = update(state, replay, step=jnp.array(step), key=jax.random.key(step))
        same = jax.tree.map(lambda a, b: bool(jnp.all(a == b)), state.online, state.target)
        equal.append(all(jax.tree.leaves(same)))
    assert equal == [False, False, True]  # after 2, 4 and 6 gradient steps
    assert int(state.updates) == 6


def test_a_dueling_network_is_value_and_centred_advantages():
    agent = an_agent(dueling=True)
    online = agent.init(key=KEY).online
    obs = jnp.linspace(-1.0, 1.0, 5)[:, None]
    features = jax.vmap(online.net.features)(obs)
    value, advantage = jax.vmap(online.value)(features), jax.vmap(online.net)(obs)
    np.testing.assert_allclose(online(obs), value + advantage - advantage.mean(axis=1, keepdims=True), rtol=1e-5)
    np.testing.assert_allclose(online(obs).mean(axis=1, keepdims=True), value, atol=1e-6)
    assert agent.portable(agent.init(key=KEY)).output == "argmax"


def test_nothing_illegal_is_chosen_or_valued():
    """Of three actions the best is illegal where 0 is seen, and all but the worst where 1 is."""
    agent = an_agent(discount=0.5, epsilon_first=0.5, epsilon_last=0.5)
    table = [[0.0, 1.0, 5.0], [3.0, 2.0, 1.0]]
    legal = jnp.array([[True, True, False], [False, False, True]])
    state = agent.init(key=KEY)._replace(online=Says(table), target=Says(table))
    seen = Seen(jnp.repeat(jnp.array([[0.0], [1.0]]), 500, axis=0), jnp.repeat(legal, 500, axis=0))
    assert agent.decide(state, seen, key=KEY, explore=False)[0].tolist() == [1] * 500 + [2] * 500
    explored = np.asarray(agent.decide(state, seen, key=KEY, explore=True)[0]).reshape(2, 500)
    assert set(explored[0]) == {0, 1}
    assert set(explored[1]) == {2}
    no = jnp.zeros((2, 2), bool)
    window = TimeStep(jnp.array([[[9.0], [9.0]], [[0.0], [1.0]]]), no * 0, jnp.ones((2, 2)), no, no, no)
    window = window._replace(legal=jnp.stack([jnp.ones_like(legal), legal]))
    for double in (False, True):
        found = an_agent(discount=0.5, double=double).target(state, window)
        np.testing.assert_allclose(found, [1.0 + 0.5 * 1.0, 1.0 + 0.5 * 1.0])


def test_the_weights_rise_to_full_ones_over_the_run():
    """At half of the steps of the run the exponent stands half way between 0.4 and 1, however often it has learned."""
    agent = an_agent(prioritized=True, alpha=1.0, beta=0.4, steps=1000)
    state, replay = agent.init(key=KEY)._replace(updates=jnp.array(77)), noted(rows(2), [1.0, 3.0])
    rare, often = begins(replay)
    for step, exponent in ((0, 0.4), (500, 0.7), (1000, 1.0), (2000, 1.0)):
        places, weights = drawn_places(agent, state._replace(step=jnp.array(step)), replay)
        assert set(places) == {int(rare), int(often)}
        np.testing.assert_allclose(weights[places == often].min(), 3.0**-exponent, rtol=1e-5)  # beside a rare one
        np.testing.assert_allclose(weights[places == rare], 1.0)


def silent(agent):
    """A state whose networks say 0 of everything."""
    state = agent.init(key=KEY)
    plain = jax.tree.map(jnp.zeros_like, state.online)
    return state._replace(online=plain, target=plain)


def test_the_loss_is_weighed(monkeypatch):
    """Errors of 0.5 and 4, whose losses are 0.125 and 3.5."""
    agent, replay = an_agent(discount=0.0), rows(2, reward=jnp.array([0.5, 4.0]))
    monkeypatch.setattr(agent, "_draw", lambda *_, **__: (begins(replay), jnp.array([1.0, 0.25])))
    _, _, info = jax.jit(agent.learn)(silent(agent), replay, key=KEY)
    np.testing.assert_allclose(info["td_loss"], (0.125 + 0.25 * 3.5) / 2.0, rtol=1e-6)


def test_what_was_foretold_exactly_is_drawn_again_some_day():
    agent = an_agent(prioritized=True, alpha=0.5, discount=0.0)
    _, replay, _ = jax.jit(agent.learn)(silent(agent), noted(rows(1), []), key=KEY)
    np.testing.assert_allclose(replay.notes[0], 1e-3, rtol=1e-5)  # the root of 1e-6


def test_a_gradient_is_shortened_before_adam_sees_it():
    """Of length 50, shortened to 10: 5e-8 becomes 1e-8, which is Adam's epsilon, so the step is half of the rate."""
    agent = an_agent(learning_rate=1.0, max_grad_norm=10.0)
    grads = jnp.array([30.0, 40.0, 5e-8])
    change, _ = agent.optimizer.update(grads, agent.optimizer.init(grads), grads)
    np.testing.assert_allclose(change, [-1.0, -1.0, -0.5], rtol=1e-3)


def test_each_update_of_a_round_draws_anew(monkeypatch):
    """Batches of four of a hundred: three updates that drew alike would learn from four transitions."""
    agent, drawn = an_agent(updates=3, batch_size=4), []
    draw = agent._draw

    def watched(state, replay, *, key):
        places, weights = draw(state, replay, key=key)
        jax.debug.callback(lambda x: drawn.append(tuple(x.tolist())), places, ordered=True)
        return places, weights

    monkeypatch.setattr(agent, "_draw", watched)
    state, _, info = jax.jit(agent.update)(agent.init(key=KEY), rows(100), step=jnp.array(123), key=KEY)
    jax.effects_barrier()
    assert len(set(drawn)) == 3
    assert (int(state.step), int(state.updates)) == (123, 3)
    np.testing.assert_allclose(info["epsilon"], agent.epsilon(jnp.array(123)))


def test_the_policy_is_the_online_network():
    agent = an_agent()
    state, _, _ = jax.jit(agent.update)(agent.init(key=KEY), rows(6, reward=jnp.ones(6)), step=jnp.array(9), key=KEY)
    assert agent.acts_with(state) is state.online
    weight = agent.portable(state).arrays["weight0"]
    np.testing.assert_array_equal(weight, state.online.net.layers[0].weight)
    assert np.any(weight != state.target.net.layers[0].weight)


def test_biases_begin_apart():
    """As PyTorch draws them: with zeros the kinks of all ReLUs meet in one point, and CartPole was rarely learned."""
    for layer in an_agent(hidden=(64, 64)).init(key=KEY).online.net.layers:
        bound = layer.weight.shape[0] ** -0.5
        assert 0.6 * bound < np.abs(layer.bias).max() <= bound
        assert not np.array_equal(layer.bias, layer.weight[0])
