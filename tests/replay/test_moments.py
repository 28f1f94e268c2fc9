"""A replay of moments against lists of what was lived through."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from forethought.errors import UsageError
from forethought.replay import moments
from forethought.types import Experience, TimeStep, Transition

record = jax.jit(moments.record)


@jax.jit
def _newest(replay):
    return replay.last(replay.capacity)


@jax.jit
def _used(replay):
    return replay.in_slots(jnp.flatnonzero(replay.used, size=replay.capacity))


def the_newest(replay, n):
    """The n newest, of one program for any n."""
    return jax.tree.map(lambda x: np.asarray(x)[-n:], _newest(replay))


def those_used(replay, n):
    return jax.tree.map(lambda x: np.asarray(x)[:n], _used(replay))


class World:
    """Environments whose observations count the moments of each, and whose episodes end at random."""

    def __init__(self, n, seed=0, ends=0.3):
        self.rng, self.n, self.ends, self.count = np.random.default_rng(seed), n, ends, 0
        self.lived = [[] for _ in range(n)]  # transitions, oldest first
        self.rows = [[] for _ in range(n)]  # moments, oldest first
        self.now = self._moment(np.ones(n, bool))

    def _moment(self, first, ended=None, cut=None, reward=None):
        no = np.zeros(self.n, bool)
        obs = np.arange(self.count, self.count + self.n)
        self.count += self.n
        action = obs.astype(np.int32) + 7
        fields = (np.zeros(self.n, np.float32) if reward is None else reward, first)
        moment = TimeStep(np.stack([obs, -obs], 1).astype(np.float32), action, *fields, no, no)
        return moment._replace(**{k: v for k, v in (("terminated", ended), ("truncated", cut)) if v is not None})

    def step(self):
        """What happens next, also noted in the lists."""
        over, kind = self.rng.random(self.n) < self.ends, self.rng.random(self.n) < 0.5
        reward = self.rng.normal(size=self.n).astype(np.float32)
        reached = self._moment(np.zeros(self.n, bool), over & kind, over & ~kind, reward)
        begun = self._moment(np.ones(self.n, bool))
        experience = Experience(self.now, reached, {"said": reached.obs[:, 0].astype(np.int32)})
        for e in range(self.n):
            old, new = (jax.tree.map(lambda x, e=e: np.asarray(x)[e], m) for m in (self.now, reached))
            self.rows[e] += [old] if old.first else []
            self.rows[e].append(new)
            outcome = new.reward, new.obs, new.terminated, new.truncated
            self.lived[e].append(Transition(old.obs, new.prev_action, *outcome))
        self.now = jax.tree.map(lambda a, b: np.where(over.reshape(-1, *[1] * (a.ndim - 1)), a, b), begun, reached)
        return experience

    def in_turns(self, last):
        """The newest ``last`` steps of all environments, which take turns."""
        return [of_env[t] for t in range(-last, 0) for of_env in self.lived]


def empty(capacity, n, **kwargs):
    one = TimeStep(jnp.zeros(2), jnp.int32(0), jnp.float32(0), *[jnp.array(False)] * 3)
    return moments.create(one, capacity, n, extras={"said": jnp.int32(0)}, **kwargs)


def small_rows_are_large(monkeypatch, spare):
    monkeypatch.setattr(moments, "_SMALL_ROW", 0)
    monkeypatch.setattr(moments, "_SPARE_LEAST", spare)


def same(found, wanted):
    for name in ("obs", "action", "reward", "next_obs", "terminated", "truncated"):
        np.testing.assert_array_equal(getattr(found, name), np.stack([getattr(t, name) for t in wanted]), name)
    assert found.extras["said"].tolist() == [int(t.next_obs[0]) for t in wanted]


@pytest.mark.parametrize("n", [1, 3])
def test_transitions_are_what_was_lived_through_and_the_oldest_are_forgotten(n):
    world, replay = World(n), empty(7 * n, n)
    for t in range(1, 30):
        replay = record(replay, world.step())
        kept = min(t, 7)
        assert int(replay.size) == kept * n
        same(the_newest(replay, kept * n), world.in_turns(kept))
        same(those_used(replay, kept * n), _by_slot(world, t, 7, n))
        backwards = replay.newest(jnp.arange(7 * n)).reward[: kept * n]
        assert backwards.tolist() == [t.reward for t in reversed(world.in_turns(kept))]
        assert float(replay.numbered(jnp.array(t * n - 1)).reward) == world.lived[-1][-1].reward


def _by_slot(world, t, capacity, n):
    """Transitions in the order of the slots of a ring that is written round and round."""
    times = sorted(range(max(0, t - capacity), t), key=lambda at: at % capacity)
    return [world.lived[e][at] for at in times for e in range(n)]


@pytest.mark.parametrize("ends", [0.05, 0.5, 1.0])
@pytest.mark.parametrize("n", [1, 2])
def test_with_little_room_no_transition_is_drawn_that_has_lost_its_beginning(monkeypatch, n, ends):
    small_rows_are_large(monkeypatch, spare=4)
    world, replay, held = World(n, ends=ends), empty(16 * n, n), []
    assert replay.room == 20
    assert not replay.keeps_all
    for t in range(1, 70):
        replay = record(replay, world.step())
        alive = min(min(t, 16, _alive(world.rows[e][-20:])) for e in range(n))
        assert int(replay.size) == alive * n
        same(the_newest(replay, alive * n), world.in_turns(alive))
        same(those_used(replay, alive * n), sorted_by(replay, world, alive))
        held.append(alive)
    assert held[-1] == 10 if ends == 1.0 else held[-1] > 10


def sorted_by(replay, world, alive):
    used = {float(t.reward): t for t in world.in_turns(alive)}
    slots = np.flatnonzero(replay.used)
    return [used[float(r)] for r in np.asarray(replay.rows.reward)[np.asarray(replay.ends.data)[slots]]]


def _alive(rows):
    return sum(not row.first for row in rows[1:])


@pytest.mark.parametrize("large", [False, True])
def test_draws_are_uniform_over_transitions(monkeypatch, large):
    if large:
        small_rows_are_large(monkeypatch, spare=2)
    world, replay = World(2, seed=3), empty(16, 2)
    for _ in range(21):
        replay = record(replay, world.step())
    alive = int(replay.size) // 2
    assert (alive < 8) == large
    drawn = np.asarray(replay.sample(8000, key=jax.random.key(1)).reward)
    wanted = np.array([t.reward for t in world.in_turns(alive)])
    counts = (drawn[:, None] == wanted).sum(0)
    assert counts.sum() == 8000
    assert stats.chisquare(counts).pvalue > 0.01
    newest = np.asarray(replay.sample_newest(500, 4, key=jax.random.key(1)).reward)
    assert set(newest.tolist()) == {t.reward.item() for t in world.in_turns(2)}


@pytest.mark.parametrize("n", [1, 3])
def test_windows_are_successive_moments_of_one_environment_uniformly_drawn(n):
    world, replay, length = World(n, seed=5), empty(6 * n, n), 4
    for _ in range(15):
        replay = record(replay, world.step())
    held = [rows[-replay.room :] for rows in world.rows]
    drawn = jax.jit(partial(moments.Replay.sample_windows, n=4000, length=length))(replay, key=jax.random.key(0))
    seen = jax.tree.map(np.asarray, replay.windows(drawn, length))
    assert seen.first.shape == (length, 4000)
    wanted = {float(rows[i].obs[0]): rows[i : i + length] for rows in held for i in range(len(rows) - length + 1)}
    counts = dict.fromkeys(wanted, 0)
    for i in range(4000):
        start = float(seen.obs[0, i, 0])
        counts[start] += 1
        if counts[start] == 1:
            for name in ("obs", "prev_action", "reward", "first", "terminated", "truncated"):
                np.testing.assert_array_equal(
                    getattr(seen, name)[:, i], np.stack([getattr(row, name) for row in wanted[start]]), name
                )
    assert stats.chisquare(list(counts.values())).pvalue > 0.01


def test_an_empty_replay_gives_zeros():
    assert not np.any(empty(4, 1).sample(3, key=jax.random.key(0)).obs)


def test_notes_stay_until_their_row_is_written_over():
    world, replay = World(1, ends=0.0), empty(4, 1, notes=jnp.float32(0))
    for _ in range(4):
        replay = record(replay, world.step())
    replay = replay.note(jnp.arange(5), 1.0 + jnp.arange(5.0))
    assert replay.notes.tolist() == [1, 2, 3, 4, 5, 0, 0, 0]
    for _ in range(4):
        replay = record(replay, world.step())
    assert replay.notes.tolist() == [0, 2, 3, 4, 5, 0, 0, 0]


def given(n, seed=0):
    """Transitions of one environment in time, of which some are missing."""
    world = World(1, seed=seed, ends=0.2)
    for _ in range(n):
        world.step()
    kept = [t for i, t in enumerate(world.lived[0]) if i % 5]
    return kept, jax.tree.map(lambda *x: np.stack(x), *kept)


@pytest.mark.parametrize("n", [1, 3])
def test_given_transitions_come_first_whether_or_not_they_follow_each_other(n):
    kept, rows = given(17)
    replay, world = moments.fill(empty(24, n), rows), World(n, seed=8)
    assert int(replay.size) == len(kept) == 13
    found = replay.last(13)
    order = np.argsort(np.concatenate([np.arange(len(p)) * n + e for e, p in enumerate(np.array_split(range(13), n))]))
    for name in ("obs", "action", "reward", "next_obs", "terminated", "truncated"):
        np.testing.assert_array_equal(getattr(found, name), np.stack([getattr(kept[i], name) for i in order]), name)
    for _ in range(3):
        replay = record(replay, world.step())
    assert int(replay.size) == 13 + 3 * n
    same(the_newest(replay, 3 * n), world.in_turns(3))
    assert the_newest(replay, 13 + 3 * n).reward[:13].tolist() == [kept[i].reward for i in order]
    again = [i for i in range(13) if i == 0 or kept[i - 1].terminated or kept[i - 1].truncated]
    apart = [i for i in range(1, 13) if not np.array_equal(kept[i].obs, kept[i - 1].next_obs)]
    parts = {int(p[0]) for p in np.array_split(range(13), n)}
    assert int(jnp.sum(replay.begun)) == len({*again, *apart} | parts)


def test_too_much_is_not_given():
    with pytest.raises(UsageError, match=r"no room for 13 transitions in \d+ episodes; raise --agent.replay-capacity"):
        moments.fill(empty(12, 1), given(17)[1])


@pytest.mark.parametrize("large", [False, True])
def test_a_seed_is_written_alike_alone_and_beside_others(monkeypatch, large):
    if large:
        small_rows_are_large(monkeypatch, spare=2)
    one = empty(8, 2)
    axes = moments.axes(one)
    both, alone = moments.spread(one, 2), [one, one]
    together = jax.jit(jax.vmap(moments.record, (axes, 0), axes))
    worlds = [World(2, seed=seed) for seed in range(2)]
    for _ in range(13):
        steps = [world.step() for world in worlds]
        both = together(both, jax.tree.map(lambda *x: np.stack(x), *steps))
        alone = [record(*pair) for pair in zip(alone, steps, strict=True)]
    for k in range(2):
        jax.tree.map(np.testing.assert_array_equal, moments.of_seed(both, k), alone[k])
    assert both.ends.cursor.shape == ()
    assert both.ends.size.shape == ((2,) if large else ())


def test_a_donated_replay_is_written_in_place():
    donating, replay, world = jax.jit(moments.record, donate_argnums=0), empty(1000, 1), World(1)
    place = replay.packed["float32"].unsafe_buffer_pointer()
    for _ in range(3):
        previous, replay = replay, donating(replay, world.step())
        assert previous.packed["float32"].is_deleted()
    assert replay.packed["float32"].unsafe_buffer_pointer() == place
    same(the_newest(replay, 3), world.in_turns(3))


def test_a_million_images_are_stored_once():
    one = TimeStep(jnp.zeros((64, 64, 3), jnp.uint8), jnp.zeros(6), jnp.float32(0), *[jnp.array(False)] * 3)
    shapes = jax.eval_shape(lambda: moments.create(one, 1_000_000, 8))
    assert 12.3e9 < sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(shapes)) < 12.9e9
