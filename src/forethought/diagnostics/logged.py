"""Episodes that somebody has logged, as agents see them."""

import itertools
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from forethought.diagnostics.episodes import Episode
from forethought.envs.codec import SpaceCodec
from forethought.errors import UsageError
from forethought.types import Transition


def split(rows: Transition) -> list[Episode]:
    """Cut steps in order of time where an episode ends; the last one is cut off where the rows are.

    Raises `UsageError` where a step within an episode does not begin where the one before it led to.
    """
    ends = np.flatnonzero(rows.terminated | rows.truncated) + 1
    bounds = [0, *(int(end) for end in ends if end < len(rows.reward)), len(rows.reward)]
    episodes = []
    for begin, end in itertools.pairwise(bounds):
        parts = zip(jax.tree.leaves(rows.next_obs), jax.tree.leaves(rows.obs), strict=True)
        follows = np.stack([_alike(after[begin : end - 1], seen[begin + 1 : end]) for after, seen in parts])
        astray = np.flatnonzero(~follows.all(axis=0))
        if astray.size:
            row = begin + int(astray[0])
            raise UsageError(
                f"row {row + 1} does not begin where row {row} led to; rows must be in order of time, episode after "
                "episode, with terminated or truncated where one ends"
            )
        obs = jax.tree.map(
            lambda seen, after, begin=begin, end=end: np.concatenate([seen[begin:end], after[end - 1 : end]]),
            rows.obs,
            rows.next_obs,
        )
        ended = bool(rows.terminated[end - 1])
        episodes.append(Episode(obs, rows.action[begin:end], rows.reward[begin:end], ended, not ended))
    return episodes


def as_agents_see(episodes: Sequence[Episode], codec: SpaceCodec) -> list[Episode]:
    """Translate from the environment's own units. Raises `UsageError` where an episode does not fit the spaces."""
    return [_translated(episode, i, codec) for i, episode in enumerate(episodes)]


def _alike(after: np.ndarray, seen: np.ndarray) -> np.ndarray:
    close = np.isclose(after, seen, rtol=1e-4, atol=1e-5)
    return close.all(axis=tuple(range(1, close.ndim)))


def _translated(episode: Episode, number: int, codec: SpaceCodec) -> Episode:
    reward: Any = np.asarray(episode.reward, np.float32)
    obs, action = codec.obs_to_agent(episode.obs), codec.action_from_env(episode.action)
    n = reward.shape[0] if reward.ndim == 1 else -1
    seen = len(jax.tree.leaves(obs)[0])
    if n < 1 or seen != n + 1 or len(action) != n:
        raise UsageError(
            f"logged episode {number} has {seen} observations, {len(action)} actions and rewards of shape "
            f"{reward.shape}; T steps have T + 1 observations, T actions and T rewards"
        )
    for name, values in (("observations", obs), ("actions", np.asarray(episode.action)), ("rewards", reward)):
        if not all(np.all(np.isfinite(x)) for x in jax.tree.leaves(values)):
            raise UsageError(f"the {name} of logged episode {number} are not all finite; leave it out, or mend it")
    return Episode(obs, action, reward, bool(episode.terminated), bool(episode.truncated))
