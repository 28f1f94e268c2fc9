import jax
import jax.numpy as jnp
import numpy as np
import pytest

from forethought.models.normalizer import ObsScale, fit_normalizer, identity, unseen
from forethought.types import Box, Discrete, Parts


def test_statistics_of_the_rows_that_are_kept():
    x = jnp.array([[1.0, 5.0], [3.0, 5.0], [1000.0, -7.0]])
    fitted = fit_normalizer(x, jnp.array([True, True, False]))
    np.testing.assert_allclose(fitted.mean, [2.0, 5.0])
    np.testing.assert_allclose(fitted.std, [1.0, 1.0])  # a constant dimension is centred, not blown up
    np.testing.assert_allclose(fitted.normalize(x[:2]), [[-1.0, 0.0], [1.0, 0.0]])
    np.testing.assert_allclose(fitted.restore(fitted.normalize(x)), x, rtol=1e-6)


def test_a_small_spread_around_a_large_mean():
    noise = np.random.default_rng(0).normal(size=(4000, 1))
    x = jnp.asarray(1000.0 + 0.05 * noise, jnp.float32)
    fitted = fit_normalizer(x, jnp.ones(4000, bool))
    np.testing.assert_allclose(fitted.std, 0.05 * noise.std(), rtol=1e-2)
    np.testing.assert_allclose(fitted.mean, 1000.0, atol=0.02)


@pytest.mark.parametrize("constant", [10.3, -77.7, 207.4, 3e4])
def test_a_large_constant_is_a_constant(constant):
    # The float32 mean of equal numbers is off by a rounding error, which must not pass for a spread.
    for n in (137, 1000, 4001):
        x = jnp.full((n, 1), constant, jnp.float32)
        fitted = jax.jit(fit_normalizer)(x, jnp.arange(n) % 5 != 0)
        assert fitted.std.tolist() == [1.0]
        np.testing.assert_array_equal(fitted.mean, x[0])


@pytest.mark.parametrize("unit", [1e-9, 1e-3, 1e6])
def test_no_unit_is_too_small(unit):
    noise = np.random.default_rng(0).normal(size=(500, 1))
    fitted = fit_normalizer(jnp.asarray(unit * noise, jnp.float32), jnp.ones(500, bool))
    np.testing.assert_allclose(fitted.std, unit * noise.std(), rtol=1e-4)


def test_the_room_after_the_rows_changes_no_bit():
    """1,500 rows are two blocks; the rest of the room holds what is not to count."""
    x = np.random.default_rng(0).normal(size=(1500, 3)).astype(np.float32) * [1.0, 40.0, 1e-4] + [0.0, 290.0, 0.0]
    x = jnp.asarray(x, jnp.float32)
    for kept in (np.ones(1500, bool), np.random.default_rng(1).random(1500) < 0.8):
        found = []
        for room in (0, 10, 4000):
            data, keep = jnp.concatenate([x, jnp.full((room, 3), 1e6)]), jnp.concatenate([kept, jnp.zeros(room, bool)])
            found.append(jax.jit(fit_normalizer)(data, keep))
        for other in found[1:]:
            jax.tree.map(np.testing.assert_array_equal, found[0], other)
        np.testing.assert_allclose(found[0].mean, np.mean(x[kept], axis=0), rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(found[0].std, np.std(x[kept], axis=0), rtol=1e-4)


def test_what_rounds_by_more_than_its_unit_is_not_seen_so_large():
    """Milliseconds since 1970, a second per row: float32 tells them apart by 131 s."""
    clock = jnp.asarray(1.7e12 + 1000.0 * np.arange(500.0), jnp.float32)[:, None]
    fitted = fit_normalizer(clock, jnp.ones(500, bool))
    assert np.abs(np.asarray(fitted.normalize(clock))).max() < 5.0


def test_without_data():
    x = jnp.array([[3.0, -2.0]])
    np.testing.assert_array_equal(identity(2).normalize(x), x)
    fitted = fit_normalizer(x, jnp.array([False]))
    assert np.all(np.isfinite(fitted.normalize(x)))


def test_running_statistics_are_those_of_all_rows_together():
    """Three parts of unequal size that lie far apart; a dimension that never moves keeps its unit."""
    rng = np.random.default_rng(0)
    parts = [
        rng.normal(at, spread, size=(n, 2)) for at, spread, n in ((0.0, 1.0, 5), (50.0, 3.0, 40), (-20.0, 2.0, 11))
    ]
    parts = [np.append(part, np.full((len(part), 1), 7.0), axis=1).astype(np.float32) for part in parts]
    met = unseen(3)
    np.testing.assert_array_equal(met.normalizer().normalize(jnp.array([3.0, -2.0, 1.0])), [3.0, -2.0, 1.0])
    for i, part in enumerate(parts):
        met, every = met.add(jnp.asarray(part)), np.concatenate(parts[: i + 1])
        assert float(met.count) == len(every)
        np.testing.assert_allclose(met.mean, every.mean(axis=0), rtol=1e-5)
        np.testing.assert_allclose(met.std(), [*every[:, :2].std(axis=0), 1.0], rtol=1e-5)
        seen = met.normalizer().normalize(jnp.asarray(every))
        np.testing.assert_allclose(seen.mean(axis=0), 0.0, atol=1e-5)
        np.testing.assert_allclose(seen.std(axis=0), [1.0, 1.0, 0.0], rtol=1e-4, atol=1e-6)


def test_of_what_is_seen_together_vectors_are_scaled():
    space = Parts((("gear", Discrete(3)), ("see", Box((2, 2, 1), "uint8")), ("feel", Box((2,)))))
    obs = {
        "feel": jnp.array([[3.0, 1.0], [7.0, 1.0]]),
        "gear": jnp.array([0, 2]),
        "see": jnp.full((2, 2, 2, 1), 200, jnp.uint8),
    }
    scale = ObsScale.unseen(space, 1.5).add(obs)
    seen = scale({**obs, "feel": jnp.array([[6.0, 1.0], [50.0, 3.0]])})
    np.testing.assert_allclose(seen["feel"], [[0.5, 0.0], [1.5, 1.5]], atol=1e-6)
    for name in ("gear", "see"):
        np.testing.assert_array_equal(seen[name], obs[name])
