"""The Python interface: plain numpy in the environment's own units, and loops that the user owns."""

import json

import gymnasium
import jax
import numpy as np
import pytest

import forethought
import small
from forethought.api import endless
from forethought.envs import env_spec
from forethought.errors import CheckpointError, UsageError
from forethought.report.html import write_report
from forethought.report.read import read_run
from forethought.types import Box

AGENT = {"hidden": (8, 8), "batch_size": 8, "random_steps": 20}
OBS = gymnasium.spaces.Box(-1.0, 1.0, (3,))
ACTION = gymnasium.spaces.Box(-2.0, 6.0, (2,))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    path = tmp_path_factory.mktemp("api") / "run"
    options = {"eval_every": 50, "eval_episodes": 2}
    return forethought.train("sac", "Pendulum-v1", steps=50, seeds=2, run=path, agent=AGENT, **options)


def test_a_loaded_policy_takes_one_observation_or_a_batch(run):
    policy = forethought.load(run.path)
    obs = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    batch = policy(obs)
    policy.reset()
    assert batch.shape == (5, 1)
    assert batch.dtype == np.float32
    assert np.abs(batch).max() <= 2.0  # Pendulum's torque
    np.testing.assert_allclose(policy(obs[0]), batch[0], rtol=1e-5)
    assert forethought.load(run.path, seed=1)(obs[0]) != batch[0]


def test_the_policy_acts_as_the_network_in_the_environments_units(run):
    policy = forethought.load(run.path)
    obs = np.array([0.3, -0.2, 1.0], np.float32)
    mean, _ = policy.state.actor(policy.state.scales.obs.normalize(jax.numpy.asarray(obs)))
    np.testing.assert_allclose(policy(obs), 2.0 * np.tanh(mean), rtol=1e-5)


def test_a_policy_refuses_what_it_was_not_trained_for(run):
    with pytest.raises(UsageError, match="observation"):
        forethought.load(run.path)(np.zeros(4, np.float32))
    with pytest.raises(UsageError, match="seeds 0 to 1, not 7"):
        forethought.load(run.path, seed=7)


def test_a_policy_refuses_what_is_not_finite(run):
    with pytest.raises(UsageError, match="not finite"):
        forethought.load(run.path)(np.array([0.0, np.nan, 0.0]))


def test_final_return_is_the_mean_over_seeds(run):
    assert run.final_return == pytest.approx(np.mean(run.summary["return"]))
    assert len(run.summary["return"]) == 2


def drive(agent, rng, steps):
    actions, obs = [], rng.uniform(-1, 1, 3)
    for t in range(steps):
        action = agent.act(obs)
        actions.append(action)
        nxt = rng.uniform(-1, 1, 3)
        agent.observe(nxt, -float(np.sum(action**2)), terminated=t % 13 == 12, truncated=False)
        obs = nxt
    return np.array(actions)


@pytest.mark.slow
def test_ask_and_tell_is_saved_and_goes_on_with_the_same_bits(tmp_path):
    def start(path):
        return forethought.start("sac", OBS, ACTION, run=path, steps=200, agent=AGENT)

    whole = start(tmp_path / "whole")
    expected = drive(whole, np.random.default_rng(3), 60)
    assert expected.min() >= -2.0
    assert expected.max() <= 6.0
    assert whole.learner.updates == 41  # from step 20 to step 60

    rng, first = np.random.default_rng(3), start(tmp_path / "parts")
    drive_1 = drive(first, rng, 39)  # ends with a termination: the next episode begins
    first.save()
    second = forethought.resume_live(tmp_path / "parts")
    assert second.steps == 39
    np.testing.assert_array_equal(drive_1, expected[:39])
    # The observation before step 39 was drawn before the save; draw the same again.
    replayed = np.random.default_rng(3)
    obs = replayed.uniform(-1, 1, (40, 3))[-1]
    np.testing.assert_array_equal(second.act(obs), expected[39])


@pytest.mark.slow
def test_ask_and_tell_writes_a_journal_that_a_report_can_read(tmp_path):
    agent = forethought.start("sac", OBS, ACTION, run=tmp_path / "run", steps=200, agent=AGENT)
    drive(agent, np.random.default_rng(3), 60)
    agent.save()
    drive(agent, np.random.default_rng(4), 30)  # lost: never saved
    agent = forethought.resume_live(tmp_path / "run")
    drive(agent, np.random.default_rng(5), 10)
    agent.save()
    run = read_run(tmp_path / "run")
    assert [(r["env_steps"], r["length"]) for r in run.of("episode")] == [(13, 13), (26, 13), (39, 13), (52, 13)]
    steps = [r["env_steps"] for r in run.of("train")]
    assert steps == sorted(set(steps))
    assert steps[-1] == 70
    assert all("critic_loss" in r for r in run.of("train") if r["env_steps"] >= 20)
    assert run.summary["status"] == "saved"
    assert run.summary["env_steps"] == 70
    assert "Learning curves" in write_report([run.path], tmp_path / "report.html").read_text()


