"""EpisodeBatch-out episodes: how they are played, put side by side and cut into windows to be foretold."""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from forethought.envs.contract import VectorEnv
from forethought.errors import UsageError
from forethought.models.base import Belief, WorldModel
from forethought.models.normalizer import fit_normalizer
from forethought.types import Key, PyTree
from forethought.unroll import Actor, unroll


class Episode(NamedTuple):
    """One episode of T steps, as agents see it: ``obs[t], action[t] -> reward[t], obs[t + 1]``.

    ``terminated``: the world ended with the last step; ``truncated``: somebody stopped watching.
    """

    obs: PyTree
    action: np.ndarray
    reward: np.ndarray
    terminated: bool
    truncated: bool

    @property
    def length(self) -> int:
        """Steps, T."""
        return len(self.reward)


class EpisodeBatch(NamedTuple):
    """Episodes side by side, e in number; what lies past the end of one repeats its last row."""

    obs: PyTree  # [T + 1, e, ...]
    action: Array  # [T, e, ...]
    reward: Float[Array, "t e"]
    length: Int[Array, " e"]
    terminated: Bool[Array, " e"]


class Windows(NamedTuple):
    """s windows of h steps; ``valid`` is False for the steps past the end of the episode.

    ``ended`` marks the step with which the world terminated.
    """

    obs: Array  # [h + 1, s, ...]
    action: Array  # [h, s, ...]
    reward: Float[Array, "h s"]
    valid: Bool[Array, "h s"]
    ended: Bool[Array, "h s"]


def collect(world: VectorEnv, act: Actor, carry: Any, *, most_steps: int) -> list[Episode]:
    """Play the first episode of every slot; one that has not ended after ``most_steps`` steps is truncated there."""
    n = world.num_slots
    seen: list[list[Any]] = [[] for _ in range(n)]
    done: list[tuple[list[Any], list[float]]] = [([], []) for _ in range(n)]
    endings: list[tuple[bool, bool] | None] = [None] * n
    for t, (moment, action, step) in enumerate(unroll(world, act, carry, most_steps)):
        reached = step.reached
        for i in (i for i in range(n) if endings[i] is None):
            seen[i].append(_item(moment.obs, i))
            done[i][0].append(action[i])
            done[i][1].append(reached.reward[i])
            if step.ended[i] or t == most_steps - 1:
                seen[i].append(_item(reached.obs, i))
                endings[i] = bool(reached.terminated[i]), not reached.terminated[i]
        if None not in endings:
            break
    return [
        Episode(_stacked(rows), np.stack(actions), np.array(rewards, np.float32), *(ending or (False, True)))
        for rows, (actions, rewards), ending in zip(seen, done, endings, strict=True)
    ]


def require_enough(episodes: Sequence[Episode], horizon: int) -> None:
    """Raise `UsageError` unless there are two episodes at least as long as the horizon, which is 1 or more."""
    if horizon < 1:
        raise UsageError(f"horizon is {horizon}; it must be at least 1")
    if len(episodes) < 2:
        raise UsageError(f"there are {len(episodes)} held-out episodes; two at least are needed")
    long = [e for e in episodes if e.length >= horizon]
    if len(long) < 2:
        longest = sorted(e.length for e in episodes)[-2]
        raise UsageError(
            f"{len(long)} of {len(episodes)} held-out episodes have the {horizon} steps of the horizon, two must; "
            f"take more episodes, or a horizon of at most {longest}"
        )


def spread_of(held: EpisodeBatch, groups: Int[np.ndarray, " d"] | None = None) -> Float[Array, " d"]:
    """Standard deviation of each dimension over all observations; 1 where it never changes.

    Dimensions of one group, such as the pixels of a picture, share one: the root of their mean variance, over those
    that ever change within an episode.
    """
    there = jnp.arange(held.obs.shape[0])[:, None] <= held.length
    std = _spread(held.obs.reshape(there.size, -1).astype(jnp.float32), there.ravel())
    if groups is None or len(np.unique(groups)) == len(groups):
        return std
    moved, n = np.asarray(moves(held)).astype(float), np.bincount(groups)
    number = np.bincount(groups, moved)
    together = np.sqrt(np.bincount(groups, moved * np.asarray(std, float) ** 2) / np.maximum(number, 1.0))
    shared = (n > 1)[groups]
    return jnp.where(shared, jnp.asarray(np.where(number > 0.0, together, 1.0)[groups], jnp.float32), std)


def moves(held: EpisodeBatch) -> Bool[Array, " d"]:
    """Whether each dimension ever changes within an episode."""
    return jnp.any(held.obs[1:] != held.obs[:-1], axis=(0, 1))


