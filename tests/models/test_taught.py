"""Rewards and terminations that a user writes: in the user's units, with JAX or with NumPy, and checked at once."""

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from forethought.envs.codec import SpaceCodec, spec_from_json, spec_to_json
from forethought.errors import UsageError
from forethought.models.taught import Taught
from forethought.types import Box, EnvSpec

SPEC = EnvSpec("House-v0", Box((3,)), Box((1,)), action_low=(0.0,), action_high=(5000.0,))


def taught(function, what="reward", spec=SPEC, name="mine:function"):
    return Taught(what, name, function, spec)


def rows(n=40):
    rng = np.random.default_rng(0)
    draw = lambda *shape: rng.normal(size=shape).astype(np.float32)  # noqa: E731
    return draw(n, 3), np.clip(draw(n, 1), -1, 1), draw(n, 3)


def test_actions_arrive_in_the_environments_units():
    heat = taught(lambda obs, action, next_obs: action[:, 0])
    obs = jnp.zeros((4, 3))
    said = heat(obs, jnp.array([[-1.0], [0.0], [1.0], [3.0]]), obs)
    np.testing.assert_array_equal(said, [0.0, 2500.0, 5000.0, 5000.0])  # what lies outside is clipped on its way
    unit = taught(lambda obs, action, next_obs: action[:, 0], spec=EnvSpec("Own-v0", Box((3,)), Box((1,))))
    np.testing.assert_array_equal(unit(obs[:1], jnp.array([[0.5]]), obs[:1]), [0.5])


def test_whole_numbers_arrive_whole():
    """As the environment is given them: 5 levels of a heater."""
    levels = EnvSpec("Levels-v0", Box((3,)), Box((1,)), action_low=(0.0,), action_high=(5.0,), action_dtype="int64")
    obs = jnp.zeros((4, 3))
    said = taught(lambda obs, action, next_obs: action[:, 0], spec=levels)(
        obs, jnp.array([[-1.0], [-0.3], [-0.1], [0.9]]), obs
    )
    np.testing.assert_array_equal(said, [0.0, 2.0, 2.0, 5.0])
    codec = SpaceCodec.from_spaces(gymnasium.spaces.Box(-1, 1, (3,)), gymnasium.spaces.Box(0, 5, (1,), np.int64))
    assert codec.spec("Levels-v0") == levels
    assert spec_from_json(spec_to_json(levels)) == levels


def helper(x):
    return np.minimum(np.abs(x), 1.0)


def with_masks(obs, action, next_obs):
    cost = np.zeros_like(obs[:, 0])
    cold = (next_obs[:, 0] < 0.2) & ~(obs[:, 1] > 1.0)
    cost[cold] = 7.0
    cost[:3] += 1
    cost -= action[:, 0] / 5000
    return cost


NUMPY = {
    "operators": lambda o, a, n: -(n[:, 0] ** 2) + 3 * abs(o[:, 1]) - a[:, 0] / 5000,
    "functions": lambda o, a, n: -np.abs(n[:, 0]) - 0.1 * np.square(a[:, 0] / 5000) + np.cos(np.pi * o[:, 1]),
    "where": lambda o, a, n: np.where(n[:, 0] > 0.3, -1.0, np.clip(o[:, 1], -0.5, 0.5)),
    "reductions": lambda o, a, n: np.sum(n**2, axis=1) + o.mean(axis=-1) + np.max(n, axis=-1),
    "norm": lambda o, a, n: -np.linalg.norm(n - o, axis=-1),
    "stacked": lambda o, a, n: np.stack([o[:, 0], n[:, 1]], axis=1) @ np.array([1.0, 2.0], np.float32),
    "helper": lambda o, a, n: helper(n[:, 0]) + np.maximum.reduce(o, axis=1),
    "masks": with_masks,
    "constant": lambda o, a, n: np.ones(len(o)),
}


