"""Transitions out of a run and into one."""

import json

import numpy as np
import pytest
from gymnasium import spaces

import forethought
from forethought.data import Transitions, read
from forethought.envs import SpaceCodec
from forethought.errors import CheckpointError, UsageError
from forethought.report.read import read_run

WORLD = "forethought/ProbeDiscount-v0"
AGENT = {"hidden": (8,), "batch_size": 16, "random_steps": 8}
OPTIONS = {"eval_every": 20, "eval_episodes": 2, "log_every": 5}
CODEC = SpaceCodec.from_spaces(spaces.Box(-9.0, 9.0, (2,)), spaces.Box(-2.0, 6.0, (1,)))
ROWS = {
    "obs": np.array([[1.0, 2.0], [3.0, 4.0]]),
    "action": np.array([[6.0], [2.0]]),
    "reward": np.array([1.0, -1.0]),
    "next_obs": np.array([[3.0, 4.0], [5.0, 6.0]]),
    "terminated": np.array([False, True]),
    "truncated": np.array([0, 0]),
}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "run"
    return forethought.train(
        "sac", WORLD, steps=21, seeds=2, run=path, agent={**AGENT, "replay_capacity": 15}, **OPTIONS
    )


def test_a_run_gives_its_transitions_in_order_of_time(run):
    """The ring of 15 is full and begins anew at its slot 6: the first row is that of step 7, an odd one."""
    data = run.transitions()
    assert len(data) == 30
    assert data.seed.tolist() == [0] * 15 + [1] * 15
    one = run.transitions(seed=1)
    np.testing.assert_array_equal(one.action, data.action[15:])
    # Odd steps lead from 0 to 1 without a reward, even ones end there with 1.
    np.testing.assert_array_equal(one.obs[:, 0], [0, 1] * 7 + [0])
    np.testing.assert_array_equal(one.next_obs[:, 0], [1] * 15)
    np.testing.assert_array_equal(one.reward, [0, 1] * 7 + [0])
    np.testing.assert_array_equal(one.terminated, [False, True] * 7 + [False])
    assert not one.truncated.any()
    assert not np.array_equal(data.action[:15], data.action[15:])


def test_transitions_survive_a_file(run, tmp_path):
    data = run.transitions()
    path = data.save(tmp_path / "d.npz")
    with np.load(path, allow_pickle=False) as held:
        assert sorted(held.files) == ["action", "next_obs", "obs", "reward", "seed", "terminated", "truncated"]
        np.testing.assert_array_equal(held["action"], data.action)
    with pytest.raises(UsageError, match=r"written as .npz, not 'd.csv'"):
        data.save(tmp_path / "d.csv")


def test_what_was_logged_is_seen_as_agents_see_it():
    logged = read(ROWS, CODEC)
    np.testing.assert_allclose(logged.rows.action, [[1.0], [0.0]])
    assert logged.rows.obs.dtype == np.float32
    assert logged.rows.truncated.tolist() == [False, False]
    described = logged.described()
    assert (described["source"], described["rows"], len(described["sha256"])) == ("data from memory", 2, 64)
    assert read({**ROWS, "reward": np.array([1.0, -2.0])}, CODEC).described()["sha256"] != described["sha256"]


def test_dicts_go_out_and_come_back_in(tmp_path):
    space = spaces.Dict({"b": spaces.Box(-1.0, 1.0, (2, 1)), "a": spaces.Box(-1.0, 1.0, (1,))})
    codec = SpaceCodec.from_spaces(space, spaces.Discrete(3, start=1))
    seen = np.arange(12, dtype=np.float32).reshape(4, 3)
    obs = codec.obs_to_env(seen)
    assert obs["b"].shape == (4, 2, 1)
    no = np.zeros(4, bool)
    data = Transitions(obs, np.array([1, 2, 3, 1]), np.zeros(4), obs, no, no, np.zeros(4, int))
    logged = read(data.save(tmp_path / "d.npz"), codec)
    np.testing.assert_array_equal(logged.rows.next_obs, seen)
    assert logged.rows.action.tolist() == [0, 1, 2, 0]
    with pytest.raises(UsageError, match=r"of row 3 is 4, outside of the action space; it must lie in 1\.\.3"):
        read({**vars(data), "action": np.array([1, 2, 3, 4])}, codec)
    with pytest.raises(UsageError, match="whole numbers"):
        read({**vars(data), "action": np.array([1.0, 2.0, 3.0, 1.0])}, codec)


