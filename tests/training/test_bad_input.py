"""Bad input gets one clear line, a way out, and nothing is lost."""

import errno
import json
import warnings

import jax
import numpy as np
import pytest

import forethought
import forethought.policy
from forethought.errors import CheckpointError, EnvironmentFault, Interrupted, TrainingDiverged, UsageError
from forethought.report.read import read_run
from forethought.training import checkpoint, trainer
from tests.training.test_checkpoint import rewrite

FAULTY = "tests.training.faulty:Faulty-v0"
TINY = {"hidden": (8, 8), "batch_size": 8, "random_steps": 20, "replay_capacity": 500}
QUICK = {"eval_every": 10_000, "eval_episodes": 1, "checkpoint_every": 25, "log_every": 10}


def train(tmp_path, env="Pendulum-v1", steps=100, agent=None, **options):
    agent = {**TINY, **(agent or {})}
    return forethought.train("sac", env, steps=steps, run=tmp_path / "run", agent=agent, **{**QUICK, **options})


def one_line(error) -> str:
    text = str(error.value)
    assert "\n" not in text
    return text


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("nan observation", "nan"),
        ("infinite reward", "inf"),
        ("raises", "RuntimeError"),
        ("exits", "raised SystemExit (3)"),
        ("wrong shape", "shape"),
    ],
)
def test_a_faulty_environment_is_named_and_nothing_learned_is_lost(tmp_path, fault, said):
    # The fault strikes at step 60 of the training environment; the checkpoint is written then and there.
    with pytest.raises(EnvironmentFault) as error:
        train(tmp_path, FAULTY, env_kwargs={"fault": fault})
    text = one_line(error)
    assert said in text
    assert "step_000000000059" in text
    assert "forethought resume" in text
    assert [p.name for p in checkpoint.found(tmp_path / "run" / "checkpoints")][-1] == "step_000000000059"
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["status"] == "failed"
    policy = forethought.load(tmp_path / "run")
    assert np.isfinite(policy(np.zeros(2, np.float32))).all()


@pytest.mark.slow
def test_a_run_that_a_fault_has_stopped_can_go_on(tmp_path):
    with pytest.raises(EnvironmentFault):
        train(tmp_path, FAULTY, env_kwargs={"fault": "raises"})
    # The count of steps begins anew with the process, so the fault does not strike again.
    run = forethought.resume(tmp_path / "run")
    assert run.summary["status"] == "finished"
    assert run.summary["env_steps"] == 100


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "num_envs", "at"),
    [("raises", 1, 60), ("nan observation", 2, 33), ("infinite reward", 1, 60), ("interrupts", 2, 33)],
)
def test_a_step_that_failed_has_not_happened(tmp_path, fault, num_envs, at):
    """Mended and resumed, the run ends with the same bits as one that met no fault."""
    whole = train(tmp_path / "whole", FAULTY, env_kwargs={"fault": "none", "at": at}, num_envs=num_envs)
    with pytest.raises(Interrupted if fault == "interrupts" else EnvironmentFault) as error:
        train(tmp_path / "parts", FAULTY, env_kwargs={"fault": fault, "at": at}, num_envs=num_envs)
    assert "the last good checkpoint is" in one_line(error)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        parts = forethought.resume(tmp_path / "parts" / "run")
    said = [read_run(run.path) for run in (whole, parts)]
    assert not said[1].of("warning")
    assert [r["return"] for r in said[0].of("episode")] == [r["return"] for r in said[1].of("episode")]
    ends = [checkpoint.found(run.path / "checkpoints")[-1] for run in (whole, parts)]
    assert ends[0].name == ends[1].name
    left, right = (forethought.policy.load_learner(run.path)[1].tree() for run in (whole, parts))
    assert all(np.array_equal(a, b) for a, b in zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True))


