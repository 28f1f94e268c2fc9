"""Words on the command line that cannot be served, and outputs that cannot be written: one line each."""

import errno
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from forethought.cli import main
from forethought.errors import UsageError
from forethought.report.html import write_report


def said(capsys, *words) -> tuple[int, str]:
    code = main([str(word) for word in words])
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert len(error) < 700
    return code, error


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--agent.fit.learning-rate", "nan"], "error: fit.learning_rate is nan; it must be finite"),
        (["--agent.sac.learning-rate", "inf"], "error: sac.learning_rate is inf; it must be finite"),
        (["--agent.sac.learning-rate", "0"], "error: sac.learning_rate is 0.0; it must be above 0"),
        (["--agent.fit.max-gradient", "0"], "error: fit.max_gradient is 0.0; it must be above 0"),
        (["--agent.sac.hidden", "0"], "error: sac.hidden is (0,); a layer has at least 1 unit"),
        (["--agent.model-hidden", "-4"], "error: model_hidden is (-4,); a layer has at least 1 unit"),
        (
            ["--seed", "9223372036854775808"],
            "error: seed is 9223372036854775808; it must be between 0 and 4,294,967,295",
        ),
        (["--seed", "4294967295", "--seeds", "2"], "error: 2 seeds from 4294967295 on go beyond the last one"),
        (["--seeds", "1000000"], "error: the run needs about "),
        (["--steps", "9" * 5000], "error: "),
        (["--" + "x" * 4000, "3"], "error: "),
        (["--env-kwargs", "[" * 100_000], "error: --env-kwargs takes a JSON object such as"),
        (["--env-kwargs", "x" * 4000], "error: --env-kwargs takes a JSON object such as"),
        (["--run", "x" * 300], "error: there can be no 'xxx"),
    ],
)
def test_words_that_cannot_be_served(tmp_path, monkeypatch, capsys, words, line):
    monkeypatch.chdir(tmp_path)
    code, error = said(capsys, "train", "mbpo", "Pendulum-v1", *words)
    assert code == 2
    assert error.startswith(line)
    assert not list(tmp_path.iterdir())


def test_a_video_that_cannot_be_written_is_refused_before_the_episodes(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("forethought.api.evaluate", lambda *args, **kwargs: pytest.fail("episodes were played"))
    code, error = said(capsys, "eval", tmp_path, "--video", "v.txt")
    assert (code, error) == (2, "error: cannot write a video as '.txt': use .mp4 or .gif\n")


def test_a_file_where_a_run_is_meant(tmp_path, capsys):
    (tmp_path / "notes.txt").write_text("")
    for command in ("resume", "eval", "diagnose", "report"):
        code, error = said(capsys, command, tmp_path / "notes.txt")
        assert code == 4
        assert "notes.txt" in error
        assert "is a file" in error


def bare_run(path: Path) -> Path:
    path.mkdir()
    (path / "config.json").write_text(json.dumps({"format": 2, "algorithm": "sac", "env": "x"}))
    return path


def test_a_report_goes_into_a_directory(tmp_path, monkeypatch, capsys):
    run = bare_run(tmp_path / "run")
    monkeypatch.chdir(tmp_path)
    assert main(["report", str(run), "-o", "."]) == 0
    assert capsys.readouterr().out == "report.html\n"
    assert "<html" in (tmp_path / "report.html").read_text()[:200]
    with pytest.raises(UsageError, match="there can be no"):
        write_report([run], tmp_path / ("x" * 300))


LIST = [sys.executable, "-m", "forethought", "list"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has a device that is always full")
@pytest.mark.parametrize("words", [["list"], ["--help"], ["report", "--help"]])
def test_a_full_standard_output(words):
    with open("/dev/full", "w") as full:
        done = subprocess.run([*LIST[:3], *words], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 4
    assert done.stderr == "error: cannot write standard output: No space left on device\n"


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_a_closed_output(closed):
    done = subprocess.run(f"{' '.join(LIST)} {closed}", shell=True, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert "Traceback" not in done.stderr


def test_a_run_goes_on_where_nobody_takes_its_lines(monkeypatch):
    from forethought.training.progress import Plain

    class Full(io.StringIO):
        def flush(self):
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(sys, "stdout", Full())
    Plain().note("a line")
