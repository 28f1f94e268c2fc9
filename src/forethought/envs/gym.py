"""Any Gymnasium environment as a `VectorEnv`.

An environment's state is never asked for: it is the number of the episode, which seeds its reset, and the actions
since. Going back to it means to replay them, and the observation reached tells whether the environment is as
deterministic as that needs.
"""

import math
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, NamedTuple

import gymnasium
import numpy as np
from gymnasium.error import DependencyNotInstalled

from forethought.envs.codec import SpaceCodec, item_shape, observation_bounds
from forethought.envs.contract import (
    EnvState,
    Step,
    agent_steps,
    beginning,
    checked_action,
    episode_seed,
    first_nonfinite,
    place,
    slot_seeds,
    where,
)
from forethought.envs.gym_make import Maker, make_gym_env, missing_dependency, one_line, time_limit
from forethought.envs.kinds import as_flag, as_reward, reward_as_float32
from forethought.errors import CheckpointError, EnvironmentFault, UsageError, brief
from forethought.stored import array, require
from forethought.types import EnvSpec, TimeStep

MOST_GYM_SLOTS = 20_000  # they are Python objects that are made and stepped one by one


_OF_NOW = ("obs", "prev_action", "reward", "first")  # of the moment to act on; no episode has ended there


class _Arrival(NamedTuple):
    """What one agent step led to in one slot."""

    obs: np.ndarray
    reward: float
    terminated: bool
    truncated: bool
    frames: int


class _Slot:
    """One environment, its place in the seeding, and what replays its episode."""

    def __init__(self, env: gymnasium.Env, codec: SpaceCodec, spec: EnvSpec, stream: str, origin: tuple[int, int]):
        self.env, self.codec, self.spec, self.stream, self.origin = env, codec, spec, stream, origin
        self.episode = 0
        self.actions: list[np.ndarray | np.generic] = []

    def begin(self, episode: int) -> np.ndarray:
        self.episode, self.actions = episode, []
        with self._blame():
            returned = self.env.reset(seed=self.reset_seed())
        if not (isinstance(returned, tuple) and len(returned) == 2 and isinstance(returned[1], Mapping | None)):
            raise self.fault(f"returned {brief(returned)} from reset, which is not (observation, info): {_OLD_API}")
        return self._agent_view(returned[0])

    def step(self, action: np.ndarray | np.generic) -> _Arrival:
        """Act (in the environment's own units) until the repeat is over or the episode ends."""
        self.actions.append(action)
        total, frames, terminated, truncated = 0.0, 0, False, False
        while frames < self.spec.action_repeat and not (terminated or truncated):
            with self._blame():
                # A copy: an environment that clips its action in place must not change what is replayed.
                returned = self.env.step(action.copy())
            obs, reward, terminated, truncated = self._parts(returned)
            total += reward
            frames += 1
        return _Arrival(self._agent_view(obs), total, terminated, truncated, frames)

    def _parts(self, returned: Any) -> tuple[Any, float, bool, bool]:
        """What a step returned, each part of its kind, without the info."""
        if not isinstance(returned, tuple) or len(returned) != 5:
            raise self.fault(_wrong_step(len(returned) if isinstance(returned, tuple) else 1))
        obs, reward, terminated, truncated, _ = returned
        try:
            return obs, as_reward(reward), as_flag("terminated", terminated), as_flag("truncated", truncated)
        except UsageError as error:
            raise self.fault(f"broke its contract ({error})") from error

    def replay(self, episode: int, actions: np.ndarray, expected: np.ndarray) -> str | None:
        """Go back to a stored state; returns what went otherwise than before, or None."""
        try:
            obs = self.begin(episode)
            for action in actions:
                arrival = self.step(action)
                obs = arrival.obs
                if arrival.terminated or arrival.truncated:
                    return "the episode ended early"
        except EnvironmentFault as error:
            return str(error)
        return None if np.array_equal(obs, expected, equal_nan=True) else "another observation was reached"

    def reset_seed(self) -> int:
        seed, j = self.origin
        return episode_seed(seed, self.stream, j, self.episode)

    def fault(self, what: str) -> EnvironmentFault:
        """The error for this moment of this slot, with the way to see it again."""
        return EnvironmentFault(
            f"{self.spec.id} {what} at step {len(self.actions)} of episode {self.episode} in {place(*self.origin)}; "
            f"to see it again: reset(seed={self.reset_seed()}) and the same actions"
        )

    @contextmanager
    def _blame(self) -> Iterator[None]:
        try:
            yield
        except KeyboardInterrupt:  # the user's
            raise
        except BaseException as error:  # `sys.exit` in an environment must not end the run unsaved
            raise self.fault(_old_api(error) or f"raised {type(error).__name__} ({one_line(error)})") from error

    def _agent_view(self, obs: Any) -> np.ndarray:
        try:
            seen = self.codec.obs_to_agent(obs)
        except UsageError as error:
            raise self.fault(f"broke its observation space ({error})") from error
        expected = item_shape(self.codec.obs)
        if seen.shape != expected:  # the codec also takes batches, an environment may not return one
            raise self.fault(f"broke its observation space (shape {np.shape(obs)})")
        return seen


