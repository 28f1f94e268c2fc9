"""Examine the world model of a run: play held-out episodes, measure, and keep what was found."""

import contextlib
import numbers
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from forethought.agents.base import Agent, random_action
from forethought.data import DataSource, read
from forethought.diagnostics import (
    Diagnosis,
    Episode,
    MeasureSettings,
    as_agents_see,
    collect,
    findings,
    measure,
    split,
    verdict,
    write_diagnosis,
)
from forethought.diagnostics.episodes import require_enough
from forethought.diagnostics.film import film, sees_pictures
from forethought.envs import VectorEnv
from forethought.errors import UsageError, require_count, require_seed
from forethought.files import as_path
from forethought.models.base import WorldModel
from forethought.models.taught import Function
from forethought.policy import load_learner
from forethought.report import dreams
from forethought.report.trust import answers, errors
from forethought.report.video import write_video
from forethought.training.config import RunConfig
from forethought.training.evaluate import STEP_LIMIT, make_world, playable
from forethought.training.rundir import Description, RunDir
from forethought.training.seeds import purpose_key
from forethought.types import PyTree, TimeStep

FILE, FILM = "diagnostics.json", "dream.mp4"
HORIZON = 30
_EPISODES, _DEAR_EPISODES = 10, 2
_WAY_OUT = "name one with env=... (--env ID), or give logged episodes with episodes=[...] (--episodes-from FILE), "
_PLANS = 8  # starts that plans are tried from


@dataclass(frozen=True)
class Examination:
    """What was found, in numbers and in words, and where it is kept.

    ``film`` is the video of a dream beside reality, where pictures are seen.
    """

    diagnosis: Diagnosis
    verdict: list[str]
    path: Path
    film: Path | None = None


def diagnose(
    path: str | Path,
    *,
    horizon: int | None = None,
    episodes: int | Sequence[Episode] | DataSource | None = None,
    seed: int = 0,
    of_seed: int | None = None,
    output: str | Path | None = None,
    trust: bool = False,
    settings: MeasureSettings | None = None,
    tell: Callable[[str], None] = lambda text: None,
    env: Any = None,
    reward: Function = None,
    termination: Function = None,
) -> Examination:
    """Find out how far the model of a run's newest checkpoint can be trusted.

    It is laid beside held-out episodes that are played for this purpose, with the run's policy and half as many with
    random actions; nothing that it was trained on is used. A policy that reads nothing but what the model believes also
    acts in imagination; a planner does not. What a latent model believes is decoded, to be laid beside what was seen.

    Where no environment can be made, as for many a robot, give logged ``episodes``. It is not known who acted in them,
    so their actions are carried out in the model, and what needs a world to try plans in is left out.

    Args:
        path: the run directory.
        horizon: imagined steps to look at. Default: 30, or as long as the episodes are.
        episodes: held-out episodes with the run's policy. Default: 10, or 2 where the policy is a planner. Or logged
            episodes, which the run must not have learned from: a model looks good on what it was fitted to. They are
            in the environment's own units: `forethought.diagnostics.Episode`, or what ``data`` of `forethought.train`
            takes, a row for each step in order of time.
        seed: chooses the episodes.
        of_seed: the seed of the run whose model is evaluated. Default: the first.
        output: the directory that ``diagnostics.json`` is written to, and ``dream.mp4`` where pictures are seen.
            Default: the run directory.
        trust: import the modules that the run names, though it was not made here.
        settings: how much is imagined.
        tell: called with a line of text before each part that takes time.
        env: an environment with the same spaces to play in. Default: the run's own; it must be given where no import
            leads to it (an object, or what was made in a notebook or a script) and where the user owned the loop.
        reward, termination: the functions that the run was given, where no import leads to them.

    Raises:
        UsageError: the run has no model or no environment to play in, or the episodes are too few or too short.
        CheckpointError: there is no run or checkpoint, or the file cannot be written.
    """
    if horizon is not None:
        horizon = require_count("horizon", horizon)
    seed = require_seed("seed", seed)
    functions: dict[str, Any] = {"reward": reward, "termination": termination}
    play = episodes is None or isinstance(episodes, numbers.Number)
    count = require_count("episodes", episodes, 2) if play and episodes is not None else None
    run, logged = RunDir.open(as_path(path)), None
    if play:
        held = playable(run, trust=trust, env=env, way_out=_WAY_OUT, **functions)
    else:
        if env is not None:
            raise UsageError("env plays episodes, and there are logged ones; give one of them")
        held = run.read()
        logged = _logged(episodes, run, held)
    _, learner = load_learner(path, needs_model=True, trust=trust, env=env, **functions)
    config, agent = held.config, learner.agent
    state = jax.tree.map(lambda x: x[config.index_of(of_seed)], learner.state)
    model = agent.world_model(state)
    if model is None:
        raise UsageError(
            f"{path} is a run without a model: {config.algorithm} learns none; diagnose a run of mbpo, pets, ..."
        )
    if logged is not None:
        found, own = _on_logged(model, logged, horizon, seed, settings, tell), logged
    else:
        found, own = _measured(held, agent, state, model, horizon, count, seed, settings, tell)
    if held.codec.obs_names:
        found = found._replace(obs_names=list(held.codec.obs_names))
    said, folder = verdict(found), Path(output or path)
    if not (learner.env_steps or learner.updates or learner.fits):
        said = ["Nothing was learned before this checkpoint, which is of step 0: the model is as it began.", *said]
    written, made = write_diagnosis(found, said, folder / FILE), None
    if sees_pictures(held.spec.obs):  # what was measured stays where no film can be made
        found, made = _filmed(found, model, own, folder / FILM, seed, tell)
        write_diagnosis(found, said, written)
    return Examination(found, said, written, made)


