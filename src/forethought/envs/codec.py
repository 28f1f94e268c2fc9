"""Translation between an environment's own spaces and the agent's view of them.

The agent sees float32 vectors, uint8 images or integers from 0, and acts in [-1, 1] or with integers from 0. A
`SpaceCodec` is plain data: saved with a policy, it serves without the environment.
"""

import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from gymnasium import spaces

from forethought.envs.kinds import real_numbers, whole_numbers
from forethought.errors import CheckpointError, UsageError, brief
from forethought.stored import Check, count, flag, number, numbers, require
from forethought.types import Box, Discrete, EnvSpec, Space

_FLOAT_MAX = float(np.finfo(np.float32).max)  # a bound this large is a way of writing "unbounded"


@dataclass(frozen=True)
class SpaceCodec:
    """Both directions of the translation, for one item or for a batch with any leading axes.

    ``obs_parts`` holds the own shape of each part of the observation: of the whole (``obs_keys`` empty), or of each
    entry of a Dict in the order of ``obs_keys``. Bounds are those of the flattened action, in the environment's units.
    ``obs_names`` and ``action_names`` are for people: one for each number of the flattened vectors (of a Discrete
    space, for each choice), or none.
    """

    obs: Space
    action: Space
    obs_keys: tuple[str, ...] = ()
    obs_parts: tuple[tuple[int, ...], ...] = ()
    obs_start: int = 0
    action_shape: tuple[int, ...] = ()
    action_dtype: str = "float32"
    action_low: tuple[float, ...] = ()
    action_high: tuple[float, ...] = ()
    action_start: int = 0
    obs_names: tuple[str, ...] = ()
    action_names: tuple[str, ...] = ()

    @classmethod
    def from_spaces(cls, observation_space: Any, action_space: Any) -> "SpaceCodec":
        """The codec of a Gymnasium environment; raises `UsageError` for spaces that are not supported."""
        for name, space in (("observation", observation_space), ("action", action_space)):
            _require_space(name, space)
        return cls(**_describe_obs(observation_space), **_describe_action(action_space))

    @classmethod
    def identity(cls, spec: EnvSpec) -> "SpaceCodec":
        """The codec of an environment that speaks the agent's units already."""
        obs_parts = (spec.obs.shape,) if isinstance(spec.obs, Box) else ()
        if isinstance(spec.action, Discrete):
            return cls(spec.obs, spec.action, obs_parts=obs_parts, action_dtype="int32")
        shape, size = spec.action.shape, math.prod(spec.action.shape)
        low, high = (-1.0,) * size, (1.0,) * size
        return cls(spec.obs, spec.action, obs_parts=obs_parts, action_shape=shape, action_low=low, action_high=high)

    def named(self, obs_names: Sequence[str] = (), action_names: Sequence[str] = ()) -> "SpaceCodec":
        """With other names where some are given. Raises `UsageError` where these are not one for each number."""
        for what, names, space in (("obs", obs_names, self.obs), ("action", action_names, self.action)):
            if isinstance(names, str) or not all(isinstance(name, str) for name in names):
                raise UsageError(f"{what}_names takes a list of words, not {brief(names)}")
            count = _count(space)
            if names and len(names) != count:
                raise UsageError(f"{what}_names has {len(names)} names; {count} are needed, one for each number")
        return replace(
            self,
            obs_names=tuple(obs_names) or self.obs_names,
            action_names=tuple(action_names) or self.action_names,
        )

    def named_by(self, env: Any) -> "SpaceCodec":
        """With the names that an environment declares as ``observation_names`` and ``action_names``, if they fit."""
        found = [getattr(env, name, None) or () for name in ("observation_names", "action_names")]
        with suppress(UsageError, TypeError):
            return self.named(*found)
        return self

    def obs_to_agent(self, obs: Any) -> np.ndarray:
        """Copy the environment's observation [..., own shape] into the agent's view [..., ``self.obs.shape``].

        Raises `UsageError` where the observation does not fit the declared space.
        """
        if isinstance(self.obs, Discrete):
            return whole_numbers(obs, self.obs_start, self.obs.n, "observation")
        if not self.obs_keys:
            return self._part(obs, self.obs_parts[0], self.obs.shape, "observation")
        if not isinstance(obs, dict) or set(obs) != set(self.obs_keys):
            raise UsageError(f"the observation must be a dict with the keys {list(self.obs_keys)}, got {brief(obs)}")
        sizes = [(math.prod(shape),) for shape in self.obs_parts]
        parts = zip(self.obs_keys, self.obs_parts, sizes, strict=True)
        flat = [self._part(obs[key], own, size, f"observation[{key!r}]") for key, own, size in parts]
        return np.concatenate(flat, axis=-1)

    def obs_to_env(self, seen: np.ndarray) -> Any:
        """The inverse of `obs_to_agent`: the agent's view [...] to the own shape, or to a dict where that was one."""
        if isinstance(self.obs, Discrete):
            return np.asarray(seen.astype(np.int64) + self.obs_start)
        leading = seen.shape[: seen.ndim - len(self.obs.shape)]
        if not self.obs_keys:
            return seen.reshape(leading + self.obs_parts[0])
        ends = np.cumsum([math.prod(shape) for shape in self.obs_parts])
        parts = zip(self.obs_keys, self.obs_parts, np.split(seen, ends[:-1], axis=-1), strict=True)
        return {key: part.reshape(leading + own) for key, own, part in parts}

    def action_to_env(self, action: Any) -> np.ndarray:
        """Turn the agent's action [..., ``self.action.shape``] into the environment's own [..., own shape].

        -1 and 1 become the bounds exactly; what lies outside is clipped. Raises `UsageError` for a wrong shape.
        """
        action = np.asarray(action)
        if isinstance(self.action, Discrete):
            return np.asarray(action.astype(np.int64) + self.action_start)
        leading = self._leading(action.shape, self.action.shape, "action")
        low, high = np.asarray(self.action_low), np.asarray(self.action_high)
        unit = np.clip(action.astype(np.float64), -1.0, 1.0)
        native = np.clip(0.5 * ((1.0 - unit) * low + (1.0 + unit) * high), low, high)
        if np.dtype(self.action_dtype).kind in "iu":
            native = np.rint(native)
        return native.astype(self.action_dtype).reshape(leading + self.action_shape)

    def action_from_env(self, action: Any) -> np.ndarray:
        """The inverse of `action_to_env`: own units [..., own shape] to the agent's, float32 or int32.

        Raises `UsageError` for what is no action of this kind.
        """
        if isinstance(self.action, Discrete):
            return whole_numbers(action, self.action_start, self.action.n, "action")
        native = real_numbers(action, "action").astype(np.float64)
        leading = self._leading(native.shape, self.action_shape, "action")
        low, high = np.asarray(self.action_low), np.asarray(self.action_high)
        native = native.reshape(leading + self.action.shape)
        unit = (2.0 * native - (low + high)) / (high - low)
        return np.clip(unit, -1.0, 1.0).astype(np.float32)

    def spec(self, env_id: str) -> EnvSpec:
        """What an agent may know of an environment of which only the spaces are known."""
        return EnvSpec(
            env_id,
            self.obs,
            self.action,
            action_low=self.action_low,
            action_high=self.action_high,
            action_dtype=self.action_dtype,
        )

    def to_json(self) -> dict[str, Any]:
        """A description in JSON values from which `from_json` builds the same codec."""
        return {**asdict(self), "obs": _space_to_json(self.obs), "action": _space_to_json(self.action)}

    @classmethod
    def from_json(cls, described: Any) -> "SpaceCodec":
        """The codec that `to_json` described. Raises `CheckpointError` for anything else."""
        require(described, _CODEC, "the description of the spaces")
        fields: dict[str, Any] = {
            name: tuple(value) if isinstance(value := described[name], list) else value for name in _CODEC
        }
        obs, action = _space_from_json(fields.pop("obs")), _space_from_json(fields.pop("action"))
        parts = tuple(tuple(shape) for shape in fields.pop("obs_parts"))
        codec = cls(obs, action, obs_parts=parts, **fields)
        if not codec._fits_together():
            raise CheckpointError("the description of the spaces contradicts itself (shapes, keys, bounds)")
        return codec

    def _fits_together(self) -> bool:
        if isinstance(self.obs, Box):
            whole = sum(map(math.prod, self.obs_parts)) == math.prod(self.obs.shape)
            if len(self.obs_parts) != max(1, len(self.obs_keys)) or not whole:
                return False
        if isinstance(self.action, Discrete):
            return True
        low, high = self.action_low, self.action_high
        sizes = {math.prod(self.action_shape), math.prod(self.action.shape), len(low), len(high)}
        return len(sizes) == 1 and all(below < above for below, above in zip(low, high, strict=True))

    def _part(self, value: Any, own: tuple[int, ...], target: tuple[int, ...], name: str) -> np.ndarray:
        assert isinstance(self.obs, Box)
        array = real_numbers(value, name)
        if self.obs.dtype == "uint8" and not np.array_equal(np.clip(np.rint(array), 0, 255), array):
            raise UsageError(f"the {name} is an image, whole numbers from 0 to 255, got {brief(value)}")
        with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite
            array = array.astype(self.obs.dtype)
        return array.reshape(self._leading(array.shape, own, name) + target)

    @staticmethod
    def _leading(shape: tuple[int, ...], own: tuple[int, ...], name: str) -> tuple[int, ...]:
        split = len(shape) - len(own)
        if split < 0 or shape[split:] != own:
            raise UsageError(f"the {name} must have the shape {own}, or [batch, ...] of it, got {shape}")
        return shape[:split]


