"""A checkpoint is whole or it is not used: every bit of it is covered, and only a replay may grow."""

import hashlib
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from forethought.errors import CheckpointError
from forethought.replay import ring
from forethought.replay.ring import Ring
from forethought.training import checkpoint

FILES = ("meta.json", "arrays.safetensors", "SHA256SUMS")
HOST = {
    "counters": {"env_steps": 40, "first": np.array([[True]]), "seconds": {"act": 0.25, "fit_model": 12.5}},
    "recent": [float(n) for n in range(20)],
    "note": None,
}


def tree(width=2, rows=3, capacity=8, seeds=1, keys=True):
    """One seed's layer, generator and replay of which ``rows`` rows are used."""
    data = {"obs": jnp.arange(seeds * capacity * 2, dtype=jnp.float32).reshape(seeds, capacity, 2)}
    used = Ring(data, jnp.array(rows), jnp.array(rows), jnp.array(capacity))
    state = {"layer": jnp.ones((seeds, width), jnp.float32), "count": jnp.zeros(seeds, jnp.int32)}
    return {"state": state | ({"key": jax.random.split(jax.random.key(3), seeds)} if keys else {}), "replay": used}


def reseal(path):
    """Give a checkpoint that was written over the checksums of what it holds now."""
    sums = {name: hashlib.sha256((path / name).read_bytes()).hexdigest() for name in FILES[1::-1]}
    (path / "SHA256SUMS").write_text("".join(f"{digest}  {name}\n" for name, digest in sums.items()))


def rewrite(path, change):
    meta = json.loads((path / "meta.json").read_text())
    change(meta)
    (path / "meta.json").write_text(json.dumps(meta))
    reseal(path)


def loaded(root, like=None):
    """(step of the checkpoint used, what was warned of)."""
    said = []
    path = checkpoint.load_latest(root, lambda: like or tree(), lambda tree, host: None, said.append)
    return checkpoint.step_of(path), said


@pytest.fixture
def two(tmp_path):
    for step in (20, 40):
        newest = checkpoint.save(tmp_path, step, tree(), HOST, keep=2)
    return newest


def test_what_is_saved_comes_back(two):
    like = tree(rows=0)
    like["state"]["layer"] *= 7
    back, host = checkpoint.load(two, like)
    for (name, one), other in zip(jax.tree_util.tree_leaves_with_path(tree()), jax.tree.leaves(back), strict=True):
        assert one.dtype == other.dtype, name
    assert np.array_equal(back["state"]["layer"], tree()["state"]["layer"])
    assert np.array_equal(jax.random.key_data(back["state"]["key"]), jax.random.key_data(tree()["state"]["key"]))
    assert int(back["replay"].size) == 3
    assert np.array_equal(back["replay"].data["obs"][:, :3], tree()["replay"].data["obs"][:, :3])
    assert host["recent"] == HOST["recent"]
    assert host["note"] is None
    assert host["counters"]["env_steps"] == 40
    assert host["counters"]["first"].dtype == bool


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_no_flipped_bit_is_believed(two, name):
    """All 4,000 bits of ``meta.json``, and hundreds of the others."""
    whole, like = (two / name).read_bytes(), tree()
    for at in range(0, 8 * len(whole), 1 if name == "meta.json" else 5):
        damaged = bytearray(whole)
        damaged[at // 8] ^= 1 << at % 8
        (two / name).write_bytes(bytes(damaged))
        with pytest.raises(CheckpointError) as error:
            checkpoint.load(two, like)
        assert "\n" not in str(error.value)
    assert 8 * len(whole) > (1000 if name == "SHA256SUMS" else 3000)
    step, (said,) = loaded(two.parent)
    assert step == 20
    assert str(two) in said
    assert said.endswith("; using step_000000000020 instead")


@pytest.mark.parametrize("name", FILES)
def test_no_part_of_a_file_is_taken_for_the_whole(two, name):
    whole = (two / name).read_bytes()
    for size in range(0, len(whole), 3):
        (two / name).write_bytes(whole[:size])
        with pytest.raises(CheckpointError):
            checkpoint.load(two, tree())
    (two / name).unlink()
    assert loaded(two.parent)[0] == 20
    (two / name).mkdir()
    assert loaded(two.parent)[0] == 20


def test_a_checkpoint_that_is_no_directory(two):
    (two.parent / "step_000000000060").write_text("no directory")
    (two.parent / "step_backup").mkdir()
    step, (said,) = loaded(two.parent)
    assert step == 40
    assert "Not a directory" in said


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda meta: meta.update(format=1), "has format 1, this version reads 7"),
        (lambda meta: meta.pop("host"), "not a whole checkpoint"),
        (lambda meta: meta.update(host=[]), "not a whole checkpoint"),
        (lambda meta: meta.update(host={"value": 3}), "not a whole checkpoint"),
        (lambda meta: meta.update(host={"dict": {"a": {"array": "host:/nowhere"}}}), "not a whole checkpoint"),
        (lambda meta: meta.update(host={"dict": {"a": 5}}), "not a whole checkpoint"),
    ],
)
def test_what_another_program_wrote_gives_way_too(two, change, said):
    rewrite(two, change)
    step, (warned,) = loaded(two.parent)
    assert step == 20
    assert said in warned


