"""The Python interface: train, resume, evaluate."""

import dataclasses
import os
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from forethought.agents import catalog, defaults
from forethought.agents.base import Agent
from forethought.configure import configure, plain
from forethought.data import DataSource, Logged, read
from forethought.envs.catalog import NAMESPACES
from forethought.errors import (
    CheckpointError,
    UsageError,
    brief,
    install_command,
    require_count,
    require_seed,
)
from forethought.files import as_path
from forethought.models.taught import Function
from forethought.names import found_by
from forethought.policy import build_agent, load_learner, require_functions
from forethought.report.read import read_run
from forethought.runs import Run
from forethought.training import checkpoint, memory
from forethought.training.baselines import Controller
from forethought.training.config import RunConfig, flatten, to_dict
from forethought.training.evaluate import STEP_LIMIT, Evaluation, make_spec, make_world, playable
from forethought.training.evaluate import evaluate as play
from forethought.training.program import Program
from forethought.training.progress import Progress, asked_for
from forethought.training.rundir import RunDir, cpu_name
from forethought.training.schedule import check_given, check_warm_up
from forethought.training.signals import Signals
from forethought.training.trainer import Callback, Trainer
from forethought.training.writers import require_writers

_MOST_LETTERS = 80  # of an environment's id in the name of a directory


def train(
    algorithm: str,
    env: Any,
    *,
    steps: int,
    seed: int = 0,
    seeds: int = 1,
    num_envs: int | None = None,
    run: str | Path | None = None,
    preset: str | None = None,
    agent: Mapping[str, Any] | None = None,
    reward: Function = None,
    termination: Function = None,
    data: DataSource | None = None,
    obs_names: Sequence[str] = (),
    action_names: Sequence[str] = (),
    controller: Controller | str | None = None,
    callback: Callback | None = None,
    progress: Progress | bool | None = None,
    **options: Any,
) -> Run:
    """Train an algorithm on an environment, and keep everything in a run directory.

    Args:
        algorithm: a name of `forethought list`.
        env: a Gymnasium id, ``package.module:Name-v0``, or one of ours; a class or function that makes environments,
            or ``package.module:Name`` of it; or an environment, which is copied and left as it is.
        steps: environment steps per seed.
        seeds: how many seeds to train side by side: ``seed, seed + 1, ...``.
        num_envs: environments per seed. Default: 1, or what the preset says.
        run: the run directory; it must not exist. Default: ``runs/<algorithm>-<env>-<time>``.
        preset: settings by name; "none": the plain defaults, those of the papers. None takes the preset made for this
            environment; where there is none, the defaults that count steps are fitted to ``steps``.
        agent: settings of the agent, nested or by dotted name (``{"fit.max_epochs": 50}``).
        reward: the reward as a function of ``(obs, action, next_obs)``, or ``package.module:function``, so that the
            model need not learn it. It takes batches with a leading axis n and gives n numbers. Observations are the
            flat float32 vectors that agents see, actions are flat too, both in the environment's own units. It is
            written with jax.numpy or NumPy.
        termination: the same for the end of the world; it gives n truths.
        data: transitions to learn from before the first step: arrays by name (``obs``, ``action``, ``reward``,
            ``next_obs``, ``terminated``, ``truncated``, in the environment's own units), an ``.npz`` file of them, a
            run directory, a Minari data set or ``"minari:<id>"``. ``random_steps`` is then 0 unless `agent` says
            otherwise. The option ``pretrain`` says how much is learned from them before the first step, in steps'
            worth of the agent's schedule: 1 unless told otherwise. ``steps=0, pretrain=N`` learns from them alone.
        obs_names: what to call the numbers of an observation in figures and tables. Default: what the environment
            declares as ``observation_names``, or the keys of its Dict.
        action_names: the same of actions (``action_names``); of discrete ones, a name for each.
        controller: what you would do by hand: a function from an observation, as the environment shows it, to an
            action as it takes it, or ``package.module:function``. It is played before the first step as a baseline, in
            the episodes in which policies are evaluated; a policy that earns less at the end is said to.
        callback: called with each line of ``metrics.jsonl`` as a dict (``kind``, ``env_steps``, ...) when it is
            written: "eval" with ``return`` [seeds][episodes], "train", "model", "episode" (of which a quick world tells
            means, with their ``count``), "warning". Where it returns
            True or raises `StopTraining` the run ends after that step: saved, status "stopped", to be resumed.
        progress: where to report to; default: nowhere. True is the display of the command line, and any
            `forethought.training.progress.Progress` will do.
        options: further fields of `forethought.training.config.RunConfig`, such as ``eval_every``.

    Raises:
        ForethoughtError: with one line that says what is wrong and the way out.
    """
    config = configure(
        algorithm,
        env,
        steps=steps,
        seed=seed,
        seeds=seeds,
        num_envs=num_envs,
        preset=preset,
        agent=agent,
        reward=reward,
        termination=termination,
        with_data=data is not None,
        **options,
    )
    names = tuple(obs_names), tuple(action_names)
    return start_run(config, run, asked_for(progress), data=data, names=names, controller=controller, callback=callback)


