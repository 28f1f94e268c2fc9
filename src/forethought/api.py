"""The Python interface: train, resume, evaluate, report."""

import contextlib
import dataclasses
import os
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
import plotly.graph_objects as go

from forethought.agents import catalog, defaults
from forethought.agents.base import Agent
from forethought.agents.ensemble import EnsembleConfig
from forethought.data import DataSource, Logged, Transitions, read, transitions
from forethought.envs import Source, source_of
from forethought.envs.catalog import NAMESPACES
from forethought.errors import (
    CheckpointError,
    EnvironmentFault,
    UsageError,
    brief,
    install_command,
    nearest,
    require_count,
    require_seed,
)
from forethought.files import as_path
from forethought.models.taught import Function
from forethought.policy import build_agent, film, load_learner, require_functions
from forethought.report import outputs
from forethought.report.card import card
from forethought.report.figures import learning_curve_by_steps
from forethought.report.html import write_report
from forethought.report.read import read_run
from forethought.training import checkpoint, memory
from forethought.training.baselines import Baseline, below, described
from forethought.training.config import RUN_FIELDS, Given, RunConfig, coerced, flatten, from_dict, to_dict
from forethought.training.evaluate import STEP_LIMIT, Evaluation, make_spec, make_world, playable
from forethought.training.evaluate import evaluate as play
from forethought.training.given import named
from forethought.training.learner import check_room, check_warm_up
from forethought.training.mirror import require_mirrors
from forethought.training.program import Program
from forethought.training.progress import Progress, Silent
from forethought.training.rundir import RunDir, cpu_name
from forethought.training.trainer import Callback, Trainer

_OPTIONS = sorted({*RUN_FIELDS, "run", "progress"} - {"algorithm", "env"})
_MOST_LETTERS = 80  # of an environment's id in the name of a directory


@dataclass(frozen=True)
class Run:
    """A run on disk and how it ended; ``summary`` is what ``summary.json`` holds."""

    path: Path
    summary: dict[str, Any]

    @classmethod
    def open(cls, path: str | Path) -> "Run":
        """A run that is on disk, in whatever state. Raises `CheckpointError` where there is none."""
        held = read_run(as_path(path))
        return cls(held.path, dict(held.summary or {}))

    @property
    def final_return(self) -> float:
        """Mean return of the last evaluation, over seeds and episodes."""
        return float(np.mean(self.summary["return"]))

    def transitions(self, *, seed: int | None = None) -> Transitions:
        """What its replay holds, see `forethought.transitions`."""
        return transitions(self.path, seed=seed)

    def plot(self) -> go.Figure:
        """The learning curve: return of the evaluations against environment steps, with the 95 % band over seeds.

        Raises `UsageError` where nothing was evaluated yet.
        """
        drawn = learning_curve_by_steps([read_run(self.path)])
        if drawn is None:
            raise UsageError(f"{self.path} has no evaluation and no finished episode to draw yet")
        return drawn

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        return card(read_run(self.path))


def open_run(path: str | Path) -> Run:
    """See `Run.open`."""
    return Run.open(path)


