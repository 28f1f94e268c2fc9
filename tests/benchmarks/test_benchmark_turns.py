"""A peer's updates and ours by turns, with a peer that is a few lines long."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.peers import venv
from benchmarks.workloads import dreams
from benchmarks.workloads.dream_updates import Ours

SCRIPT = """
import argparse, time, turns
parser = argparse.ArgumentParser()
parser.add_argument("case")
turns.add_arguments(parser)
asked = parser.parse_args()
done = []
def update():
    if asked.case == "fails" and len(done) == 3:
        raise ValueError("no fourth update")
    done.append(1)
    time.sleep(0.02)
print("a library talks")
turns.report(update, {"versions": {"some": "1"}}, asked)
"""


@pytest.fixture
def peer(tmp_path, monkeypatch):
    shutil.copy(Path(venv.HERE) / "turns.py", tmp_path)
    (tmp_path / "some.py").write_text(SCRIPT)
    monkeypatch.setattr(venv, "HERE", tmp_path)
    monkeypatch.setattr(venv, "python", lambda name: Path(sys.executable))
    return tmp_path / "some.py"


def test_a_script_reports_the_updates_after_its_warm_ups(peer):
    command = [sys.executable, str(peer), "works", "--warm-ups", "1", "--repeats", "3"]
    said = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1])
    assert said["repeats"] == 3
    assert said["versions"] == {"some": "1"}
    assert said["seconds_median"] >= said["seconds_best"] >= 0.02


def test_a_script_makes_an_update_when_asked(peer):
    with venv.by_turns("some", "some.py", ["works", "--warm-ups", "1"]) as turn:
        assert turn.facts == {"versions": {"some": "1"}, "thread_setting": "default"}
        assert [turn() >= 0.02 for _ in range(3)] == [True] * 3
    assert turn.process.poll() is not None


def test_the_fastest_way_of_using_the_cores_is_taken(peer):
    probe = ["works", "--warm-ups", "0", "--repeats", "1"]
    with venv.by_turns("some", "some.py", ["works"], probe=probe) as turn:
        seconds = turn.facts["probes_seconds"]
        assert seconds.keys() == venv.THREADS.keys()
        assert seconds[turn.facts["thread_setting"]] == min(seconds.values())


def test_a_script_that_fails_says_why(peer):
    with (
        pytest.raises(venv.PeerFailed, match="no fourth update"),
        venv.by_turns("some", "some.py", ["fails", "--warm-ups", "3"]) as turn,
    ):
        turn()


def test_what_goes_wrong_on_our_side_is_not_the_peers(peer):
    with pytest.raises(RuntimeError, match="ours"), venv.by_turns("some", "some.py", ["works"]):
        raise RuntimeError("ours")


@pytest.mark.parametrize("case", ["works", "fails"])
def test_a_case_is_held_against_its_peer(peer, monkeypatch, case):
    made = dreams.Case("Some update", "some", (case,), 1.5, ("some", "some.py"))
    monkeypatch.setitem(dreams.CASES, "some", made)
    monkeypatch.setitem(dreams.OURS, "some", lambda: Ours(lambda: 0.01, 2.0))
    monkeypatch.setattr(dreams, "REPEATS", 2)
    monkeypatch.setattr(venv, "THREADS", {"default": {}})
    result = dreams.run("some", quick=False)
    (check,) = result.checks
    assert (result.details["seconds_best"], result.details["gflop_per_s"]) == (0.01, 200.0)
    if case == "works":
        assert check.value == result.details["peer"]["seconds_best"] / 0.01 >= 2
        assert result.details["peer"]["thread_setting"] == "default"
    else:
        assert check.value is None
        assert "no fourth update" in result.details["peer"]["error"]


def test_every_case_has_a_target_and_a_name_of_its_own():
    assert len({case.builder for case in dreams.CASES.values()}) == len(dreams.CASES)
    assert len({case.title for case in dreams.CASES.values()}) == len(dreams.CASES)
    assert dreams.OURS.keys() <= {case.builder for case in dreams.CASES.values()}
