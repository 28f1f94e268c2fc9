"""Episodes that somebody has logged, in the environment's own units, as agents see them."""

import itertools
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from forethought.diagnostics.episodes import Episode
from forethought.envs.codec import SpaceCodec
from forethought.errors import UsageError

_FIELDS = ("obs", "action", "reward", "next_obs", "terminated", "truncated")


def read_episodes(path: str | Path) -> list[Episode]:
    """Read an ``.npz`` file with a row for each step, in order of time; see `split`.

    Raises `UsageError` where there is none or where it holds something else. Nothing in it is executed.
    """
    needed = f"it takes an .npz file of {', '.join(_FIELDS)}, a row for each step"
    try:
        with np.load(path, allow_pickle=False) as held:
            rows = {name: held[name] for name in _FIELDS}
    except FileNotFoundError as error:
        raise UsageError(f"there is no file {path}; {needed}") from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError, zipfile.BadZipFile) as error:
        raise UsageError(f"{path} holds no episodes ({type(error).__name__}); {needed}") from error
    if any(x.ndim == 0 or len(x) != len(rows["reward"]) for x in rows.values()):
        raise UsageError(f"{path} holds no episodes (numbers of rows differ); {needed}")
    return split(**rows)


def split(
    obs: np.ndarray,
    action: np.ndarray,
    reward: np.ndarray,
    next_obs: np.ndarray,
    terminated: np.ndarray,
    truncated: np.ndarray,
) -> list[Episode]:
    """Cut steps in order of time where an episode ends; the last one is cut off where the rows are.

    Raises `UsageError` where a step within an episode does not begin where the one before it led to.
    """
    ends = np.flatnonzero(np.asarray(terminated, bool) | np.asarray(truncated, bool)) + 1
    bounds = [0, *(int(end) for end in ends if end < len(reward)), len(reward)]
    episodes = []
    for begin, end in itertools.pairwise(bounds):
        follows = np.isclose(next_obs[begin : end - 1], obs[begin + 1 : end], rtol=1e-4, atol=1e-5)
        astray = np.flatnonzero(~follows.all(axis=tuple(range(1, follows.ndim))))
        if astray.size:
            row = begin + int(astray[0])
            raise UsageError(
                f"row {row + 1} does not begin where row {row} led to; rows must be in order of time, episode after "
                "episode, with terminated or truncated where one ends"
            )
        seen = np.concatenate([obs[begin:end], next_obs[end - 1 : end]])
        ended = bool(terminated[end - 1])
        episodes.append(Episode(seen, action[begin:end], reward[begin:end], ended, not ended))
    return episodes


def as_agents_see(episodes: Sequence[Episode], codec: SpaceCodec) -> list[Episode]:
    """Translate from the environment's own units. Raises `UsageError` where an episode does not fit the spaces."""
    return [_translated(episode, i, codec) for i, episode in enumerate(episodes)]


def _translated(episode: Episode, number: int, codec: SpaceCodec) -> Episode:
    reward: Any = np.asarray(episode.reward, np.float32)
    obs, action = codec.obs_to_agent(episode.obs), codec.action_from_env(episode.action)
    n = reward.shape[0] if reward.ndim == 1 else -1
    if n < 1 or len(obs) != n + 1 or len(action) != n:
        raise UsageError(
            f"logged episode {number} has {len(obs)} observations, {len(action)} actions and rewards of shape "
            f"{reward.shape}; T steps have T + 1 observations, T actions and T rewards"
        )
    for name, values in (("observations", obs), ("actions", np.asarray(episode.action)), ("rewards", reward)):
        if not np.all(np.isfinite(values)):
            raise UsageError(f"the {name} of logged episode {number} are not all finite; leave it out, or mend it")
    return Episode(obs, action, reward, bool(episode.terminated), bool(episode.truncated))
