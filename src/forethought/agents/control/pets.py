"""PETS (Chua et al. 2018, arXiv 1805.12114): an ensemble of probabilistic networks, CEM, and particles through both."""

from dataclasses import dataclass, field

from forethought.agents.control.planning import PlanningAgent, PlanningConfig
from forethought.models.ensemble import Propagation
from forethought.models.fit import FitConfig
from forethought.planning.cem import CEM

__all__ = ["PETSConfig", "PlanningAgent"]


def _official_fit() -> FitConfig:
    decay = 1e-4, 2.5e-4, 2.5e-4, 5e-4
    return FitConfig(batch_size=32, weight_decay=decay, holdout_ratio=0.0, max_epochs=5)


@dataclass(frozen=True)
class PETSConfig(PlanningConfig):
    """PETS. Defaults are those of the official code (``dmbrl/config``) for its cartpole, but for the reward.

    That is learned unless `reward` says "known"; the official code is given it.
    """

    horizon: int = 25
    """Imagined steps per plan."""
    propagation: Propagation = "ts_inf"
    """How particles meet members; see `PlanningConfig`."""
    model_every: int = 200
    """Environment steps between two fits: one trial of 200."""
    fit: FitConfig = field(default_factory=_official_fit)
    """How the ensemble is fitted: five epochs, no hold-out."""
    elites: int = 5
    """All members are used."""
    model_hidden: tuple[int, ...] = (500, 500, 500)
    """Widths of the hidden layers of each member."""
    search: CEM = field(default_factory=CEM)
    """How plans are looked for."""