@pytest.mark.slow
def test_learning_can_be_put_off_until_the_world_rests(tmp_path):
    def start(path):
        return forethought.start("sac", OBS, ACTION, run=path, steps=200, agent=AGENT)

    agent, rng = start(tmp_path / "run"), np.random.default_rng(0)
    for _ in range(29):
        agent.act(rng.uniform(-1, 1, 3))
        agent.observe(rng.uniform(-1, 1, 3), 0.0, terminated=False, learn=False)
    for _ in range(2):
        agent.act(rng.uniform(-1, 1, 3))
        agent.observe(rng.uniform(-1, 1, 3), 0.0, terminated=False, learn=False)
    assert agent.learner.updates == 0
    agent.learn()
    assert agent.learner.updates == 12  # as many as from step 20 to step 31
    (line,) = read_run(tmp_path / "run").of("train")  # log_every is 2
    assert line["env_steps"] == 31  # no multiple of it
    assert len(line["critic_loss"]) == 1
    agent.learn()
    assert agent.learner.updates == 12
    agent.save()
    assert forethought.resume_live(tmp_path / "run").learner.learned == 31
    (tmp_path / "run" / "config.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"config.json is damaged \(it is not JSON\); put it back"):
        forethought.evaluate(tmp_path / "run")


def test_a_run_without_an_environment_says_who_drives_it(tmp_path):
    agent = forethought.start("sac", OBS, ACTION, run=tmp_path / "run", steps=100, agent=AGENT)
    agent.save()
    for use in (forethought.evaluate, forethought.resume, forethought.diagnose):
        with pytest.raises(UsageError, match=r"forethought.resume_live\('.*run'\)"):
            use(tmp_path / "run")
    with pytest.raises(UsageError, match=r"go on with it: forethought.resume_live"):
        forethought.start("sac", OBS, ACTION, run=tmp_path / "run", steps=100, agent=AGENT)
    with pytest.raises(UsageError, match="100 steps end within the 100 random steps"):
        forethought.start("sac", OBS, ACTION, run=tmp_path / "other", steps=100, agent={**AGENT, "random_steps": 100})
    assert not (tmp_path / "other").exists()


def test_what_was_really_done_is_learned_from(tmp_path):
    agent = forethought.start("sac", OBS, ACTION, run=tmp_path / "run", steps=100, agent=AGENT)
    agent.act(np.zeros(3))
    agent.observe(np.zeros(3), 1.0, terminated=False, action=np.array([6.0, -2.0]))
    row = jax.tree.map(lambda x: x[0], small.lived(agent.learner))
    np.testing.assert_array_equal(row.action, [1.0, -1.0])
    assert row.reward == 1.0


def test_ask_and_tell_refuses_nonsense_and_loses_nothing(tmp_path):
    agent = forethought.start("sac", OBS, ACTION, run=tmp_path / "run", steps=100, agent=AGENT)
    with pytest.raises(UsageError, match=r"call act\(obs\) first"):
        agent.observe(np.zeros(3), 1.0, terminated=False)
    agent.act(np.zeros(3))
    with pytest.raises(UsageError, match="reward nan, which is not finite"):
        agent.observe(np.zeros(3), np.nan, terminated=False)
    with pytest.raises(UsageError, match="outside of the action space"):
        agent.observe(np.zeros(3), 0.0, terminated=False, action=np.array([7.0, 0.0]))
    with pytest.raises(UsageError, match="observation that is not finite"):
        agent.act(np.array([0.0, np.inf, 0.0]))
    assert agent.steps == 0
    agent.observe(np.zeros(3), 1.0, terminated=False)
    assert agent.steps == 1


def test_an_algorithm_that_does_not_fit_leaves_no_directory_behind(tmp_path):
    with pytest.raises(UsageError, match="dyna-q cannot learn"):
        forethought.start("dyna-q", OBS, ACTION, run=tmp_path / "run", steps=100)
    assert not (tmp_path / "run").exists()


def test_a_run_tells_how_its_spaces_translate_without_the_environment(run, monkeypatch):
    monkeypatch.setattr(gymnasium, "make", None)
    policy = forethought.load(run.path)
    assert policy.agent.spec.obs == Box((3,))
    assert policy(np.zeros(3, np.float32)).shape == (1,)


def test_what_is_advised_where_there_is_no_time_limit_can_be_done():
    gymnasium.register("Endless-v0", entry_point="gymnasium.envs.classic_control:PendulumEnv")
    assert env_spec("Endless-v0").max_episode_steps is None
    advised = json.loads(endless("Endless-v0").split("--env-kwargs '")[1].rstrip("'"))
    assert env_spec("Endless-v0", env_kwargs=advised).max_episode_steps == 1000
    assert "env_kwargs" not in endless("forethought/DynaMaze-v0")  # which takes none: it terminates at its goal
