"""forethought: agents that learn a model of their world and think ahead in it.

Importing this package imports neither JAX nor an environment; the names below load what they need when they are used.
"""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from forethought.api import Run, evaluate, resume, train
    from forethought.errors import ForethoughtError
    from forethought.examine import diagnose
    from forethought.live import Live, resume_live, start
    from forethought.policy import Policy, film, load

_HOMES = {
    "ForethoughtError": "forethought.errors",
    "Live": "forethought.live",
    "Policy": "forethought.policy",
    "Run": "forethought.api",
    "diagnose": "forethought.examine",
    "evaluate": "forethought.api",
    "film": "forethought.policy",
    "load": "forethought.policy",
    "resume": "forethought.api",
    "resume_live": "forethought.live",
    "start": "forethought.live",
    "train": "forethought.api",
}

__all__ = [
    "ForethoughtError",
    "Live",
    "Policy",
    "Run",
    "__version__",
    "diagnose",
    "evaluate",
    "film",
    "load",
    "resume",
    "resume_live",
    "start",
    "train",
]


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'forethought' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
