"""What a diagnosis shows while it goes on."""

import io
import re
import sys

from forethought.examine import telling


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_each_part_is_a_line_where_there_is_no_terminal(capsys):
    with telling() as tell:
        tell("imagining 1 step")
        assert capsys.readouterr().err == "imagining 1 step\n"  # while it goes on
        tell("planning [the best]")
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "planning [the best]\n")


def test_on_a_terminal_the_part_is_shown_in_place_with_its_time(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setenv("TERM", "xterm")
    with telling() as tell:
        tell("imagining 1 step")
        tell("planning [the best]")
    shown = sys.stderr.getvalue()
    assert "planning [the best] 0:00:00" in re.sub(r"\x1b\[[\d;?]*[a-zA-Z]", "", shown)
    assert shown.endswith("\x1b[2K")  # and is gone in the end
