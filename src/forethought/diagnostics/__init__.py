"""How far a world model can be trusted: `measure` any model on held-out episodes, and put it in words with `verdict`.

One measure to a file, each a short pure function with its equation.
"""

from forethought.diagnostics.diagnosis import Diagnosis, read_diagnosis, write_diagnosis
from forethought.diagnostics.episodes import Episode, collect
from forethought.diagnostics.logged import as_agents_see, split
from forethought.diagnostics.measuring import measure
from forethought.diagnostics.sizes import MeasureSettings
from forethought.diagnostics.words import findings, verdict

__all__ = [
    "Diagnosis",
    "Episode",
    "MeasureSettings",
    "as_agents_see",
    "collect",
    "findings",
    "measure",
    "read_diagnosis",
    "split",
    "verdict",
    "write_diagnosis",
]
