"""Tab completion, asked of the shells themselves."""

import shutil
import subprocess

import pytest

from forethought import cli
from forethought.agents.catalog import ALGORITHMS
from forethought.completion import COMMANDS, SHELLS, script

ASK = """
source "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
_forethought
printf "%s\\n" "${COMPREPLY[@]}"
"""


@pytest.fixture(scope="module")
def scripts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("completion")
    for shell in SHELLS:
        (folder / shell).write_text(script(shell))
    return folder


@pytest.mark.skipif(shutil.which("bash") is None, reason="asks bash")
@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ([""], list(cli.COMMANDS)),
        (["re"], ["resume", "report"]),
        (["train", ""], list(ALGORITHMS)),
        (
            ["train", "mbpo", "Pendulum-v1", "--agent.fit.max"],
            [f"--agent.fit.max-{x}" for x in ("gradient", "holdout", "epochs")],
        ),
        (["train", "sac", "Pendulum-v1", "--agent.fit"], []),
        (["train", "poplin-p", "Pendulum-v1", "--seeds", "2", "--agent.form", ""], ["sep", "uni"]),
        (["eval", "runs/some", "--ep"], ["--episodes"]),
        (["eval", "ru"], []),  # names of files
    ],
)
def test_bash_completes_commands_algorithms_options_and_their_words(scripts, words, offered):
    asked = ["bash", "--norc", "-c", ASK, "bash", str(scripts / "bash"), "forethought", *words]
    said = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.split()
    assert [word for word in said if word in offered] == offered
    assert len(said) == len(offered)


@pytest.mark.parametrize("shell", SHELLS)
def test_a_script_is_one_that_the_shell_can_read(scripts, shell):
    said = (scripts / shell).read_text()
    for word in ("diagnose", *ALGORITHMS, "agent.search.population"):
        assert word in said
    if shutil.which(shell):
        subprocess.run([shell, "-n", str(scripts / shell)], check=True, capture_output=True)


def test_the_command_prints_it(scripts, capsys):
    assert cli.main(["--completion", "bash"]) == 0
    assert capsys.readouterr().out == (scripts / "bash").read_text() + "\n"
    for args in (["--completion", "bsh"], ["--completion"]):
        assert cli.main(args) == 2
        assert "bash" in capsys.readouterr().err


def test_no_command_is_left_out():
    assert ["train", *COMMANDS] == list(cli.COMMANDS)
