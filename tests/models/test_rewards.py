import jax.numpy as jnp
import numpy as np
import pytest

from forethought.envs import make
from forethought.errors import UsageError
from forethought.models import rewards
from forethought.models.rewards import KNOWN_REWARDS, known_reward
from forethought.unroll import unroll


@pytest.mark.parametrize("env_id", KNOWN_REWARDS)
def test_it_is_what_the_real_task_pays(env_id, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # MuJoCo leaves its log where it runs
    env = make(env_id, seeds=range(4))
    rng = np.random.default_rng(0)
    act = lambda now, carry, t: (rng.uniform(-1, 1, (4, *env.spec.action.shape)).astype(np.float32), carry)  # noqa: E731
    rows = [(now.obs, action, step.reached.obs, step.reached.reward) for now, action, step in unroll(env, act, (), 60)]
    env.close()
    *known, given = (np.concatenate(column) for column in zip(*rows, strict=True))
    said = known_reward(env_id)(*map(jnp.asarray, known))
    assert said.shape == given.shape
    np.testing.assert_allclose(said, given, atol=1e-3)
    if env_id == "InvertedPendulum-v5":
        assert 0 < (given == 0).sum() < len(given)  # else nothing was tested


@pytest.mark.parametrize("reward", [rewards.pendulum, rewards.double_integrator])
def test_actions_are_clipped_as_the_environment_clips_them(reward):
    obs = jnp.ones((2, 3 if reward is rewards.pendulum else 2))
    bound, beyond = (reward(obs, jnp.full((2, 1), a), obs) for a in (1.0, 3.0))
    np.testing.assert_array_equal(bound, beyond)


def test_unknown_tasks_have_none():
    assert known_reward("Pendulum-v1") is rewards.pendulum
    with pytest.raises(UsageError, match="the reward of MyOwn-v0 is not known"):
        known_reward("MyOwn-v0")