def _filmed(
    found: Diagnosis, model: WorldModel, episodes: Sequence[Episode], path: Path, seed: int, tell: Callable[[str], None]
) -> tuple[Diagnosis, Path]:
    """A dream of the longest episode as a video, and moments of it for the report."""
    tell("filming a dream")
    longest = max(episodes, key=lambda episode: episode.length)
    shown = film(model, longest, key=purpose_key(jax.random.key(seed), "diagnose film", 0))
    return found._replace(strip=dreams.strip(shown)), write_video(dreams.frames(shown), path, dreams.FPS)


def _logged(episodes: Any, run: RunDir, held: Description) -> list[Episode]:
    """The episodes as agents see them. Raises `UsageError` for those that the run is known to have learned from."""
    if isinstance(episodes, Sequence) and not isinstance(episodes, str):
        return as_agents_see(episodes, held.codec)
    known = isinstance(episodes, str | Path) and Path(episodes).resolve() == run.path.resolve()
    rows = read(episodes, held.codec)
    if known or (held.config.data or {}).get("sha256") == rows.described()["sha256"]:
        raise UsageError(
            f"{rows.source} is what the run has learned from, and its model looks better there than it is; give other "
            "episodes"
        )
    return split(rows.rows)


def _on_logged(
    model: WorldModel,
    episodes: Sequence[Episode],
    horizon: int | None,
    seed: int,
    settings: MeasureSettings | None,
    tell: Callable[[str], None],
) -> Diagnosis:
    require_enough(episodes, horizon or 1)
    steps = horizon or min(HORIZON, sorted(e.length for e in episodes)[-2])
    key = purpose_key(jax.random.key(seed), "diagnose", 0)
    found = measure(model, episodes, horizon=steps, settings=settings, tell=tell, key=key)
    return found._replace(favoured=None, logged=True)  # the bound asks for states of the present policy


