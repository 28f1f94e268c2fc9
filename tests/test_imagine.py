import jax
import jax.numpy as jnp
import numpy as np

from forethought.imagine import advance, branched_rollouts, imagine, imagined_returns
from forethought.replay import ring
from forethought.types import Outcome, Transition
from handmade import OnALine, Place


class Line(OnALine):
    """A world on a line: x moves by the action, plus noise; pays where it was; ends at ``end``, breaks at ``fault``.

    At ``unpaid`` the reward is not a number, but the world goes on.
    """

    end: jax.Array
    fault: jax.Array
    noise: jax.Array
    unpaid: jax.Array

    def __init__(self, end=jnp.inf, fault=jnp.inf, noise=0.0, unpaid=jnp.inf):
        self.end, self.fault, self.noise, self.unpaid = (
            jnp.asarray(x, jnp.float32) for x in (end, fault, noise, unpaid)
        )

    def step(self, belief, action, *, key):
        x = belief.x + action + self.noise * jax.random.normal(key, action.shape)
        x = jnp.where(x >= self.fault, jnp.nan, x)
        reward = jnp.where(belief.x[:, 0] == self.unpaid, jnp.nan, belief.x[:, 0])
        return Place(x), Outcome(reward, 1.0 - (x[:, 0] >= self.end))


def forward(obs, key):
    return jnp.ones_like(obs)


def wander(obs, key):
    return jax.random.normal(key, obs.shape)


def starts(*x):
    return Place(jnp.array(x, jnp.float32)[:, None])


def empty(capacity):
    row, no = jnp.zeros(1), jnp.array(False)
    return ring.create(Transition(row, row, jnp.array(0.0), row, no, no), capacity)


def stored(r):
    """(obs, next_obs, terminated) of the live rows, oldest first; asserts that the ring did not wrap."""
    n = int(r.size)
    assert n < int(r.limit)
    t = r.data
    return list(zip(t.obs[:n, 0].tolist(), t.next_obs[:n, 0].tolist(), t.terminated[:n].tolist(), strict=True))


def test_the_timeline_of_imagined_steps():
    last, (t, alive, _) = imagine(Line(end=3.0), forward, starts(0.0, 2.0), 4, key=jax.random.key(0))
    assert t.obs[..., 0].tolist() == [[0, 2], [1, 3], [2, 4], [3, 5]]
    assert t.next_obs[..., 0].tolist() == [[1, 3], [2, 4], [3, 5], [4, 6]]
    assert t.reward.tolist() == t.obs[..., 0].tolist()
    assert last.x[:, 0].tolist() == [4, 6]
    assert not np.any(t.truncated)
    # The step that ends the world is alive itself; what follows is not.
    assert t.terminated.tolist() == [[False, True], [False, True], [True, True], [True, True]]
    assert alive.tolist() == [[True, True], [True, False], [True, False], [False, False]]


def test_rollouts_stop_where_the_world_ends():
    r, added = branched_rollouts(
        Line(end=3.0), forward, starts(0.0, 2.0), jnp.array(4), empty(20), key=jax.random.key(0)
    )
    assert stored(r) == [(0, 1, False), (2, 3, True), (1, 2, False), (2, 3, True)]
    assert float(added) == 2.0


def test_rollouts_stop_before_what_is_not_finite():
    r, added = branched_rollouts(
        Line(fault=3.0), forward, starts(0.0, 2.0), jnp.array(5), empty(20), key=jax.random.key(0)
    )
    assert stored(r) == [(0, 1, False), (1, 2, False)]
    assert float(added) == 1.0


def test_a_rollout_does_not_go_on_behind_a_fault():
    r, added = branched_rollouts(
        Line(unpaid=2.0), forward, starts(0.0, 3.0), jnp.array(4), empty(20), key=jax.random.key(0)
    )
    assert stored(r) == [(0, 1, False), (3, 4, False), (1, 2, False), (4, 5, False), (5, 6, False), (6, 7, False)]
    assert float(added) == 3.0


