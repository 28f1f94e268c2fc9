"""What those that dream learn from: windows of moments, from where they begin, and when."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import small
from forethought.agents.base import Setting
from forethought.errors import UsageError
from forethought.replay.moments import of_seed
from forethought.training.clock import compiled_programs
from forethought.types import Box, Discrete, EnvSpec

KEY = jax.random.key(0)
DREAMERS = "planet", "dreamer-v1", "dreamer-v2", "dreamer-v3"


def lived(num_envs, steps, **settings):
    """A learner of Dreamer V3 that has not learned yet, and all that it believed: [steps, num_envs] by moment."""
    agent = small.make_agent("dreamer-v3", small.envs.env_spec("forethought/ProbeTermination-v0"), **settings)
    world = small.envs.make("forethought/ProbeTermination-v0", seeds=[0], envs_per_seed=num_envs)
    learner = small.Learner(agent, [0], num_envs, 10_000)
    now, believed = world.reset(), []
    for _ in range(steps // num_envs):
        action = learner.act(now)
        step = world.step(action)
        learner.observe(now, step)
        believed.append(jax.tree.map(lambda x: np.asarray(x[0]), learner.carry))
        learner.learn()
        now = step.now
    learner.act(now)  # which records what came before
    return learner, jax.tree.map(lambda *x: np.stack(x), *believed)


@pytest.mark.slow
@pytest.mark.parametrize("num_envs", [1, 3])
def test_beside_each_row_lies_what_was_believed_before_it(num_envs):
    """Nothing beside those that random actions led to, nor beside the first ones of episodes."""
    random, steps = 4 * num_envs, 13 * num_envs
    learner, believed = lived(num_envs, steps, batch_length=100, random_steps=random, replay_capacity=400)
    replay = of_seed(learner.replay, 0)
    first = np.asarray(replay.rows.first)
    for lane in range(num_envs):
        t = 0
        for slot in range(int(replay.written[lane])):
            place = slot * num_envs + lane
            notes = jax.tree.map(lambda x, place=place: np.asarray(x[place]), replay.notes)
            if first[place] or t < random // num_envs:
                assert not any(np.any(x) for x in notes)
            else:
                np.testing.assert_array_equal(notes.deter, believed.deter[t, lane])
                np.testing.assert_array_equal(notes.stoch, believed.stoch[t, lane])
            t += not first[place]
        assert t == 13
    assert first.sum() >= 3 * num_envs


@pytest.mark.slow
@pytest.mark.parametrize("num_envs", [1, 2])
def test_an_update_writes_what_it_believes_beside_the_rows_that_follow(num_envs, monkeypatch):
    """It begins from the notes of each window's first row, which stay; so do those of all rows outside."""
    learner, _ = lived(num_envs, 12 * num_envs, batch_length=100, random_steps=2 * num_envs, replay_capacity=400)
    agent, replay = learner.agent, of_seed(learner.replay, 0)
    agent = small.make_agent("dreamer-v3", agent.spec, batch_size=1, batch_length=4, replay_capacity=10_000)
    agent.setting = Setting(num_envs, 10_000)
    place = 5 * num_envs + num_envs - 1  # of the last lane
    monkeypatch.setattr(type(replay), "sample_windows", lambda *args, key: jnp.array([place], jnp.int32))
    state = jax.jit(lambda: agent.init(key=KEY))()
    after = jax.jit(lambda state, replay: agent.learn(state, replay, key=KEY)[1])(state, replay)
    window = replay.windows(jnp.array([place]), 4)
    before = jax.tree.map(lambda x: x[jnp.array([place])], replay.notes)
    assert np.any(before.deter)
    _, key_loss = jax.random.split(KEY)
    found, _ = state.nets.model.filter(before, window, key=jax.random.split(key_loss)[0])
    written = [place + num_envs * i for i in (1, 2, 3)]
    for i, row in enumerate(written):
        np.testing.assert_allclose(after.notes.deter[row], found.belief.deter[i, 0], atol=1e-5)
        np.testing.assert_allclose(after.notes.stoch[row], found.belief.stoch[i, 0], atol=1e-5)
    others = np.setdiff1d(np.arange(replay.room * num_envs), written)
    np.testing.assert_array_equal(after.notes.deter[others], replay.notes.deter[others])
    other = jax.tree.map(lambda x: x + 1.0, before)  # it does begin from there
    assert not np.allclose(state.nets.model.filter(other, window, key=KEY)[0].belief.deter[0], found.belief.deter[0])


@pytest.mark.parametrize("name", DREAMERS)
def test_a_run_that_ends_before_the_first_update_is_refused(name):
    agent = small.make_agent(name, small.envs.env_spec(small.WORLDS[name]), batch_length=50, random_steps=20)
    assert small.Learner(agent, [0], 4, 200).agent.start == 200
    message = r"199 steps end before .* windows of 50 moments of 4 environments and 20 random .* 200 in all; raise --st"
    with pytest.raises(UsageError, match=message):
        small.Learner(agent, [0], 4, 199)
    message = r"windows of 50 moments of 5 environments do not fit .* of 200; raise --agent.replay-capacity to 250"
    with pytest.raises(UsageError, match=message):
        small.Learner(agent, [0], 5, 10_000)


