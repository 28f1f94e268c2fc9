import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from forethought.envs import env_spec, make
from forethought.envs.catalog import functional_env
from forethought.envs.control import Pendulum, PendulumState
from forethought.errors import EnvironmentFault, MissingExtra, UsageError
from forethought.models.oracle import Oracle, OracleBelief
from forethought.types import Box, Discrete

KEY = jax.random.key(0)


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "gymnax", None)
    with pytest.raises(MissingExtra, match=r"gymnax/Acrobot-v1 .* pip install .*\[gymnax\]'"):
        make("gymnax/Acrobot-v1", seeds=[0])


@pytest.fixture(scope="module")
def gymnax():
    return pytest.importorskip("gymnax")


def played(env_id, steps, **kwargs):
    """Steps of random actions in three slots."""
    env = make(env_id, seeds=range(3), env_kwargs=kwargs)
    env.reset()
    rng = np.random.default_rng(0)
    if isinstance(env.spec.action, Discrete):
        return [env.step(rng.integers(0, env.spec.action.n, 3)) for _ in range(steps)]
    return [env.step(rng.uniform(-1, 1, (3, *env.spec.action.shape))) for _ in range(steps)]


@pytest.mark.parametrize(
    ("env_id", "obs", "action", "limit"),
    [
        ("gymnax/Pendulum-v1", Box((3,)), Box((1,)), 200),
        ("gymnax/CartPole-v1", Box((4,)), Discrete(2), 500),
        ("gymnax/Catch-bsuite", Box((50,)), Discrete(3), 1000),
        ("gymnax/Reacher-misc", Box((8,)), Box((2,)), 100),
        ("gymnax/FrozenLake-misc", Discrete(16), Discrete(4), 100),
    ],
)
def test_what_an_agent_knows_of_them(gymnax, env_id, obs, action, limit):
    spec = env_spec(env_id)
    assert (spec.id, spec.obs, spec.action, spec.max_episode_steps) == (env_id, obs, action, limit)
    step = played(env_id, 1)[0]
    assert step.now.obs.shape == (3, *getattr(obs, "shape", ()))
    assert step.now.obs.dtype == (np.float32 if isinstance(obs, Box) else np.int32)
    assert step.reached.reward.dtype == np.float32


def test_actions_are_stretched_to_the_bounds(gymnax):
    """gymnax's pendulum takes torques in ±2 and moves like our own."""
    theirs, ours = functional_env("gymnax/Pendulum-v1"), Pendulum()
    state, _ = jax.vmap(lambda key: theirs.reset(theirs.init(key), key))(jax.random.split(KEY, 20))
    actions = jnp.linspace(-1.5, 1.5, 20)[:, None]
    step = lambda env: jax.vmap(lambda s, a: env.step(s, a, KEY)[1:])  # noqa: E731
    found = step(theirs)(state, actions)
    expected = step(ours)(PendulumState(state.theta, state.theta_dot), actions)
    for left, right in zip(found, expected, strict=True):
        np.testing.assert_allclose(left, right, atol=1e-5)


def test_the_time_limit_truncates_and_does_not_terminate(gymnax):
    steps = played("gymnax/Pendulum-v1", 11, max_steps_in_episode=5)
    assert [bool(step.reached.truncated.all()) for step in steps] == [t % 5 == 0 for t in range(1, 12)]
    assert not any(step.reached.terminated.any() for step in steps)


def test_a_natural_ending_terminates_and_does_not_truncate(gymnax):
    steps = played("gymnax/CartPole-v1", 60)
    ended = np.array([step.reached.terminated for step in steps])
    assert ended.any(0).all()
    assert not any(step.reached.truncated.any() for step in steps)
    last = np.array([step.reached.obs for step in steps])[ended]
    assert ((np.abs(last[:, 2]) > 0.209) | (np.abs(last[:, 0]) > 2.4)).all()