@pytest.mark.slow
def test_an_evaluation_that_failed_is_made_up_for_on_resume(tmp_path, monkeypatch):
    options = {"steps": 60, "eval_every": 30}
    whole = train(tmp_path / "whole", **options)
    calls, play = [], trainer.evaluate

    def fails_once(*args, **kwargs):
        calls.append(kwargs["stream"])
        if len(calls) == 2:
            raise EnvironmentFault("the light went out")
        return play(*args, **kwargs)

    monkeypatch.setattr(trainer, "evaluate", fails_once)
    with pytest.raises(EnvironmentFault, match="the light went out"):
        train(tmp_path / "parts", **options)
    parts = forethought.resume(tmp_path / "parts" / "run")
    assert calls == ["evaluation"] * 4  # three, and the one that failed
    evaluated = [[(r["env_steps"], r["return"]) for r in read_run(run.path).of("eval")] for run in (whole, parts)]
    assert len(evaluated[0]) == 3
    assert evaluated[0] == evaluated[1]


@pytest.mark.slow
def test_observations_out_of_bounds_are_warned_of_once(tmp_path):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run = train(tmp_path, FAULTY, env_kwargs={"fault": "out of bounds"})
    texts = [str(w.message) for w in caught if "1000" in str(w.message)]
    assert len(texts) == 1
    assert run.summary["env_steps"] == 100


@pytest.mark.slow
def test_diverging_losses_stop_the_run_and_keep_the_last_good_state(tmp_path):
    with pytest.raises(TrainingDiverged) as error:
        train(tmp_path, agent={"learning_rate": 1e30}, checkpoint_every=15)
    text = one_line(error)
    assert "the last good checkpoint is" in text
    assert "learning rate" in text
    policy = forethought.load(tmp_path / "run")
    assert np.isfinite(policy(np.zeros(3, np.float32))).all()


def test_a_run_directory_that_exists_is_left_alone(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.txt").write_text("precious")
    with pytest.raises(UsageError, match=r"exists already.*--run.*resume"):
        train(tmp_path)
    assert [p.name for p in (tmp_path / "run").iterdir()] == ["thesis.txt"]


def test_steps_within_the_warm_up(tmp_path):
    with pytest.raises(UsageError, match=r"20 steps end within the 20 random steps.*random-steps"):
        train(tmp_path, steps=20)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"agent": {"hiden": (8,)}}, "did you mean 'hidden'"),
        ({"agent": {"tau": "fast"}}, "tau is 'fast'; it takes a number"),
        ({"env": "Pendulum-v9"}, "Pendulum-v1"),
        ({"env": "CartPole-v1"}, "sac cannot learn CartPole-v1"),
        ({"env": "FrozenLake-v1"}, "use dyna-q"),
        ({"preset": "hoper"}, "no preset 'hoper'"),
        ({"steps": 0}, "steps is 0"),
        ({"agent": {"discount": 1.5}}, "discount is 1.5; it must be between 0.0 and 1.0"),
        ({"seeds": 0}, "seeds is 0"),
        ({"seed": -1}, "seed is -1"),
        ({"eval_evry": 5}, "eval_evry"),
        ({"agent": {"replay_capacity": 10**9}, "steps": 10**10}, "of memory"),
        ({"agent": {"replay_capacity": 2 * 10**9}, "steps": 10**10}, "holds at most 1,073,741,823 transitions"),
        (
            {"agent": {"replay_capacity": 10**12}, "steps": 10**12},
            "replay_capacity is 1000000000000; it must be at most 2,147,483,647",
        ),
    ],
)
def test_requests_that_cannot_be_served(tmp_path, change, said):
    with pytest.raises(UsageError) as error:
        train(tmp_path, **change)
    assert said in one_line(error)
    assert not (tmp_path / "run").exists()


def test_unknown_algorithm():
    with pytest.raises(UsageError, match="did you mean 'sac'"):
        forethought.train("sca", "Pendulum-v1", steps=10)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    path = tmp_path_factory.mktemp("finished")
    train(path, steps=60)
    return path / "run"


def damaged(finished, tmp_path):
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(finished, copy)
    return copy, checkpoint.found(copy / "checkpoints")


