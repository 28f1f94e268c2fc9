import jax.numpy as jnp
import numpy as np
import pytest

from forethought.diagnostics.bounds import favoured, favoured_length, on_policy_gap
from forethought.errors import UsageError

MODEL, SHIFT = jnp.float32(0.1), jnp.float32(0.2)


def test_theorem_4_3_by_hand():
    # k = 2: 2 * 3 * [0.729 * 0.2 / 0.01 + 0.81 * 0.2 / 0.1 + 2 * 0.1 / 0.1] = 6 * (14.58 + 1.62 + 2)
    assert float(on_policy_gap(jnp.float32(2), MODEL, SHIFT, 0.9, 3.0)) == pytest.approx(109.2, rel=1e-4)


@pytest.mark.parametrize("error", [0.001, 0.02, 0.15])
def test_the_favoured_length_is_where_the_derivative_vanishes(error):
    k = float(favoured_length(jnp.float32(error), SHIFT, 0.99))
    best = np.log(error * 0.01 / (-np.log(0.99) * 0.2)) / np.log(0.99)
    assert k == pytest.approx(best, abs=1.0)


def test_longer_rollouts_for_better_models_and_none_for_bad_ones():
    found = favoured(jnp.float32(0.15), 0.99)
    lengths = np.asarray(found.length)
    assert lengths[0] == 0  # the model is further off than the policy
    assert (np.diff(lengths) >= 0).all()
    assert lengths[-1] > 100
    with pytest.raises(UsageError, match="discount is 1"):
        favoured(jnp.float32(0.1), 1.0)
