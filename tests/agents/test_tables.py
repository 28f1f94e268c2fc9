import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from forethought.agents.dyna.tables import epsilon_greedy, q_learning, q_target
from forethought.types import Transition

Q = jnp.array([[1.0, 2.0], [4.0, 3.0], [0.0, 0.0]])


def lived(terminated, truncated=False):
    return Transition(
        jnp.int32(0), jnp.int32(1), jnp.float32(0.5), jnp.int32(1), jnp.array(terminated), jnp.array(truncated)
    )


@pytest.mark.parametrize(
    ("terminated", "truncated", "target"), [(False, False, 4.1), (False, True, 4.1), (True, False, 0.5)]
)
def test_the_target_bootstraps_unless_the_world_ended(terminated, truncated, target):
    t = lived(terminated, truncated)
    assert float(q_target(Q, t, 0.9)) == pytest.approx(target)  # 0.5 + 0.9 * 4
    after = np.array(q_learning(Q, t, 0.25, 0.9))
    assert after[0, 1] == pytest.approx(2.0 + 0.25 * (target - 2.0))
    after[0, 1] = 2.0
    np.testing.assert_array_equal(after, Q)


def drawn(q, epsilon, n=6000):
    return np.asarray(epsilon_greedy(q, jnp.zeros(n, int), epsilon, key=jax.random.key(0)))


def test_ties_are_broken_uniformly():
    counts = np.bincount(drawn(jnp.array([[1.0, 0.0, 1.0, 1.0]]), 0.0), minlength=4)
    assert counts[1] == 0
    assert stats.chisquare(counts[[0, 2, 3]]).pvalue > 0.01


def test_epsilon_is_the_chance_of_any_action():
    counts = np.bincount(drawn(jnp.array([[0.0, 1.0, 0.0, 0.0]]), 0.4), minlength=4)
    assert stats.chisquare(counts, 6000 * np.array([0.1, 0.7, 0.1, 0.1])).pvalue > 0.01


def test_each_observation_gets_its_own_best():
    chosen = epsilon_greedy(Q, jnp.array([1, 0, 0, 1]), 0.0, key=jax.random.key(0))
    assert chosen.tolist() == [0, 1, 1, 0]
    assert chosen.dtype == jnp.int32