@pytest.mark.parametrize("how", ["truncated", "flipped", "no meta", "half a meta", "believed", "foreign"])
def test_a_damaged_checkpoint_gives_way_to_the_one_before(finished, tmp_path, how):
    run, (before, newest) = damaged(finished, tmp_path)
    arrays, meta = newest / "arrays.safetensors", newest / "meta.json"
    if how == "truncated":
        arrays.write_bytes(arrays.read_bytes()[:-100])
    if how == "flipped":
        content = bytearray(arrays.read_bytes())
        content[-5] ^= 1
        arrays.write_bytes(bytes(content))
    if how == "no meta":
        meta.unlink()
    if how == "half a meta":
        meta.write_text(meta.read_text()[:40])
    if how == "believed":  # env_steps 40 to 42, trained on from 42
        counters = f'"env_steps": {{"value": {checkpoint.step_of(newest)}}}'
        assert counters in meta.read_text()
        meta.write_text(meta.read_text().replace(counters, counters.replace("60", "62")))
    if how == "foreign":
        meta.write_text(json.dumps({**json.loads(meta.read_text()), "format": 99}))
    with pytest.warns(UserWarning, match=rf"{newest.name}.*using {before.name} instead"):
        policy = forethought.load(run)
    assert policy(np.zeros(3, np.float32)).shape == (1,)


def test_no_checkpoint_left(finished, tmp_path):
    run, checkpoints = damaged(finished, tmp_path)
    for path in checkpoints:
        (path / "arrays.safetensors").write_bytes(b"\x80\x04pickle")
    with pytest.raises(CheckpointError, match=r"does not have the checksum .* no other one can be used either"):
        forethought.load(run)


def test_a_checkpoint_of_another_agent(finished, tmp_path):
    run, _ = damaged(finished, tmp_path)
    config = json.loads((run / "config.json").read_text())
    config["agent"]["hidden"] = [8]
    (run / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match="another agent or version"):
        forethought.load(run)


def test_a_checkpoint_without_a_counter(finished, tmp_path):
    run, checkpoints = damaged(finished, tmp_path)
    for path in checkpoints:
        rewrite(path, lambda meta: meta["host"]["dict"]["counters"]["dict"].pop("learned"))
    with pytest.raises(CheckpointError, match="lacks learned: another version of forethought wrote it"):
        forethought.load(run)


def test_a_directory_that_is_no_run(tmp_path):
    with pytest.raises(CheckpointError, match="is not a run directory"):
        forethought.load(tmp_path)


def test_nothing_left_to_do(finished):
    with pytest.raises(UsageError, match="has finished its 60 steps; extend it"):
        forethought.resume(finished)


def test_a_run_cannot_be_shortened(finished):
    with pytest.raises(UsageError, match="can only extend"):
        forethought.resume(finished, steps=30)


@pytest.mark.slow
def test_a_full_disk_keeps_the_checkpoint_before(tmp_path, monkeypatch):
    real = checkpoint.safetensors.numpy.save_file
    written = []

    def save_file(arrays, path):
        if len(written) == 3:  # the rows of step 50: at step 0 there were none, and two files at step 25
            path.write_bytes(b"half of it")
            raise OSError(errno.ENOSPC, "No space left on device")
        written.append(path)
        real(arrays, path)

    monkeypatch.setattr(checkpoint.safetensors.numpy, "save_file", save_file)
    with pytest.raises(CheckpointError, match=r"the disk is full.*free some space") as error:
        train(tmp_path)
    one_line(error)
    names = [p.name for p in (tmp_path / "run" / "checkpoints").iterdir()]
    assert sorted(names) == ["rows", "step_000000000000", "step_000000000025"]
    monkeypatch.undo()
    assert forethought.resume(tmp_path / "run").summary["env_steps"] == 100


def test_a_full_device_for_the_metrics(tmp_path, monkeypatch):
    from forethought.training.rundir import RunDir

    run = RunDir(tmp_path)
    run.metrics_path = type(tmp_path)("/dev/full")
    with pytest.raises(CheckpointError, match="the disk is full"):
        run.log({"kind": "train"})