def item_shape(space: Space) -> tuple[int, ...]:
    """The shape of one item of the agent's view of a space; () for integers."""
    return space.shape if isinstance(space, Box) else ()


def observation_bounds(space: spaces.Space) -> tuple[np.ndarray, np.ndarray] | None:
    """The declared low and high of each dimension of the agent's vector; None where there is nothing to check."""
    parts = [space[key] for key in sorted(space.spaces)] if isinstance(space, spaces.Dict) else [space]
    boxes = [part for part in parts if isinstance(part, spaces.Box) and not _is_image(part)]
    if not boxes:
        return None
    low = np.concatenate([np.asarray(box.low, np.float64).ravel() for box in boxes])
    high = np.concatenate([np.asarray(box.high, np.float64).ravel() for box in boxes])
    return None if np.isinf(low).all() and np.isinf(high).all() else (low, high)


def _require_space(name: str, space: Any) -> None:
    """Raise `UsageError` for what is no space, or one whose items hold no number."""
    if not isinstance(space, spaces.Space):
        old = ", of the old Gym package" if type(space).__module__.partition(".")[0] == "gym" else ""
        raise UsageError(
            f"the {name} space is {brief(space)}{old}, no space of Gymnasium; use gymnasium.spaces, such as "
            "gymnasium.spaces.Box(-1.0, 1.0, (3,))"
        )
    parts = list(space.spaces.values()) if isinstance(space, spaces.Dict) else [space]
    if sum(math.prod(part.shape or ()) for part in parts) == 0:
        raise UsageError(f"the {name} space {brief(space)} holds no number; declare what is seen and done there")