def test_options_of_the_constructor(gymnax):
    assert env_spec("gymnax/Catch-bsuite", env_kwargs={"rows": 6, "max_steps_in_episode": 7}).obs == Box((30,))
    steps = played("gymnax/Catch-bsuite", 5, rows=6)
    assert [bool(step.reached.terminated.all()) for step in steps] == [False] * 4 + [True]
    assert np.abs(steps[-1].reached.reward).tolist() == [1.0] * 3


def test_what_does_not_exist(gymnax, monkeypatch):
    with pytest.raises(UsageError, match="did you mean 'CartPole-v1'"):
        make("gymnax/CartPol-v1", seeds=[0])
    with pytest.raises(UsageError, match=r"does not take env_kwargs \{'wheels': 3\}"):
        make("gymnax/CartPole-v1", seeds=[0], env_kwargs={"wheels": 3})

    def broken():
        raise OSError("no data")

    monkeypatch.setitem(gymnax.registration._registry, "Broken-v0", broken)
    monkeypatch.setattr(gymnax, "registered_envs", [*gymnax.registered_envs, "Broken-v0"])
    with pytest.raises(EnvironmentFault, match="gymnax/Broken-v0 raised OSError while it was made: no data"):
        make("gymnax/Broken-v0", seeds=[0])


@pytest.mark.parametrize("env_id", ["gymnax/Catch-bsuite", "gymnax/FrozenLake-misc", "gymnax/Pendulum-v1"])
def test_pictures(gymnax, env_id):
    env = make(env_id, seeds=[0], render=True)
    env.reset()
    picture = env.render()
    assert picture.dtype == np.uint8
    shape = {"Catch-bsuite": (160, 80), "FrozenLake-misc": (16, 256), "Pendulum-v1": (16, 48)}
    assert picture.shape == (*shape[env_id.removeprefix("gymnax/")], 3)


def test_the_state_restores_to_the_bit(gymnax):
    env = make("gymnax/CartPole-v1", seeds=[0, 1])
    env.reset()
    action = np.array([0, 1])
    env.step(action)
    state = env.get_state()
    expected = [env.step(action).now.obs for _ in range(20)]
    again = make("gymnax/CartPole-v1", seeds=[0, 1])
    again.set_state(state)
    np.testing.assert_array_equal([again.step(action).now.obs for _ in range(20)], expected)


@pytest.mark.slow
def test_the_oracle_knows_them_from_known_states_on(gymnax):
    env = functional_env("gymnax/Pendulum-v1")
    with pytest.raises(UsageError, match="gymnax/Pendulum-v1 does not tell its state"):
        Oracle(env)
    oracle, vector = Oracle(env, blind=True), make("gymnax/Pendulum-v1", seeds=[0, 1])
    obs = vector.reset().obs
    belief = OracleBelief(jax.tree.map(jnp.asarray, vector._slots.env), jnp.asarray(obs))
    advance = jax.jit(Oracle.step)
    for t in range(10):
        action = np.float32([[np.sin(t)], [np.cos(t)]])
        step = vector.step(action)
        belief, outcome = advance(oracle, belief, jnp.asarray(action), key=KEY)
        np.testing.assert_allclose(belief.obs, step.reached.obs, atol=1e-5)
        np.testing.assert_allclose(outcome.reward, step.reached.reward, atol=1e-5)

    def return_of(action):
        after, first = oracle.step(belief, action, key=KEY)
        return (first.reward + oracle.step(after, action, key=KEY)[1].reward).sum()

    # gymnax stops gradients at its states unless told otherwise; the second reward depends on them.
    ours = jax.grad(return_of)(jnp.full((2, 1), 0.3))
    by_hand = (return_of(jnp.array([[0.31], [0.3]])) - return_of(jnp.array([[0.29], [0.3]]))) / 0.02
    assert float(ours[0, 0]) == pytest.approx(float(by_hand), rel=0.02)
