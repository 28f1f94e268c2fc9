"""The settings of World Models (`forethought.agents.dream.world_models`)."""

from dataclasses import dataclass, field
from typing import Literal

from forethought.errors import BadSetting, require_above, require_within
from forethought.nets.vae import CHANNELS
from forethought.settings import Settings, require_widths


@dataclass(frozen=True)
class VisionConfig(Settings):
    """V, as in the published code (``vae/vae.py``, ``vae_train.py``)."""

    latent: int = 32
    """Numbers of z (the published code has 64 in VizDoom)."""
    channels: tuple[int, ...] = CHANNELS
    """Of the convolutions; images smaller than 64 pixels a side take fewer of them."""
    kl_tolerance: float = 0.5
    """Nats to each number of z that cost nothing."""
    learning_rate: float = 1e-4
    """Adam step size."""
    batch_size: int = 100
    """Images per update."""
    updates: int = 20_000
    """Updates; ten epochs of the published 10,000 episodes are some 200,000 (VizDoom) to 1,000,000."""

    def check(self) -> None:
        """Counts and bounds."""
        require_widths("channels", self.channels)
        if not self.channels:
            raise BadSetting("channels", "is empty; V has a convolution at least")
        for name in ("latent", "batch_size", "updates"):
            require_within(name, getattr(self, name), 1)
        require_above("learning_rate", self.learning_rate, 0)
        require_within("kl_tolerance", self.kl_tolerance, 0.0)


@dataclass(frozen=True)
class MemoryConfig(Settings):
    """M, as in the published code (``rnn/rnn.py``, ``rnn_train.py``, ``doomrnn.py``)."""

    hidden: int = 256
    """Units of the LSTM (512 in VizDoom)."""
    mixtures: int = 5
    """Gaussians to each number of z."""
    learning_rate: float = 1e-3
    """Adam step size."""
    batch_size: int = 100
    """Windows per update."""
    window: int = 1000
    """Moments of a window (500 in VizDoom); no more than an environment lives through in the random steps."""
    updates: int = 4000
    """Updates."""
    max_grad: float = 1.0
    """Each number of a gradient is cut off at this size."""
    ending_weight: float = 10.0
    """How often an end of the world counts in the loss, because there are few."""
    reward: Literal["learned", "alive"] = "learned"
    """Whether rewards are learned, or taken to be 1 for every step alive (VizDoom)."""

    def check(self) -> None:
        """Counts and bounds."""
        for name in ("hidden", "mixtures", "batch_size", "updates"):
            require_within(name, getattr(self, name), 1)
        require_within("window", self.window, 2)
        for name in ("learning_rate", "max_grad", "ending_weight"):
            require_above(name, getattr(self, name), 0)


@dataclass(frozen=True)
class ControllerConfig(Settings):
    """C, and CMA-ES, which evolves it, as in the published code (``train.py``, ``es.py``)."""

    where: Literal["dream", "world"] = "dream"
    """Where candidates are tried out. In the "world" (published for CarRacing) each has environments of its own."""
    temperature: float = 1.0
    """Of the dream: above 1 less certain than M is, so that its faults are harder to exploit (VizDoom: 1.15)."""
    horizon: int = 1000
    """Steps after which a dream is over (2100 in VizDoom)."""
    population: int = 64
    """Candidates of a generation."""
    rollouts: int = 16
    """Episodes that a candidate is judged by."""
    generations: int = 200
    """Generations, in dreams; in the world they go on as long as the run does (published: 1800)."""
    initial_std: float = 0.1
    """Standard deviation of the first candidates."""
    sees_cell: bool = False
    """Whether it reads the LSTM's cell beside z and its output (VizDoom)."""
    order: tuple[int, ...] = ()
    """All choices in a row: one output chooses among them by its size, as published for VizDoom. Empty: one output to
    each choice, of which the greatest is taken."""
    one_sided: tuple[int, ...] = ()
    """Numbers of an action that are at their low end for half of all outputs (the brake of CarRacing)."""

    def check(self) -> None:
        """Counts and bounds."""
        for name in ("horizon", "rollouts", "generations"):
            require_within(name, getattr(self, name), 1)
        require_within("population", self.population, 4)
        for name in ("temperature", "initial_std"):
            require_above(name, getattr(self, name), 0)


@dataclass(frozen=True)
class WorldModelsConfig(Settings):
    """World Models. Defaults are those of the published code (``carracing/``, ``doomrnn/``), but for the numbers of
    steps and updates, which are for a single machine.
    """

    random_steps: int = 100_000
    """Environment steps with random actions before V and M learn (published: 10,000 episodes)."""
    random_hold: int = 1
    """A random action is kept for 1 to so many steps (10 in VizDoom)."""
    every: int = 0
    """Environment steps after which V, M and C learn anew from all steps so far, those of C too; 0: only once."""
    replay_capacity: int = 1_000_000
    """Transitions kept."""
    v: VisionConfig = field(default_factory=VisionConfig)
    """How it sees."""
    m: MemoryConfig = field(default_factory=MemoryConfig)
    """What it foretells."""
    c: ControllerConfig = field(default_factory=ControllerConfig)
    """How it acts."""

    def check(self) -> None:
        """Counts."""
        for name in ("random_steps", "every"):
            require_within(name, getattr(self, name), 0)
        for name in ("random_hold", "replay_capacity"):
            require_within(name, getattr(self, name), 1)