def side_by_side(episodes: Sequence[Episode]) -> EpisodeBatch:
    """Put episodes of any lengths into one batch."""
    longest = max(e.length for e in episodes)

    def padded(rows: np.ndarray, n: int) -> np.ndarray:
        rows = np.asarray(rows)
        if rows.dtype != np.uint8:  # pictures stay as small as they are
            rows = rows.astype(np.float32 if rows.dtype.kind == "f" else np.int32)
        return np.concatenate([rows, np.repeat(rows[-1:], n - len(rows), axis=0)])

    return EpisodeBatch(
        jax.tree.map(
            lambda *obs: jnp.asarray(np.stack([padded(x, longest + 1) for x in obs], axis=1)),
            *(e.obs for e in episodes),
        ),
        jnp.asarray(np.stack([padded(e.action, longest) for e in episodes], axis=1)),
        jnp.asarray(np.stack([padded(np.asarray(e.reward, np.float32), longest) for e in episodes], axis=1)),
        jnp.array([e.length for e in episodes]),
        jnp.array([bool(e.terminated) for e in episodes]),
    )


def draw_starts(held: EpisodeBatch, horizon: int, most: int, *, key: Key) -> Int[Array, "s 2"]:
    """Up to ``most`` different (time, episode) to begin a window of ``horizon`` steps from.

    The window must lie inside of its episode, or be cut short by the end of the world and by nothing else: then the
    windows behind every number of steps are the same but for those whose world has ended. At least an eighth of
    ``most`` are of full length, if there are as many: else nothing might be known of the last steps.
    """
    time = np.arange(held.action.shape[0])[:, None]
    length = np.asarray(held.length)
    fit = (time + horizon <= length) | (np.asarray(held.terminated) & (time < length))
    able = np.argwhere(fit)
    if len(able) > most:
        rng = np.random.default_rng(np.asarray(jax.random.key_data(key)).tolist())
        order = rng.permutation(len(able))
        full = np.flatnonzero((able[:, 0] + horizon <= length[able[:, 1]])[order])[: max(1, most // 8)]
        able = able[np.sort(np.concatenate([order[full], np.delete(order, full)])[:most])]
    return jnp.asarray(able, jnp.int32)


@partial(jax.jit, static_argnames="horizon")
def cut(held: EpisodeBatch, starts: Int[Array, "s 2"], horizon: int) -> Windows:
    """The windows that begin at ``starts``."""
    time, episode = starts[:, 0], starts[:, 1]
    at = time + jnp.arange(horizon + 1)[:, None]  # [h + 1, s]
    inside = jnp.minimum(at, held.action.shape[0])
    acting = jnp.minimum(at[:-1], held.action.shape[0] - 1)
    return Windows(
        held.obs[inside, episode],
        held.action[acting, episode],
        held.reward[acting, episode],
        at[:-1] < held.length[episode],
        (at[1:] == held.length[episode]) & held.terminated[episode],
    )


@jax.jit
def beliefs_along(model: WorldModel[Belief], held: EpisodeBatch, *, key: Key) -> Belief:
    """What the model believes at every step, having seen all before it; leaves get axes [T + 1, e, ...]."""
    n = held.length.shape[0]
    action = jnp.concatenate([jnp.zeros_like(held.action[:1]), held.action])
    first = jnp.arange(action.shape[0]) == 0

    def see(belief: Belief, at: tuple[Array, PyTree, Array, Key]) -> tuple[Belief, Belief]:
        action, obs, first, key = at
        belief = model.observe(belief, action, obs, jnp.full(n, first), key=key)
        return belief, belief

    keys = jax.random.split(key, action.shape[0])
    _, beliefs = jax.lax.scan(see, model.initial(n), (action, held.obs, first, keys))
    return beliefs


@jax.jit
def at_starts(beliefs: PyTree, starts: Int[Array, "s 2"]) -> PyTree:
    """The beliefs [s, ...] out of those of `beliefs_along`."""
    return jax.tree.map(lambda x: x[starts[:, 0], starts[:, 1]], beliefs)


def _item(obs: PyTree, i: int) -> PyTree:
    return jax.tree.map(lambda x: x[i], obs)


def _stacked(observed: Sequence[PyTree]) -> PyTree:
    return jax.tree.map(lambda *x: np.stack(x), *observed)


@jax.jit
def _spread(rows: Float[Array, "n d"], keep: Bool[Array, " n"]) -> Float[Array, " d"]:
    return fit_normalizer(rows, keep).std
