"""Translation between an environment's own spaces and the agent's view of them.

The agent sees float32 vectors, uint8 images, integers from 0 or a dict of these, and acts in [-1, 1] or with integers
from 0. A `SpaceCodec` is plain data: saved with a policy, it serves without the environment.
"""

import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import msgspec
import numpy as np

from forethought.envs.kinds import real_numbers, whole_numbers
from forethought.envs.views import describe_action, describe_obs, require_space
from forethought.errors import CheckpointError, UsageError, brief
from forethought.stored import built
from forethought.types import Box, Discrete, EnvSpec, Finite, NumberType, Parts, PyTree, Size, Space, item_shape


@dataclass(frozen=True)
class SpaceCodec:
    """Both directions of the translation, for one item or for a batch with any leading axes.

    ``obs_parts`` holds the own shape of each part of the observation: of the whole (``obs_keys`` empty), or of each
    entry of a Dict in the order of ``obs_keys``. Bounds are those of the flattened action, in the environment's units.
    ``obs_names`` and ``action_names`` are for people: one for each number of the flattened vectors (of a Discrete
    space, for each choice), or none.
    """

    obs: Space
    action: Box | Discrete
    obs_keys: tuple[str, ...] = ()
    obs_parts: tuple[tuple[Size, ...], ...] = ()
    obs_start: int = 0
    action_shape: tuple[Size, ...] = ()
    action_dtype: NumberType = "float32"
    action_low: tuple[Finite, ...] = ()
    action_high: tuple[Finite, ...] = ()
    action_start: int = 0
    obs_names: tuple[str, ...] = ()
    action_names: tuple[str, ...] = ()

    @classmethod
    def from_spaces(cls, observation_space: Any, action_space: Any) -> "SpaceCodec":
        """The codec of a Gymnasium environment; raises `UsageError` for spaces that are not supported."""
        for name, space in (("observation", observation_space), ("action", action_space)):
            require_space(name, space)
        return cls(**describe_obs(observation_space), **describe_action(action_space))

    @classmethod
    def identity(cls, spec: EnvSpec) -> "SpaceCodec":
        """The codec of an environment that speaks the agent's units already."""
        seen: dict[str, Any] = {}
        if isinstance(spec.obs, Box):
            seen = {"obs_parts": (spec.obs.shape,)}
        if isinstance(spec.obs, Parts):
            keys, parts = zip(*spec.obs.named, strict=True)
            seen = {"obs_keys": keys, "obs_parts": tuple(map(item_shape, parts))}
        if isinstance(spec.action, Discrete):
            return cls(spec.obs, spec.action, **seen, action_dtype="int32")
        shape, size = spec.action.shape, math.prod(spec.action.shape)
        low, high = (-1.0,) * size, (1.0,) * size
        return cls(spec.obs, spec.action, **seen, action_shape=shape, action_low=low, action_high=high)

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

    def obs_to_agent(self, obs: Any) -> PyTree:
        """Copy the environment's observation [..., own shape] into the agent's view [..., shape of ``self.obs``].

        Raises `UsageError` where the observation does not fit the declared space.
        """
        if not self.obs_keys:
            own = self.obs_parts[0] if self.obs_parts else ()
            return self._part(obs, own, self.obs, "observation")  # type: ignore[arg-type]
        if not isinstance(obs, dict) or set(obs) != set(self.obs_keys):
            raise UsageError(f"the observation must be a dict with the keys {list(self.obs_keys)}, got {brief(obs)}")
        seen = {
            key: self._part(obs[key], own, part, f"observation[{key!r}]")
            for key, own, part in zip(self.obs_keys, self.obs_parts, self.seen_parts(), strict=True)
        }
        batches = {key: _batch(seen[key], part) for key, part in zip(seen, self.seen_parts(), strict=True)}
        if len(set(batches.values())) > 1:
            raise UsageError(f"the parts of the observation are not equally many, by their leading axes: {batches}")
        return seen if isinstance(self.obs, Parts) else np.concatenate(list(seen.values()), axis=-1)

    def batch_of(self, seen: PyTree) -> tuple[int, ...]:
        """The leading axes of what `obs_to_agent` gave: () for one observation."""
        if not isinstance(self.obs, Parts):
            return _batch(seen, self.obs)
        name, part = self.obs.named[0]
        return _batch(seen[name], part)

    def obs_to_env(self, seen: PyTree) -> Any:
        """The inverse of `obs_to_agent`: the agent's view [...] to the own shape, or to a dict where that was one."""
        if isinstance(self.obs, Discrete):
            return np.asarray(seen.astype(np.int64) + self.obs_start)
        leading = self.batch_of(seen)
        if not self.obs_keys:
            return seen.reshape(leading + self.obs_parts[0])
        if isinstance(self.obs, Parts):
            split = [seen[key] for key in self.obs_keys]
        else:
            ends = np.cumsum([math.prod(shape) for shape in self.obs_parts])
            split = np.split(seen, ends[:-1], axis=-1)
        parts = zip(self.obs_keys, self.obs_parts, split, strict=True)
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
        return msgspec.to_builtins(self)

    @classmethod
    def from_json(cls, described: Any) -> "SpaceCodec":
        """The codec that `to_json` described. Raises `CheckpointError` for anything else."""
        codec = built(cls, described, "the description of the spaces")
        if not codec._fits_together():
            raise CheckpointError("the description of the spaces contradicts itself (shapes, keys, bounds)")
        return codec

    def _fits_together(self) -> bool:
        own, seen = [math.prod(shape) for shape in self.obs_parts], self.seen_parts()
        if isinstance(self.obs, Parts):
            fits = bool(self.obs_keys) and self.obs_keys == tuple(name for name, _ in self.obs.named)
            fits &= list(self.obs_keys) == sorted(set(self.obs_keys)) and not (self.obs_start or self.obs_names)
            fits &= own == [math.prod(item_shape(part)) for part in seen]
        elif isinstance(self.obs, Box):
            fits = len(own) == max(1, len(self.obs_keys)) and sum(own) == math.prod(self.obs.shape)
        else:
            fits = not self.obs_keys
        if isinstance(self.action, Discrete):
            return fits
        low, high = self.action_low, self.action_high
        sizes = {math.prod(self.action_shape), math.prod(self.action.shape), len(low), len(high)}
        return fits and len(sizes) == 1 and all(below < above for below, above in zip(low, high, strict=True))

    def seen_parts(self) -> list[Box | Discrete]:
        """What the agent sees of each of ``obs_keys``; of the whole where there are none."""
        if isinstance(self.obs, Parts):
            return [part for _, part in self.obs.named]
        return [Box((math.prod(own),)) for own in self.obs_parts] if self.obs_keys else [self.obs]

    def _part(self, value: Any, own: tuple[int, ...], space: Box | Discrete, name: str) -> np.ndarray:
        if isinstance(space, Discrete):
            return whole_numbers(value, self.obs_start, space.n, name)
        array = real_numbers(value, name)
        if space.dtype == "uint8" and not np.array_equal(np.clip(np.rint(array), 0, 255), array):
            raise UsageError(f"the {name} is an image, whole numbers from 0 to 255, got {brief(value)}")
        with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite
            array = array.astype(space.dtype)
        return array.reshape(self._leading(array.shape, own, name) + space.shape)

    @staticmethod
    def _leading(shape: tuple[int, ...], own: tuple[int, ...], name: str) -> tuple[int, ...]:
        split = len(shape) - len(own)
        if split < 0 or shape[split:] != own:
            raise UsageError(f"the {name} must have the shape {own}, or [batch, ...] of it, got {shape}")
        return shape[:split]


def _batch(seen: np.ndarray, part: Box | Discrete) -> tuple[int, ...]:
    return seen.shape[: seen.ndim - len(item_shape(part))]


def spec_to_json(spec: EnvSpec) -> dict[str, Any]:
    """An `EnvSpec` in JSON values, for `spec_from_json`."""
    return msgspec.to_builtins(spec)


def spec_from_json(described: Any) -> EnvSpec:
    """The `EnvSpec` that `spec_to_json` described. Raises `CheckpointError` for anything else."""
    return built(EnvSpec, described, "the description of the environment")


def _count(space: Space) -> int:
    """The numbers that can have names."""
    if isinstance(space, Parts):
        return 0
    return math.prod(space.shape) if isinstance(space, Box) else space.n