def _describe_obs(space: spaces.Space) -> dict[str, Any]:
    if isinstance(space, spaces.Discrete):
        return {"obs": Discrete(int(space.n)), "obs_start": int(space.start)}
    if isinstance(space, spaces.Box) and _is_image(space):
        shape = space.shape if len(space.shape) == 3 else (*space.shape, 1)
        return {"obs": Box(shape, "uint8"), "obs_parts": (space.shape,)}
    if isinstance(space, spaces.Box):
        return {"obs": Box((math.prod(space.shape),)), "obs_parts": (space.shape,)}
    if isinstance(space, spaces.Dict) and all(
        isinstance(part, spaces.Box) and not _is_image(part) for part in space.values()
    ):
        keys = tuple(sorted(space.spaces))
        shapes = tuple(tuple(space[key].shape or ()) for key in keys)
        names = [
            key if math.prod(shape) == 1 else f"{key}[{i}]"
            for key, shape in zip(keys, shapes, strict=True)
            for i in range(math.prod(shape))
        ]
        size = sum(map(math.prod, shapes))
        return {"obs": Box((size,)), "obs_keys": keys, "obs_parts": shapes, "obs_names": tuple(names)}
    raise UsageError(
        f"the observation space {brief(space)} is not supported; supported are Box, Discrete and Dict of Box vectors, "
        "and gymnasium.wrappers (FlattenObservation, FilterObservation) turn many others into one of these"
    )


