"""How much is imagined, which is a question of time and memory."""

from dataclasses import dataclass

from forethought.diagnostics.decoded import View
from forethought.errors import require_within
from forethought.models.base import WorldModel
from forethought.models.latent import Decodes


@dataclass(frozen=True)
class MeasureSettings:
    """How much is imagined. The defaults take seconds to a minute on a CPU for ensembles of the usual sizes."""

    particles: int = 60
    """Imagined futures per start; 60 shares evenly among up to 6 members."""
    starts: int = 256
    """Starts of the windows of ``horizon`` steps."""
    steps: int = 2048
    """Real steps that are foretold alone."""
    long: int = 200
    """Steps of the long imagined lives."""
    lives: int = 10
    """Long lives per episode."""
    traces: int = 2
    """Episodes that are drawn beside their dreams."""
    plan_particles: int = 5
    """Rollouts per plan while planning."""
    discount: float = 0.99
    """Of MBPO's bound."""

    def __post_init__(self) -> None:
        require_within("particles", self.particles, 2)
        for name in ("starts", "steps", "long", "lives", "plan_particles"):
            require_within(name, getattr(self, name), 1)
        require_within("traces", self.traces, 0)
        require_within("discount", self.discount, 0.0, 1.0)


# A latent belief is hundreds to ten thousands of numbers: 2,048 steps x 60 particles of them would be gigabytes.
LATENT = MeasureSettings(particles=20, starts=64, steps=1024, lives=4, plan_particles=1)
# About 12,000 pictures are drawn: a minute or two on two cores for 64 x 64 x 3 and the smallest networks.
PICTURES = MeasureSettings(particles=8, starts=32, steps=256, long=50, lives=2, plan_particles=1)


def sizes_for(model: WorldModel, view: View) -> MeasureSettings:
    """How much is imagined unless somebody says so."""
    if view.pictures:
        return PICTURES
    return LATENT if isinstance(model, Decodes) else MeasureSettings()