def start_run(
    config: RunConfig,
    path: str | Path | None,
    progress: Progress,
    *,
    data: DataSource | None = None,
    names: tuple[Sequence[str], Sequence[str]] = ((), ()),
    controller: Controller | str | None = None,
    callback: Callback | None = None,
) -> Run:
    """Begin a run from its config and the transitions given; ``names`` are those of observations and actions."""
    by_hand = found_by(controller) if isinstance(controller, str) else controller
    if by_hand is not None and not (callable(by_hand) and config.baselines):
        raise UsageError(f"controller is {brief(controller)}; it takes a function, and a run that plays baselines")
    config, logged = _with_data(config, data)
    agent, plan = _plan(config)
    world = make_world(config, config.seed_list, config.num_envs, workers=config.workers)
    try:
        stamp = time.strftime("%Y%m%d-%H%M%S")
        name = re.sub(r"[^\w.-]+", "-", config.env.split("/")[-1])  # no colon: scp takes what is before it for a host
        name = name.strip("-")[:_MOST_LETTERS]
        folder = as_path(path) if path else Path("runs") / f"{config.algorithm}-{name}-{stamp}"
        codec = world.codec.named(*names)
        run = RunDir.create(folder, config, to_dict(type(agent.config)()), world.spec, codec)
    except BaseException:
        world.close()
        raise
    length = config.steps + config.pretrain
    fitted = [] if config.preset else defaults.words(plain(config.algorithm), length, flatten(config.agent))
    lines = [*fitted, *_functions(config), str(plan), device_line(), f"run directory: {run.path}"]
    progress.begin(_title(config), lines)
    if world.spec.max_episode_steps is None:
        progress.note(endless(config.env))
    try:
        with run.claimed(), Signals() as signals:  # until the summary is written
            trainer = Trainer(config, run, agent, world, progress, signals, callback, by_hand)
            if logged is not None:
                trainer.learner.give(logged.rows)
            return Run(run.path, trainer.run())
    finally:
        progress.end()  # also where the run did not begin


def _functions(config: RunConfig) -> list[str]:
    """What is known by a function instead of learned."""
    given = {"reward": config.reward, "termination": config.termination}
    return [
        f"{what}: by {name}, held against the first real transitions, and at each fit of the model against all"
        for what, name in given.items()
        if name
    ]


def _with_data(config: RunConfig, data: DataSource | None) -> tuple[RunConfig, Logged | None]:
    """The transitions that a run is given, as its agents see them, and the config that says where they came from."""
    if data is None:
        return config, None
    world = make_world(config, [config.seed])
    world.close()
    logged = read(data, world.codec)
    return dataclasses.replace(config, data=logged.described()), logged


def _plan(config: RunConfig) -> tuple[Agent, memory.MemoryPlan]:
    """The agent, and what the run will hold in memory.

    Raises `UsageError` where that is too much: from shapes alone, before anything of the size of ``seeds`` is made.
    """
    agent = build_agent(config, make_spec(config))
    require_functions(agent)
    check_warm_up(agent, config.steps, config.pretrain)
    if config.data:
        check_given(agent, config.data["rows"], config.rows, pretrain=config.pretrain > 0)
    require_writers(config.writers)
    plan = memory.plan(Program(agent, [config.seed], config.num_envs, config.rows), config.seeds)
    plan.refuse_if_too_large()
    return agent, plan


