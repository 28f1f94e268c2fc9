"""What the training loop sees of the world: many environments, each in its slot, stepped together.

Slots are ordered seed by seed: slot ``k * envs_per_seed + j`` belongs to ``seeds[k]``. Whatever happens in a slot
depends on its own seed, the stream ("train", "eval", ...) and ``j`` alone, so a seed behaves identically whichever
other seeds run beside it.
"""

import zlib
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol, TypeAlias, runtime_checkable

import jax
import numpy as np
from jaxtyping import Bool

from forethought.envs.codec import SpaceCodec
from forethought.envs.views import empty_items, rows
from forethought.errors import TrainingDiverged, UsageError, brief
from forethought.types import Box, EnvSpec, PyTree, TimeStep, item_shape
from forethought.wording import plural

MOST_SLOTS = 2**20  # environments of one kind at a time

EnvState: TypeAlias = dict[str, Any]  # nested dicts and lists with JSON values and numpy arrays at the leaves


class Step(NamedTuple):
    """What one agent step led to in each of ``n`` slots; the arrays may be read-only.

    ``reached`` is where the action led: the last moment of the episode where one ended. ``now`` is what to act on next:
    the first moment of the next episode there, and the same as ``reached`` elsewhere. Rewards are summed over the
    action repeat, and ``frames`` counts the environment's own steps, fewer than the repeat where the episode ended
    inside it.
    """

    reached: TimeStep
    now: TimeStep
    frames: Any  # int32 [n]

    @property
    def ended(self) -> Bool[np.ndarray, " n"]:
        """Where an episode ended with it, for whatever reason."""
        return self.reached.terminated | self.reached.truncated


@runtime_checkable  # for the type checks of the tests
class VectorEnv(Protocol):
    """``num_slots`` environments of one kind, restarted by themselves in the step in which an episode ends.

    ``codec`` translates between the agent's view and the environment's own units; it can be saved with a policy.
    """

    spec: EnvSpec
    num_slots: int
    codec: SpaceCodec

    def now(self) -> TimeStep:
        """The moment to act on. Raises `ValueError` before the first reset."""
        ...

    def reset(self) -> TimeStep:
        """Begin again from the first episode of every slot, whatever came before; returns its first moment.

        Raises `EnvironmentFault` where the environment breaks its contract.
        """
        ...

    def step(self, action: np.ndarray) -> Step:
        """Act once in every slot with the agent's actions [n, ...], which lie in [-1, 1] or in ``0 .. n-1``.

        Raises `EnvironmentFault` where the environment breaks its contract, and `TrainingDiverged` where an action is
        NaN or infinite.
        """
        ...

    def get_state(self) -> EnvState:
        """All that is needed to go on exactly: a dict of numpy arrays."""
        ...

    def set_state(self, state: EnvState) -> tuple[TimeStep, list[str]]:
        """Go back to a state from `get_state`; returns the moment to act on and warnings in words.

        A slot that cannot go back begins an episode: that moment is ``first`` there.

        Raises `CheckpointError` where the state is not one of these slots.
        """
        ...

    def render(self) -> np.ndarray | None:
        """A picture [height, width, 3] (uint8) of slot 0; None unless made with ``render=True``."""
        ...

    def close(self) -> None:
        """Release what the environments hold; may be called twice."""
        ...


def beginning(spec: EnvSpec, obs: PyTree) -> TimeStep:
    """The first moment of an episode in each of n slots, which see ``obs`` [n, ...]."""
    n = rows(obs)
    no = np.zeros(n, bool)
    return TimeStep(obs, empty_items(spec.action, n), np.zeros(n, np.float32), ~no, no, no)


