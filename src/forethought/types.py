"""The words that every other file uses, and the timeline, drawn once.

::

    TimeStep_t --actor--> action_t --world or model--> TimeStep_{t+1}
    (obs_t, ...)                                       (obs_{t+1}, prev_action = action_t, reward, terminated, ...)

A `TimeStep` is one moment of it, a `Transition` one arrow. ``terminated`` says that the world ended (nothing is to be
bootstrapped); ``truncated`` says that somebody stopped watching (the value of what was seen last still counts). They
never merge. An episode begins with a time step that is ``first`` and ends with one of its own, which holds the
observation that the last action led to; the first observation of the following episode is never stored in its place.

Inside forethought an action of a `Box` space lies in [-1, 1] on every dimension, and a `Discrete` action or
observation is an int32 in ``0 .. n-1``; the environment adapters translate to and from the environment's own units.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NamedTuple, TypeAlias

from jaxtyping import Array, Float
from msgspec import Meta, Struct

PyTree: TypeAlias = Any
Key: TypeAlias = Array  # a typed PRNG key, or a batch of them
Info: TypeAlias = dict[str, Array]  # what a person looks at, never what the next step needs


Size: TypeAlias = Annotated[int, Meta(ge=1)]
Finite: TypeAlias = Annotated[float, Meta(ge=-sys.float_info.max, le=sys.float_info.max)]
NumberType: TypeAlias = Annotated[str, Meta(pattern=r"^(u?int(8|16|32|64)|float(16|32|64|128))$")]


class Box(Struct, frozen=True, tag=True):
    """Real-valued arrays of one shape; ``dtype`` is float32, or uint8 for images."""

    shape: tuple[Size, ...]
    dtype: Literal["float32", "uint8"] = "float32"


class Discrete(Struct, frozen=True, tag=True):
    """The integers ``0 .. n-1``."""

    n: Size


class Parts(Struct, frozen=True, tag=True):
    """Several that are seen together, such as an image and a vector: items are dicts of arrays by these names."""

    named: tuple[tuple[str, Box | Discrete], ...]


Space: TypeAlias = Box | Discrete | Parts


def per_part(function: Callable[..., Any], space: Space, *values: PyTree) -> PyTree:
    """``function(space, *values)``, or that of each part by its name."""
    if not isinstance(space, Parts):
        return function(space, *values)
    return {name: function(part, *(value[name] for value in values)) for name, part in space.named}


def item_shape(space: Box | Discrete) -> tuple[int, ...]:
    """The shape of one item of the agent's view of a space; () for integers."""
    return space.shape if isinstance(space, Box) else ()


def item_dtype(space: Box | Discrete) -> str:
    """The type of its numbers."""
    return space.dtype if isinstance(space, Box) else "int32"


def is_image(space: Space) -> bool:
    """Whether its items are pictures [h, w, c] of whole numbers up to 255."""
    return isinstance(space, Box) and len(space.shape) == 3


def is_vector(space: Space) -> bool:
    """Whether its items are vectors [d]."""
    return isinstance(space, Box) and len(space.shape) == 1


@dataclass(frozen=True)
class EnvSpec:
    """What an agent may know of an environment before the first step.

    ``max_episode_steps`` counts agent steps (after action repeat); None where the environment has no time limit.
    ``action_low`` and ``action_high`` are the bounds in the environment's own units, empty for Discrete actions, and
    ``action_dtype`` is the kind of its own numbers: whole ones are rounded to. ``players`` above 1 move in turn, and in
    a ``game`` each moment says whose turn it is and which actions are legal.
    """

    id: str
    obs: Space
    action: Box | Discrete
    max_episode_steps: Size | None = None
    action_repeat: Size = 1
    action_low: tuple[Finite, ...] = ()
    action_high: tuple[Finite, ...] = ()
    action_dtype: NumberType = "float32"
    players: Size = 1
    game: bool = False


class TimeStep(NamedTuple):
    """One moment of n environments, leaves [n, ...]: what an actor receives.

    Attributes:
        obs: what is seen now.
        prev_action: the action that led here, as it was carried out; zeros in the first moment of an episode.
        reward: what came with it; 0 in the first moment.
        first: an episode begins here, nothing led to it.
        terminated: the world has ended here.
        truncated: the watching ends here.
        legal: which actions the rules allow, bool [n, actions]; nothing where all are.
        player: whose turn it is, int32 [n]; nothing where there is one player.
    """

    obs: PyTree
    prev_action: PyTree
    reward: PyTree
    first: PyTree
    terminated: PyTree
    truncated: PyTree
    legal: PyTree = ()
    player: PyTree = ()


class Transition(NamedTuple):
    """One arrow of the timeline, or a batch of them with common leading axes.

    ``extras`` is what the agent gave beside the action, such as the plan it followed; nothing in most agents.
    """

    obs: PyTree
    action: PyTree
    reward: PyTree
    next_obs: PyTree
    terminated: PyTree
    truncated: PyTree
    extras: PyTree = ()


class Experience(NamedTuple):
    """One step of n environments as it was lived through, leaves [n, ...].

    Attributes:
        now: the moment that was acted in.
        reached: where the action led: the last moment of the episode where one ended.
        extras: what the agent gave beside the action.
    """

    now: TimeStep
    reached: TimeStep
    extras: PyTree = ()


class Noted(NamedTuple):
    """What an agent gives beside an action where phases may change some of it later, such as a recurrent state.

    Attributes:
        notes: what the notes of the replay's row begin with, instead of zeros.
        extras: what stays as it is.
    """

    notes: PyTree
    extras: PyTree = ()


class Outcome(NamedTuple):
    """What a world model says of one imagined step, besides the next belief.

    ``continues`` is 1 where the world goes on and 0 where it terminated (or the probability of going on, in models
    that do not sample it).
    """

    reward: Float[Array, " n"]
    continues: Float[Array, " n"]
