import jax
import jax.numpy as jnp
import numpy as np
import pytest
from dreamers import KEY, Walk, play, walks

from forethought.diagnostics.decoded import AS_IT_IS, Decoded
from forethought.diagnostics.dreams import reenact, signed_errors
from forethought.diagnostics.episodes import (
    Episode,
    at_starts,
    beliefs_along,
    cut,
    draw_starts,
    moves,
    require_enough,
    side_by_side,
    spread_of,
)
from forethought.errors import UsageError


def test_episodes_are_played_to_their_ends():
    episodes = play(3, seed=0, env="forethought/ProbeTermination-v0")
    assert [(e.length, e.terminated, e.truncated) for e in episodes] == [(5, True, False)] * 3
    np.testing.assert_allclose(episodes[0].obs[:5, 0], [0.0, 0.2, 0.4, 0.6, 0.8], atol=1e-6)
    assert episodes[0].obs.shape == (6, 1)  # with the final observation
    assert episodes[0].action.shape == (5, 1)
    cut_short = play(2, seed=0, env="forethought/ProbeTermination-v0", most_steps=3)
    assert [(e.length, e.terminated, e.truncated) for e in cut_short] == [(3, False, True)] * 2


def unequal():
    """Episodes of 3 steps (truncated) and 5 steps (terminated); the observation counts up from 0 and from 10."""
    make = lambda first, steps, ended: Episode(  # noqa: E731
        first + np.arange(steps + 1.0, dtype=np.float32)[:, None],
        np.ones((steps, 1), np.float32),
        np.arange(steps, dtype=np.float32),
        ended,
        not ended,
    )
    return [make(0.0, 3, False), make(10.0, 5, True)]


def test_a_stretch_is_cut_short_by_the_end_of_the_world_and_by_nothing_else():
    held = side_by_side(unequal())
    starts = np.asarray(draw_starts(held, 2, 100, key=KEY))
    assert sorted(map(tuple, starts)) == sorted([(0, 0), (1, 0), (0, 1), (1, 1), (2, 1), (3, 1), (4, 1)])
    assert len(draw_starts(held, 2, 4, key=KEY)) == 4
    real = cut(held, jnp.array([[1, 0], [4, 1]]), horizon=2)
    np.testing.assert_array_equal(real.obs[..., 0], [[1, 14], [2, 15], [3, 15]])
    np.testing.assert_array_equal(real.reward[:, 0], [1, 2])
    np.testing.assert_array_equal(real.valid, [[True, True], [True, False]])
    np.testing.assert_array_equal(real.ended, [[False, True], [False, False]])


def test_the_last_steps_are_seen_however_many_episodes_end_before():
    base = walks(n=40, steps=40, terminated=True) + walks(n=2, steps=60)
    held = side_by_side(base)
    starts = np.asarray(draw_starts(held, 59, 64, key=KEY))
    assert len({tuple(start) for start in starts}) == 64
    assert sum(time + 59 <= base[episode].length for time, episode in starts) == 4  # all that there are


def test_what_moves():
    still = [e._replace(obs=np.concatenate([e.obs, np.ones_like(e.obs)], axis=1)) for e in unequal()]
    np.testing.assert_array_equal(moves(side_by_side(still)), [True, False])


def test_the_spread_counts_every_observation_once():
    counted = np.concatenate([np.arange(4.0), 10.0 + np.arange(6.0)])
    np.testing.assert_allclose(spread_of(side_by_side(unequal())), [counted.std()], rtol=1e-5)


def test_beliefs_follow_the_observations():
    held = side_by_side(unequal())
    beliefs = beliefs_along(Walk(), held, key=KEY)
    np.testing.assert_array_equal(at_starts(beliefs, jnp.array([[2, 0], [3, 1]]))[:, 0], [2.0, 13.0])


def test_errors_of_a_drift_grow_by_the_drift():
    held = side_by_side(walks())
    starts = draw_starts(held, 5, 10, key=KEY)
    real = cut(held, starts, 5)
    belief = at_starts(beliefs_along(Walk(), held, key=KEY), starts)
    dream = reenact(Decoded(Walk(drift=0.5), AS_IT_IS), belief, real, particles=3, key=KEY)
    errors = np.asarray(signed_errors(dream, real, jnp.array([2.0])))
    assert errors.shape == (5, 3, 10, 1)
    np.testing.assert_allclose(errors, np.broadcast_to(0.25 * np.arange(1, 6)[:, None, None, None], errors.shape))


def test_what_is_not_finite_is_infinitely_wrong_and_what_is_past_the_end_unknown():
    held = side_by_side(unequal())
    real = cut(held, jnp.array([[4, 1]]), 2)
    dream = reenact(Decoded(Walk(drift=jnp.nan), AS_IT_IS), jnp.array([[14.0]]), real, particles=2, key=KEY)
    errors = np.asarray(signed_errors(dream, real, jnp.ones(1)))
    assert np.isinf(errors[0]).all()
    assert np.isnan(errors[1]).all()


@pytest.mark.parametrize(
    ("episodes", "horizon", "said"),
    [
        (walks(4), 0, "horizon is 0; it must be at least 1"),
        (walks(1), 3, "there are 1 held-out episodes; two at least"),
        (walks(3, steps=5), 6, "0 of 3 held-out episodes have the 6 steps .* horizon of at most 5"),
        ([*walks(1, steps=9), *walks(2, steps=4)], 6, "1 of 3 .* horizon of at most 4"),
    ],
)
def test_too_few_or_too_short_episodes_are_refused(episodes, horizon, said):
    with pytest.raises(UsageError, match=said):
        require_enough(episodes, horizon)


def test_random_numbers_come_from_the_key():
    held = side_by_side(walks())
    one, same, other = (draw_starts(held, 2, 10, key=jax.random.key(k)) for k in (0, 0, 1))
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)
