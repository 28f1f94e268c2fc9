"""Transitions that were logged: those of a run, out of it, and anybody's, into one.

They are plain numpy in the environment's own units. A row is one agent step: with an action repeat, the reward is the
sum over the repeated ones. Nothing that is read here is executed: an ``.npz`` file with pickled objects is refused.
"""

import hashlib
import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import jax
import numpy as np

from forethought.envs import SpaceCodec
from forethought.errors import MissingExtra, UsageError
from forethought.files import as_path, write_atomically
from forethought.policy import load_learner
from forethought.replay.moments import of_seed
from forethought.types import Box, Discrete, PyTree, Transition

FIELDS = ("obs", "action", "reward", "next_obs", "terminated", "truncated")
MINARI = "minari:"


@dataclass(frozen=True)
class Transitions:
    """n transitions in the environment's own units, oldest first.

    Attributes:
        obs: observations [n, ...], or a dict of arrays where the environment's are dicts.
        action: actions [n, ...].
        reward: rewards [n].
        next_obs: what the actions led to, also where an episode ended; never the first of the next one.
        terminated: whether the world ended there [n].
        truncated: whether the episode was only cut off there [n].
        seed: which seed of the run each belongs to [n].
    """

    obs: Any
    action: np.ndarray
    reward: np.ndarray
    next_obs: Any
    terminated: np.ndarray
    truncated: np.ndarray
    seed: np.ndarray

    def __len__(self) -> int:
        return len(self.reward)

    def save(self, path: str | Path) -> Path:
        """Write an ``.npz`` file with these names; entries of a dict are called ``obs/<key>``."""
        target = as_path(path)
        if target.suffix != ".npz":
            raise UsageError(f"transitions are written as .npz, not {target.name!r}; choose another name")
        held = io.BytesIO()
        np.savez_compressed(held, **_flat({name: getattr(self, name) for name in (*FIELDS, "seed")}))
        write_atomically(target, held.getvalue(), then="export the data again")
        return target


DataSource: TypeAlias = Transitions | Mapping[str, Any] | str | Path | Any  # the last: a minari.MinariDataset


@dataclass(frozen=True)
class Logged:
    """Transitions as agents see them, and where they came from."""

    rows: Transition = field(repr=False)
    source: str

    def __len__(self) -> int:
        return len(self.rows.reward)

    def described(self) -> dict[str, Any]:
        """What a run keeps of it besides the rows."""
        digest = hashlib.sha256()
        for array in jax.tree.leaves(self.rows[: len(FIELDS)]):
            digest.update(np.ascontiguousarray(array).tobytes())
        return {"source": self.source, "rows": len(self), "sha256": digest.hexdigest()}


def transitions(path: str | Path, *, seed: int | None = None) -> Transitions:
    """What the replay of a run's newest checkpoint holds: of all seeds, seed after seed, or of the one named.

    In order of time. With N environments per seed their steps take turns, so that row i + N follows row i within an
    episode. Transitions that the run was given come first, dealt to the environments in N parts. A replay that was full
    has forgotten the oldest (`replay_capacity`).
    Raises `CheckpointError` where the directory holds no run or checkpoint.
    """
    held, learner = load_learner(path)
    config, codec, replay = held.config, held.codec, learner.replay
    chosen = range(config.seeds) if seed is None else [config.index_of(seed)]
    replays = [of_seed(replay, k) for k in chosen]
    lived = [one.last(int(one.size))._replace(extras=()) for one in replays]
    t = jax.tree.map(lambda *x: np.concatenate(x), *lived)
    return Transitions(
        obs=codec.obs_to_env(t.obs),
        action=codec.action_to_env(t.action),
        reward=t.reward,
        next_obs=codec.obs_to_env(t.next_obs),
        terminated=t.terminated,
        truncated=t.truncated,
        seed=np.repeat([config.seed_list[k] for k in chosen], [len(one.reward) for one in lived]),
    )


