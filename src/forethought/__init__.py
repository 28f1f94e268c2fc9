"""forethought: agents that learn a model of their world and think ahead in it.

Importing this package imports neither JAX nor an environment; the names below load what they need when they are used.
"""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from forethought.api import Live, Policy, Run, evaluate, load, resume, start, train
    from forethought.errors import ForethoughtError

_HOMES = {
    "Live": "forethought.api",
    "Policy": "forethought.api",
    "Run": "forethought.api",
    "evaluate": "forethought.api",
    "load": "forethought.api",
    "resume": "forethought.api",
    "start": "forethought.api",
    "train": "forethought.api",
    "ForethoughtError": "forethought.errors",
}

__all__ = ["ForethoughtError", "Live", "Policy", "Run", "__version__", "evaluate", "load", "resume", "start", "train"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'forethought' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
