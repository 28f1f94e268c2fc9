"""Code by name, ``package.module:Name``: what a run can remember of the classes and functions it was given."""

import functools
import re
import sys
from typing import Any

from forethought.errors import UsageError, nearest
from forethought.imports import import_named


def name_of(thing: Any) -> str:
    """The name that leads back to a class or function; with brackets, for people alone, where none does."""
    plain = True
    while isinstance(thing, functools.partial):
        thing, plain = thing.func, False
    if not hasattr(thing, "__qualname__"):  # an object that can be called
        thing, plain = type(thing), False
    name = f"{getattr(thing, '__module__', None) or '__main__'}:{thing.__qualname__}"
    if plain and can_be_found(name) and _found(name) is not thing:  # a bound method, a name that was taken over
        plain = False
    return name if plain else f"{name}(...)"


def can_be_found(name: str) -> bool:
    """Whether another process can find what has this name; it cannot find notebooks, scripts, lambdas and objects."""
    return re.fullmatch(r"[\w.]+:[\w.]+", name) is not None and not name.startswith("__main__:")


def found_by(name: str) -> Any:
    """Import what has this name. Raises `UsageError` where that fails."""
    module, colon, path = name.partition(":")
    if not colon or not path or "/" in module or module.endswith(".py"):
        raise UsageError(f"{name!r} is no name of code; write package.module:name")
    try:
        home = import_named(module)
    except UsageError:
        raise
    except Exception as error:
        said = " ".join(str(error).split()).split(". ")[0]
        raise UsageError(
            f"{name}: the module {module!r} cannot be imported ({type(error).__name__}: {said}); mend or install it, "
            "or go to the folder that it is in, or put that on PYTHONPATH"
        ) from error
    try:
        return functools.reduce(getattr, path.split("."), home)
    except AttributeError:
        known = [known for known, value in vars(home).items() if callable(value)]
        raise UsageError(f"the module {module!r} has no {path!r}; {nearest(path, known)}") from None


def _found(name: str) -> Any:
    module, _, path = name.partition(":")
    thing: Any = sys.modules.get(module)
    for part in path.split("."):
        thing = getattr(thing, part, None)
    return thing