def train(
    algorithm: str,
    env: Any,
    *,
    steps: int,
    seed: int = 0,
    seeds: int = 1,
    num_envs: int = 1,
    run: str | Path | None = None,
    preset: str | None = None,
    agent: Mapping[str, Any] | None = None,
    reward: Function = None,
    termination: Function = None,
    data: DataSource | None = None,
    obs_names: Sequence[str] = (),
    action_names: Sequence[str] = (),
    callback: Callback | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> Run:
    """Train an algorithm on an environment, and keep everything in a run directory.

    Args:
        algorithm: a name of `forethought list`.
        env: a Gymnasium id, ``package.module:Name-v0``, or one of ours; a class or function that makes environments,
            or ``package.module:Name`` of it; or an environment, which is copied and left as it is.
        steps: environment steps per seed.
        seeds: how many seeds to train side by side: ``seed, seed + 1, ...``.
        num_envs: environments per seed.
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
        callback: called with each line of ``metrics.jsonl`` as a dict (``kind``, ``env_steps``, ...) when it is
            written: "eval" with ``return`` [seeds][episodes], "train", "model", "episode", "warning". Where it returns
            True or raises `StopTraining` the run ends after that step: saved, status "stopped", to be resumed.
        progress: where to report to; default: nowhere. ``forethought.training.progress.terminal()`` is the display
            of the command line.
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
    return start_run(config, run, progress or Silent(), data=data, names=names, callback=callback)


def configure(
    algorithm: str,
    env: Any,
    *,
    preset: str | None = None,
    agent: Mapping[str, Any] | None = None,
    reward: Function = None,
    termination: Function = None,
    with_data: bool = False,
    **options: Any,
) -> RunConfig:
    """A complete `RunConfig`: the preset for this environment or else the fitted defaults, over it the settings given.

    ``with_data``: there are transitions to begin with. Raises `UsageError` for unknown names and impossible values.
    """
    unknown = [name for name in options if name not in RUN_FIELDS]
    if unknown:
        raise UsageError(f"train takes no option {brief(unknown[0])}; {nearest(unknown[0], _OPTIONS)}")
    options = coerced(RunConfig, options)
    require_count("steps", options["steps"], 0 if options.get("pretrain") else 1)
    entry = catalog.find(algorithm)
    _, config_class = entry.load()
    source = source_of(env)
    functions = {"reward": named("reward", reward), "termination": named("termination", termination)}
    for what, (name, _) in functions.items():
        if name is not None and not issubclass(config_class, EnsembleConfig):
            raise UsageError(f"{algorithm} takes no {what} function: it has no model of vectors that could use one")
    given = flatten(agent or {})
    if with_data:
        given = {**entry.with_data(), **given}
        options["pretrain"] = options.get("pretrain") or (1 if options["steps"] else 0)
    elif options.get("pretrain"):
        raise UsageError("pretrain is learning from data before the first step; say from which: --data FILE")
    length = options["steps"] + options.get("pretrain", 0)
    _, _, env_kwargs = catalog.find_preset(algorithm, preset, source.id)
    preset, settings = settings_for(algorithm, preset, source.id, length, given)
    chosen: Any = from_dict(config_class, {**settings, **given})
    options["env_kwargs"] = _env_kwargs(source, env_kwargs, options.get("env_kwargs", {}))
    options.update({what: name for what, (name, _) in functions.items()})
    objects = Given(source.maker, *(function for _, function in functions.values()))
    options.setdefault("eval_every", max(1, length // entry.evaluations))
    options.setdefault("eval_episodes", entry.eval_episodes)
    options.setdefault("log_every", max(1, min(1000, length // 100)))
    config = RunConfig(
        algorithm=algorithm, env=source.id, preset=preset, agent=to_dict(chosen), given=objects, **options
    )
    config.validate()
    return config


def _env_kwargs(source: Source, of_preset: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    if source.env_kwargs is None:
        return {**of_preset, **own}
    other = own.keys() - {"max_episode_steps"}
    if other:
        raise UsageError(
            f"env_kwargs {sorted(other)} go to a class or a function that makes the environment; {source.id} is made "
            "already"
        )
    return {**source.env_kwargs, **own}


def settings_for(
    algorithm: str, preset: str | None, env: str, steps: int, given: Mapping[str, Any] | None = None
) -> tuple[str | None, dict[str, Any]]:
    """The preset asked for, else the one made for this environment, else the defaults fitted to ``steps``.

    Returns its name (None for defaults) and settings by dotted name; ``given`` are the user's own settings.
    """
    chosen, settings, _ = catalog.find_preset(algorithm, preset, env)
    if chosen is None and preset != "none":
        settings = defaults.fitted(_plain(algorithm), steps, given or {})
    return chosen, settings


def start_run(
    config: RunConfig,
    path: str | Path | None,
    progress: Progress,
    *,
    data: DataSource | None = None,
    names: tuple[Sequence[str], Sequence[str]] = ((), ()),
    callback: Callback | None = None,
) -> Run:
    """Begin a run from its config and the transitions given; ``names`` are those of observations and actions."""
    config, logged = _with_data(config, data)
    agent, plan = _plan(config)
    world = make_world(config, config.seed_list, config.num_envs)
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
    fitted = [] if config.preset else defaults.words(_plain(config.algorithm), length, flatten(config.agent))
    progress.begin(_title(config), [*fitted, str(plan), device_line(), f"run directory: {run.path}"])
    if world.spec.max_episode_steps is None:
        progress.note(endless(config.env))
    try:
        with run.claimed():
            trainer = Trainer(config, run, agent, world, progress, callback)
            if logged is not None:
                trainer.learner.give(logged.rows)
            return Run(run.path, trainer.run())
    finally:
        progress.end()  # also where the run did not begin


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
        check_room(agent, config.rows)
    require_mirrors(config.mirror)
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
    progress: Progress | None = None,
    trust: bool = False,
) -> Run:
    """Go on with a run that was stopped, killed or finished; ``steps`` extends it, ``callback`` is as in `train`.

    ``env``, ``reward`` and ``termination`` are to be given again where no import leads to them: what was an object, or
    was made in a notebook or a script. ``trust``: import the modules that the run names, though it was not made here.

    Raises `CheckpointError` where there is nothing to go on with, `UsageError` where nothing is left to do.
    """
    run, progress = RunDir.open(as_path(path)), progress or Silent()
    held = run.require_world(trust=trust, env=env, reward=reward, termination=termination)
    config = held.config
    if steps is not None:
        steps = require_count("steps", steps)
        if steps < config.steps:
            raise UsageError(f"the run is made for {config.steps} steps; --steps can only extend it")
        config = dataclasses.replace(config, steps=steps)
    require_mirrors(config.mirror)
    with run.claimed():
        if not checkpoint.found(run.checkpoints):
            run.require_untrained()
        world = make_world(config, config.seed_list, config.num_envs, made_for=held.spec)
        with run.blamed():
            agent = build_agent(config, world.spec)
        require_functions(agent)
        with run.blamed():
            trainer = Trainer(config, run, agent, world, progress, callback)
        if checkpoint.found(run.checkpoints):
            trainer.resume()
        elif config.data:
            raise CheckpointError(f"{path} was stopped before it had kept the data it was given; train anew")
        else:  # killed before the first checkpoint: beginning again is going on exactly
            run.cut_metrics(0)
        at = trainer.learner.now
        # One that was killed between its last step and its summary goes on, to write that.
        if at >= config.steps and run.finished_steps() >= config.steps:
            raise UsageError(
                f"the run has finished its {config.steps} steps; extend it with --steps N, or see: forethought report "
                f"{path}"
            )
        if steps is not None:
            run.extend(steps)
        progress.begin(_title(config), [f"going on at step {at:,}", device_line(), f"run directory: {run.path}"])
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
    otherwise, 2 for planners, whose actions are dear. They are played in the run's environment, or in ``env`` with the
    same spaces. Of an ask/tell run without ``env`` nothing can be played: it is judged by the last episodes of its
    training (`Evaluation.explored`). ``env``, and ``reward`` and ``termination`` for planners, are to be given again
    where no import leads to them. ``trust``: import the modules that the run names, though it was not made here.
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
    episodes = episodes or catalog.find(config.algorithm).judged_episodes

    def act(obs: np.ndarray, first: np.ndarray, carry: Any, t: int) -> tuple[np.ndarray, Any]:
        return learner.program.act(learner.state, carry, obs, first, t, explore=False)

    carry, at = learner.program.init_carry(episodes), learner.env_steps
    at = int(learner.best_step.max()) if which == "best" else at
    stream = f"judge {seed}"
    return play(act, carry, config, episodes=episodes, stream=stream, env_steps=at, made_for=played.spec)


def beside_baselines(path: str | Path, returns: np.ndarray) -> list[str]:
    """What the baselines of a run earn, and a word where ``returns`` [seeds, episodes] are below them."""
    played = {name: Baseline(**of) for name, of in (read_run(as_path(path)).summary or {}).get("baselines", {}).items()}
    shortfall = below(returns, played)
    return [f"{described(name, of)}" for name, of in played.items()] + ([f"warning: {shortfall}"] if shortfall else [])


def model_errors(path: str | Path) -> dict[str, str]:
    """How well the model of a run foretells the reward and the observations after its last fit, for the end table."""
    found = outputs.errors(read_run(as_path(path)))
    if found is None:
        return {}
    last = found.values[-1].mean(axis=0)
    seen = "held out" if found.seen.startswith("held") else "in training"
    return {
        "error of reward": f"{last[0]:.3g} of its variance, {seen}",
        "error of observations": f"{last[1:].min():.3g} to {last[1:].max():.3g}",
    }


def _last_episodes(run: RunDir, episodes: int | None) -> Evaluation:
    """What the last episodes of an ask/tell run have brought while it learned; `Live` has one seed."""
    config = run.read().config
    ended = read_run(run.path).of("episode")[-(episodes or catalog.find(config.algorithm).judged_episodes) :]
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


def _plain(algorithm: str) -> dict[str, Any]:
    """An algorithm's defaults by dotted name."""
    return flatten(to_dict(catalog.find(algorithm).load()[1]()))


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


def report_run(path: str | Path, *, trust: bool = False) -> tuple[float, float, Path]:
    """Write ``report.html`` into a run, with a video where the environment gives pictures (and may be imported).

    Returns the mean return of its first and last evaluation, and the file.
    """
    folder = as_path(path)
    judged = [np.mean(record["return"]) for record in read_run(folder).of("eval")]
    with contextlib.suppress(UsageError, EnvironmentFault):  # without pictures the report stands without a video
        film(folder, folder / "videos" / "final.mp4", trust=trust)
    return float(judged[0]), float(judged[-1]), write_report([folder], folder / "report.html")
