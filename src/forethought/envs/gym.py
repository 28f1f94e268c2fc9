"""Any Gymnasium environment as a `VectorEnv`.

An environment's state is never asked for: it is the number of the episode, which seeds its reset, and the actions
since. Going back to it means to replay them, and the observation reached tells whether the environment is as
deterministic as that needs.
"""

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import numpy as np
from gymnasium.error import DependencyNotInstalled

from forethought.envs.bodies import Arrival, Body, Broken, Here, Workers
from forethought.envs.codec import SpaceCodec
from forethought.envs.contract import (
    EnvState,
    Step,
    agent_steps,
    beginning,
    checked_action,
    episode_seed,
    first_nonfinite,
    of_part,
    place,
    seen_amiss,
    slot_seeds,
    where,
)
from forethought.envs.gym_make import Maker, make_gym_env, missing_dependency, one_line, time_limit
from forethought.envs.kinds import reward_as_float32
from forethought.envs.views import empty_items, observation_bounds
from forethought.errors import CheckpointError, EnvironmentFault, UsageError
from forethought.stored import array, arrays, require
from forethought.types import EnvSpec, PyTree, TimeStep

MOST_GYM_SLOTS = 20_000  # they are Python objects that are made and stepped one by one


_OF_NOW = ("obs", "prev_action", "reward", "first")  # of the moment to act on; no episode has ended there


class _Slot:
    """The place of one environment in the seeding, and what replays its episode."""

    def __init__(self, spec: EnvSpec, stream: str, origin: tuple[int, int]):
        self.spec, self.stream, self.origin = spec, stream, origin
        self.episode = 0
        self.actions: list[np.ndarray | np.generic] = []

    def begin(self, episode: int) -> tuple[int]:
        """Nothing was done in an episode yet; the arguments of its reset."""
        self.episode, self.actions = episode, []
        return (self.reset_seed(),)

    def act(self, action: np.ndarray | np.generic) -> tuple[np.ndarray | np.generic]:
        """This was done next; the arguments of that step."""
        self.actions.append(action)
        return (action,)

    def reset_seed(self) -> int:
        seed, j = self.origin
        return episode_seed(seed, self.stream, j, self.episode)

    def fault(self, what: str) -> EnvironmentFault:
        """The error for this moment of this slot, with the way to see it again."""
        return EnvironmentFault(
            f"{self.spec.id} {what} at step {len(self.actions)} of episode {self.episode} in {place(*self.origin)}; "
            f"to see it again: reset(seed={self.reset_seed()}) and the same actions"
        )


