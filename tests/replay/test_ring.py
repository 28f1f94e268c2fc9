import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from forethought.replay import ring

add, add_where, resize = jax.jit(ring.add), jax.jit(ring.add_where), jax.jit(ring.resize)
sample = jax.jit(ring.sample, static_argnames="n")


def numbered(first, n):
    """Rows that carry their number in two leaves of different shape and type."""
    number = np.arange(first, first + n)
    return {"id": number.astype(np.int32), "x": np.stack([number, -number], axis=1).astype(np.float32)}


def by_age(r):
    """Numbers of the live rows, oldest first, and a check that both leaves agree on them."""
    order = (int(r.cursor) - int(r.size) + np.arange(int(r.size))) % int(r.limit)
    ids = np.asarray(r.data["id"])[order]
    np.testing.assert_array_equal(np.asarray(r.data["x"])[order], np.stack([ids, -ids], axis=1))
    return ids.tolist()


def empty(capacity):
    return ring.create(jax.tree.map(lambda x: x[0], numbered(0, 1)), capacity)


@pytest.mark.parametrize("capacity", [5, 7, 8])
def test_it_is_a_list_that_forgets_its_beginning(capacity):
    rng, r, expected, written = np.random.default_rng(capacity), empty(capacity), [], 0
    for _ in range(40):
        n = int(rng.choice([1, 2, 5]))
        rows, keep = numbered(written, n), rng.random(n) < 0.6
        if rng.random() < 0.5:
            r, keep = add(r, rows), np.ones(n, bool)
        else:
            r = add_where(r, rows, keep)
        expected = [*expected, *rows["id"][keep].tolist()][-capacity:]
        written += n
        assert by_age(r) == expected
        assert int(r.size) == len(expected)


def test_more_rows_kept_than_there_is_room_for():
    r = add_where(empty(4), numbered(0, 9), np.array([1, 1, 0, 1, 1, 0, 1, 1, 1], bool))
    assert by_age(r) == [4, 6, 7, 8]
    r = resize(empty(8), 3)
    assert by_age(add_where(r, numbered(0, 7), np.ones(7, bool))) == [4, 5, 6]
    assert by_age(add(r, numbered(0, 7))) == [4, 5, 6]


def test_nothing_kept_changes_nothing():
    before = add(empty(4), numbered(0, 3))
    after = add_where(before, numbered(3, 2), np.zeros(2, bool))
    jax.tree.map(np.testing.assert_array_equal, before, after)


def test_more_rows_than_capacity_are_refused():
    with pytest.raises(ValueError, match="cannot add 5 rows to a ring of 4"):
        ring.add(empty(4), numbered(0, 5))


def test_growing_keeps_and_shrinking_forgets():
    """Whatever the order of operations: the newest rows live, and no more are lost than there is no room for."""
    rng, capacity = np.random.default_rng(0), 12
    r, written = resize(empty(capacity), 4), 0
    for _ in range(60):
        before = set(live(r))
        if rng.random() < 0.7:
            n = int(rng.choice([1, 3]))
            r, written = add(r, numbered(written, n)), written + n
            after, added = set(live(r)), set(range(written - n, written))
            assert added <= after <= before | added
            assert len(after) == min(len(before) + n, int(r.limit))
        else:
            limit = int(rng.integers(3, capacity + 1))
            grows = limit >= int(r.limit)
            r = resize(r, limit)
            after = set(live(r))
            assert int(r.limit) == limit
            assert after == before if grows else after <= before
            assert len(after) == min(len(before), limit)


def live(r):
    ids = np.asarray(r.data["id"])[: int(r.size)].tolist()
    assert len(set(ids)) == len(ids)
    return ids


def test_a_full_ring_that_grows_fills_its_new_room_first():
    r = resize(add(empty(6), numbered(0, 3)), 3)
    r = add(resize(r, 6), numbered(3, 3))
    assert by_age(r) == [0, 1, 2, 3, 4, 5]
    assert by_age(add(r, numbered(6, 1))) == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize(("written", "lives"), [(10, range(10)), (16, range(16)), (21, range(5, 21))])
def test_sampling_is_uniform_over_what_lives(written, lives):
    r = empty(16)
    for i in range(written):
        r = add(r, numbered(i, 1))
    drawn = np.asarray(sample(r, 8000, key=jax.random.key(1))["id"])
    counts = np.array([np.sum(drawn == i) for i in lives])
    assert counts.sum() == 8000
    assert stats.chisquare(counts).pvalue > 0.01


def test_an_empty_ring_gives_zeros():
    drawn = sample(empty(4), 3, key=jax.random.key(0))
    assert drawn["id"].tolist() == [0, 0, 0]
    assert not np.any(drawn["x"])


def test_rows_are_found_by_their_number():
    r = empty(6)
    for i in range(0, 16, 2):
        r = add(r, numbered(i, 2))
        for number in range(max(0, i + 2 - 6), i + 2):
            assert int(ring.row(r, jnp.array(number))["id"]) == number


def test_rows_are_found_by_how_new_they_are():
    r = empty(6)
    for i in range(0, 16, 2):
        r = add(r, numbered(i, 2))
        for back in range(min(6, i + 2)):
            assert int(ring.newest(r, jnp.array(back))["id"]) == i + 1 - back


def test_a_donated_ring_is_written_in_place():
    donating = jax.jit(ring.add, donate_argnums=0)
    r = empty(1000)
    place = r.data["x"].unsafe_buffer_pointer()
    for i in range(3):
        previous, r = r, donating(r, numbered(i, 1))
        assert all(leaf.is_deleted() for leaf in jax.tree.leaves(previous))
    assert r.data["x"].unsafe_buffer_pointer() == place
    assert by_age(r) == [0, 1, 2]


@pytest.mark.parametrize(
    ("added", "newest", "drawn"), [(6, 2, {4, 5}), (6, 9, {2, 3, 4, 5}), (3, 2, {1, 2}), (1, 5, {0})]
)
def test_the_newest_rows_are_drawn_and_no_others(added, newest, drawn):
    held = ring.create(jnp.array(0), 4)
    for number in range(added):
        held = ring.add(held, jnp.array([number]))
    rows = ring.sample_newest(held, 200, newest, key=jax.random.key(0))
    assert set(rows.tolist()) == drawn
