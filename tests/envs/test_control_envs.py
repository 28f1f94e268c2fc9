import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from forethought.envs import JaxVector, make
from forethought.envs.cartpole import ANGLE_LIMIT, X_LIMIT, CartPoleContinuous, GymCartPole
from forethought.envs.control import (
    CONTROL,
    DYNAMICS,
    MAX_CONTROL,
    DoubleIntegrator,
    Pendulum,
    PendulumState,
    lqr_gain,
    riccati,
)
from forethought.errors import UsageError

KEY = jax.random.key(0)
ENVS = [CartPoleContinuous(), GymCartPole(), Pendulum(), DoubleIntegrator()]


def stepped(env, states, actions):
    """(state, obs, reward, terminated) of one step from each of n states."""
    step = lambda state, action: env.step(state, action, KEY)  # noqa: E731
    return jax.vmap(step)(states, jnp.asarray(actions, jnp.float32))


def returns(env, policy, n):
    """Undiscounted returns of n episodes of ``policy(state, key)``; a terminated episode pays no more."""

    def episode(key):
        key_reset, key = jax.random.split(key)
        state, _ = env.reset(env.init(key), key_reset)

        def step(carry, key):
            state, alive = carry
            state, _, reward, terminated = env.step(state, policy(state, key), key)
            return (state, alive & ~terminated), alive * reward

        keys = jax.random.split(key, env.spec.max_episode_steps)
        return jax.lax.scan(step, (state, jnp.bool_(True)), keys)[1].sum()

    return np.asarray(jax.jit(jax.vmap(episode))(jax.random.split(KEY, n)))


def randomly(state, key):
    return jax.random.uniform(key, (1,), minval=-1.0, maxval=1.0)


def test_pendulum_is_gymnasiums_step_by_step():
    env = gymnasium.make("Pendulum-v1").unwrapped
    rng = np.random.default_rng(0)
    env.reset(seed=0)
    rows = []
    for t in range(400):
        # Half of the pushes go with the motion, so that all angles and the greatest speed are met.
        unit = np.sign(env.state[1:]) if t % 2 else rng.uniform(-1.2, 1.2, 1)
        before = env.state
        obs, reward, *_ = env.step(2.0 * unit)
        rows.append((before, unit, obs, reward))
    before, unit, obs, reward = (np.array(column, np.float32) for column in zip(*rows, strict=True))
    assert np.abs(before[:, 1]).max() == 8.0
    assert np.abs(before[:, 0]).max() > np.pi  # turned over at least once
    _, said_obs, said_reward, terminated = stepped(Pendulum(), PendulumState(before[:, 0], before[:, 1]), unit)
    np.testing.assert_allclose(said_obs, obs, atol=1e-4)
    np.testing.assert_allclose(said_reward, reward, atol=1e-4)
    assert not terminated.any()


@pytest.mark.parametrize("env", [CartPoleContinuous(), GymCartPole()])
def test_carts_move_as_in_gymnasium(env):
    """Also far from upright, where CartPole-v1 would have stopped."""
    theirs = gymnasium.make("CartPole-v1").unwrapped
    theirs.reset(seed=0)
    rng = np.random.default_rng(0)
    states = rng.uniform(-1, 1, (100, 4)) * [3, 2, 4, 3]
    right = rng.integers(0, 2, 100)
    expected = []
    for state, push in zip(states, right, strict=True):
        theirs.state, theirs.steps_beyond_terminated = state, None
        expected.append(theirs.step(push)[0])
    after, obs, *_ = stepped(env, jnp.asarray(states, jnp.float32), 2.0 * right[:, None] - 1.0)
    np.testing.assert_allclose(obs, np.array(expected), atol=1e-4)
    np.testing.assert_array_equal(obs, after)


def test_what_the_two_carts_make_of_an_action():
    state = jnp.zeros((7, 4))
    actions = np.array([-3.0, -1.0, -0.5, 0.0, 0.25, 1.0, 3.0])[:, None]
    speed = np.asarray(stepped(CartPoleContinuous(), state, actions)[0][:, 1])
    np.testing.assert_allclose(speed / speed[5], [-1, -1, -0.5, 0, 0.25, 1, 1], atol=1e-6)
    speed = np.asarray(stepped(GymCartPole(), state, actions)[0][:, 1])
    np.testing.assert_allclose(speed / speed[5], [-1, -1, -1, -1, 1, 1, 1])


def test_what_ends_and_what_pays():
    inside, outside = 0.999, 1.001
    states = jnp.array(
        [
            [inside * X_LIMIT, 0.0, 0.0, 0.0],
            [-outside * X_LIMIT, 0.0, 0.0, 0.0],
            [0.0, 0.0, inside * ANGLE_LIMIT, 0.0],
            [0.0, 0.0, -outside * ANGLE_LIMIT, 0.0],
        ]
    )
    _, _, reward, terminated = stepped(CartPoleContinuous(), states, np.zeros((4, 1)))
    assert terminated.tolist() == [False, True, False, True]
    assert reward.tolist() == [1.0] * 4
    _, _, reward, terminated = stepped(GymCartPole(), states.at[3, 2].set(np.pi), np.zeros((4, 1)))
    assert terminated.tolist() == [False] * 4
    np.testing.assert_allclose(reward, [0.9425, 0.9423, 0.9782, -1.0], atol=1e-4)


