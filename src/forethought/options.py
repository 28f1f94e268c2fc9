"""What each command takes, as dataclasses whose docstrings are the help."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Generic, Literal, TypeVar

from tyro.conf import Positional, arg

C = TypeVar("C")
T = TypeVar("T")

# What is chosen where nothing is said stands in the words of the option; "None" would say nothing.
Unsaid = Annotated[T | None, arg(help_behavior_hint="")]

DEMO_STEPS = 2500


@dataclass(frozen=True)
class Train(Generic[C]):
    """Train an algorithm on an environment; everything about the run is kept in its directory."""

    agent: C
    """Settings of the agent."""
    steps: int = 10_000
    """Environment steps per seed."""
    seed: int = 0
    """The first seed."""
    seeds: int = 1
    """How many seeds to train side by side, as one program."""
    num_envs: Unsaid[int] = None
    """Environments per seed. Default: 1, or what the preset says."""
    workers: int = 1
    """Processes that step the environments of the training, where a step takes long; not for those written in JAX."""
    run: Unsaid[Path] = None
    """The run directory; it must not exist. Default: runs/ALGO-ENV-TIME."""
    preset: Unsaid[str] = None
    """Settings by name; default: those made for this environment; "none": the plain defaults."""
    action_repeat: int = 1
    """How often each action is repeated; frames are counted apart from steps."""
    env_kwargs: str = "{}"
    """Arguments of the environment, as JSON."""
    pixels: int = 0
    """Pixels a side of the picture that is seen in place of the environment's own observation. Default: its own."""
    eval_every: Unsaid[int] = None
    """Steps between evaluations, once something was learned. Default: a twentieth of the run; a quarter for
    planners, as their actions are expensive."""
    eval_episodes: Unsaid[int] = None
    """Episodes per seed and evaluation. Default: 10; 1 for planners."""
    log_every: Unsaid[int] = None
    """Steps between two lines of training metrics. Default: a hundredth of the run, at most 1000."""
    checkpoint_every: Unsaid[int] = None
    """Steps between checkpoints. Default: about once a minute."""
    keep: int = 2
    """Checkpoints to keep."""
    baselines: bool = True
    """Whether random actions and the best constant action are played before the first step, as baselines."""
    data: Unsaid[str] = None
    """Transitions to learn from before the first step: an .npz file, a run directory or minari:ID. --agent.random-steps
    is then 0 unless you say otherwise."""
    pretrain: Unsaid[int] = None
    """How much is learned from --data before the first step, in steps' worth of the agent's schedule. Default: 1, which
    is each of its ways of learning once. With --steps 0: from the data alone."""
    obs_names: tuple[str, ...] = ()
    """What to call the numbers of an observation in figures. Default: what the environment declares."""
    action_names: tuple[str, ...] = ()
    """What to call the numbers of an action, or the discrete actions. Default: what the environment declares."""
    writers: tuple[str, ...] = ()
    """Send the metrics elsewhere too: tensorboard, wandb (extras of the same names)."""
    reward: Unsaid[str] = None
    """module:function of the reward, where you know it: (obs, action, next_obs), in your units, all batches."""
    termination: Unsaid[str] = None
    """module:function of the end of the world, where you know it: as the reward, with truths for numbers."""
    controller: Unsaid[str] = None
    """module:function of what you would do by hand, observation -> action in your units: a baseline."""


@dataclass(frozen=True)
class Resume:
    """Go on with a run from its newest whole checkpoint, exactly where it stood."""

    run: Positional[Path]
    """The run directory."""
    steps: Unsaid[int] = None
    """Extend the run to this many steps."""
    trust: bool = False
    """Import the code that the run names, though it was not made here."""


@dataclass(frozen=True)
class Eval:
    """Evaluate what a run has learned: whole episodes without exploration.

    An ask/tell run without --env is evaluated by the last episodes of its training, with exploration.
    """

    run: Positional[Path]
    """The run directory."""
    episodes: Unsaid[int] = None
    """Episodes per seed. Default: 100; 2 for planners, whose actions are expensive."""
    seed: int = 0
    """Chooses the episodes."""
    which: Literal["newest", "best"] = "newest"
    """The newest policy, or the one of each seed whose evaluation during training was the best."""
    env: Unsaid[str] = None
    """An environment with the same spaces to play in. Default: the run's own."""
    json: bool = False
    """Print JSON."""
    video: Unsaid[Path] = None
    """Write one episode to this file (.mp4 or .gif)."""
    trust: bool = False
    """Import the code that the run names, though it was not made here."""


@dataclass(frozen=True)
class Diagnose:
    """How far the model of a run can be trusted, on held-out episodes: played for this, or logged ones."""

    run: Positional[Path]
    """The run directory."""
    horizon: Unsaid[int] = None
    """Imagined steps to look at. Default: 30, or as long as the episodes are."""
    episodes: Unsaid[int] = None
    """Held-out episodes with the run's policy, 2 at least. Default: 10; 2 for planners, whose actions are expensive."""
    env: Unsaid[str] = None
    """An environment with the same spaces to play in. Default: the run's own."""
    episodes_from: Unsaid[str] = None
    """Take logged episodes instead, which the run has not learned from: what train --data takes, a row for each step in
    order of time."""
    seed: int = 0
    """Chooses the episodes."""
    of_seed: Unsaid[int] = None
    """The seed of the run whose model is evaluated. Default: the first."""
    output: Unsaid[Path] = None
    """The directory for diagnostics.json, and dream.mp4 where pictures are seen (also -o). Default: the run directory,
    whose report then gets a chapter."""
    trust: bool = False
    """Import the code that the run names, though it was not made here."""


@dataclass(frozen=True)
class Report:
    """Write one self-contained HTML file that opens offline."""

    runs: Positional[tuple[Path, ...]]
    """Run directories."""
    output: Unsaid[Path] = None
    """The file, or a directory for report.html (also -o). Default: the (first) run directory."""


@dataclass(frozen=True)
class Export:
    """Write the policy of a run to a file that needs no forethought."""

    run: Positional[Path]
    """The run directory."""
    output: Unsaid[Path] = None
    """The file (also -o): .npz for NumPy alone (numpy_policy.py, which reads it, is put beside it), .stablehlo for
    jax.export, planners too. Default: policy.npz in the run directory."""
    which: Literal["newest", "best"] = "newest"
    """The newest policy, or the one whose evaluation during training was the best."""
    seed: Unsaid[int] = None
    """The seed of the run whose policy it is. Default: the first."""
    trust: bool = False
    """Import the functions that a planner was given (--reward, --termination), though the run was not made here."""


@dataclass(frozen=True)
class ExportData:
    """Write the transitions that a run's replay holds, in the environment's own units, oldest first."""

    run: Positional[Path]
    """The run directory."""
    output: Unsaid[Path] = None
    """The file (also -o), an .npz of plain arrays: obs, action, reward, next_obs, terminated, truncated, seed. Default:
    data.npz in the run directory."""
    seed: Unsaid[int] = None
    """Those of one seed of the run. Default: of all, seed after seed."""


@dataclass(frozen=True)
class List:
    """The algorithms: what each uses its model for, and which suit an environment."""

    env: Unsaid[str] = None
    """An environment id: say which algorithms can learn it, and why the others cannot."""


@dataclass(frozen=True)
class Demo:
    """MBPO on Pendulum-v1 on this machine: return before and after, and a report."""

    run: Unsaid[Path] = None
    """The run directory. Default: runs/demo-TIME."""
    steps: int = DEMO_STEPS
    """Environment steps."""
    seed: int = 0
    """The seed."""