@pytest.mark.parametrize("name", NUMPY)
def test_functions_written_with_numpy_are_compiled(name):
    obs, action, next_obs = rows()
    expected = NUMPY[name](obs, 2500.0 * (action + 1.0), next_obs)
    said = jax.jit(taught(NUMPY[name]).__call__)(obs, action, next_obs)
    assert said.dtype == jnp.float32
    np.testing.assert_allclose(said, expected, rtol=1e-5, atol=1e-5)


def test_functions_written_with_jax_are_taken_as_they_are():
    def near(obs, action, next_obs):
        return jnp.exp(-(next_obs[:, 0] ** 2))

    given = taught(near)
    assert given.function is near
    obs, action, next_obs = rows()
    of_seeds = jax.vmap(given.__call__)(*(x.reshape(2, 20, -1) for x in (obs, action, next_obs)))
    np.testing.assert_allclose(of_seeds.reshape(-1), np.exp(-(next_obs[:, 0] ** 2)), rtol=1e-6)


def test_what_is_not_finite_ends():
    cold = taught(lambda obs, action, next_obs: np.any(next_obs < -1, axis=-1), "termination")
    next_obs = jnp.array([[0.0, 0.0, 0.0], [0.0, -2.0, 0.0], [0.0, jnp.nan, 0.0], [jnp.inf, 0.0, 0.0]])
    np.testing.assert_array_equal(cold(jnp.zeros((4, 3)), jnp.zeros((4, 1)), next_obs), [False, True, True, True])


def branching(obs, action, next_obs):
    return np.array([1.0 if x > 0 else 0.0 for x in next_obs[:, 0]])


def filled(obs, action, next_obs):
    out = np.zeros(len(obs))
    out[:] = next_obs[:, 0]
    return out


@pytest.mark.parametrize(
    ("what", "function", "said"),
    [
        ("reward", lambda o, a, n: n[:, :1], r"returns the shape \(6, 1\) for 6 rows, not \(6,\); rows come first"),
        ("reward", lambda o, a, n: n[0, 0], r"returns the shape \(\) for 6 rows"),
        ("reward", lambda o, a, n: n.sum(axis=0), r"returns the shape \(3,\) for 6 rows"),
        ("reward", lambda o, a, n: None, "returns NoneType, not an array"),
        ("reward", lambda o, a, n: (n[:, 0], n[:, 1]), "returns tuple, not an array"),
        ("reward", lambda o, a, n: n[:, 0] + 1j, "returns complex64; it must return real numbers"),
        ("termination", lambda o, a, n: n[:, 0], "returns float32; it must return truths, such as"),
        ("reward", lambda o, a: a, r"raised TypeError: .* when it was given .* \(6, 3\), \(6, 1\), \(6, 3\)$"),
        ("reward", lambda o, a, n: o["room"], "raised IndexError"),
        ("reward", branching, r"cannot be compiled \(Trac.*; write it with jax.numpy"),
        ("reward", filled, r"cannot be compiled \(Trac.*jnp.where"),
        ("reward", lambda o, a, n: n[:, 0] if n[0, 0] > 0 else n[:, 1], "cannot be compiled"),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_line(what, function, said):
    with pytest.raises(UsageError, match=said) as error:
        taught(function, what).require()
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 400
    assert "mine:function" in str(error.value)


def test_a_function_is_looked_for_when_it_is_needed():
    lost = [taught(None, name=name) for name in ("__main__:cost", "mine:<lambda>", "mine:Heat.cost(...)", "nowhere:f")]
    for function, said in zip(lost, [*["no import leads to; pass it again.*reward="] * 3, "No module"], strict=True):
        with pytest.raises(UsageError, match=said):
            function.require()
    with pytest.raises(UsageError, match=r"the reward tests\.models\.test_taught:NUMPY is no function"):
        taught(None, name="tests.models.test_taught:NUMPY").require()
    with pytest.raises(UsageError, match="has no 'with_maks'; did you mean 'with_masks'"):
        taught(None, name="tests.models.test_taught:with_maks").require()
    assert taught(None, name="tests.models.test_taught:with_masks").function(*rows()).shape == (40,)