class GymVector:
    """Gymnasium environments side by side; see `VectorEnv` for the contract.

    With ``workers`` above 1 they are stepped in so many processes, to the same bits. That pays where a step takes more
    than some tenths of a millisecond.

    Raises what `make_gym_env` raises, and `UsageError` for spaces that are not supported.
    """

    def __init__(
        self,
        env_id: str,
        *,
        seeds: Sequence[int],
        envs_per_seed: int = 1,
        stream: str = "train",
        action_repeat: int = 1,
        env_kwargs: Mapping[str, Any] | None = None,
        render: bool = False,
        maker: Maker | None = None,
        workers: int = 1,
        pixels: int = 0,
    ):
        self._origins = slot_seeds(seeds, envs_per_seed, MOST_GYM_SLOTS)
        self.num_slots = len(self._origins)
        self._first = first = make_gym_env(env_id, env_kwargs, render=render, maker=maker, pixels=pixels)
        for name in ("observation_space", "action_space"):
            if getattr(first, name, None) is None:
                raise UsageError(f"{env_id} has no {name}; declare it as an attribute of the class")
        self.codec = SpaceCodec.from_spaces(first.observation_space, first.action_space).named_by(first.unwrapped)
        limit = agent_steps(time_limit(first), action_repeat)
        self.spec = replace(self.codec.spec(env_id), max_episode_steps=limit, action_repeat=action_repeat)
        self._slots = [_Slot(self.spec, stream, origin) for origin in self._origins]
        make = partial(_make_body, env_id, env_kwargs, maker, pixels, self.codec, action_repeat)
        self._bodies = self._make_bodies(make, workers)
        self._bounds = observation_bounds(first.observation_space)
        self._render = render
        self._now: TimeStep | None = None

    def _make_bodies(self, make: Callable[[], Body], workers: int) -> Here | Workers:
        workers = min(workers, self.num_slots)
        if workers > 1:
            return Workers(make, self.num_slots, workers)
        first = Body(self._first, self.codec, self.spec.action_repeat)
        return Here({0: first, **{i: make() for i in range(1, self.num_slots)}})

    def _all(self, method: str, args: Mapping[int, tuple[Any, ...]]) -> dict[int, Any]:
        """What a method returns in these slots. Raises `EnvironmentFault` in the words of the first that fails."""
        found = self._bodies.call(method, args)
        for i in args:
            if isinstance(found[i], Broken):
                raise self._slots[i].fault(str(found[i])) from found[i].__cause__
        return found

    def _begin(self, episodes: Mapping[int, int]) -> dict[int, PyTree]:
        """What is seen first in these episodes."""
        return self._all("reset", {i: self._slots[i].begin(episode) for i, episode in episodes.items()})

    def now(self) -> TimeStep:
        """The moment to act on. Raises `ValueError` before the first reset."""
        if self._now is None:
            raise ValueError("reset the environment first")
        return self._now

    def reset(self) -> TimeStep:
        """Begin again from the first episode of every slot; returns its first moment."""
        begun = self._begin(dict.fromkeys(range(self.num_slots), 0))
        obs = _stacked([begun[i] for i in range(self.num_slots)])
        self._check_obs(obs)
        self._now = beginning(self.spec, obs)
        return self._now

    def step(self, action: np.ndarray) -> Step:
        """Act once in every slot; see `VectorEnv.step`. A step that fails in one slot has happened in none."""
        before = [(slot, slot.episode, slot.actions, len(slot.actions)) for slot in self._slots]
        try:
            return self._step(action)
        except (EnvironmentFault, KeyboardInterrupt):
            for slot, episode, actions, taken in before:
                del actions[taken:]
                slot.episode, slot.actions = episode, actions
            raise

    def _step(self, action: np.ndarray) -> Step:
        checked = checked_action(self.spec, self._origins, action)
        native = self.codec.action_to_env(checked)
        done = self._all("step", {i: slot.act(native[i]) for i, slot in enumerate(self._slots)})
        arrivals: list[Arrival] = [done[i] for i in range(self.num_slots)]
        obs = _stacked([arrival.obs for arrival in arrivals])
        reward = reward_as_float32([arrival.reward for arrival in arrivals])
        terminated = np.array([arrival.terminated for arrival in arrivals])
        truncated = np.array([arrival.truncated for arrival in arrivals])
        bad = first_nonfinite(reward)
        if bad is not None:
            exact = arrivals[bad[0]].reward
            beyond = ", which float32 does not hold" if math.isfinite(exact) else ""
            raise self._slots[bad[0]].fault(f"returned the reward {exact}{beyond}")
        self._check_obs(obs)
        reached = now = TimeStep(obs, checked, reward, np.zeros(self.num_slots, bool), terminated, truncated)
        ended = terminated | truncated
        if ended.any():
            obs = jax.tree.map(np.copy, obs)
            for i, seen in self._begin({int(i): self._slots[i].episode + 1 for i in np.flatnonzero(ended)}).items():
                _put(obs, i, seen)
            self._check_obs(obs)
            now = where(ended, beginning(self.spec, obs), reached)
        self._now = now
        return Step(reached, now, np.array([arrival.frames for arrival in arrivals], np.int32))

    def get_state(self) -> EnvState:
        """The episode [n], the seed of its reset [n], the number of actions since [n], those actions end to end, and
        the moment to act on, field by field.

        Those actions are in the environment's own units. Raises `ValueError` before the first reset.
        """
        if self._now is None:
            raise ValueError("an environment that was never reset has no state")
        actions = [action for slot in self._slots for action in slot.actions]
        empty = self.codec.action_to_env(empty_items(self.codec.action, 0))
        return {
            "episode": np.array([slot.episode for slot in self._slots], np.int64),
            "reset_seed": self._reset_seeds(),
            "length": np.array([len(slot.actions) for slot in self._slots], np.int64),
            "actions": np.stack(actions) if actions else empty,
            **{name: jax.tree.map(np.array, getattr(self._now, name)) for name in _OF_NOW},
        }

    def set_state(self, state: EnvState) -> tuple[TimeStep, list[str]]:
        """Replay every slot's episode; a slot where that leads elsewhere starts a new episode and is warned of."""
        about, names = f"the state of {self.spec.id}", ("actions", "episode", "reset_seed", "length")
        require(state, dict.fromkeys((*_OF_NOW[1:], *names), lambda value: isinstance(value, np.ndarray)), about)
        require(state, {"obs": lambda value: True}, about)
        expected = state["obs"]
        if not arrays(empty_items(self.codec.obs, self.num_slots))(expected):
            raise CheckpointError(
                f"the observations in the state of {self.spec.id} are not those of {self.num_slots} such environments; "
                "make the environment with the seeds and env_kwargs that the state was saved with"
            )
        begun = beginning(self.spec, jax.tree.map(np.copy, expected))
        held = {name: array(getattr(begun, name).shape, getattr(begun, name).dtype) for name in _OF_NOW[1:]}
        require(state, dict.fromkeys(names[1:], array((self.num_slots,), np.int64)) | held, about)
        for slot, episode in zip(self._slots, state["episode"], strict=True):
            slot.episode = int(episode)
        if not np.array_equal(self._reset_seeds(), state["reset_seed"]):
            raise CheckpointError(f"the state of {self.spec.id} was saved with other seeds; make it with those")
        ends = np.cumsum(state["length"])
        if np.min(state["length"]) < 0 or ends[-1] != len(state["actions"]):
            raise CheckpointError(f"{about} does not hold the actions of its episodes")
        astray, notes = np.zeros(self.num_slots, bool), []
        for i, difference in self._replay(np.split(state["actions"], ends[:-1]), expected).items():
            slot = self._slots[i]
            notes.append(
                f"{self.spec.id}, {place(*slot.origin)}, could not be restored: {difference} when its "
                f"{len(slot.actions)} actions were replayed; it is no function of its seed, and begins a new episode"
            )
            _put(begun.obs, i, self._begin({i: slot.episode + 1})[i])
            astray[i] = True
        self._now = where(astray, begun, begun._replace(**{name: state[name] for name in _OF_NOW}))
        return self._now, notes

    def _replay(self, actions: Sequence[np.ndarray], expected: PyTree) -> dict[int, str]:
        """Go back to what was done in the episodes; where that leads elsewhere, what went otherwise than before."""
        args = {i: (*slot.begin(slot.episode), actions[i]) for i, slot in enumerate(self._slots)}
        reached = self._bodies.call("replay", args)
        for slot, of_slot in zip(self._slots, actions, strict=True):
            slot.actions = list(of_slot)
        found: dict[int, str] = {}
        for i, seen in reached.items():
            if isinstance(seen, Broken):
                found[i] = str(seen)
            elif not jax.tree.all(jax.tree.map(np.array_equal, seen, _of_slot(expected, i))):
                found[i] = "another observation was reached"
        return found

    def render(self) -> np.ndarray | None:
        """A picture [height, width, 3] of slot 0; None unless made with ``render=True``.

        Raises `UsageError` where drawing needs a package that is missing, `EnvironmentFault` where it fails.
        """
        if not self._render:
            return None
        try:
            return np.asarray(self._first.render(), np.uint8)
        except (DependencyNotInstalled, ImportError) as error:
            raise missing_dependency(self.spec.id, error) from error
        except Exception as error:
            raise EnvironmentFault(
                f"{self.spec.id} raised {type(error).__name__} while drawing: {one_line(error)}; "
                "on a machine without a display MuJoCo needs MUJOCO_GL=egl or osmesa"
            ) from error

    def close(self) -> None:
        """Close every environment."""
        self._bodies.close()
        self._first.close()

    def _reset_seeds(self) -> np.ndarray:
        return np.array([slot.reset_seed() for slot in self._slots], np.int64)

    def _check_obs(self, obs: PyTree) -> None:
        bad = seen_amiss(obs)
        if bad is not None:
            raise self._slots[bad[0]].fault(f"returned {bad[1]}")
        for part, (low, high) in self._bounds.items():
            seen = obs[part] if part else obs
            slack = 1e-4 * (1.0 + np.abs(seen))
            outside = (seen < low - slack) | (seen > high + slack)
            if outside.any():
                i, dimension = (int(k) for k in np.argwhere(outside)[0])
                value = seen[i, dimension]
                bound = f"low {low[dimension]:g}" if value < low[dimension] else f"high {high[dimension]:g}"
                warnings.warn(
                    f"{self.spec.id} returned {value:g} in dimension {dimension} of the observation{of_part(part)}, "
                    f"beyond its declared {bound}; training goes on, but the environment's observation_space should "
                    "be mended",
                    stacklevel=3,
                )
                self._bounds = {}  # once is enough
                return


def _stacked(seen: Sequence[PyTree]) -> PyTree:
    return jax.tree.map(lambda *parts: np.stack(parts), *seen)


def _of_slot(obs: PyTree, i: int) -> PyTree:
    return jax.tree.map(lambda part: part[i], obs)


def _put(obs: PyTree, i: int, seen: PyTree) -> None:
    """Write what one slot sees into the observations of all."""
    for part, value in seen.items() if isinstance(seen, dict) else [(..., seen)]:
        obs[part][i] = value


def _make_body(
    env_id: str,
    env_kwargs: Mapping[str, Any] | None,
    maker: Maker | None,
    pixels: int,
    codec: SpaceCodec,
    action_repeat: int,
) -> Body:
    return Body(make_gym_env(env_id, env_kwargs, maker=maker, pixels=pixels), codec, action_repeat)