def test_what_its_reader_refuses_gives_way(two):
    seen = []

    def take(tree, host):
        seen.append(host["counters"]["env_steps"])
        if len(seen) == 1:
            raise CheckpointError("too old for me")

    said = []
    assert checkpoint.load_latest(two.parent, tree, take, said.append).name == "step_000000000020"
    assert said == [f"{two}: too old for me; using step_000000000020 instead"]
    with pytest.raises(CheckpointError, match=r"step_000000000040: too old for me; no other one can be used either$"):
        checkpoint.load_latest(two.parent, tree, lambda *_: take(*(seen.clear() or _)), said.append)


@pytest.mark.parametrize(
    ("like", "said"),
    [
        ({"width": 3}, r"the agent's ['layer'] is float32[2], by config.json it would be float32[3]"),
        ({"width": 1}, r"the agent's ['layer'] is float32[2], by config.json it would be float32[1]"),
        ({"seeds": 3}, "it holds 1 seed, config.json says 3"),
        ({"capacity": 2}, "the replay's data['obs'] is float32[3, 2], by config.json it would be float32[2, 2]"),
        ({"keys": False}, "it also holds the agent's ['key']"),
    ],
)
def test_only_a_replay_may_have_more_room_than_it_had(two, like, said):
    with pytest.raises(CheckpointError) as error:
        checkpoint.load(two, tree(**like))
    assert said in str(error.value)
    back, _ = checkpoint.load(two, tree(rows=0, capacity=20))
    assert back["replay"].data["obs"].shape == (1, 20, 2)
    assert int(back["replay"].size) == 3


def test_a_leaf_that_is_missing_or_of_another_type(two):
    like = tree()
    like["state"]["more"] = jnp.zeros(1)
    with pytest.raises(CheckpointError, match=r"it lacks the agent's \['more'\]"):
        checkpoint.load(two, like)
    like = tree()
    like["state"]["count"] = jnp.zeros(1)
    with pytest.raises(CheckpointError, match=r"\['count'\] is int32\[\], by config.json it would be float32\[\]"):
        checkpoint.load(two, like)


def test_a_ring_with_as_many_rows_as_seeds_differ(tmp_path):
    """Rings of which each seed counts its own rows: as many are stored as the fullest has."""
    rows = jnp.arange(8, dtype=jnp.float32).reshape(4, 2) + 1
    blank = jax.vmap(lambda n: ring.create(rows[0], 6))(jnp.arange(2))
    full = jax.vmap(lambda ring_, n: ring.add_where(ring_, rows, jnp.arange(4) < n))(blank, jnp.array([1, 4]))
    path = checkpoint.save(tmp_path, 1, {"state": {"imagined": full}}, {"a": 1}, keep=1)
    back = checkpoint.load(path, {"state": {"imagined": blank}})[0]["state"]["imagined"]
    assert np.array_equal(back.data, full.data)
    assert back.size.tolist() == [1, 4]


def test_a_checkpoint_of_the_same_step_is_never_missing(two):
    """Killed between the two renames, the one before stands in for the new one."""
    two.rename(two.with_name(two.name + ".before"))
    assert [p.name for p in checkpoint.found(two.parent)] == ["step_000000000020", "step_000000000040.before"]
    assert loaded(two.parent) == (40, [])
    checkpoint.save(two.parent, 40, tree(), HOST, keep=1)
    assert [p.name for p in two.parent.iterdir()] == ["step_000000000040"]
    checkpoint.save(two.parent, 40, tree(width=3), HOST, keep=1)
    assert [p.name for p in two.parent.iterdir()] == ["step_000000000040"]
    assert loaded(two.parent, tree(width=3)) == (40, [])


def test_what_a_kill_left_half_written_goes_with_the_next_save(two):
    (two.parent / "step_000000000030.partial").mkdir()
    assert len(checkpoint.found(two.parent)) == 2
    checkpoint.save(two.parent, 60, tree(), HOST, keep=2)
    assert sorted(p.name for p in two.parent.iterdir()) == ["step_000000000040", "step_000000000060"]


def test_a_run_that_was_deleted_does_not_come_back(tmp_path):
    with pytest.raises(CheckpointError, match="cannot write"):
        checkpoint.save(tmp_path / "gone" / "checkpoints", 3, tree(), HOST, keep=1)
    assert list(tmp_path.iterdir()) == []


def test_the_checksums_are_those_of_sha256sum(two):
    lines = (two / "SHA256SUMS").read_text().splitlines()
    said = {line.split("  ")[1]: line.split("  ")[0] for line in lines}
    assert said == {name: hashlib.sha256((two / name).read_bytes()).hexdigest() for name in FILES[:2]}