def _describe_action(space: spaces.Space) -> dict[str, Any]:
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


def _is_image(space: spaces.Box) -> bool:
    return space.dtype == np.uint8 and len(space.shape) in (2, 3)


def spec_to_json(spec: EnvSpec) -> dict[str, Any]:
    """An `EnvSpec` in JSON values, for `spec_from_json`."""
    return {**asdict(spec), "obs": _space_to_json(spec.obs), "action": _space_to_json(spec.action)}


def spec_from_json(described: Any) -> EnvSpec:
    """The `EnvSpec` that `spec_to_json` described. Raises `CheckpointError` for anything else."""
    if isinstance(described, dict):
        described = {"players": 1, "game": False, **described}  # which earlier runs do not say
    require(described, _SPEC, "the description of the environment")
    bounds = {name: tuple(described[name]) for name in ("action_low", "action_high")}
    spaces_ = {name: _space_from_json(described[name]) for name in ("obs", "action")}
    return EnvSpec(**{name: described[name] for name in _SPEC} | bounds | spaces_)


def _is_size(value: Any) -> bool:
    return count(value) and value >= 1


def _is_shape(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(map(_is_size, value))


def _is_space(value: Any) -> bool:
    if not isinstance(value, dict):
        return False
    if value.keys() == {"discrete"}:
        return _is_size(value["discrete"])
    return value.keys() == {"box", "dtype"} and _is_shape(value["box"]) and value["dtype"] in ("float32", "uint8")


def _is_dtype(value: Any) -> bool:
    return isinstance(value, str) and value in _ACTION_DTYPES


def _list_of(check: Check) -> Check:
    return lambda value: isinstance(value, list | tuple) and all(map(check, value))


def _is_words(value: Any) -> bool:
    return _list_of(lambda word: isinstance(word, str))(value)


_ACTION_DTYPES = {np.dtype(kind).name for kind in "efdgbhilqBHILQ"}
# What `to_json` writes, and what each entry must be.
_CODEC: dict[str, Check] = {
    "obs": _is_space,
    "action": _is_space,
    "obs_keys": _is_words,
    "obs_parts": _list_of(_is_shape),
    "obs_start": lambda value: number(value) and isinstance(value, int),
    "action_shape": _is_shape,
    "action_dtype": _is_dtype,
    "action_low": numbers,
    "action_high": numbers,
    "action_start": lambda value: number(value) and isinstance(value, int),
    "obs_names": _is_words,
    "action_names": _is_words,
}
_SPEC: dict[str, Check] = {
    "id": lambda value: isinstance(value, str),
    "obs": _is_space,
    "action": _is_space,
    "max_episode_steps": lambda value: value is None or _is_size(value),
    "action_repeat": _is_size,
    "action_low": numbers,
    "action_high": numbers,
    "action_dtype": _is_dtype,
    "players": _is_size,
    "game": flag,
}


def _count(space: Space) -> int:
    return math.prod(space.shape) if isinstance(space, Box) else space.n


def _space_to_json(space: Space) -> dict[str, Any]:
    if isinstance(space, Discrete):
        return {"discrete": space.n}
    return {"box": list(space.shape), "dtype": space.dtype}


def _space_from_json(described: dict[str, Any]) -> Space:
    if "discrete" in described:
        return Discrete(described["discrete"])
    return Box(tuple(described["box"]), described["dtype"])