def resume(
    path: str | Path,
    *,
    steps: int | None = None,
    env: Any = None,
    reward: Function = None,
    termination: Function = None,
    callback: Callback | None = None,
    progress: Progress | bool | None = None,
    trust: bool = False,
) -> Run:
    """Go on with a run that was stopped, killed or finished; ``steps`` extends it, ``callback`` is as in `train`.

    ``env``, ``reward`` and ``termination`` are to be given again where no import leads to them: what was an object, or
    was made in a notebook or a script. ``trust``: import the modules that the run names, though it was not made here.

    Raises `CheckpointError` where there is nothing to go on with, `UsageError` where nothing is left to do.
    """
    run, progress = RunDir.open(as_path(path)), asked_for(progress)
    held = run.require_world(trust=trust, env=env, reward=reward, termination=termination)
    config = held.config
    if steps is not None:
        steps = require_count("steps", steps)
        if steps < config.steps:
            raise UsageError(f"the run is made for {config.steps} steps; --steps can only extend it")
        config = dataclasses.replace(config, steps=steps)
    require_writers(config.writers)
    with run.claimed(), Signals() as signals:
        run.require_unfinished(config.steps)
        if not checkpoint.found(run.checkpoints):
            run.require_untrained()
        world = make_world(config, config.seed_list, config.num_envs, made_for=held.spec, workers=config.workers)
        with run.blamed():
            agent = build_agent(config, world.spec)
        require_functions(agent)
        with run.blamed():
            trainer = Trainer(config, run, agent, world, progress, signals, callback)
        if checkpoint.found(run.checkpoints):
            trainer.resume()
        elif config.data:
            raise CheckpointError(f"{path} was stopped before it had kept the data it was given; train anew")
        else:  # killed before the first checkpoint: beginning again is going on exactly
            run.cut_metrics(0)
        if steps is not None:
            run.extend(steps)
        at = f"going on at step {trainer.learner.now:,}"
        progress.begin(_title(config), [at, device_line(), f"run directory: {run.path}"])
        return Run(run.path, trainer.run())


def evaluate(
    path: str | Path,
    *,
    episodes: int | None = None,
    seed: int = 0,
    which: str = "newest",
    env: Any = None,
    reward: Function = None,
    termination: Function = None,
    trust: bool = False,
) -> Evaluation:
    """Play episodes with every seed of a run's newest checkpoint; ``seed`` chooses the episodes.

    ``which="best"`` plays the policies that were the best so far, each seed's by its own evaluations during training;
    ``env_steps`` is then the last step at which one of them was chosen. ``episodes`` per seed are 100 unless told
    otherwise, 2 for planners, whose actions are expensive. They are played in the run's environment, or in ``env`` with
    the same spaces. Of an ask/tell run without ``env`` nothing can be played: it is evaluated by the last episodes of
    its training (`Evaluation.explored`). ``env``, and ``reward`` and ``termination`` for planners, are to be given
    again where no import leads to them. ``trust``: import the modules that the run names, though it was not made here.
    """
    if episodes is not None:
        episodes = require_count("episodes", episodes)
    seed = require_seed("seed", seed)
    run = RunDir.open(as_path(path))
    if env is None and run.read().live:
        return _last_episodes(run, episodes)
    functions: dict[str, Any] = {"reward": reward, "termination": termination}
    played = playable(run, trust=trust, env=env, **functions)
    held, learner = load_learner(path, which=which, trust=trust, env=env, **functions)
    config = held.config
    episodes = episodes or catalog.find(config.algorithm).final_episodes
    at = int(learner.best.steps.max()) if which == "best" else learner.env_steps
    stream = f"judge {seed}"
    act, carry = learner.exploiting(episodes)
    return play(act, carry, config, episodes=episodes, stream=stream, env_steps=at, made_for=played.spec)


def _last_episodes(run: RunDir, episodes: int | None) -> Evaluation:
    """What the last episodes of an ask/tell run have brought while it learned; `AskTell` has one seed."""
    config = run.read().config
    ended = read_run(run.path).of("episode")[-(episodes or catalog.find(config.algorithm).final_episodes) :]
    if not ended:
        run.require_world(way_out="and no episode has ended so far; name one with env=... (--env ID), ")
    returns, lengths = ([[record[name] for record in ended]] for name in ("return", "length"))
    return Evaluation(np.array(returns), np.array(lengths), int(ended[-1]["env_steps"]), explored=True)


def device_line() -> str:
    """The device in use, and a warning when a GPU is there and is not used."""
    device = jax.devices()[0]
    if device.platform != "cpu":
        return f"device: {device.device_kind}"
    line = f"device: CPU ({cpu_name()}, {os.cpu_count()} cores)"
    if Path("/proc/driver/nvidia/version").exists():
        line += f"; warning: an NVIDIA GPU is there and unused: {install_command('cuda')}"
    return line


def _title(config: RunConfig) -> str:
    seeds = f"seed {config.seed}" if config.seeds == 1 else f"seeds {config.seed} to {config.seed_list[-1]}"
    preset = f", preset {config.preset}" if config.preset else ""
    return f"{config.algorithm} on {config.env}, {config.steps:,} steps, {seeds}{preset}"


def endless(env: str) -> str:
    """What to say of an environment without a time limit: ours are made so, and take none."""
    cut = f"evaluations stop an episode after {STEP_LIMIT:,} steps"
    if env.startswith(NAMESPACES):
        return f"{env} has no time limit; {cut}"
    return (
        f"warning: {env} has no time limit, an episode of training may never end ({cut}); set one in register, or by "
        f"""env_kwargs: --env-kwargs '{{"max_episode_steps": {STEP_LIMIT}}}'"""
    )
