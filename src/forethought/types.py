"""The words that every other file uses, and the timeline, drawn once.

::

    obs_t --policy--> action_t --world or model--> reward_{t+1}, obs_{t+1}, terminated_{t+1}, truncated_{t+1}

A `Transition` is one arrow of it. ``terminated`` says that the world ended (nothing is to be bootstrapped);
``truncated`` says that somebody stopped watching (the value of ``next_obs`` still counts). They never merge.
``next_obs`` is the observation that the action led to, also at the end of an episode; the first observation of the
following episode is never stored in its place.

Inside forethought an action of a `Box` space lies in [-1, 1] on every dimension, and a `Discrete` action or
observation is an int32 in ``0 .. n-1``; the environment adapters translate to and from the environment's own units.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

from jaxtyping import Array, Float

PyTree: TypeAlias = Any
Key: TypeAlias = Array  # a typed PRNG key, or a batch of them
Info: TypeAlias = dict[str, Array]  # what a person looks at, never what the next step needs


@dataclass(frozen=True)
class Box:
    """Real-valued arrays of one shape; ``dtype`` is float32, or uint8 for images."""

    shape: tuple[int, ...]
    dtype: str = "float32"


@dataclass(frozen=True)
class Discrete:
    """The integers ``0 .. n-1``."""

    n: int


Space: TypeAlias = Box | Discrete


@dataclass(frozen=True)
class EnvSpec:
    """What an agent may know of an environment before the first step.

    ``max_episode_steps`` counts agent steps (after action repeat); None where the environment has no time limit.
    ``action_low`` and ``action_high`` are the bounds in the environment's own units, empty for Discrete actions, and
    ``action_dtype`` is the kind of its own numbers: whole ones are rounded to.
    """

    id: str
    obs: Space
    action: Space
    max_episode_steps: int | None = None
    action_repeat: int = 1
    action_low: tuple[float, ...] = ()
    action_high: tuple[float, ...] = ()
    action_dtype: str = "float32"


class Transition(NamedTuple):
    """One arrow of the timeline, or a batch of them with common leading axes.

    ``thought`` is what the agent noted down when it acted, such as the plan it followed; nothing in most agents.
    """

    obs: PyTree
    action: PyTree
    reward: PyTree
    next_obs: PyTree
    terminated: PyTree
    truncated: PyTree
    thought: PyTree = ()


class Outcome(NamedTuple):
    """What a world model says of one imagined step, besides the next belief.

    ``continues`` is 1 where the world goes on and 0 where it terminated (or the probability of going on, in models
    that do not sample it).
    """

    reward: Float[Array, " n"]
    continues: Float[Array, " n"]
