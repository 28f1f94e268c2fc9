import jax
import jax.numpy as jnp
import numpy as np
import pytest

from forethought.envs import make
from forethought.envs.cartpole import CartPoleContinuous, GymCartPole
from forethought.envs.catalog import functional_env
from forethought.envs.control import DoubleIntegrator, Pendulum, lqr_gain, riccati
from forethought.errors import UsageError
from forethought.imagine import imagine
from forethought.models.base import WorldModel
from forethought.models.oracle import FullyObserved, Oracle, OracleBelief

KEY = jax.random.key(0)
ENVS = [CartPoleContinuous(), GymCartPole(), Pendulum(), DoubleIntegrator()]

advance = jax.jit(Oracle.step)


def observed(oracle, obs):
    n = len(obs)
    return oracle.observe(oracle.initial(n), jnp.zeros((n, 1)), jnp.asarray(obs), jnp.ones(n, bool), key=KEY)


@pytest.mark.slow
@pytest.mark.parametrize("env", ENVS)
def test_an_open_loop_rollout_is_what_happens(env):
    oracle, vector = Oracle(env), make(env.spec.id, seeds=range(8))
    belief, alive, ended = observed(oracle, vector.reset().obs), np.ones(8, bool), 0
    rng = np.random.default_rng(0)
    for t in range(40):
        action = rng.uniform(-1, 1, (8, 1)).astype(np.float32)
        step = vector.step(action)
        belief, outcome = advance(oracle, belief, jnp.asarray(action), key=jax.random.fold_in(KEY, t))
        np.testing.assert_allclose(oracle.features(belief)[alive], step.reached.obs[alive], atol=1e-3)
        np.testing.assert_allclose(outcome.reward[alive], step.reached.reward[alive], atol=1e-3)
        np.testing.assert_array_equal(outcome.continues[alive], 1.0 - step.reached.terminated[alive])
        ended += (step.reached.terminated & alive).sum()
        alive &= ~step.reached.terminated
    assert (ended > 0) == isinstance(env, CartPoleContinuous)


@pytest.mark.parametrize("env", ENVS)
def test_it_is_a_world_model_without_arrays(env):
    oracle = Oracle(env)
    assert isinstance(oracle, WorldModel)
    assert isinstance(env, FullyObserved)
    assert jax.tree.leaves(oracle) == []
    forward = lambda obs, key: jnp.ones((len(obs), 1))  # noqa: E731
    run = jax.jit(lambda model, belief: imagine(model, forward, belief, 3, key=KEY))
    last, (t, *_) = run(oracle, oracle.begin(5, key=KEY))
    assert t.obs.shape == (3, 5, *env.spec.obs.shape)
    np.testing.assert_array_equal(t.next_obs[-1], oracle.features(last))
    run(Oracle(env), last)
    assert run._cache_size() == 1


def test_beginnings():
    oracle = Oracle(Pendulum())
    first, again, other = oracle.initial(3), oracle.initial(3), oracle.begin(3, key=jax.random.key(1))
    np.testing.assert_array_equal(first.obs, again.obs)
    assert len({*first.obs[:, 0].tolist(), *other.obs[:, 0].tolist()}) == 6
    known = OracleBelief(first.state, first.obs)
    np.testing.assert_allclose(observed(oracle, first.obs).state.angle, known.state.angle, atol=1e-6)


def test_particles_draw_their_own_numbers():
    class Noise(DoubleIntegrator):
        def step(self, state, action, key):
            state = jax.random.normal(key, (2,))
            return state, state, jnp.float32(0.0), jnp.bool_(False)

    oracle = Oracle(Noise())
    same = OracleBelief(jnp.zeros((4, 2)), jnp.zeros((4, 2)))
    after, _ = oracle.step(same, jnp.zeros((4, 1)), key=KEY)
    assert len(set(after.obs[:, 0].tolist())) == 4


def test_worlds_that_hide_their_state():
    maze = functional_env("forethought/BlockingMaze-v0")
    with pytest.raises(UsageError, match=r"BlockingMaze-v0 does not tell its state .* blind=True"):
        Oracle(maze)
    blind = Oracle(maze, blind=True)
    belief, outcome = blind.step(blind.begin(2, key=KEY), jnp.array([0, 2]), key=KEY)
    assert blind.features(belief).tolist() == [5 * 9 + 3 - 9, 5 * 9 + 4]
    assert outcome.continues.tolist() == [1.0, 1.0]
    with pytest.raises(UsageError, match="blind=True"):
        blind.observe(belief, jnp.array([0, 2]), belief.obs, jnp.zeros(2, bool), key=KEY)


@pytest.mark.slow
def test_gradients_pass_through_the_world():
    """At the best gain, the discounted return with the best value at the end does not change with the gain."""
    discount, oracle = 0.99, Oracle(DoubleIntegrator())
    p = jnp.asarray(riccati(discount), jnp.float32)
    start = OracleBelief(jnp.array([[1.0, 0.0], [0.3, -0.8]]), jnp.zeros((2, 2)))

    def value(gain):
        belief, total = start, 0.0
        for t in range(5):
            action = -(belief.state @ gain)[:, None] / 10.0
            belief, outcome = oracle.step(belief, action, key=KEY)
            total += discount**t * outcome.reward.sum()
        return total - discount**5 * jnp.sum((belief.state @ p) * belief.state)

    best = jnp.asarray(lqr_gain(discount), jnp.float32)
    assert np.abs(jax.grad(value)(best)).max() < 1e-4
    assert np.abs(jax.grad(value)(best + 0.5)).max() > 0.01
    assert float(value(best)) == pytest.approx(-float(jnp.sum((start.state @ p) * start.state)), rel=1e-4)
