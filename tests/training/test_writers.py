"""Metrics that go elsewhere as well."""

import sys

import pytest

import forethought
from forethought.errors import MissingExtra, UsageError
from forethought.training.writers import flat

AGENT = {"hidden": (8, 8), "batch_size": 8, "random_steps": 20}


def test_flat_takes_means_over_seeds_and_dotted_names():
    record = {"q": [1.0, 3.0], "return": [[1.0, 2.0], [3.0, 4.0]], "seconds": {"act": 2.0}, "text": "x", "seed": 3}
    assert flat(record) == {"q": 2.0, "return": 2.5, "seconds.act": 2.0, "seed": 3.0}


@pytest.mark.slow
def test_tensorboard_holds_the_evaluations(tmp_path):
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    run = forethought.train(
        "sac", "Pendulum-v1", steps=40, run=tmp_path / "run", agent=AGENT, writers=("tensorboard",), eval_episodes=2
    )
    read = events.EventAccumulator(str(run.path / "tensorboard"))
    read.Reload()
    assert "eval/return" in read.Tags()["tensors"]
    last = read.Tensors("eval/return")[-1]
    assert last.step == 40
    assert last.tensor_proto.float_val[0] == pytest.approx(run.final_return, rel=1e-5)


def test_an_unknown_writer_and_a_missing_one(tmp_path, monkeypatch):
    with pytest.raises(UsageError, match="did you mean 'tensorboard'"):
        forethought.train("sac", "Pendulum-v1", steps=40, run=tmp_path / "a", agent=AGENT, writers=("tensorbord",))
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(MissingExtra, match=r"pip install .*\[wandb\]'"):
        forethought.train("sac", "Pendulum-v1", steps=40, run=tmp_path / "b", agent=AGENT, writers=("wandb",))
    assert not (tmp_path / "b").exists()