def _measured(
    held: Description,
    agent: Agent,
    state: PyTree,
    model: WorldModel,
    horizon: int | None,
    episodes: int | None,
    seed: int,
    settings: MeasureSettings | None,
    tell: Callable[[str], None],
) -> tuple[Diagnosis, list[Episode]]:
    """What was found, and the policy's own episodes."""
    config, policy = held.config, agent.policy_within(state)
    n = episodes or (_EPISODES if policy else _DEAR_EPISODES)
    key = purpose_key(jax.random.key(seed), "diagnose", 0)
    world = make_world(config, [seed], _PLANS, stream="diagnose plans", made_for=held.spec)
    try:
        limit = world.spec.max_episode_steps
        if horizon is not None and limit is not None and horizon > limit:
            raise UsageError(f"horizon is {horizon}; no episode of {config.env} has more than {limit} steps")
        tell(f"playing {n} held-out episodes with the policy and {(n + 1) // 2} with random actions")
        own = _play(config, seed, "diagnose", n, lambda world: _acting(agent, state, seed, n))
        others = _play(config, seed, "diagnose random", (n + 1) // 2, lambda world: _random(world, seed))
        steps = horizon or min(HORIZON, sorted(e.length for e in own)[-2])
        actor = _acting(agent, state, seed, _PLANS)
        played: dict[str, Any] = {"policy": policy, "others": others, "world": world, "actor": actor}
        return measure(model, own, horizon=steps, **played, settings=settings, tell=tell, key=key), own
    finally:
        world.close()


@contextlib.contextmanager
def telling() -> Iterator[Callable[[str], None]]:
    """Show on standard error what is being done now: in place and for how long on a terminal, else line by line."""
    console = Console(stderr=True, highlight=False)
    if not console.is_interactive:
        yield lambda text: print(text, file=sys.stderr, flush=True)
        return
    columns = SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn()
    with Progress(*columns, console=console, transient=True) as shown:
        part = shown.add_task("starting")
        yield lambda text: shown.reset(part, description=text)


def show(found: Examination) -> None:
    """Print the verdict with what to do about it, the figures that matter most, and where the rest is."""
    console = Console(soft_wrap=True, highlight=False, markup=False)
    for kind, sentence in findings(found.diagnosis):
        console.print(sentence, style="bold")
        console.print(f"  {kind.advised(found.diagnosis.latent)}")
    head, *rows = errors(found.diagnosis)
    table = Table(*head, box=None, padding=(0, 3, 0, 0), header_style="bold")
    for row in rows:
        table.add_row(*row)
    console.print(table)
    for what, figure in answers(found.diagnosis):
        console.print(f"{what:<30}{figure}")
    console.print(f"{'diagnosis':<30}{found.path}")
    if found.film is not None:
        console.print(f"{'a dream beside reality':<30}{found.film}")


def _play(config: RunConfig, seed: int, stream: str, n: int, acting: Callable[[VectorEnv], Any]) -> list[Episode]:
    world = make_world(config, [seed], n, stream=stream)
    try:
        act, carry = acting(world)
        return collect(world, act, carry, most_steps=world.spec.max_episode_steps or STEP_LIMIT)
    finally:
        world.close()


def _acting(agent: Agent, state: PyTree, seed: int, n: int) -> tuple[Any, PyTree]:
    """The run's policy in n environments, and what it carries at first."""
    step = jax.jit(agent.act, static_argnames="explore")

    def act(time_step: TimeStep, carry: PyTree, t: int) -> tuple[np.ndarray, PyTree]:
        key = purpose_key(jax.random.key(seed), "diagnose act", t)
        action, carry, _ = step(state, carry, time_step, key=key, explore=False)
        return np.asarray(action), carry

    return act, agent.init_actor(n)


def _random(world: VectorEnv, seed: int) -> tuple[Any, PyTree]:
    def act(time_step: TimeStep, carry: PyTree, t: int) -> tuple[np.ndarray, PyTree]:
        key = purpose_key(jax.random.key(seed), "diagnose random", t)
        return np.asarray(random_action(world.spec.action, world.num_slots, key, time_step.legal)), carry

    return act, ()
