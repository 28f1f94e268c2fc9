"""Files appear as a whole or not at all."""

import errno
from pathlib import Path

import pytest

from forethought.errors import CheckpointError, UsageError
from forethought.files import as_path, disk_problem, write_atomically


def test_a_file_is_replaced_and_nothing_else_is_left(tmp_path):
    path = tmp_path / "new" / "file.json"
    write_atomically(path, "one")
    write_atomically(path, "two é")
    assert path.read_text(encoding="utf-8") == "two é"
    assert [p.name for p in path.parent.iterdir()] == ["file.json"]


def test_what_cannot_be_written_is_one_line_and_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "file.json"
    write_atomically(path, "old")

    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(CheckpointError) as error:
        write_atomically(path, "new", then="diagnose again")
    assert str(error.value) == f"the disk is full, {path} was not written; free some space, then diagnose again"
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["file.json"]


def test_a_place_that_is_no_directory(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match=r"cannot write .*file/below\.json: .*; mend that, then resume the run"):
        write_atomically(tmp_path / "file" / "below.json", "text")
    assert "mend that, then train on" in disk_problem(
        OSError(errno.EACCES, "Permission denied"), tmp_path, then="train on"
    )


@pytest.mark.parametrize("path", [3, None, b"runs"])
def test_what_is_no_path_is_named(path):
    with pytest.raises(UsageError) as error:
        as_path(path)
    assert str(error.value) == f"{path!r} is no path; name a run's directory or a file, such as 'runs/pole'"
    assert as_path("runs/pole") == as_path(Path("runs/pole")) == Path("runs") / "pole"
