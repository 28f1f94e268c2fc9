"""Judging a policy: whole episodes on environments of their own, without exploration and without learning."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol, runtime_checkable

import numpy as np

from forethought import envs
from forethought.errors import CheckpointError, UsageError
from forethought.stored import array, require, whole
from forethought.training.block import FROM_STEP, StepLog
from forethought.training.config import RunConfig
from forethought.training.rundir import Description, RunDir
from forethought.types import EnvSpec, TimeStep
from forethought.unroll import Actor, unroll

# Where an environment has no time limit, a policy that runs in circles is stopped here and keeps what it has earned.
STEP_LIMIT = 1000


@dataclass(frozen=True)
class Evaluation:
    """Undiscounted return and length (agent steps) of each episode, [seeds, episodes], at a step of training.

    ``explored``: these are episodes of the training itself, with exploration; nothing was played to evaluate
    the policy.
    """

    returns: np.ndarray
    lengths: np.ndarray
    env_steps: int
    explored: bool = False

    @cached_property
    def mean(self) -> float:
        """Mean return over seeds and episodes."""
        return float(self.returns.mean())

    def to_host(self) -> dict[str, Any]:
        """What a checkpoint keeps of it."""
        return {"returns": self.returns, "lengths": self.lengths, "env_steps": self.env_steps}

    @classmethod
    def from_host(cls, host: Any, seeds: int) -> "Evaluation":
        """What `to_host` gave. Raises `CheckpointError` for anything else."""
        returns = host.get("returns") if isinstance(host, dict) else None
        shape = (seeds, returns.size // seeds if isinstance(returns, np.ndarray) else 0)
        require(host, {"returns": array(shape, np.float64), "lengths": array(shape, np.int64), "env_steps": whole})
        return cls(host["returns"], host["lengths"], host["env_steps"])


def playable(
    run: RunDir,
    *,
    trust: bool = False,
    env: Any = None,
    way_out: str = "name one with env=... (--env ID), ",
    **functions: Any,
) -> Description:
    """What a run says, where its policy can be played in its environment, or in ``env`` in place of it.

    Raises `UsageError` as `RunDir.require_world` does, and where ``env`` has other spaces than the run.
    """
    held = run.require_world(trust=trust, env=env, way_out=way_out, **functions)
    if env is None:
        return held
    world = make_world(held.config, [0])
    world.close()
    for name in ("obs", "obs_keys", "obs_parts", "obs_start", "action", "action_shape", "action_start"):
        own, other = getattr(held.codec, name), getattr(world.codec, name)
        if own != other:
            raise UsageError(f"{world.spec.id} has other spaces than {run.path}: {name} is {other} and not {own}")
    for name in ("action_low", "action_high"):
        own, other = getattr(held.codec, name), getattr(world.codec, name)
        if not np.allclose(own, other):
            raise UsageError(f"{world.spec.id} has other bounds than {run.path}: {name} is {other} and not {own}")
    return held._replace(spec=world.spec)


def make_world(
    config: RunConfig,
    seeds: Sequence[int],
    envs_per_seed: int = 1,
    *,
    stream: str = "train",
    render: bool = False,
    made_for: EnvSpec | None = None,
    workers: int = 1,
) -> envs.VectorEnv:
    """The environments of a run, as its config describes them; ``stream`` keeps the uses of one seed apart.

    Raises `CheckpointError` where they take or give other things than those that the run was ``made_for``.
    """
    world = envs.make(
        config.env,
        seeds=seeds,
        envs_per_seed=envs_per_seed,
        stream=stream,
        action_repeat=config.action_repeat,
        pixels=config.pixels,
        env_kwargs=config.env_kwargs,
        render=render,
        maker=config.given.env,
        workers=workers,
    )
    if made_for is not None:
        try:
            _require_same(world.spec, made_for)
        except CheckpointError:
            world.close()
            raise
    return world


def _require_same(spec: EnvSpec, made_for: EnvSpec) -> None:
    for name in ("obs", "action", "action_low", "action_high"):
        now, then = getattr(spec, name), getattr(made_for, name)
        if now != then:
            raise CheckpointError(
                f"{spec.id} has the {name} {now} now, the run was made with {then}; put the environment (or env and "
                "env_kwargs in config.json) back, or train anew"
            )
    now, then = spec.max_episode_steps, made_for.max_episode_steps
    if now != then:
        warnings.warn(f"episodes of {spec.id} have at most {now} steps now, {then} when the run was made", stacklevel=4)


def make_spec(config: RunConfig) -> EnvSpec:
    """What an agent may know of the environment of a run; one is made for it, and closed."""
    world = make_world(config, [config.seed])
    world.close()
    return world.spec


def functional(config: RunConfig) -> envs.FunctionalEnv | None:
    """The environment of a run as a function; None where it is none."""
    world = make_world(config, [config.seed])
    world.close()
    return world.kind[0] if isinstance(world, envs.JaxVector) else None


@runtime_checkable  # for the type checks of the tests, and to be told from a plain function
class Compiled(Protocol):
    """An actor that can also be compiled into one program with a world that is a function; see `Exploiting`."""

    def __call__(self, time_step: TimeStep, carry: Any, t: int) -> tuple[np.ndarray, Any]:
        """As any actor."""
        ...

    def play(self, world: envs.JaxVector, carry: Any, playing: np.ndarray, t: int) -> tuple[Any, StepLog]:
        """Some steps from time t on; none where the next one is not finite."""
        ...


def evaluate(
    act: Actor | Compiled,
    carry: Any,
    config: RunConfig,
    *,
    episodes: int,
    stream: str,
    env_steps: int,
    seeds: Sequence[int] | None = None,
    made_for: EnvSpec | None = None,
    tell: Callable[[int], None] = lambda t: None,
) -> Evaluation:
    """Let an actor play ``episodes`` episodes per seed side by side, [K * episodes, ...], seed by seed.

    The episodes follow from the ``seeds`` (default: those of the run) and the ``stream`` alone. ``tell`` gets the
    number of each step that was made.
    """
    seeds = config.seed_list if seeds is None else seeds
    k = len(seeds)
    world = make_world(config, seeds, episodes, stream=stream, made_for=made_for)
    try:
        limit = world.spec.max_episode_steps or STEP_LIMIT
        returns, lengths = np.zeros(k * episodes), np.zeros(k * episodes, np.int64)
        playing = np.ones(k * episodes, bool)
        in_blocks = env_steps >= FROM_STEP
        for t, (reward, ended) in enumerate(_rows(world, act, carry, playing, in_blocks)):
            returns += np.where(playing, reward, 0.0)
            lengths += playing
            playing &= ~ended
            if t + 1 == limit or not playing.any():
                break
            tell(t + 1)
    finally:
        world.close()
    return Evaluation(returns.reshape(k, episodes), lengths.reshape(k, episodes), env_steps)


def _rows(
    world: envs.VectorEnv, act: Actor | Compiled, carry: Any, playing: np.ndarray, in_blocks: bool
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The rewards of one step after the other, and where an episode ended. Whoever iterates keeps ``playing`` up to
    date: nothing goes on where nobody plays.
    """
    t = 0
    world.reset()
    if in_blocks and isinstance(world, envs.JaxVector) and isinstance(act, Compiled):
        while True:
            carry, told = act.play(world, carry, playing, t)
            if not len(told.ended):
                break  # the world says what is not finite
            yield from zip(told.reward, told.ended, strict=True)
            t += len(told.ended)
    for _, _, step in unroll(world, lambda now, carry, i: act(now, carry, t + i), carry, anew=False):
        yield step.reached.reward, step.ended
