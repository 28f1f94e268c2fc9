"""What Gymnasium's spaces are to an agent, and arrays that are shaped like items of them."""

import math
from typing import Any

import numpy as np
from gymnasium import spaces

from forethought.errors import UsageError, brief
from forethought.types import Box, Discrete, Parts, PyTree, Space, item_dtype, item_shape, per_part

_MOST_CHANNELS = 4  # that come first in other libraries
_FLOAT_MAX = float(np.finfo(np.float32).max)  # a bound this large is a way of writing "unbounded"


def empty_items(space: Space, n: int) -> PyTree:
    """Zeros shaped and typed like n items of the space, as agents see them."""
    return per_part(lambda part: np.zeros((n, *item_shape(part)), item_dtype(part)), space)


def rows(items: PyTree) -> int:
    """How many items these are, [n, ...]."""
    return len(items) if not isinstance(items, dict) else len(next(iter(items.values())))


def gym_space(space: Space, *, bound: float) -> spaces.Space:
    """The space of Gymnasium whose items look alike; real numbers lie within ``bound``."""
    if isinstance(space, Parts):
        return spaces.Dict({name: gym_space(part, bound=bound) for name, part in space.named})
    if isinstance(space, Discrete):
        return spaces.Discrete(space.n)
    if space.dtype == "uint8":
        return spaces.Box(0, 255, space.shape, np.uint8)
    return spaces.Box(-bound, bound, space.shape, np.float32)


def observation_bounds(space: spaces.Space) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """The declared low and high of each number that an agent sees, by the part, which is "" where there is one; none
    where there is nothing to check.
    """
    parts = {key: space[key] for key in sorted(space.spaces)} if isinstance(space, spaces.Dict) else {"": space}
    found = {
        key: (np.asarray(part.low, np.float64).ravel(), np.asarray(part.high, np.float64).ravel())
        for key, part in parts.items()
        if isinstance(part, spaces.Box) and not is_picture(part)
    }
    if all(map(_is_vector, parts.values())):  # one vector
        found = {"": tuple(np.concatenate(bounds) for bounds in zip(*found.values(), strict=True))}  # type: ignore[dict-item]
    return {key: (low, high) for key, (low, high) in found.items() if not (np.isinf(low) & np.isinf(high)).all()}


def require_space(name: str, space: Any) -> None:
    """Raise `UsageError` for what is no space, or one whose items hold no number."""
    if not isinstance(space, spaces.Space):
        old = ", of the old Gym package" if type(space).__module__.partition(".")[0] == "gym" else ""
        raise UsageError(
            f"the {name} space is {brief(space)}{old}, no space of Gymnasium; use gymnasium.spaces, such as "
            "gymnasium.spaces.Box(-1.0, 1.0, (3,))"
        )
    parts = space.spaces if isinstance(space, spaces.Dict) else {"": space}
    if isinstance(space, spaces.Dict) and not all(isinstance(key, str) and key for key in parts):
        raise UsageError(f"the keys of the {name} space {brief(space)} must be words")
    empty = [key for key, part in parts.items() if 0 in (part.shape or ())]
    if empty or not parts:
        which = f"part {empty[0]!r} of the {name} space" if empty and empty[0] else f"{name} space"
        raise UsageError(f"the {which} {brief(space)} holds no number; declare what is seen and done there")


def describe_obs(space: spaces.Space) -> dict[str, Any]:
    """The fields of a `SpaceCodec` that say how observations translate."""
    if isinstance(space, spaces.Discrete):
        return {"obs": Discrete(int(space.n)), "obs_start": int(space.start)}
    if isinstance(space, spaces.Box):
        return {"obs": _box(space), "obs_parts": (space.shape,)}
    own = [(key, space[key]) for key in sorted(space.spaces)] if isinstance(space, spaces.Dict) else []
    keys, shapes = tuple(key for key, _ in own), tuple(tuple(part.shape or ()) for _, part in own)
    if own and all(_is_vector(part) for _, part in own):
        whole = Box((sum(map(math.prod, shapes)),))
        names = tuple(name for key, shape in zip(keys, shapes, strict=True) for name in _numbers(key, math.prod(shape)))
        return {"obs": whole, "obs_keys": keys, "obs_parts": shapes, "obs_names": names}
    parts = [
        (key, _box(part) if isinstance(part, spaces.Box) else Discrete(int(part.n)))
        for key, part in own
        if isinstance(part, spaces.Box) or (isinstance(part, spaces.Discrete) and part.start == 0)
    ]
    if not own or len(parts) < len(own):
        raise UsageError(
            f"the observation space {brief(space)} is not supported; supported are Box, Discrete (from 0 within a "
            "Dict) and Dict of these, and gymnasium.wrappers (FlattenObservation, FilterObservation) turn many others "
            "into one of them"
        )
    return {"obs": Parts(tuple(parts)), "obs_keys": keys, "obs_parts": shapes}


def describe_action(space: spaces.Space) -> dict[str, Any]:
    """The fields of a `SpaceCodec` that say how actions translate."""
    if isinstance(space, spaces.Discrete):
        return {"action": Discrete(int(space.n)), "action_start": int(space.start), "action_dtype": "int64"}
    if not isinstance(space, spaces.Box):
        raise UsageError(
            f"the action space {brief(space)} is not supported; supported are Box and Discrete, "
            "and gymnasium.wrappers.TransformAction turns many others into one of these"
        )
    low, high = (np.asarray(bound, np.float64).ravel() for bound in (space.low, space.high))
    for i, (lower, upper) in enumerate(zip(low, high, strict=True)):
        if not (abs(lower) < _FLOAT_MAX and abs(upper) < _FLOAT_MAX):  # also true of NaN
            raise UsageError(
                f"dimension {i} of the action space {brief(space)} has no finite bounds ({lower} to {upper}); declare "
                "a bounded Box in the environment, or wrap it in gymnasium.wrappers.TransformAction with a bounded one"
            )
        if lower >= upper:
            raise UsageError(
                f"dimension {i} of the action space {brief(space)} leaves no choice (low {lower}, high {upper}); "
                "declare low < high, or leave the dimension out of the action space"
            )
    return {
        "action": Box((low.size,)),
        "action_shape": tuple(space.shape),
        "action_dtype": str(space.dtype),
        "action_low": tuple(low.tolist()),
        "action_high": tuple(high.tolist()),
    }


def is_picture(space: spaces.Space) -> bool:
    """Whether items of a Gymnasium space are pictures."""
    return isinstance(space, spaces.Box) and space.dtype == np.uint8 and len(space.shape) in (2, 3)


def _numbers(key: str, size: int) -> list[str]:
    return [key] if size == 1 else [f"{key}[{i}]" for i in range(size)]


def _is_vector(space: spaces.Space) -> bool:
    return isinstance(space, spaces.Box) and not is_picture(space)


def _box(space: spaces.Box) -> Box:
    if not is_picture(space):
        return Box((math.prod(space.shape),))
    if len(space.shape) == 3 and space.shape[0] <= _MOST_CHANNELS < min(space.shape[1:]):
        raise UsageError(
            f"the pictures of the observation space {brief(space)} have their channels first; put them last, with "
            "gymnasium.wrappers.TransformObservation and numpy.moveaxis(picture, 0, -1)"
        )
    return Box(space.shape if len(space.shape) == 3 else (*space.shape, 1), "uint8")