@pytest.mark.parametrize("name", DREAMERS)
def test_to_learn_before_the_first_step_takes_a_window_in_each_environment(name):
    agent = small.make_agent(name, small.envs.env_spec(small.WORLDS[name]), batch_length=5)
    agent.setting = Setting(4, 1000)
    agent.check_data(20, pretrain=True)
    agent.check_data(19, pretrain=False)
    with pytest.raises(UsageError, match=r"windows of 5 moments, and the 19 transitions given are 4 to each of 4 env"):
        agent.check_data(19, pretrain=True)


@pytest.mark.parametrize("name", DREAMERS)
def test_rounds_begin_once_there_is_a_window_in_each_environment(name):
    agent = small.make_agent(
        name, small.envs.env_spec(small.WORLDS[name]), pretrain=3, updates=2, random_steps=8, train_every=6
    )
    agent.setting = Setting(1, 1000)
    first, update = agent.phases()
    assert (first.name, first.start, first.times, first.updates) == ("pretrain", 8, 3, 1)
    assert first.start + first.every > 1000  # once
    assert (update.start, update.every, update.updates) == (8, 6, 2)
    agent.setting = Setting(5, 1000)
    assert agent.phases()[1].start == 20


@pytest.mark.slow
def test_several_updates_of_a_round_compile_once_and_equal_as_many_rounds():
    learner = small.train("dreamer-v1", "CartPole-v1", steps=9, settings={"random_steps": 9})
    spec = learner.agent.spec
    one, two = (small.make_agent("dreamer-v1", spec, updates=n) for n in (1, 2))
    state, replay = one.init(key=KEY), of_seed(learner.replay, 0)
    together, _, _ = two.update(state, replay, step=jnp.array(9), key=KEY)
    apart = jax.jit(lambda state, key: one.learn(state, replay, key=key)[0])
    for key in jax.random.split(KEY, 2):
        state = apart(state, key)
    for x, y in zip(*map(jax.tree.leaves, (together, state)), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-3, atol=1e-4)
    before = compiled_programs()
    apart(state, KEY)
    assert compiled_programs() == before


@pytest.mark.slow
@pytest.mark.parametrize(("slow_every", "copied"), [(1, [1, 1, 1, 1]), (3, [1, 0, 0, 1])])
def test_the_slow_critic_of_v2_becomes_a_copy_after_the_first_update_and_each_of_so_many(slow_every, copied):
    """dreamerv2/agent.py: where updates % 100 == 0, counted from 0."""
    learner = small.train("dreamer-v2", steps=9, settings={"random_steps": 9})
    agent = small.make_agent("dreamer-v2", learner.agent.spec, slow_every=slow_every)
    state, replay = agent.init(key=KEY), of_seed(learner.replay, 0)
    learn, found = jax.jit(lambda state, key: agent.learn(state, replay, key=key)[0]), []
    for key in jax.random.split(KEY, 4):
        was, state = state, learn(state, key)
        same = all(np.array_equal(*x) for x in zip(*map(jax.tree.leaves, (state.slow, state.nets.critic)), strict=True))
        kept = all(np.array_equal(*x) for x in zip(*map(jax.tree.leaves, (state.slow, was.slow)), strict=True))
        found.append(int(same))
        assert same or kept
    assert found == copied


@pytest.mark.slow
def test_the_slow_critic_of_v3_follows_by_a_share():
    learner = small.train("dreamer-v3", steps=9, settings={"random_steps": 9})
    agent = small.make_agent("dreamer-v3", learner.agent.spec, slow_rate=0.25, warmup=0)
    state, replay = agent.init(key=KEY), of_seed(learner.replay, 0)
    after = jax.jit(lambda state: agent.learn(state, replay, key=KEY)[0])(state)
    moved = 0.0
    for old, new, slow in zip(*map(jax.tree.leaves, (state.slow, after.nets.critic, after.slow)), strict=True):
        np.testing.assert_allclose(slow, 0.75 * old + 0.25 * new, rtol=1e-4, atol=1e-7)
        moved += float(jnp.abs(new - old).sum())
    assert moved > 0.0


def test_exploration_is_noise_on_numbers_and_chance_among_choices():
    agent = small.make_agent("dreamer-v1", EnvSpec("toy", Box((1,)), Box((2,))))
    action = jnp.zeros((4000, 2)).at[:, 1].set(0.95)
    noisy = np.asarray(agent.explored(action, 0.3, key=KEY))
    assert noisy[:, 0].std() == pytest.approx(0.3, rel=0.05)
    assert noisy.max() == 1.0
    np.testing.assert_array_equal(agent.explored(action, 0.0, key=KEY), action)
    agent = small.make_agent("dreamer-v1", EnvSpec("toy", Box((1,)), Discrete(4)))
    for chosen in (jnp.full(4000, 2, jnp.int32), jnp.tile(jnp.array([0.0, 0.0, 1.0, 0.0]), (4000, 1))):
        found = np.asarray(agent.explored(chosen, 0.4, key=KEY))
        assert (found == 2).mean() == pytest.approx(0.6 + 0.1, abs=0.03)
        assert (np.asarray(agent.explored(chosen, 0.0, key=KEY)) == 2).all()
