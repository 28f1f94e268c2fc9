"""World Models: the controller, what M learns from, and dreams that begin as episodes do."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import small
from forethought.agents.base import Setting
from forethought.agents.dream import series
from forethought.agents.dream.world_models import WorldModels
from forethought.agents.dream.world_models_settings import WorldModelsConfig
from forethought.errors import UsageError
from forethought.models.mdn_rnn import MDNBelief, Memory
from forethought.nets.vae import VAE
from forethought.replay.moments import create, record
from forethought.training.config import from_dict
from forethought.training.program import empty_moment
from forethought.types import Box, Discrete, EnvSpec, Experience, Outcome, TimeStep, Transition

KEY, NOW = jax.random.key(0), jnp.array(0)
STEER = EnvSpec("toy", Box((8, 8, 1), "uint8"), Box((2,)))
CHOOSE = EnvSpec("toy", Box((8, 8, 1), "uint8"), Discrete(3))
CARS = EnvSpec("cars", Box((64, 64, 3), "uint8"), Box((3,)))
COVER = EnvSpec("cover", Box((64, 64, 3), "uint8"), Discrete(3))


def an_agent(spec=STEER, num_envs=1, **settings):
    agent = small.make_agent("world-models", spec, **settings)
    agent.setting = Setting(num_envs, 1000)
    return agent


def plain(spec, **settings):
    """With the defaults of the papers."""
    return WorldModels(from_dict(WorldModelsConfig, settings), spec)


def test_controllers_have_the_published_sizes():
    assert plain(CARS).policy.size == 867
    doom = {"v.latent": 64, "m.hidden": 512, "c.sees_cell": True, "c.order": (2, 0, 1)}
    assert plain(COVER, **doom).policy.size == 1088 + 1  # and a bias, which the published one is without
    assert plain(COVER).policy.size == (32 + 256 + 1) * 3


@pytest.mark.parametrize(
    ("spec", "settings", "said"),
    [
        (CHOOSE, {"c.order": (0, 1)}, r"c.order is \(0, 1\); it takes each of the 3 choices here once"),
        (STEER, {"c.one_sided": (2,)}, r"c.one_sided is \(2,\); the numbers of an action here are 0 to 1"),
    ],
)
def test_settings_that_do_not_fit_the_actions_are_refused(spec, settings, said):
    with pytest.raises(UsageError, match=said):
        an_agent(spec, **settings)


def test_candidates_need_environments_of_their_own():
    agent = an_agent(num_envs=6, **{"c.where": "world"})
    with pytest.raises(UsageError, match=r"each of the 4 candidates .* use --num-envs 4"):
        agent.check_setting()
    an_agent(num_envs=8, **{"c.where": "world"}).check_setting()


@pytest.mark.parametrize(
    ("settings", "num_envs", "said"),
    [
        ({"replay_capacity": 12}, 2, r"windows of 7 moments of each of 2 .* a replay of 12; raise --agent.replay-cap"),
        ({"random_steps": 3}, 2, r"windows of 2 moments .* random steps, of which there are 3; raise --agent.random-"),
    ],
)
def test_windows_need_room(settings, num_envs, said):
    with pytest.raises(UsageError, match=said):
        an_agent(num_envs=num_envs, **settings).check_setting()


def test_data_must_hold_a_window_of_each_environment():
    agent = an_agent(num_envs=2, random_steps=0)
    agent.check_data(14, pretrain=False)
    with pytest.raises(UsageError, match=r"windows of 7 moments of each of 2 .* given, of which there are 13; give mo"):
        agent.check_data(13, pretrain=False)


def test_vision_has_a_layer():
    with pytest.raises(UsageError, match=r"v.channels is empty"):
        an_agent(**{"v.channels": ()})


def test_the_controller_acts_within_dreams_as_in_the_world():
    agent = an_agent()
    state = jax.jit(lambda: agent.init(key=KEY))()
    state = state._replace(cloud=state.cloud._replace(mean=jnp.linspace(-1.0, 1.0, agent.policy.size)))
    carry = agent.init_actor(2)
    carry = carry._replace(belief=carry.belief._replace(z=jnp.array([[0.3] * 3, [-2.0] * 3])))
    outside = agent.decide(state, carry, key=KEY, explore=False)[0]
    features = agent.world_model(state).features(carry.belief)
    np.testing.assert_array_equal(agent.policy_within(state)(features, KEY), outside)


def test_a_policy_that_reads_what_networks_say_is_no_row_of_arrays():
    agent = an_agent()
    with pytest.raises(UsageError, match="stablehlo"):
        agent.portable(agent.init(key=KEY))


def test_random_actions_are_held_for_as_long_as_is_said():
    agent = an_agent(random_hold=5)
    state, carry = agent.init(key=KEY), agent.init_actor(200)
    now = small.seen(STEER, np.zeros((200, 8, 8, 1), np.uint8), first=False)
    made = []
    for i in range(60):
        action, carry, _ = agent.act_at_random(state, carry, now, key=jax.random.fold_in(KEY, i))
        made.append(np.asarray(action))
    changes = np.any(np.diff(np.stack(made), axis=0) != 0.0, axis=-1)
    lengths = np.concatenate([np.diff(np.flatnonzero(lane)) for lane in changes.T])
    assert set(lengths) == {1, 2, 3, 4, 5}
    np.testing.assert_allclose(np.mean(lengths), 3.0, atol=0.1)
    again, _, _ = agent.act_at_random(state, carry, now._replace(first=jnp.ones(200, bool)), key=KEY)
    assert np.all(np.any(np.asarray(again) != made[-1], axis=-1))


def lived_replay(ends, steps=12):
    """Moments of noise in two environments; ``ends[lane]`` are the steps with which an episode of it terminates."""
    rng, one = np.random.default_rng(0), empty_moment(STEER)
    replay = create(one, 40, 2, notes=series.blank(3, 2))
    no = np.zeros(2, bool)

    def moment(first, terminated):
        obs = rng.integers(0, 256, (2, 8, 8, 1)).astype(np.uint8)
        action, reward = rng.uniform(-1, 1, (2, 2)).astype(np.float32), rng.normal(size=2).astype(np.float32)
        return TimeStep(obs, action * ~first[:, None], reward * ~first, first, terminated, no)

    now = moment(~no, no)
    for t in range(steps):
        ended = np.array([t in of_lane for of_lane in ends])
        reached = moment(no, ended)
        replay = record(replay, jax.tree.map(jnp.asarray, Experience(now, reached)))
        fresh = moment(ended, no)
        choose = lambda a, b, ended=ended: np.where(ended.reshape(2, *[1] * (a.ndim - 1)), a, b)  # noqa: E731
        now = jax.tree.map(choose, fresh, reached)._replace(terminated=no)
    return replay


@pytest.fixture(scope="module")
def encoded():
    agent = an_agent(num_envs=2)
    replay = lived_replay(ends=[(3, 7), ()])
    state = agent.init(key=KEY)
    work = agent.begin_encoding(state, replay, step=NOW, key=KEY)
    work, left = series.proceed(work, replay, step=NOW, key=KEY, units=jnp.array(5))
    assert not bool(left)
    return agent, *agent.finish_encoding(state, work, replay, step=NOW, key=KEY)[:2]


def test_the_series_is_what_vision_makes_of_every_moment(encoded):
    _, state, replay = encoded
    rows, notes = replay.rows, replay.notes
    known = np.asarray(notes.known)
    written = np.asarray(replay.written)  # 12 steps, and a first moment of each episode
    assert written.tolist() == [15, 13]
    assert known.sum() == 28
    mean, log_std = state.vision.encode(rows.obs)
    np.testing.assert_allclose(notes.mean[known], mean[known], atol=2e-3)
    np.testing.assert_allclose(notes.log_std[known], log_std[known], atol=2e-3)
    for name, kept in (
        ("prev_action", "action"),
        ("reward", "reward"),
        ("first", "first"),
        ("terminated", "terminated"),
    ):
        np.testing.assert_array_equal(np.asarray(getattr(notes, kept))[known], np.asarray(getattr(rows, name))[known])


def test_windows_are_successive_moments_of_one_environment(encoded):
    _, _, replay = encoded
    window = series.windows(replay, 50, 13, key=KEY)
    assert np.asarray(window.known).all()
    lanes = [np.asarray(replay.notes.reward)[lane::2] for lane in (0, 1)]
    for reward in np.asarray(window.reward).T:
        assert any(np.array_equal(reward, lane[i : i + 13]) for lane in lanes for i in range(3))


def test_dreams_begin_where_episodes_have_begun(encoded):
    _, _, replay = encoded
    begun = series.beginnings(replay, 200, key=KEY)
    assert np.asarray(begun.first & begun.known).all()
    firsts = np.asarray(replay.notes.mean, np.float32)[np.asarray(replay.notes.first)]
    assert len(firsts) == 4
    counts = [np.sum(np.all(np.asarray(begun.mean) == z, axis=1)) for z in firsts]
    assert sum(counts) == 200
    assert min(counts) > 25


def test_dreams_begin_anywhere_where_no_first_moment_is_left(encoded):
    """An episode that is longer than the replay has overwritten its own first moment."""
    _, _, replay = encoded
    known = np.asarray(replay.notes.known)
    without = replay.note(jnp.arange(len(known)), replay.notes._replace(first=jnp.zeros(known.shape, bool)))
    begun = series.beginnings(without, 200, key=KEY)
    assert np.asarray(begun.known).all()
    assert len(np.unique(np.asarray(begun.mean), axis=0)) > 0.8 * known.sum()


def test_a_window_is_no_longer_than_what_was_lived_through():
    agent = an_agent(num_envs=2, **{"m.window": 1000, "random_steps": 24})
    replay = lived_replay(ends=[(), ()])
    state = agent.init(key=KEY)
    state, _, info = agent.learn_memory(state, replay, step=NOW, key=KEY)
    assert np.isfinite(float(info["latent_nll"]))


class Toy(NamedTuple):
    """A world of one step that pays ``-(a - 0.3)^2`` for the first number of an action, less ten times of the other."""

    def initial(self, n):
        return MDNBelief(jnp.zeros((n, 3)), jnp.zeros((n, 4)), jnp.zeros((n, 4)))

    def observe(self, belief, action, obs, first, *, key):
        return belief

    def step(self, belief, action, *, key):
        reward = -((action[:, 0] - 0.3) ** 2) - 10.0 * (action[:, 1] + 0.6) ** 2
        return belief, Outcome(reward, jnp.zeros_like(reward))

    def features(self, belief):
        return jnp.concatenate([belief.z, belief.h], axis=-1)


@pytest.mark.learned
def test_the_phase_finds_the_top_of_a_known_quadratic(encoded, monkeypatch):
    agent, state, replay = encoded
    monkeypatch.setattr(type(agent), "dream", lambda self, state: Toy())
    better = an_agent(num_envs=2, **{"c.population": 16})
    monkeypatch.setattr(agent, "search", better.search)

    def generation(state, key):
        state, _, info = agent.evolve(state, replay, step=NOW, key=key)
        return state, info["dream_return"]

    begun = state._replace(cloud=agent.search.begin(state.cloud.mean))
    state, returns = jax.lax.scan(generation, begun, jax.random.split(KEY, 150))
    at_zero = agent.policy(state.cloud.mean, jnp.zeros(7))
    assert float(returns[0]) < -3.0
    assert float(returns[-1]) > -0.05
    np.testing.assert_allclose(at_zero, [0.3, -0.6], atol=0.1)


def test_stages_follow_the_random_steps_and_come_again():
    agent = an_agent(random_steps=16, every=8)
    assert [phase.name for phase in agent.phases()] == ["vision", "encode", "memory", "evolve"]
    learner = small.train("world-models", steps=33, settings={"every": 8})
    assert {phase.name: learner.runs(phase, 33) for phase in learner.phases} == {
        "vision": 9,
        "encode": 3,
        "memory": 9,
        "evolve": 6,
    }
    assert learner.updates == 24
    assert float(learner.infos["encode"]["moments"][0]) > 32.0
    assert int(learner.state.cloud.generation[0]) == 2  # the search has begun anew


def test_dreams_have_a_temperature_and_what_is_seen_has_none():
    agent = an_agent(**{"c.temperature": 1.75})
    state = agent.init(key=KEY)
    assert [float(m.temperature) for m in (agent.dream(state), agent.world_model(state))] == [1.75, 1.0]


class Enough(Exception):
    pass


def test_losses_count_as_is_set(encoded, monkeypatch):
    """An end of the world for M, and what V may say for nothing."""
    _, state, replay = encoded
    agent, told = an_agent(num_envs=2, **{"m.ending_weight": 7.0, "v.kl_tolerance": 0.75}), {}

    def loss(self, seen, *, key, **settings):
        told.update(settings)
        raise Enough

    for kind, learn in ((Memory, agent.learn_memory), (VAE, agent.learn_vision)):
        monkeypatch.setattr(kind, "loss", loss)
        with pytest.raises(Enough):
            learn(state, replay, step=NOW, key=KEY)
    assert told == {"ending_weight": 7.0, "tolerance": 0.75}


def test_candidates_take_turns_in_the_environments_and_are_judged_by_their_own(encoded, monkeypatch):
    """An episode counts however it ends."""
    agent, replay = an_agent(num_envs=8, **{"c.where": "world", "c.rollouts": 2}), encoded[2]
    state = agent.init(key=KEY)
    candidates = jnp.zeros((4, agent.policy.size)).at[:, -1].set(0.1 * jnp.arange(4))  # the bias of the last number
    state = state._replace(trials=state.trials._replace(candidates=candidates, own=jnp.ones(8, bool)))
    action, _, _ = agent.decide(state, agent.init_actor(8), key=KEY, explore=True)
    np.testing.assert_allclose(action[:, 1], np.tanh([0.0, 0.1, 0.2, 0.3] * 2), rtol=1e-5, atol=1e-7)
    quiet, _, _ = agent.decide(state, agent.init_actor(8), key=KEY, explore=False)
    np.testing.assert_array_equal(quiet, 0.0)  # the middle of the cloud
    ends = jnp.arange(8)
    newest = Transition((), action, 1.0 + jnp.arange(8.0), (), ends == 1, (ends == 4) | (ends == 6))
    monkeypatch.setattr(type(replay), "last", lambda self, n: newest)
    state, _, _ = agent.try_out(state, replay, step=NOW, key=KEY)
    assert state.trials.ended.tolist() == [1, 1, 1, 0]
    assert state.trials.earned.tolist() == [5.0, 2.0, 7.0, 0.0]


def test_gradients_of_m_are_cut_off_number_by_number():
    """Then Adam takes its step; V's are taken as they are."""
    agent, grads = plain(CARS), np.array([[5.0, -0.5], [0.2, 0.1]])
    for optimizer, rate, most in ((agent.memory_optimizer, 1e-3, 1.0), (agent.vision_optimizer, 1e-4, np.inf)):
        state, m, v = optimizer.init(jnp.zeros(2)), 0.0, 0.0
        for t, given in enumerate(grads, 1):
            change, state = optimizer.update(jnp.asarray(given, jnp.float32), state)
            g = np.clip(given, -most, most)
            m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
            expected = -rate * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
            np.testing.assert_allclose(change, expected, rtol=1e-4)


def test_the_search_begins_anew_around_where_it_was(encoded):
    """As widely as at first, once V sees otherwise than it did."""
    agent, state, replay = encoded
    cloud = state.cloud._replace(mean=state.cloud.mean + 0.7, std=jnp.array(1e-3), generation=jnp.array(9, jnp.int32))
    state = state._replace(cloud=cloud)
    work = agent.begin_encoding(state, replay, step=NOW, key=KEY)
    after = agent.finish_encoding(state, work, replay, step=NOW, key=KEY)[0].cloud
    np.testing.assert_array_equal(after.mean, cloud.mean)
    assert float(after.std) == pytest.approx(agent.config.c.initial_std)
    assert int(after.generation) == 0
