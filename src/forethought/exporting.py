"""A policy without forethought: as arrays with a page of NumPy, or as StableHLO."""

import importlib.util
import io
import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import export as jax_export

from forethought import numpy_policy
from forethought.agents.base import Agent, Seen
from forethought.envs import SpaceCodec
from forethought.envs.views import empty_items
from forethought.errors import MissingExtra, UsageError
from forethought.files import as_path, write_atomically
from forethought.models.taught import Function
from forethought.policy import load_learner
from forethought.types import Discrete, Parts, PyTree, TimeStep, item_dtype, item_shape

PLATFORMS = ("cpu", "cuda")  # that a .stablehlo file runs on
_AGAIN = "export again"


def export(
    path: str | Path,
    output: str | Path | None = None,
    *,
    seed: int | None = None,
    which: str = "newest",
    reward: Function = None,
    termination: Function = None,
    trust: bool = False,
) -> list[Path]:
    """Write the policy of a run to a file that needs no forethought, by the name of the file.

    ``.npz``: its arrays, and beside it ``numpy_policy.py``, which turns them into a function with NumPy alone. For
    policies that are a network or a table; a planner has none.

    ``.stablehlo``: the compiled program, for ``jax.export.deserialize(file.read()).call``; planners too. A policy
    takes ``obs`` [n, ...] and gives actions [n, ...]. A planner decides for one environment: it takes ``obs``
    [1, ...], ``first`` [1] (whether an episode begins), ``step`` (counted by you: it draws the random numbers) and
    ``memory``, and gives the action and the next memory; the first memory is zeros of the shapes in ``in_avals``.

    Args:
        path: the run directory.
        output: the file. Default: ``policy.npz`` in the run directory.
        seed: the seed of the run whose policy is exported. Default: the first.
        which: the newest policy or the best so far.
        reward: the function that a planner was trained with, where no import leads to it; see `forethought.load`.
        termination: the same for the end of the world.
        trust: import the modules of those functions, though the run was not made here.

    Returns:
        the files that were written.

    Raises:
        UsageError: the agent has no policy of that form, or the name ends in neither.
        CheckpointError: there is no run or checkpoint, or the file cannot be written.
    """
    target = as_path(path) / "policy.npz" if output is None else as_path(output)
    if target.suffix not in (".npz", ".stablehlo"):
        raise UsageError(f"a policy is written as .npz or .stablehlo, not {target.name!r}; choose another name")
    held, learner = load_learner(path, which=which, trust=trust, reward=reward, termination=termination)
    config, codec, agent = held.config, held.codec, learner.agent
    index = config.index_of(seed)
    state = jax.tree.map(lambda x: x[index], learner.state)
    if target.suffix == ".npz":
        loader = target.with_name(Path(numpy_policy.__file__).name)
        source = Path(numpy_policy.__file__).read_bytes()
        if loader.exists() and not loader.read_bytes().startswith(source[:60]):
            raise UsageError(f"{loader} is there already and is not ours; choose another folder")
        write_atomically(target, _arrays(agent, codec, state, {"run": str(path), "env": config.env}), then=_AGAIN)
        write_atomically(loader, source, then=_AGAIN)
        return [target, loader]
    write_atomically(target, _program(agent, codec, state, config.seed_list[index]), then=_AGAIN)
    return [target]


def _arrays(agent: Agent, codec: SpaceCodec, state: PyTree, origin: dict[str, str]) -> bytes:
    portable = agent.portable(state)
    arrays: dict[str, Any] = {name: np.asarray(value) for name, value in portable.arrays.items()}
    about = {
        "format": numpy_policy.FORMAT,
        "kind": portable.kind,
        "activation": portable.activation,
        "output": portable.output,
        "layers": sum(name.startswith("weight") for name in arrays),
        "spaces": codec.to_json(),
        **origin,
    }
    held = io.BytesIO()
    np.savez(held, about=np.array(json.dumps(about)), **arrays)
    return held.getvalue()


def _program(agent: Agent, codec: SpaceCodec, state: PyTree, seed: int) -> bytes:
    if importlib.util.find_spec("flatbuffers") is None:  # in which jax.export writes and reads
        raise MissingExtra("a .stablehlo file", "stablehlo")
    memory, structure = jax.tree.flatten((jnp.asarray(empty_items(agent.spec.action, 1)), agent.init_actor(1)))
    key = jax.random.key(seed)

    def policy(obs: PyTree) -> jax.Array:
        return _own(codec, agent.decide(state, Seen(_seen(codec, obs)), key=key, explore=False)[0])

    def planner(obs: PyTree, first: jax.Array, step: jax.Array, memory: tuple[Any, ...]) -> tuple[Any, tuple[Any, ...]]:
        (prev_action, carry), drawn = jax.tree.unflatten(structure, memory), jax.random.fold_in(key, step)
        no = jnp.zeros(1, bool)
        time_step = TimeStep(_seen(codec, obs), prev_action, jnp.zeros(1), first, no, no)
        action, carry, _ = agent.act(state, carry, time_step, key=drawn, explore=False)
        return _own(codec, action), tuple(jax.tree.leaves((action, carry)))

    n = 1 if agent.has_memory else jax_export.symbolic_shape("n")[0]
    made = jax_export.export(jax.jit(planner if agent.has_memory else policy), platforms=PLATFORMS)
    shape = jax.ShapeDtypeStruct
    if not agent.has_memory:
        return bytes(made(_obs_shape(codec, n)).serialize())
    held = tuple(shape(x.shape, x.dtype) for x in memory)
    return bytes(made(_obs_shape(codec, n), shape((1,), bool), shape((), jnp.int32), held).serialize())


def _obs_shape(codec: SpaceCodec, n: Any) -> PyTree:
    """Shape and type of n observations as the environment gives them."""
    if isinstance(codec.obs, Discrete):
        return jax.ShapeDtypeStruct((n,), jnp.int32)
    seen = zip(codec.obs_parts, codec.seen_parts(), strict=True)
    parts = [jax.ShapeDtypeStruct((n, *own), item_dtype(part)) for own, part in seen]
    return dict(zip(codec.obs_keys, parts, strict=True)) if codec.obs_keys else parts[0]


def _seen(codec: SpaceCodec, obs: PyTree) -> PyTree:
    """`SpaceCodec.obs_to_agent` as part of a program."""
    if isinstance(codec.obs, Discrete):
        return (obs - codec.obs_start).astype(jnp.int32)
    given = [obs[key] for key in codec.obs_keys] if codec.obs_keys else [obs]
    parts = [x.reshape(x.shape[0], *item_shape(part)) for x, part in zip(given, codec.seen_parts(), strict=True)]
    if isinstance(codec.obs, Parts):
        return dict(zip(codec.obs_keys, parts, strict=True))
    return jnp.concatenate(parts, axis=-1)


def _own(codec: SpaceCodec, action: jax.Array) -> jax.Array:
    """`SpaceCodec.action_to_env` as part of a program."""
    if isinstance(codec.action, Discrete):
        return action + codec.action_start
    low, high = (jnp.asarray(bound, jnp.float32) for bound in (codec.action_low, codec.action_high))
    unit = jnp.clip(action, -1.0, 1.0)
    own = jnp.clip(0.5 * ((1.0 - unit) * low + (1.0 + unit) * high), low, high)
    kind = jnp.dtype(codec.action_dtype)
    own = jnp.rint(own) if kind.kind in "iu" else own
    return own.astype(jax.dtypes.canonicalize_dtype(kind)).reshape(action.shape[0], *codec.action_shape)