def read(source: DataSource, codec: SpaceCodec) -> Logged:
    """Transitions from an ``.npz`` file, a run directory, a Minari data set or from memory, as agents see them.

    Raises `UsageError` where they do not fit the spaces, where a number is not finite, or where there are none.
    """
    named, origin = _open(source)
    missing = [name for name in FIELDS if name not in named]
    if missing:
        raise UsageError(f"{origin} lacks {', '.join(missing)}; transitions are made of {', '.join(FIELDS)}")
    reward = _column(named["reward"], "reward", origin)
    n = len(reward)
    if n == 0:
        raise UsageError(f"{origin} holds no transitions")
    obs, next_obs = (_observations(named[name], name, n, codec, origin) for name in ("obs", "next_obs"))
    action = _actions(named["action"], n, codec, origin)
    flags = [_flag(named[name], name, n, origin) for name in ("terminated", "truncated")]
    rows = Transition(obs, action, reward.astype(np.float32), next_obs, *flags)
    for name, values in (("obs", obs), ("action", action), ("reward", rows.reward), ("next_obs", next_obs)):
        finite = [np.isfinite(x.reshape(n, -1)).all(axis=1) for x in jax.tree.leaves(values)]
        bad = np.flatnonzero(~np.all(finite, axis=0))
        if bad.size:
            raise UsageError(
                f"{origin}: {name} of row {bad[0]} is not finite{_more(bad)}; leave such rows out, or mend them"
            )
    return Logged(rows, origin)


def _open(source: DataSource) -> tuple[Mapping[str, Any], str]:
    """The arrays by name, and what to call the source."""
    if isinstance(source, Transitions):
        return {name: getattr(source, name) for name in FIELDS}, "data from memory"
    if isinstance(source, Mapping):
        return source, "data from memory"
    if isinstance(source, str) and source.startswith(MINARI):
        return _minari(_minari_by_id(source.removeprefix(MINARI))), source
    if isinstance(source, str | Path):
        path = Path(source)
        return _open(transitions(path))[0] if path.is_dir() else _npz(path), str(source)
    if hasattr(source, "iterate_episodes"):
        return _minari(source), f"{MINARI}{source.id}"
    raise UsageError(
        f"data is a {type(source).__name__}; give arrays by name, an .npz file, a run directory or a Minari data set"
    )


def _npz(path: Path) -> dict[str, Any]:
    try:
        held = np.load(path, allow_pickle=False)
        return _nested({name: held[name] for name in held.files})  # a lone array has no files
    except FileNotFoundError as error:
        raise UsageError(
            f"there is no file {str(path)!r}; `forethought export-data RUN -o {path}` writes one"
        ) from error
    except (OSError, ValueError, AttributeError, EOFError, zipfile.BadZipFile) as error:
        raise UsageError(
            f"{str(path)!r} is no .npz file of plain arrays; numpy.savez with {', '.join(FIELDS)} writes one"
        ) from error


def _minari_by_id(name: str) -> Any:
    try:
        import minari
    except ImportError as error:
        raise MissingExtra(f"{MINARI}{name}", "minari") from error
    try:
        return minari.load_dataset(name)
    except (FileNotFoundError, ValueError) as error:
        raise UsageError(
            f"the Minari data set {name!r} is not on this machine; first: minari download {name}"
        ) from error


def _minari(dataset: Any) -> dict[str, Any]:
    """Episodes end to end: each holds one observation more than actions."""
    parts: dict[str, list[Any]] = {name: [] for name in FIELDS}
    for episode in dataset.iterate_episodes():
        parts["obs"].append(jax.tree.map(lambda x: x[:-1], episode.observations))
        parts["next_obs"].append(jax.tree.map(lambda x: x[1:], episode.observations))
        for name, values in (
            ("action", episode.actions),
            ("reward", episode.rewards),
            ("terminated", episode.terminations),
            ("truncated", episode.truncations),
        ):
            parts[name].append(values)
    if not parts["reward"]:
        raise UsageError(f"the Minari data set {dataset.id} has no episodes")
    return {name: jax.tree.map(lambda *xs: np.concatenate(xs), *values) for name, values in parts.items()}


