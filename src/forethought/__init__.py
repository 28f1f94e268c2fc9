"""forethought: agents that learn a model of their world and think ahead in it.

Importing this package imports neither JAX nor an environment; the names below load what they need when they are used.
"""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from forethought.api import evaluate, resume, train
    from forethought.data import Transitions, transitions
    from forethought.errors import ForethoughtError, StopTraining
    from forethought.examine import diagnose
    from forethought.exporting import export
    from forethought.live import AskTell, resume_live, start
    from forethought.policy import Policy, film, load
    from forethought.runs import Run, open_run

_HOMES = {
    "ForethoughtError": "forethought.errors",
    "AskTell": "forethought.live",
    "Policy": "forethought.policy",
    "Run": "forethought.runs",
    "StopTraining": "forethought.errors",
    "Transitions": "forethought.data",
    "diagnose": "forethought.examine",
    "evaluate": "forethought.api",
    "export": "forethought.exporting",
    "film": "forethought.policy",
    "load": "forethought.policy",
    "open_run": "forethought.runs",
    "resume": "forethought.api",
    "resume_live": "forethought.live",
    "start": "forethought.live",
    "train": "forethought.api",
    "transitions": "forethought.data",
}

__all__ = [
    "AskTell",
    "ForethoughtError",
    "Policy",
    "Run",
    "StopTraining",
    "Transitions",
    "__version__",
    "diagnose",
    "evaluate",
    "export",
    "film",
    "load",
    "open_run",
    "resume",
    "resume_live",
    "start",
    "train",
    "transitions",
]


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'forethought' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