_OLD_API = "this is the API of the old Gym package, which Gymnasium has changed"


def _wrong_step(n: int) -> str:
    return f"returned {n} values from step, not (observation, reward, terminated, truncated, info)" + (
        f": {_OLD_API}" if n == 4 else ""
    )


def _old_api(error: BaseException) -> str | None:
    """What an exception says of an environment that is written for the old Gym package; None for any other."""
    where = error.__traceback__
    while where is not None and where.tb_next is not None:
        where = where.tb_next
    module = "" if where is None else str(where.tb_frame.f_globals.get("__name__"))
    if not module.startswith(("gymnasium.", "forethought.")):  # the environment's own code may say the same
        return None
    if isinstance(error, TypeError) and re.search("got an unexpected keyword argument '(seed|options)'", str(error)):
        return f"has a reset without the arguments seed and options: {_OLD_API}"
    # Gymnasium's wrappers unpack what a step returns.
    unpacked = re.fullmatch(r"not enough values to unpack \(expected 5, got (\d+)\)", str(error))
    return _wrong_step(int(unpacked[1])) if unpacked else None


class GymVector:
    """Gymnasium environments side by side in this process; see `VectorEnv` for the contract.

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
    ):
        self._origins = slot_seeds(seeds, envs_per_seed, MOST_GYM_SLOTS)
        self.num_slots = len(self._origins)
        self._envs = [
            make_gym_env(env_id, env_kwargs, render=render and i == 0, maker=maker) for i in range(self.num_slots)
        ]
        first = self._envs[0]
        for name in ("observation_space", "action_space"):
            if getattr(first, name, None) is None:
                raise UsageError(f"{env_id} has no {name}; declare it as an attribute of the class")
        self.codec = SpaceCodec.from_spaces(first.observation_space, first.action_space).named_by(first.unwrapped)
        limit = agent_steps(time_limit(first), action_repeat)
        self.spec = replace(self.codec.spec(env_id), max_episode_steps=limit, action_repeat=action_repeat)
        self._slots = [
            _Slot(env, self.codec, self.spec, stream, origin)
            for env, origin in zip(self._envs, self._origins, strict=True)
        ]
        self._bounds = observation_bounds(first.observation_space)
        self._render = render
        self._now: TimeStep | None = None

    def now(self) -> TimeStep:
        """The moment to act on. Raises `ValueError` before the first reset."""
        if self._now is None:
            raise ValueError("reset the environment first")
        return self._now

    def reset(self) -> TimeStep:
        """Begin again from the first episode of every slot; returns its first moment."""
        obs = np.stack([slot.begin(0) for slot in self._slots])
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
        arrivals = [slot.step(native[i]) for i, slot in enumerate(self._slots)]
        obs = np.stack([arrival.obs for arrival in arrivals])
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
            obs = obs.copy()
            for i in np.flatnonzero(ended):
                obs[i] = self._slots[i].begin(self._slots[i].episode + 1)
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
        empty = self.codec.action_to_env(np.zeros((0, *item_shape(self.codec.action))))
        return {
            "episode": np.array([slot.episode for slot in self._slots], np.int64),
            "reset_seed": self._reset_seeds(),
            "length": np.array([len(slot.actions) for slot in self._slots], np.int64),
            "actions": np.stack(actions) if actions else empty,
            **{name: np.array(getattr(self._now, name)) for name in _OF_NOW},
        }

    def set_state(self, state: EnvState) -> tuple[TimeStep, list[str]]:
        """Replay every slot's episode; a slot where that leads elsewhere starts a new episode and is warned of."""
        about, names = f"the state of {self.spec.id}", ("actions", "episode", "reset_seed", "length")
        require(state, dict.fromkeys((*_OF_NOW, *names), lambda value: isinstance(value, np.ndarray)), about)
        expected = state["obs"]
        shape = (self.num_slots, *item_shape(self.codec.obs))
        if expected.shape != shape:
            raise CheckpointError(
                f"the state of {self.spec.id} has observations of shape {expected.shape}, these environments need "
                f"{shape}; make the environment with the seeds and env_kwargs that the state was saved with"
            )
        begun = beginning(self.spec, expected.copy())
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
        for i, slot in enumerate(self._slots):
            episode = int(state["episode"][i])
            actions = state["actions"][ends[i] - state["length"][i] : ends[i]]
            difference = slot.replay(episode, actions, expected[i])
            if difference is not None:
                begun.obs[i], astray[i] = slot.begin(episode + 1), True
                notes.append(
                    f"{self.spec.id}, {place(*slot.origin)}, could not be restored: {difference} when its "
                    f"{len(actions)} actions were replayed; it is no function of its seed, and begins a new episode"
                )
        self._now = where(astray, begun, begun._replace(**{name: state[name] for name in _OF_NOW}))
        return self._now, notes

    def render(self) -> np.ndarray | None:
        """A picture [height, width, 3] of slot 0; None unless made with ``render=True``.

        Raises `UsageError` where drawing needs a package that is missing, `EnvironmentFault` where it fails.
        """
        if not self._render:
            return None
        try:
            return np.asarray(self._envs[0].render(), np.uint8)
        except (DependencyNotInstalled, ImportError) as error:
            raise missing_dependency(self.spec.id, error) from error
        except Exception as error:
            raise EnvironmentFault(
                f"{self.spec.id} raised {type(error).__name__} while drawing: {one_line(error)}; "
                "on a machine without a display MuJoCo needs MUJOCO_GL=egl or osmesa"
            ) from error

    def close(self) -> None:
        """Close every environment."""
        for env in self._envs:
            env.close()

    def _reset_seeds(self) -> np.ndarray:
        return np.array([slot.reset_seed() for slot in self._slots], np.int64)

    def _check_obs(self, obs: np.ndarray) -> None:
        bad = first_nonfinite(obs)
        if bad is not None:
            raise self._slots[bad[0]].fault(f"returned an observation with {obs[bad]} in dimension {bad[1]}")
        if self._bounds is None:
            return
        low, high = self._bounds
        slack = 1e-4 * (1.0 + np.abs(obs))
        outside = (obs < low - slack) | (obs > high + slack)
        if outside.any():
            i, dimension = (int(k) for k in np.argwhere(outside)[0])
            value = obs[i, dimension]
            bound = f"low {low[dimension]:g}" if value < low[dimension] else f"high {high[dimension]:g}"
            warnings.warn(
                f"{self.spec.id} returned {value:g} in dimension {dimension} of the observation, beyond its declared "
                f"{bound}; training goes on, but the environment's observation_space should be mended",
                stacklevel=3,
            )
            self._bounds = None  # once is enough