def _observations(values: Any, name: str, n: int, codec: SpaceCodec, origin: str) -> PyTree:
    try:
        seen = codec.obs_to_agent(values)
    except UsageError as error:
        raise UsageError(f"{origin}: {name} does not fit the environment: {error}") from error
    batch = codec.batch_of(seen)
    if batch != (n,):
        found = f"{batch[0]} rows" if len(batch) == 1 else "no axis of rows"
        raise UsageError(f"{origin}: {name} has {found}, reward has {n}")
    return seen


def _actions(values: Any, n: int, codec: SpaceCodec, origin: str) -> np.ndarray:
    numeric = _numeric(values, "action", origin)
    own = codec.action_shape if isinstance(codec.action, Box) else ()
    if isinstance(codec.action, Discrete) and numeric.dtype.kind not in "iu":
        raise UsageError(f"{origin}: action must be whole numbers, the environment's actions are discrete")
    if numeric.shape != (n, *own):
        raise UsageError(f"{origin}: action has the shape {numeric.shape}, the environment needs {(n, *own)}")
    if isinstance(codec.action, Discrete):
        last = codec.action_start + codec.action.n - 1
        outside, kept = (
            (numeric < codec.action_start) | (numeric > last),
            f"it must lie in {codec.action_start}..{last}",
        )
        seen = codec.action_from_env(np.clip(numeric, codec.action_start, last))  # which refuses them without the row
    else:
        seen, kept = codec.action_from_env(numeric), "clip it"
        back = codec.action_to_env(seen)
        apart = ~np.isclose(back, numeric, rtol=1e-4, atol=1e-5) & np.isfinite(numeric)
        outside = apart.reshape(n, -1).any(axis=1)
        seen = np.where(np.isfinite(numeric).reshape(seen.shape), seen, np.nan)  # clipping would hide an infinity
    bad = np.flatnonzero(outside)
    if bad.size:
        raise UsageError(
            f"{origin}: the action of row {bad[0]} is {numeric[bad[0]]}, outside of the action space"
            f"{_more(bad)}; {kept}"
        )
    return seen


def _column(values: Any, name: str, origin: str) -> np.ndarray:
    column = _numeric(values, name, origin)
    if column.ndim != 1:
        raise UsageError(f"{origin}: {name} has the shape {column.shape}; it takes one number per transition, [n]")
    with np.errstate(over="ignore"):
        return column.astype(np.float32)


def _flag(values: Any, name: str, n: int, origin: str) -> np.ndarray:
    flag = _numeric(values, name, origin)
    if flag.shape != (n,) or not np.isin(flag, (0, 1)).all():
        raise UsageError(f"{origin}: {name} must be {n} times true or false, one for each reward")
    return flag.astype(bool)


def _numeric(values: Any, name: str, origin: str) -> np.ndarray:
    array = np.asarray(values)
    if array.dtype.kind not in "biuf":
        raise UsageError(f"{origin}: {name} must be an array of numbers, it holds {array.dtype}")
    return array


def _more(bad: np.ndarray) -> str:
    return f" (and those of {len(bad) - 1:,} more)" if len(bad) > 1 else ""


def _flat(named: Mapping[str, Any]) -> dict[str, Any]:
    """Without dicts inside: ``obs/<key>``."""
    flat: dict[str, Any] = {}
    for name, value in named.items():
        flat.update(
            {f"{name}/{key}": part for key, part in value.items()} if isinstance(value, Mapping) else {name: value}
        )
    return flat


def _nested(flat: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """The inverse of `_flat`."""
    named: dict[str, Any] = {}
    for name, value in flat.items():
        head, slash, key = name.partition("/")
        if (head in named) and (not slash or not isinstance(named[head], dict)):
            raise ValueError(f"{head} is there both whole and in parts")
        if slash:
            named.setdefault(head, {})[key] = value
        else:
            named[head] = value
    return named
