"""Rows in one array to a type are the rows that they were made of."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from forethought.replay.packing import Layout

ROW = {
    "obs": {"image": jnp.zeros((2, 3), jnp.uint8), "vector": jnp.zeros(4)},
    "flags": (jnp.array(False), jnp.zeros((), bool)),
    "count": jnp.int32(0),
    "nothing": (),
    "short": jnp.zeros(2, jnp.bfloat16),
}


def rows(*lead):
    rng = np.random.default_rng(0)
    draw = lambda x: jnp.asarray(rng.integers(0, 2 if x.dtype == bool else 200, (*lead, *x.shape)), x.dtype)  # noqa: E731
    return jax.tree.map(draw, ROW)


@pytest.mark.parametrize("lead", [(), (5,), (2, 5)])
def test_what_was_packed_comes_back(lead):
    layout = Layout.of(ROW)
    packed = layout.pack(rows(*lead))
    assert {kind: x.shape for kind, x in packed.items()} == {
        "uint8": (*lead, 8), "float32": (*lead, 4), "int32": (*lead, 1), "bfloat16": (*lead, 2),
    }  # fmt: skip
    back = layout.unpack(packed)
    assert jax.tree.structure(back) == jax.tree.structure(ROW)
    for one, other in zip(jax.tree.leaves(back), jax.tree.leaves(rows(*lead)), strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)


def test_zeros_are_zeros():
    layout = Layout.of(ROW)
    jax.tree.map(np.testing.assert_array_equal, layout.zeros(3), jax.tree.map(jnp.zeros_like, layout.pack(rows(3))))
    assert hash(layout) == hash(Layout.of(ROW))  # it is a part of what programs are compiled for