def test_numbered_observations_begin_where_theirs_do():
    codec = SpaceCodec.from_spaces(spaces.Discrete(5, start=2), spaces.Discrete(2))
    assert codec.obs_to_env(np.array([0, 4], np.int32)).tolist() == [2, 6]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"obs": np.zeros((2, 3))}, r"obs does not fit the environment: the observation must have the shape \(2,\)"),
        ({"obs": np.zeros((3, 2))}, "obs has 3 rows, reward has 2"),
        ({"obs": np.zeros(2)}, "obs has no axis of rows, reward has 2"),
        ({"next_obs": np.array([[0, 0], [0, np.nan]])}, "next_obs of row 1 is not finite;"),
        (
            {"action": np.array([[7.0], [-3.0]])},
            r"action of row 0 is \[7.\], outside of the action space \(and those of 1",
        ),
        ({"action": np.array([[0.0], [np.inf]])}, "action of row 1 is not finite"),
        ({"action": np.zeros(2)}, r"action has the shape \(2,\), the environment needs \(2, 1\)"),
        ({"action": np.array([["a"], ["b"]])}, "action must be an array of numbers, it holds <U1"),
        ({"reward": np.array([1.0, 1e39])}, "reward of row 1 is not finite"),
        ({"reward": np.zeros((2, 1))}, r"reward has the shape \(2, 1\); it takes one number per transition"),
        ({"terminated": np.array([0.5, 1.0])}, "terminated must be 2 times true or false"),
        ({"truncated": np.zeros(3)}, "truncated must be 2 times true or false"),
        ({name: value[:0] for name, value in ROWS.items()}, "holds no transitions"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(change, message):
    with pytest.raises(UsageError, match=f"^data from memory.*{message}") as refused:
        read({**ROWS, **change}, CODEC)
    assert "\n" not in str(refused.value)


def test_other_sources_are_refused_in_one_line(tmp_path):
    with pytest.raises(UsageError, match="lacks reward; transitions are made of obs, action"):
        read({name: value for name, value in ROWS.items() if name != "reward"}, CODEC)
    with pytest.raises(UsageError, match="there is no file"):
        read(tmp_path / "none.npz", CODEC)
    with pytest.raises(UsageError, match="data is a int; give arrays by name"):
        read(3, CODEC)
    (tmp_path / "text.npz").write_text("obs")
    np.savez(tmp_path / "pickled.npz", **{**ROWS, "reward": np.array([None, {}])})
    np.save(tmp_path / "one.npy", ROWS["obs"])
    whole = (tmp_path / "pickled.npz").read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[: len(whole) // 2])
    for name in ("text.npz", "pickled.npz", "one.npy", "cut.npz"):
        with pytest.raises(UsageError, match=f"{name}' is no .npz file of plain arrays"):
            read(tmp_path / name, CODEC)
    with pytest.raises(CheckpointError, match=r"no config\.json"):
        read(tmp_path, CODEC)


@pytest.mark.slow
def test_a_run_that_was_given_data_learns_before_its_first_step(run, tmp_path):
    """30 rows are there at once, `pretrain` steps are learned from, and the first action is the policy's."""
    path = tmp_path / "run"
    given = {"hidden": (8,), "batch_size": 16}
    got = forethought.train("sac", WORLD, steps=10, run=path, agent=given, data=run.path, pretrain=4, **OPTIONS)
    assert got.summary["updates"] == 14
    assert got.summary["env_steps"] == 10
    records = read_run(path)
    assert [r["env_steps"] for r in records.of("eval")] == [-4, 0, 10]
    assert [r["updates"] for r in records.of("eval")] == [0, 4, 14]
    config = json.loads((path / "config.json").read_text())
    assert config["agent"]["random_steps"] == 0
    assert config["data"]["rows"] == 30
    assert config["data"]["source"] == str(run.path)
    mine = got.transitions()
    np.testing.assert_array_equal(mine.action[:30], run.transitions().action)
    assert len(mine) == 40
    more = forethought.resume(path, steps=15)  # the run keeps what it was given
    assert (more.summary["updates"], len(more.transitions())) == (19, 45)
    np.testing.assert_array_equal(more.transitions().reward[:40], mine.reward)


@pytest.mark.slow
def test_a_run_may_learn_from_data_alone(run, tmp_path):
    path = tmp_path / "run"
    given = {"hidden": (8,), "batch_size": 16}
    options = {**OPTIONS, "eval_every": 5, "data": run.transitions(seed=0), "pretrain": 10}
    got = forethought.train("sac", WORLD, steps=0, run=path, agent=given, **options)
    assert (got.summary["status"], got.summary["env_steps"], got.summary["updates"]) == ("finished", 0, 10)
    assert [r["env_steps"] for r in read_run(path).of("eval")] == [-10, -5, 0]
    assert forethought.load(path)(np.zeros(1)).shape == (1,)
    with pytest.raises(UsageError, match="has finished its 0 steps"):
        forethought.resume(path)


@pytest.mark.slow
def test_an_agent_whose_loop_is_mine_may_begin_with_data(tmp_path):
    boxes = spaces.Box(-9.0, 9.0, (2,)), spaces.Box(-2.0, 6.0, (1,))
    given = {"data": ROWS, "pretrain": 3, "obs_names": ["x", "y"], "agent": {"hidden": (8,), "batch_size": 16}}
    agent = forethought.start("sac", *boxes, run=tmp_path / "run", steps=20, **given)
    agent.learn()
    assert agent.learner.updates == 3
    agent.act(np.zeros(2))
    agent.observe(np.ones(2), 0.5, terminated=False)
    assert (agent.steps, agent.learner.updates) == (1, 4)
    agent = forethought.resume_live(tmp_path / "run")  # as it was given, before it had learned
    assert (agent.steps, agent.learner.updates) == (0, 0)
    agent.learn()
    assert agent.learner.updates == 3
    data = forethought.transitions(tmp_path / "run")
    np.testing.assert_allclose(data.action, ROWS["action"])
    assert json.loads((tmp_path / "run" / "config.json").read_text())["spaces"]["obs_names"] == ["x", "y"]


def test_data_asks_for_an_agent_that_can_use_it_and_for_room(run, tmp_path):
    with pytest.raises(UsageError, match="DynaQ learns from its own steps as they come"):
        forethought.train("dyna-q", "forethought/DynaMaze-v0", steps=10, data=ROWS)
    with pytest.raises(UsageError, match="say from which: --data FILE"):
        forethought.train("sac", WORLD, steps=10, pretrain=3)
    with pytest.raises(UsageError, match="steps is 0; it must be at least 1"):
        forethought.train("sac", WORLD, steps=0, data=ROWS)
    with pytest.raises(UsageError, match=r"are 40, the replay keeps 35; raise --agent.replay-capacity"):
        forethought.train("sac", WORLD, steps=10, data=run.path, agent={"replay_capacity": 35}, run=tmp_path / "r")
    assert not (tmp_path / "r").exists()


def test_a_minari_data_set_is_read(tmp_path, monkeypatch):
    minari = pytest.importorskip("minari")
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    buffer = minari.data_collector.EpisodeBuffer(
        observations=np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], np.float32),
        actions=np.array([[6.0], [2.0]], np.float32),
        rewards=[1.0, -1.0],
        terminations=[False, True],
        truncations=[False, False],
    )
    box = spaces.Box(-9.0, 9.0, (2,)), spaces.Box(-2.0, 6.0, (1,))
    held = minari.create_dataset_from_buffers(
        "toy/two-v0", [buffer, buffer], observation_space=box[0], action_space=box[1]
    )
    for source in (held, "minari:toy/two-v0"):
        logged = read(source, CODEC)
        assert logged.source == "minari:toy/two-v0"
        assert logged.rows.obs.tolist() == [[1, 2], [3, 4]] * 2
        assert logged.rows.next_obs.tolist() == [[3, 4], [5, 6]] * 2
        assert logged.rows.terminated.tolist() == [False, True] * 2
        assert logged.rows.reward.tolist() == [1, -1] * 2
    with pytest.raises(UsageError, match="is not on this machine; first: minari download toy/none-v0"):
        read("minari:toy/none-v0", CODEC)


@pytest.mark.parametrize("names", [("reward", "reward/x"), ("obs/a", "obs"), ("obs", "obs/a")])
def test_what_is_there_whole_and_in_parts_is_refused(tmp_path, names):
    np.savez(tmp_path / "d.npz", **{name: np.zeros(2) for name in names})
    with pytest.raises(UsageError, match=r"is no \.npz file of plain arrays"):
        read(tmp_path / "d.npz", CODEC)
