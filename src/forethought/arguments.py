"""From words on the command line to dataclasses whose docstrings are the help, with errors of one line."""

import contextlib
import io
import json
import re
from dataclasses import fields, is_dataclass
from typing import Any, Literal, get_args, get_origin, get_type_hints

from forethought.errors import UsageError, brief, nearest
from forethought.settings import unchecked

_MOST_LETTERS = 300  # of what is said of a word that does not fit


def parse(cls: Any, args: list[str], prog: str, default: Any = None, about: str | None = None) -> Any:
    """Parse arguments into a dataclass whose docstrings are the help, below ``about`` or its own docstring.

    Raises `UsageError` in one line.
    """
    import tyro

    said = io.StringIO()
    kwargs = {"description": about} | ({} if default is None else {"default": default})
    try:
        with contextlib.redirect_stderr(said), unchecked():  # whoever uses the settings checks them
            asked, unknown = tyro.cli(cls, args=args, prog=prog, return_unknown_args=True, **kwargs)
    except SystemExit as stop:
        if stop.code in (0, None):
            raise
        raise UsageError(f"{_first_sentence(said.getvalue())}; see {prog} --help") from None
    if unknown:
        flag = unknown[0].split("=")[0]
        if not flag.startswith("-"):
            raise UsageError(f"{prog} does not know what to do with {brief(flag)}; see {prog} --help")
        raise UsageError(f"{prog} has no option {flag[:80]}; {nearest(flag, options(asked))}")
    return asked


def _first_sentence(boxed: str) -> str:
    """What tyro says in the first part of its box, without the box."""
    lines = [line.strip("│ ").strip() for line in boxed.splitlines()[1:]]
    end = next((i for i, line in enumerate(lines) if not line or set(line) <= set("─╰╯")), len(lines))
    said = " ".join(lines[:end]).rstrip(".")
    said = re.sub(
        r"Error parsing (\S+): invalid literal for int\(\) with base 10: (.*)", r"\1 takes a whole number, not \2", said
    )
    return said if len(said) <= _MOST_LETTERS else said[:_MOST_LETTERS] + "..."


def options(asked: Any, prefix: str = "--") -> dict[str, tuple[str, ...]]:
    """The options of a command, as it was asked: by name, with the words that each takes where these are few."""
    from tyro.conf import Positional

    found: dict[str, tuple[str, ...]] = {}
    hints = get_type_hints(type(asked), include_extras=True)
    for f in fields(asked):
        value, name = getattr(asked, f.name), prefix + f.name.replace("_", "-")
        if is_dataclass(value):
            found |= options(value, f"{name}.")
        elif Positional not in getattr(hints[f.name], "__metadata__", ()):
            found[name] = tuple(str(word) for word in get_args(hints[f.name])) if _is_literal(hints[f.name]) else ()
            if hints[f.name] is bool:
                found[f"{prefix}no-{name.removeprefix(prefix)}"] = ()
    return found


def _is_literal(hint: Any) -> bool:
    return get_origin(hint) is Literal


def option(args: list[str], flag: str) -> str | None:
    """The value of one option, needed before the others can be parsed."""
    for i, arg in enumerate(args):
        if arg == flag and i + 1 < len(args):
            return args[i + 1]
        if arg.startswith(f"{flag}="):
            return arg.split("=", 1)[1]
    return None


def json_object(text: str, flag: str) -> dict[str, Any]:
    """The JSON object that an option holds; raises `UsageError` for anything else."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise UsageError(f"{flag} takes a JSON object such as '{{\"is_slippery\": false}}', not {brief(text)}")
    return value
