"""The rows of a replay on disk: each save costs what is new, and nothing but what was saved comes back."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from forethought.errors import CheckpointError
from forethought.replay import moments
from forethought.training import checkpoint, segments
from forethought.training.segments import FOLDER, Segments
from forethought.types import Experience, TimeStep

ONE = TimeStep(jnp.zeros(2), jnp.zeros(1), jnp.float32(0), *[jnp.array(False)] * 3)
SEEDS, ENVS = 2, 3


def empty(capacity=12, notes=()):
    return moments.spread(moments.create(ONE, capacity, ENVS, extras={"plan": jnp.int32(0)}, notes=notes), SEEDS)


class Life:
    """Two seeds of three environments with episodes of different lengths, and what their replay holds."""

    def __init__(self, replay, seed=0):
        self.replay, self.rng, self.t = replay, np.random.default_rng(seed), 0
        axes = moments.axes(moments.of_seed(replay, 0))
        self.record = jax.jit(jax.vmap(moments.record, (axes, 0), axes))
        self.first = np.ones((SEEDS, ENVS), bool)

    def go_on(self, steps):
        for _ in range(steps):
            self.t += 1
            now, reached = (
                TimeStep(
                    np.full((SEEDS, ENVS, 2), self.t + part, np.float32) + self.rng.random((SEEDS, ENVS, 2)),
                    *(self.rng.random((SEEDS, ENVS, *more)).astype(np.float32) for more in ((1,), ())),
                    self.first & (part == 0),
                    *(self.rng.random((2, SEEDS, ENVS)) < 0.15),
                )
                for part in (0.0, 0.5)
            )
            extras = {"plan": np.full((SEEDS, ENVS), self.t, np.int32)}
            self.replay = self.record(self.replay, jax.tree.map(_as_jax, Experience(now, reached, extras)))
            self.first = reached.terminated | reached.truncated
        return self.replay


def _as_jax(x):
    return jnp.asarray(x, jnp.float32 if x.dtype == np.float64 else x.dtype)


def large_rows(monkeypatch):
    monkeypatch.setattr(moments, "_SMALL_ROW", 0)
    monkeypatch.setattr(moments, "_SPARE_LEAST", 2)


def same(one, other):
    jax.tree.map(np.testing.assert_array_equal, one, other)


def on_disk(root):
    return {path.name: path.stat() for path in (root / FOLDER).iterdir()}


def saved(root, step, replay, kept, keep=2):
    return checkpoint.save(root, step, {"replay": replay}, {"a": 1}, keep=keep, segments=kept)


def loaded(path, like, kept=None):
    return checkpoint.load(path, {"replay": like}, kept)[0]["replay"]


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("on_host", [False, True])
def test_what_was_saved_comes_back_to_the_bit_however_long_ago(tmp_path, monkeypatch, large, on_host):
    """Past the end of every lane, over several saves, and by a gather on the device too."""
    if large:
        large_rows(monkeypatch)
    monkeypatch.setattr(segments, "_on_host", lambda x: on_host)
    kept, life = Segments(), Life(empty(notes=jnp.float32(0)))
    for step in (1, 3, 4, 11, 25):
        life.go_on(step - life.t)
        life.replay = noted(life.replay)
        path = saved(tmp_path, step, life.replay, kept)
        same(loaded(path, empty(notes=jnp.float32(0))), life.replay)
    assert np.ptp(np.asarray(life.replay.written)) > 0
    assert np.min(life.replay.written) > life.replay.room


def noted(replay):
    """With the reward of each row beside it."""
    axes = moments.axes(moments.of_seed(replay, 0))
    return jax.vmap(lambda r: r.note(jnp.arange(len(r.notes)), r.rows.reward), (axes,), axes)(replay)


def test_a_save_writes_what_is_new(tmp_path):
    kept, life = Segments(), Life(empty(60))
    saved(tmp_path, 10, life.go_on(10), kept)
    (first,) = on_disk(tmp_path).items()
    rows = int(life.replay.written.sum())
    saved(tmp_path, 12, life.go_on(2), kept)
    both = on_disk(tmp_path)
    assert both[first[0]].st_mtime_ns == first[1].st_mtime_ns
    (new,) = set(both) - {first[0]}
    arrays = checkpoint.safetensors.numpy.load_file(tmp_path / FOLDER / new)
    assert len(arrays["float32"]) == int(life.replay.written.sum()) - rows
    saved(tmp_path, 13, life.replay, kept)
    assert on_disk(tmp_path).keys() == both.keys()  # nothing happened since


def test_segments_go_with_the_last_checkpoint_that_names_them(tmp_path):
    kept, life = Segments(), Life(empty(6))
    names = []
    for step in range(1, 13):
        saved(tmp_path, step, life.go_on(1), kept)
        names.append(set(on_disk(tmp_path)))
    assert len(names[1]) == 2
    assert max(map(len, names)) <= 6  # four rows of each lane, two checkpoints
    assert not names[0] & names[-1]
    same(loaded(checkpoint.found(tmp_path)[0], empty(6)).written, life.replay.written - 1 - _begun_at(life))
    (tmp_path / FOLDER / "7.partial").write_text("cut off by a kill")
    saved(tmp_path, 13, life.go_on(1), kept)
    assert "7.partial" not in on_disk(tmp_path)


def _begun_at(life):
    """Where the last step began an episode."""
    number = np.asarray(life.replay.written) - 2
    place = number % life.replay.room * ENVS + np.arange(ENVS)
    return np.take_along_axis(np.asarray(life.replay.rows.first), place, axis=1).astype(int)


def test_a_run_goes_on_from_an_older_checkpoint(tmp_path):
    """What came after it is another story then, and is not taken for this one."""
    kept, life = Segments(), Life(empty(30))
    older = saved(tmp_path, 4, life.go_on(4), kept)
    saved(tmp_path, 8, life.go_on(4), kept)
    again = Segments()
    other = Life(loaded(older, empty(30), again), seed=5)
    saved(tmp_path, 8, other.go_on(3), again)
    same(loaded(checkpoint.found(tmp_path)[-1], empty(30)), other.replay)


def test_another_directory_gets_all_rows(tmp_path):
    kept, life = Segments(), Life(empty(30))
    saved(tmp_path, 4, life.go_on(4), kept)
    (tmp_path / "copy").mkdir()
    saved(tmp_path / "copy", 6, life.go_on(2), kept)
    same(loaded(checkpoint.found(tmp_path / "copy")[0], empty(30)), life.replay)


@pytest.mark.parametrize("large", [False, True])
def test_a_run_that_goes_on_for_longer_has_more_room(tmp_path, monkeypatch, large):
    """It was made for 8 steps and full; what it held is there, in order, and what comes is beside it."""
    if large:
        large_rows(monkeypatch)
    life = Life(empty(8 * ENVS, notes=jnp.float32(0)), seed=2)
    before = noted(life.go_on(8))
    path = saved(tmp_path, 8, before, Segments())
    life.replay = loaded(path, empty(20 * ENVS, notes=jnp.float32(0)))
    assert life.replay.room > before.room
    for k in range(SEEDS):
        one, other = (moments.of_seed(r, k) for r in (before, life.replay))
        assert int(one.size) == int(other.size)
        same(one.last(int(one.size)), other.last(int(one.size)))
        places = other.ends.data[other.used]
        same(other.notes[places], other.rows.reward[places])
    size = np.asarray(life.replay.size)
    life.go_on(2)
    assert np.all(np.asarray(life.replay.size) == size + 2 * ENVS)
    for k in range(SEEDS):
        one, other = (moments.of_seed(r, k) for r in (before, life.replay))
        n = int(one.size)
        same(one.last(n), jax.tree.map(lambda x, n=n: x[:n], other.last(n + 2 * ENVS)))


def test_long_rows_are_written_in_parts(tmp_path, monkeypatch):
    monkeypatch.setattr(segments, "_MOST_BYTES", 200)
    life = Life(empty(30))
    path = saved(tmp_path, 9, life.go_on(9), Segments())
    assert len(on_disk(tmp_path)) > 5
    same(loaded(path, empty(30)), life.replay)


def test_a_damaged_or_missing_segment_is_named(tmp_path):
    life = Life(empty(30))
    path = saved(tmp_path, 9, life.go_on(9), Segments())
    (segment,) = (tmp_path / FOLDER).iterdir()
    whole = segment.read_bytes()
    for at in range(0, 8 * len(whole), 97):
        damaged = bytearray(whole)
        damaged[at // 8] ^= 1 << at % 8
        segment.write_bytes(bytes(damaged))
        with pytest.raises(CheckpointError, match=f"{segment} is damaged: its checksum is not its name"):
            loaded(path, empty(30))
    segment.unlink()
    with pytest.raises(CheckpointError, match=f"cannot read the rows in {segment}: No such file"):
        loaded(path, empty(30))


@pytest.mark.parametrize(
    ("like", "said"),
    [
        (
            lambda: empty(12),
            "it has 3 environments and 27 transitions, by config.json .* 3 and room for 12",
        ),
        (lambda: moments.spread(moments.create(ONE, 30, 1), 2), r"by config.json there would be 1 and room for 30"),
        (
            lambda: moments.spread(
                moments.create(ONE._replace(obs=jnp.zeros(3)), 30, 3, extras={"plan": jnp.int32(0)}), 2
            ),
            r"rows are float32\[4\] and int32\[1\] and uint8\[3\], by config.json they would be float32\[5\] and int32",
        ),
        (
            lambda: moments.spread(moments.create(ONE, 30, 3), 2),
            r"by config.json they would be float32\[4\] and uint8\[3\];",
        ),
        (lambda: empty(30, notes=jnp.zeros(1)), "was written by another agent or version: its replay is another one"),
    ],
)
def test_rows_of_another_run_are_refused(tmp_path, like, said):
    path = saved(tmp_path, 9, Life(empty(30)).go_on(9), Segments())
    with pytest.raises(CheckpointError, match=said):
        loaded(path, like())


@pytest.mark.parametrize("names", [["../../etc/passwd.safetensors"], ["/a.safetensors"], "ab", [3]])
def test_no_file_outside_is_read(tmp_path, names):
    life = Life(empty(30))
    kept = Segments()
    rest, said = kept.save(tmp_path, life.go_on(9))
    with pytest.raises(CheckpointError, match="segments"):
        Segments().load(tmp_path, said | {"segments": names}, rest, empty(30))


def test_the_rows_of_images_are_large_and_saved_by_what_is_new(tmp_path):
    """2,000 images of 64 x 64 x 3 are on disk already, 1,000 come: 12.3 MB and little more."""
    one = ONE._replace(obs=jnp.zeros((64, 64, 3), jnp.uint8))
    replay = moments.create(one, 4000)
    step = Experience(*[jax.tree.map(lambda x: x[None], one)] * 2)
    many = jax.jit(lambda r, n: jax.lax.fori_loop(0, n, lambda _, r: moments.record(r, step), r), donate_argnums=0)
    kept, replay = Segments(), many(replay, 2000)
    kept.save(tmp_path, moments.spread(replay, 1))
    before = sum(stat.st_size for stat in on_disk(tmp_path).values())
    rest, _ = kept.save(tmp_path, moments.spread(many(replay, 1000), 1))
    new = sum(stat.st_size for stat in on_disk(tmp_path).values()) - before + sum(x.nbytes for x in rest.values())
    assert 12.3e6 < new < 12.5e6
