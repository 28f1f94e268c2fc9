"""Ask and tell, and loaded policies: what does not fit is refused in one line, and nothing of it is learned."""

import pickle

import gymnasium
import jax
import numpy as np
import pytest

import forethought
import small
from forethought.agents.catalog import ALGORITHMS
from forethought.envs import SpaceCodec
from forethought.errors import TrainingDiverged, UsageError
from forethought.policy import Policy
from forethought.training.config import from_dict

AGENT = {"hidden": (8, 8), "batch_size": 8, "random_steps": 60}
OBS = gymnasium.spaces.Box(-1.0, 1.0, (3,))
ACTION = gymnasium.spaces.Box(-2.0, 6.0, (2,))
HERE = np.zeros(3)


@pytest.fixture(scope="module")
def agent(tmp_path_factory):
    """One for all, which never learns: no program but that of random actions is compiled."""
    path = tmp_path_factory.mktemp("live") / "run"
    return forethought.start("sac", OBS, ACTION, run=path, steps=100, agent=AGENT)


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"reward": 1e39}, "reward 1e+39, which is not finite in float32; this step was not learned"),
        ({"reward": None}, "the reward must be a number, got None"),
        ({"reward": "1"}, "the reward must be a number, got '1'"),
        ({"reward": np.zeros(2)}, "the reward must be a number, got array"),
        ({"terminated": None}, "terminated must be True or False, got None"),
        ({"terminated": "no"}, "terminated must be True or False, got 'no'"),
        ({"truncated": np.array([True, False])}, "truncated must be True or False, got array"),
        ({"next_obs": np.zeros((4, 3))}, "observe takes one observation, got a batch of shape (4,)"),
        ({"next_obs": np.zeros(3) * 1j}, "must be an array of real numbers"),
        ({"next_obs": np.full(3, 1e39)}, "observation array([1.e+39, 1.e+39, 1.e+39]), which is not finite"),
        ({"next_obs": None}, "must be an array of real numbers, got None"),
        ({"action": np.zeros((4, 2))}, "observe takes one action, got a batch of shape (4,)"),
        ({"action": "left"}, "the action must be an array of real numbers, got 'left'"),
        ({"action": np.array([0.0, np.nan])}, "action array([ 0., nan]), which is not finite"),
    ],
)
def test_what_is_told_of_the_wrong_kind_is_not_learned(agent, told, said):
    agent.act(HERE)
    right = {"next_obs": HERE, "reward": 0.0, "terminated": False, "truncated": False}
    steps = agent.steps
    with pytest.raises(UsageError) as error:
        agent.observe(**{**right, **told})
    assert said in str(error.value)
    assert "\n" not in str(error.value)
    assert agent.steps == steps
    agent.observe(**right, learn=False)  # which the mistake has not spoilt
    assert agent.steps == steps + 1
    assert np.isfinite(agent.learner.replay.rows.reward).all()


def test_act_takes_one_observation(agent):
    with pytest.raises(UsageError, match=r"act takes one observation, got a batch of shape \(4,\): an agent lives in"):
        agent.act(np.zeros((4, 3)))
    with pytest.raises(UsageError, match="got a batch"):
        agent.act(np.zeros((1, 3)))
    with pytest.raises(UsageError, match="not finite"):
        agent.act(np.full(3, 1e39))
    assert agent.act(HERE).shape == (2,)


def test_flags_may_be_numpys(agent):
    agent.act(HERE)
    agent.observe(HERE, np.float64(1.5), terminated=np.False_, truncated=np.array([True]), learn=False)
    assert small.lived(agent.learner).truncated[agent.steps - 1]
    assert agent._last.first.tolist() == [True]  # an episode begins with what comes next
    assert small.lived(agent.learner).reward[agent.steps - 1] == 1.5


def test_what_is_learned_begins_with_what_was_acted_on(agent):
    """A sensor that is read anew between two steps: the action was for the later reading."""
    agent.act(HERE)
    agent.observe(HERE + 1.0, 1.0, terminated=False, learn=False)
    agent.act(HERE + 1.5)
    agent.observe(HERE + 2.0, 2.0, terminated=False, learn=False)
    agent.act(HERE + 2.0)
    agent.observe(HERE + 3.0, 3.0, terminated=False, learn=False)
    lived = jax.tree.map(lambda x: x[agent.steps - 3 : agent.steps], small.lived(agent.learner))
    assert lived.obs[:, 0].tolist() == [0.0, 1.5, 2.0]
    assert lived.next_obs[:, 0].tolist() == [1.0, 2.0, 3.0]
    assert not lived.terminated.any()


def test_memory_is_looked_at_before_ask_and_tell_begins(tmp_path):
    capacity = {**AGENT, "replay_capacity": 10**9}
    with pytest.raises(UsageError, match="of memory"):
        forethought.start("sac", OBS, ACTION, run=tmp_path / "run", steps=2 * 10**9, agent=capacity)
    assert not (tmp_path / "run").exists()


def test_what_mends_diverged_learning(agent, monkeypatch):
    """A lower learning rate, by its option; where observations are out of all proportion, none would help."""
    monkeypatch.setattr(agent.learner, "infos", {"update": {"critic_loss": np.array([np.nan])}})
    with pytest.raises(TrainingDiverged, match=r"train anew with .*: --agent\.learning-rate \(now 0\.0003\)"):
        agent.learner.check_finite()
    agent.act(HERE)
    agent.observe(HERE, -1e9, terminated=False, learn=False)
    with pytest.raises(TrainingDiverged, match=r"rewards reach 1e\+09: scale them to about 1"):
        agent.learner.check_finite()
    agent.act(np.full(3, 1e12))
    agent.observe(HERE, 0.0, terminated=False, learn=False)
    with pytest.raises(TrainingDiverged, match=r"observations reach 1e\+12: scale them to about 1"):
        agent.learner.check_finite()


SMALL = {
    "sac": AGENT,
    "mbpo": {"sac.hidden": [8], "model_hidden": [8], "members": 2, "elites": 1},
    "poplin-p": {"model_hidden": [8], "policy_hidden": [4], "members": 2, "elites": 1},
    "dyna-q": {},
}


def policy_of(name):
    entry = ALGORITHMS[name]
    spaces = (gymnasium.spaces.Discrete(4), gymnasium.spaces.Discrete(2)) if name == "dyna-q" else (OBS, ACTION)
    codec = SpaceCodec.from_spaces(*spaces)
    agent_class, config_class = entry.load()
    agent = agent_class(from_dict(config_class, SMALL[name]), codec.spec("x"))
    return Policy(agent, codec, agent.init(key=jax.random.key(7)), seed=3)


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALL)
def test_a_policy_can_be_pickled(name):
    policy = policy_of(name)
    again = pickle.loads(pickle.dumps(policy))
    assert jax.tree.structure(again.state) == jax.tree.structure(policy.state)
    assert all(np.array_equal(a, b) for a, b in zip(*map(jax.tree.leaves, (again.state, policy.state)), strict=True))
    assert (again.codec, again.seed, again.agent.config) == (policy.codec, policy.seed, policy.agent.config)
    if name in ("sac", "dyna-q"):
        obs = 2 if name == "dyna-q" else np.array([0.1, -0.4, 1.0])
        np.testing.assert_array_equal(again(obs), policy(obs))
