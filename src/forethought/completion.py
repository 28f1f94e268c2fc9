"""Tab completion of the command: scripts for the shells, written from what the commands take.

Everything that can follow stands in the script, so that the shell answers without starting Python. Where none of it
fits, names of files are completed.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from forethought.agents.catalog import ALGORITHMS
from forethought.arguments import options
from forethought.errors import UsageError, nearest
from forethought.options import Demo, Diagnose, Eval, Export, ExportData, List, Report, Resume, Train

COMMANDS: dict[str, Any] = {  # but train, whose options are those of its algorithm too
    "resume": Resume(Path()),
    "eval": Eval(Path()),
    "diagnose": Diagnose(Path()),
    "export": Export(Path()),
    "export-data": ExportData(Path()),
    "report": Report(()),
    "list": List(),
    "demo": Demo(),
}

_Options = dict[str, dict[str, tuple[str, ...]]]  # what came before -> option -> the words that it takes

_BASH = """_forethought() {{
  local cur=${{COMP_WORDS[COMP_CWORD]}} prev=${{COMP_WORDS[COMP_CWORD-1]}} words=
  local before=${{COMP_WORDS[1]}}
  [ "$before" = train ] && before="train ${{COMP_WORDS[2]}}"
  if [ "$COMP_CWORD" = 1 ]; then words="{commands}"
  elif [ "$COMP_CWORD" = 2 ] && [ "${{COMP_WORDS[1]}}" = train ]; then words="{algorithms}"
  else
    case "$before $prev" in
{values}
    *) case "$cur" in
      -*) case "$before" in
{options}
        esac;;
      esac;;
    esac
  fi
  COMPREPLY=($(compgen -W "$words" -- "$cur"))
}}
complete -o default -F _forethought forethought"""


def script(shell: str) -> str:
    """What a shell has to read. Raises `UsageError` for one that is not known."""
    if shell not in SHELLS:
        raise UsageError(f"--completion takes a shell, not {shell!r}; {nearest(shell, SHELLS)}")
    known: _Options = {name: options(asked) for name, asked in COMMANDS.items()}
    for name, entry in ALGORITHMS.items():
        known[f"train {name}"] = options(Train(agent=entry.load()[1]()))
    return SHELLS[shell](known)


def _bash(known: _Options) -> str:
    values = [
        f'    "{before} {option}") words="{" ".join(words)}";;'
        for before, taken in known.items()
        for option, words in taken.items()
        if words
    ]
    listed = [f'        "{before}") words="{" ".join([*taken, "--help"])}";;' for before, taken in known.items()]
    return _BASH.format(
        commands=" ".join(["train", *COMMANDS]),
        algorithms=" ".join(ALGORITHMS),
        values="\n".join(values),
        options="\n".join(listed),
    )


def _zsh(known: _Options) -> str:
    """Zsh reads what is written for bash."""
    return "autoload -Uz compinit bashcompinit && compinit && bashcompinit\n" + _bash(known)


def _fish(known: _Options) -> str:
    said = "(commandline -opc | string join ' ')"
    lines = [f'function __forethought_after\n    string match -q -- "forethought $argv *" {said}" "\nend']
    for name, asked in {"train": Train, **COMMANDS}.items():
        lines.append(_offer("test (count (commandline -opc)) -eq 1", name, (asked.__doc__ or "").splitlines()[0]))
    for name, entry in ALGORITHMS.items():
        lines.append(_offer(f"test {said} = 'forethought train'", name, entry.summary))
    for before, taken in known.items():
        for option, words in taken.items():
            choices = f" -x -a '{' '.join(words)}'" if words else ""
            name = option.removeprefix("--")
            lines.append(f"complete -c forethought -n '__forethought_after {before}' -l {name}{choices}")
    return "\n".join(lines)


def _offer(condition: str, word: str, about: str) -> str:
    return f"complete -c forethought -f -n \"{condition}\" -a {word} -d '{about.replace(chr(39), '')}'"


SHELLS: dict[str, Callable[[_Options], str]] = {"bash": _bash, "zsh": _zsh, "fish": _fish}
