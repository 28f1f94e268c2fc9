import equinox as eqx
import gymnasium
import jax.numpy as jnp
import numpy as np
import pytest

import forethought.envs  # noqa: F401 - makes our own tasks known to Gymnasium
from forethought.models import termination
from forethought.models.termination import KNOWN, TOLERATED_DISAGREEMENT, disagreement, known_termination
from forethought.replay.moments import holding
from forethought.types import Transition


def lived(env_id, steps, **kwargs):
    """(obs, action, next_obs, terminated) of random actions, with an episode begun anew wherever one ended."""
    env = gymnasium.make(env_id, **kwargs)
    env.action_space.seed(0)
    obs, _ = env.reset(seed=0)
    rows = []
    for _ in range(steps):
        action = env.action_space.sample()
        next_obs, _, terminated, truncated, _ = env.step(action)
        rows.append((obs, action, next_obs, terminated))
        obs = env.reset()[0] if terminated or truncated else next_obs
    env.close()
    return tuple(np.array(column) for column in zip(*rows, strict=True))


@pytest.mark.parametrize(
    ("env_id", "steps", "endings", "kwargs"),
    [
        ("Hopper-v5", 600, 10, {}),
        ("Walker2d-v5", 600, 10, {}),
        ("InvertedPendulum-v5", 300, 10, {}),
        ("InvertedDoublePendulum-v5", 300, 10, {}),
        ("HalfCheetah-v5", 100, 0, {}),
        ("Ant-v5", 600, 1, {"include_cfrc_ext_in_observation": False}),
        ("Humanoid-v5", 300, 5, {}),
        ("MountainCarContinuous-v0", 100, 0, {}),
        ("Pendulum-v1", 100, 0, {}),
        ("forethought/CartPoleContinuous-v0", 300, 5, {}),
        ("forethought/GymCartPole-v0", 250, 0, {}),
        ("forethought/Pendulum-v0", 100, 0, {}),
        ("forethought/DoubleIntegrator-v0", 100, 0, {}),
    ],
)
def test_it_ends_where_the_real_task_ends(env_id, steps, endings, kwargs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # MuJoCo leaves its log where it runs
    obs, action, next_obs, terminated = lived(env_id, steps, **kwargs)
    assert terminated.sum() >= endings  # else nothing was tested
    said = known_termination(env_id)(*(jnp.asarray(x, jnp.float32) for x in (obs, action, next_obs)))
    assert np.mean(np.asarray(said) != terminated) <= TOLERATED_DISAGREEMENT


def decided(env_id, *rows):
    next_obs = jnp.asarray(rows, jnp.float32)
    return KNOWN[env_id](jnp.zeros_like(next_obs), jnp.zeros((len(rows), 1)), next_obs).tolist()


def test_the_borders():
    assert decided("Hopper-v5", [0.71, 0.19, 0], [0.69, 0, 0], [1, -0.21, 0], [1, 0, 101]) == [False, True, True, True]
    assert decided("Walker2d-v5", [0.81, 0.9], [0.79, 0], [2.01, 0], [1.2, -1.1]) == [False, True, True, True]
    assert decided("InvertedPendulum-v5", [0, 0.19], [0, -0.21]) == [False, True]
    assert decided("Ant-v5", [0.21, 0], [0.19, 0], [0.99, 0], [1.01, 0]) == [False, True, False, True]
    assert decided("Humanoid-v5", [1.01, 0], [0.99, 0], [1.99, 0], [2.01, 0]) == [False, True, False, True]
    cart = [2.39, 0, 0.2], [2.41, 0, 0], [-2.41, 0, 0], [0, 0, 0.21], [0, 0, -0.21]
    assert decided("forethought/CartPoleContinuous-v0", *cart) == [False, True, True, True, True]
    assert decided("MountainCarContinuous-v0", [0.46, 0.0], [0.46, -0.01], [0.44, 0.05]) == [True, False, False]


@pytest.mark.parametrize("env_id", sorted(set(KNOWN) - {"MountainCarContinuous-v0"}))
def test_what_is_not_finite_ends(env_id):
    """The other place is fine for every task: height 1.2 is inside all ranges but Ant's."""
    fine = [0.5, 0.0, 0.0] if env_id == "Ant-v5" else [1.2, 0.0, 0.0]
    assert decided(env_id, fine, [*fine[:2], np.nan], [*fine[:2], np.inf]) == [False, True, True]


def test_unknown_tasks_have_none():
    assert known_termination("Hopper-v5") is termination.hopper
    assert known_termination("MyOwn-v0") is None


def test_disagreement_counts_live_rows_alone():
    def positive(obs, action, next_obs):
        return next_obs[:, 0] > 0

    next_obs = jnp.array([[1.0], [1.0], [-1.0], [-1.0], [1.0]])
    ended = jnp.array([True, False, False, True, True])
    rows = Transition(next_obs, next_obs, next_obs[:, 0], next_obs, ended, ended)
    replay = holding(rows, 8)
    assert float(disagreement(positive, replay)) == pytest.approx(2 / 5)
    assert float(disagreement(positive, eqx.tree_at(lambda r: r.ends.size, replay, jnp.array(0)))) == 0.0
    # What lies in free slots does not count: the function would be wrong there.
    assert float(disagreement(lambda o, a, n: jnp.ones(8, bool), replay)) == pytest.approx(2 / 5)