def test_published_returns_of_cart_poles():
    """Random and proportional-derivative control of MBBL's task, random control of mbrl-lib's."""
    random = returns(GymCartPole(), randomly, 2000)
    assert random.mean() == pytest.approx(39.8, abs=3.0)
    assert random.std() == pytest.approx(33.7, abs=3.0)
    balanced = returns(GymCartPole(), lambda s, _: (s[2] + 0.2 * s[3])[None], 500)
    assert balanced.mean() == pytest.approx(200.92, abs=0.1)
    random = returns(CartPoleContinuous(), randomly, 2000)
    assert random.mean() == pytest.approx(27.5, abs=1.5)
    assert random.std() == pytest.approx(12.9, abs=1.5)
    balanced = returns(CartPoleContinuous(), lambda s, _: jnp.array([[1.0, 2.0, 10.0, 3.0]]) @ s, 500)
    assert balanced.min() == 200.0


def test_riccati_and_gain():
    np.testing.assert_allclose(riccati(), [[13.82705, 3.86801], [3.86801, 4.96152]], atol=1e-5)
    np.testing.assert_allclose(lqr_gain(), [2.58531, 3.57472], atol=1e-5)
    np.testing.assert_allclose(lqr_gain(0.99), [2.42460, 3.48543], atol=1e-5)
    assert riccati(0.99)[0, 0] == pytest.approx(12.99907, abs=1e-5)
    with pytest.raises(UsageError, match="discount is 0"):
        riccati(0)


def test_the_best_controller_pays_what_the_solution_says():
    policy = lambda s, _: -jnp.asarray(lqr_gain(), jnp.float32)[None] @ s / MAX_CONTROL  # noqa: E731
    assert returns(DoubleIntegrator((1.0, 0.0)), policy, 1)[0] == pytest.approx(-13.82705, abs=1e-3)
    weaker = lambda s, key: 0.8 * policy(s, key)  # noqa: E731
    assert returns(DoubleIntegrator((1.0, 0.0)), weaker, 1)[0] < -13.83


@pytest.mark.parametrize("corner", [(1.0, 1.0), (1.0, -1.0)])
def test_the_solution_lies_within_the_bound(corner):
    state, gain, used = np.array(corner), lqr_gain(), []
    for _ in range(200):
        used.append(-gain @ state)
        state = DYNAMICS @ state + CONTROL * used[-1]
    assert np.abs(used).max() < MAX_CONTROL
    assert np.abs(state).max() < 1e-6


def test_where_the_integrator_begins():
    fixed = make("forethought/DoubleIntegrator-v0", seeds=[0, 1], env_kwargs={"start": [1, -0.5]})
    assert fixed.reset().obs.tolist() == [[1.0, -0.5]] * 2
    drawn = make("forethought/DoubleIntegrator-v0", seeds=range(200)).reset().obs
    assert np.abs(drawn).max() <= 1.0
    assert drawn.min() < -0.9
    assert drawn.max() > 0.9
    with pytest.raises(UsageError, match="give a position and a speed"):
        make("forethought/DoubleIntegrator-v0", seeds=[0], env_kwargs={"start": [1, 2, 3]})


@pytest.mark.parametrize(
    ("env", "low", "high"),
    [
        (CartPoleContinuous(), [-0.05] * 4, [0.05] * 4),
        (GymCartPole(), [-0.05] * 4, [0.05] * 4),
        (Pendulum(), [-1, -1, -1], [1, 1, 1]),
        (DoubleIntegrator(), [-1, -1], [1, 1]),
    ],
)
def test_episodes_begin_all_over_the_stated_range(env, low, high):
    obs = JaxVector(env, seeds=range(200)).reset().obs
    low, high = np.array(low), np.array(high)
    assert (obs >= low).all()
    assert (obs <= high).all()
    assert (obs.min(0) < low + 0.1 * (high - low)).all()
    assert (obs.max(0) > high - 0.1 * (high - low)).all()


@pytest.mark.parametrize("env", ENVS)
def test_an_observation_gives_its_state_back(env):
    """What follows from the recovered state is what follows from the state itself."""
    keys = jax.random.split(KEY, 50)
    state, _ = jax.vmap(lambda key: env.reset(env.init(key), key))(keys)
    actions = jax.random.uniform(KEY, (50, 1), minval=-1.0, maxval=1.0)
    for _ in range(5):
        state, obs, *_ = stepped(env, state, actions)
    _, *expected = stepped(env, state, actions)
    _, *recovered = stepped(env, jax.vmap(env.state_of)(obs), actions)
    for left, right in zip(recovered, expected, strict=True):
        np.testing.assert_allclose(left, right, atol=1e-5)


@pytest.mark.parametrize(("env", "limit"), list(zip(ENVS, [200, 201, 200, 200], strict=True)))
def test_time_limits(env, limit):
    assert env.spec.max_episode_steps == limit
    vector = JaxVector(env, seeds=[0])
    obs = vector.reset().obs
    for t in range(1, limit + 1):
        balance = {4: [1.0, 2.0, 10.0, 3.0], 3: [0.0] * 3, 2: [0.0] * 2}[obs.shape[1]]
        step = vector.step(obs @ np.array(balance)[:, None])
        obs = step.now.obs
        assert step.reached.truncated[0] == (t == limit)
        assert not step.reached.terminated[0]


@pytest.mark.parametrize("env", ENVS)
def test_pictures_show_the_state(env):
    state, _ = env.reset(env.init(KEY), KEY)
    moved = env.step(state, jnp.ones(1), KEY)[0]
    for _ in range(10):
        moved = env.step(moved, jnp.ones(1), KEY)[0]
    before, after = (env.render(jax.tree.map(np.asarray, s)) for s in (state, moved))
    assert before.dtype == np.uint8
    assert before.shape == after.shape
    assert 0.0 < (before != after).any(-1).mean() < 0.2
