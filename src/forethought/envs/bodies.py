"""One Gymnasium environment: what it is told and what comes back, in the agent's view; here, or in other processes."""

import multiprocessing
import re
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import gymnasium
import jax
import numpy as np
from gymnasium.vector import AsyncVectorEnv, AutoresetMode
from gymnasium.vector.async_vector_env import AsyncState

from forethought.envs.codec import SpaceCodec
from forethought.envs.gym_make import one_line
from forethought.envs.kinds import as_flag, as_reward
from forethought.envs.pixels import Pixels
from forethought.errors import EnvironmentFault, ForethoughtError, UsageError, brief
from forethought.types import PyTree

_CONTEXT = "forkserver"  # JAX has threads, which a fork of this process would leave behind


class Arrival(NamedTuple):
    """What one agent step led to."""

    obs: PyTree
    reward: float
    terminated: bool
    truncated: bool
    frames: int


class Broken(Exception):
    """What an environment did wrong, in words; when and where that was, its slot knows."""


class Body:
    """An environment without its place in the seeding. All methods raise `Broken`."""

    def __init__(self, env: gymnasium.Env, codec: SpaceCodec, action_repeat: int):
        self.env, self.codec, self.action_repeat = env, codec, action_repeat

    def reset(self, seed: int) -> PyTree:
        """Begin an episode; what is seen first."""
        with _blame():
            returned = self.env.reset(seed=seed)
        if not (isinstance(returned, tuple) and len(returned) == 2 and isinstance(returned[1], Mapping | None)):
            raise Broken(f"returned {brief(returned)} from reset, which is not (observation, info): {_OLD_API}")
        return self._agent_view(returned[0])

    def step(self, action: np.ndarray | np.generic) -> Arrival:
        """Act (in the environment's own units) until the repeat is over or the episode ends."""
        total, frames, terminated, truncated = 0.0, 0, False, False
        while frames < self.action_repeat and not (terminated or truncated):
            with _blame():
                # A copy: an environment that clips its action in place must not change what is replayed.
                returned = self.env.step(action.copy())
            obs, reward, terminated, truncated = _parts(returned)
            total += reward
            frames += 1
        return Arrival(self._agent_view(obs), total, terminated, truncated, frames)

    def replay(self, seed: int, actions: np.ndarray) -> PyTree:
        """Begin an episode and act so; what is seen in the end."""
        obs = self.reset(seed)
        for action in actions:
            arrival = self.step(action)
            obs = arrival.obs
            if arrival.terminated or arrival.truncated:
                raise Broken("the episode ended early")
        return obs

    def _agent_view(self, obs: Any) -> PyTree:
        if isinstance(self.env, Pixels):
            with _blame():
                obs = self.env.look(obs)
        try:
            seen = self.codec.obs_to_agent(obs)
        except UsageError as error:
            raise Broken(f"broke its observation space ({error})") from error
        batch = self.codec.batch_of(seen)
        if batch:  # which the codec also takes, an environment may not return one
            raise Broken(f"broke its observation space (a batch of shape {batch})")
        return seen


class Here:
    """In this process, one after the other."""

    def __init__(self, bodies: Mapping[int, Body]):
        self.bodies = bodies

    def call(self, method: str, args: Mapping[int, tuple[Any, ...]]) -> dict[int, Any]:
        """What a method of these bodies returns for these arguments, or its `Broken`."""
        return {i: _tried(getattr(self.bodies[i], method), of_one) for i, of_one in args.items()}

    def close(self) -> None:
        """Close every environment; may be called twice."""
        for body in self.bodies.values():
            body.env.close()


class Workers:
    """In processes of their own, which Gymnasium makes and talks to; each has several environments and steps them one
    after the other. What they do is the same to the last bit, because an episode follows from its seed and its actions.
    """

    def __init__(self, make: Callable[[], Body], slots: int, workers: int):
        shares = [tuple(int(i) for i in share) for share in np.array_split(np.arange(slots), workers)]
        made = [_Share(make, share).itself for share in shares]
        options: dict[str, Any] = {"shared_memory": False, "autoreset_mode": AutoresetMode.DISABLED}
        try:
            self._vector = AsyncVectorEnv(made, context=_CONTEXT, **options)
        except Exception as error:
            raise UsageError(
                f"the processes of --workers could not begin ({one_line(error) or type(error).__name__}); what trains "
                "in a script must stand below `if __name__ == '__main__':`"
            ) from error

    def call(self, method: str, args: Mapping[int, tuple[Any, ...]]) -> dict[int, Any]:
        """See `Here.call`. Raises `EnvironmentFault` where a process has ended by itself."""
        try:
            found = self._vector.call("run", method, args)
        except (EOFError, ConnectionError) as error:
            raise EnvironmentFault(
                "a process that steps environments has ended by itself; without --workers its last words can be seen"
            ) from error
        return {i: result for share in found for i, result in share.items()}

    def close(self) -> None:
        """See `Here.close`."""
        if not self._vector.closed:
            idle = self._vector._state is AsyncState.DEFAULT and all(p.is_alive() for p in self._vector.processes)
            self._vector.close(terminate=not idle)  # those that died, or still step after Ctrl-C, are not waited for


class _Share(gymnasium.Env):
    """The environments of one process, in the shape that Gymnasium makes processes for; it calls nothing but `run`."""

    observation_space = action_space = gymnasium.spaces.Discrete(1)

    def __init__(self, make: Callable[[], Body], share: Sequence[int]):
        self._make, self._share = make, share
        self.metadata = {}  # Gymnasium writes into it
        self._here: Here | None = None

    def itself(self) -> "_Share":
        return self

    def run(self, method: str, args: Mapping[int, tuple[Any, ...]]) -> dict[int, Any]:
        if self._here is None:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that trains, which then saves
            jax.config.update("jax_platforms", "cpu")  # the accelerator is for that one, too
            made = {i: _tried(self._make, ()) for i in self._share}
            broken = [body for body in made.values() if isinstance(body, Broken)]
            if broken:
                return dict.fromkeys(self._share, broken[0])
            self._here = Here(made)
        return self._here.call(method, {i: of_one for i, of_one in args.items() if i in self._here.bodies})

    def close(self) -> None:
        if self._here is not None and multiprocessing.parent_process() is not None:
            self._here.close()


def _tried(do: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    try:
        return do(*args)
    except Broken as broken:
        return broken
    except ForethoughtError as error:  # it cannot be made
        return Broken(f"cannot be made in another process ({error})")


@contextmanager
def _blame() -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:  # the user's
        raise
    except ForethoughtError as error:  # ours, which says what it is
        raise Broken(f"cannot be seen ({error})") from error
    except BaseException as error:  # `sys.exit` in an environment must not end the run unsaved
        raise Broken(_old_api(error) or f"raised {type(error).__name__} ({one_line(error)})") from error


def _parts(returned: Any) -> tuple[Any, float, bool, bool]:
    """What a step returned, each part of its kind, without the info."""
    if not isinstance(returned, tuple) or len(returned) != 5:
        raise Broken(_wrong_step(len(returned) if isinstance(returned, tuple) else 1))
    obs, reward, terminated, truncated, _ = returned
    try:
        return obs, as_reward(reward), as_flag("terminated", terminated), as_flag("truncated", truncated)
    except UsageError as error:
        raise Broken(f"broke its contract ({error})") from error


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