def test_the_length_is_decided_inside_the_compiled_program():
    run = jax.jit(lambda length, r: branched_rollouts(Line(), forward, starts(0.0), length, r, key=jax.random.key(0)))
    sizes = [int(run(jnp.array(length), empty(20))[0].size) for length in (0, 1, 7)]
    assert sizes == [0, 1, 7]
    assert run._cache_size() == 1


def test_the_ring_keeps_the_last_rows_of_long_rollouts():
    r, added = branched_rollouts(Line(), forward, starts(0.0, 10.0), jnp.array(6), empty(4), key=jax.random.key(0))
    assert float(added) == 6.0
    assert sorted(r.data.obs[:, 0].tolist()) == [4, 5, 14, 15]


def test_rollouts_are_steps_one_after_the_other_with_noise_of_their_own():
    model, key, length = Line(noise=0.5, end=0.6), jax.random.key(4), 3
    belief, alive, expected = starts(0.0, 1.0, -1.0), jnp.ones(3, bool), []
    r, added = branched_rollouts(model, wander, belief, jnp.array(length), empty(10), key=key)
    for i in range(length):
        belief, alive, (t, counts, _) = advance(model, wander, belief, alive, key=jax.random.fold_in(key, i))
        kept = zip(t.obs[:, 0].tolist(), t.next_obs[:, 0].tolist(), t.terminated.tolist(), strict=True)
        expected += [row for row, c in zip(kept, counts.tolist(), strict=True) if c]
    np.testing.assert_allclose(np.array(stored(r)), np.array(expected), rtol=1e-5)
    assert float(added) == np.float32(len(expected) / 3)
    assert 3 < len(expected) < 9
    moves = np.array(expected)[:, 1] - np.array(expected)[:, 0]
    assert len(set(np.round(moves, 5))) == len(expected)


def test_each_step_of_imagination_draws_afresh():
    _, (t, *_) = imagine(Line(noise=0.5), wander, starts(0.0, 0.0), 3, key=jax.random.key(0))
    for drawn in (t.action, t.next_obs - t.obs - t.action):
        assert len(set(np.round(np.asarray(drawn).ravel(), 5))) == 6


def test_rollouts_in_blocks_lose_and_mix_up_nothing(monkeypatch):
    from forethought import imagine as module

    obs = np.arange(12.0)
    whole, _ = branched_rollouts(Line(end=13.0), forward, starts(*obs), jnp.array(3), empty(100), key=jax.random.key(0))
    monkeypatch.setattr(module, "BLOCK", 5)  # 12 particles: two blocks of 6
    parts, added = branched_rollouts(
        Line(end=13.0), forward, starts(*obs), jnp.array(3), empty(100), key=jax.random.key(0)
    )
    assert stored(parts) == stored(whole)
    assert round(float(added) * 12) == len(stored(whole))


def test_blocks_of_particles_have_noise_of_their_own(monkeypatch):
    from forethought import imagine as module

    monkeypatch.setattr(module, "BLOCK", 2)
    into, _ = branched_rollouts(
        Line(noise=1.0), forward, starts(*[0.0] * 8), jnp.array(1), empty(9), key=jax.random.key(0)
    )
    assert len({after for _, after, _ in stored(into)}) == 8


def test_returns_are_of_the_living_and_nobody_is_waited_for():
    """From 0 it goes 0, 1, 2 and ends at 3; from 2 at once; from -9 the horizon cuts it off."""
    begin = starts(0.0, 2.0, -9.0)
    earned, lived = imagined_returns(Line(end=3.0), forward, begin, 5, key=jax.random.key(0))
    np.testing.assert_allclose(earned, [0.0 + 1.0 + 2.0, 2.0, -9.0 - 8.0 - 7.0 - 6.0 - 5.0])
    np.testing.assert_array_equal(lived, [3, 1, 5])
    # What would not be a number comes after its end.
    sound, _ = imagined_returns(Line(end=3.0, unpaid=4.0), forward, begin, 20, key=jax.random.key(0))
    np.testing.assert_allclose(sound[:2], [3.0, 2.0])
    # The steps that are made are those of the one who lives longest: two are enough for both of these.
    few, _ = imagined_returns(Line(end=3.0), forward, starts(1.0, 2.0), 10**9, key=jax.random.key(0))
    np.testing.assert_allclose(few, [3.0, 2.0])