def where(mask: Bool[np.ndarray, " n"], one: TimeStep, other: TimeStep) -> TimeStep:
    """The rows of ``one`` where the mask is True, else those of ``other``."""

    def chosen(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.where(mask.reshape(-1, *[1] * (a.ndim - 1)), a, b)

    return jax.tree.map(chosen, one, other)


def slot_seeds(seeds: Sequence[int], envs_per_seed: int, most: int = MOST_SLOTS) -> list[tuple[int, int]]:
    """The (seed, j) of every slot, in the order of the slots; raises `UsageError` for impossible numbers."""
    if len(seeds) == 0 or any(seed < 0 for seed in seeds):
        raise UsageError(f"seeds {brief(list(seeds))} cannot be used; give at least one seed, none of them negative")
    if envs_per_seed < 1:
        raise UsageError(f"envs_per_seed is {envs_per_seed}; use 1 or more")
    if len(seeds) * envs_per_seed > most:
        raise UsageError(
            f"{len(seeds) * envs_per_seed:,} environments at once, of {plural(len(seeds), 'seed')}, are more than the "
            f"{most:,} that this kind of environment is made for; take fewer seeds, environments or episodes"
        )
    return [(int(seed), j) for seed in seeds for j in range(envs_per_seed)]


def derived_entropy(seed: int, stream: str, *path: int) -> np.random.SeedSequence:
    """The source of every random number of one slot (``path`` = j) or of one episode (``path`` = j, episode)."""
    # crc32 and not hash(): the latter differs from one Python process to the next.
    return np.random.SeedSequence([seed, zlib.crc32(stream.encode()), *path])


def episode_seed(seed: int, stream: str, j: int, episode: int) -> int:
    """The number, below 2**31, that seeds the reset of one episode of one slot."""
    return int(derived_entropy(seed, stream, j, episode).generate_state(1)[0]) & 0x7FFFFFFF


def place(seed: int, j: int) -> str:
    """A slot in the words of users, who know seeds and the environments of each."""
    return f"environment {j} of seed {seed}"


def checked_action(spec: EnvSpec, origins: Sequence[tuple[int, int]], action: Any) -> np.ndarray:
    """The agent's actions as float32 or int32 [n, ...], one for each of the slots, whose (seed, j) are ``origins``.

    Raises `TrainingDiverged` for NaN or infinite actions, `ValueError` for a wrong shape or a number out of range.
    """
    if isinstance(spec.action, Box):
        array = np.asarray(action, np.float32)
        bad = first_nonfinite(array)
        if bad is not None:
            raise TrainingDiverged(
                f"the policy chose the action {array[bad]} for {spec.id}, {place(*origins[bad[0]])}; train anew with "
                "a lower learning rate, or with observations and rewards of a smaller scale"
            )
    else:
        array = np.asarray(action).astype(np.int32)
        if array.size and not (array.min() >= 0 and array.max() < spec.action.n):
            raise ValueError(f"discrete actions of {spec.id} lie in 0..{spec.action.n - 1}, got {array}")
    shape = (len(origins), *item_shape(spec.action))
    if array.shape != shape:
        raise ValueError(f"{len(origins)} environments {spec.id} take actions of shape {shape}, got {array.shape}")
    return array


def first_nonfinite(array: np.ndarray) -> tuple[int, ...] | None:
    """The index of the first NaN or infinity, or None; integers have none."""
    if array.dtype.kind != "f" or np.isfinite(array).all():
        return None
    return tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])


def seen_amiss(obs: PyTree) -> tuple[int, str] | None:
    """The first slot that sees a NaN or infinity, and what it sees in words; None where none does."""
    for name, seen in obs.items() if isinstance(obs, dict) else [("", obs)]:
        bad = first_nonfinite(seen)
        if bad is not None:
            dimension = f" in dimension {bad[1]}" if len(bad) > 1 else ""
            return bad[0], f"an observation{of_part(name)} with {seen[bad]}{dimension}"
    return None


def of_part(name: str) -> str:
    """What to say after "observation" where it has parts."""
    return f"[{name!r}]" if name else ""


def agent_steps(frames: int | None, action_repeat: int) -> int | None:
    """A time limit in agent steps (rounded up), from one in the environment's own steps."""
    return None if frames is None else -(-frames // action_repeat)
