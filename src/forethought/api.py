"""The Python interface: train, resume, load, evaluate, film, report."""

import contextlib
import dataclasses
import re
import time
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from forethought.agents import catalog
from forethought.agents.base import Agent
from forethought.envs import SpaceCodec, VectorEnv
from forethought.envs.codec import item_shape
from forethought.errors import EnvironmentFault, UsageError, require_within
from forethought.report.html import write_report
from forethought.report.read import read_run
from forethought.report.video import require_suffix, write_video
from forethought.training import checkpoint, memory
from forethought.training.config import RunConfig, flatten, from_dict, to_dict
from forethought.training.evaluate import STEP_LIMIT, Evaluation, make_world
from forethought.training.evaluate import evaluate as play
from forethought.training.learner import Learner, check_warm_up
from forethought.training.mirror import require_mirrors
from forethought.training.program import Program
from forethought.training.progress import Progress, Silent
from forethought.training.rundir import RunDir
from forethought.training.trainer import Trainer
from forethought.types import EnvSpec


@dataclass(frozen=True)
class Run:
    """A run on disk and how it ended; ``summary`` is what ``summary.json`` holds."""

    path: Path
    summary: dict[str, Any]

    @property
    def final_return(self) -> float:
        """Mean return of the last evaluation, over seeds and episodes."""
        return float(np.mean(self.summary["return"]))


def train(
    algorithm: str,
    env: str,
    *,
    steps: int,
    seed: int = 0,
    seeds: int = 1,
    num_envs: int = 1,
    run: str | Path | None = None,
    preset: str | None = None,
    agent: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> Run:
    """Train an algorithm on an environment, and keep everything in a run directory.

    Args:
        algorithm: a name of `forethought list`.
        env: a Gymnasium id, ``package.module:Name-v0``, or one of ours.
        steps: environment steps per seed.
        seeds: how many seeds to train side by side: ``seed, seed + 1, ...``.
        num_envs: environments per seed.
        run: the run directory; it must not exist. Default: ``runs/<algorithm>-<env>-<time>``.
        preset: settings by name; None takes the one made for this environment, "none" the plain defaults.
        agent: settings of the agent, nested or by dotted name (``{"fit.max_epochs": 50}``).
        progress: where to report to; default: nowhere. ``forethought.training.progress.terminal()`` is the display
            of the command line.
        options: further fields of `forethought.training.config.RunConfig`, such as ``eval_every``.

    Raises:
        ForethoughtError: with one line that says what is wrong and the way out.
    """
    config = configure(
        algorithm, env, steps=steps, seed=seed, seeds=seeds, num_envs=num_envs, preset=preset, agent=agent, **options
    )
    return start_run(config, run, progress or Silent())


def configure(
    algorithm: str, env: str, *, preset: str | None = None, agent: Mapping[str, Any] | None = None, **options: Any
) -> RunConfig:
    """A complete `RunConfig`: the preset for this environment, and over it the settings given.

    Raises `UsageError` for unknown names and impossible values.
    """
    unknown = [name for name in options if name not in RunConfig.__dataclass_fields__]
    if unknown:
        raise UsageError(f"train takes no option {unknown[0]!r}")
    entry = catalog.find(algorithm)
    _, config_class = entry.load()
    preset, settings, env_kwargs = catalog.find_preset(algorithm, preset, env)
    chosen: Any = from_dict(config_class, {**settings, **flatten(agent or {})})
    options["env_kwargs"] = {**env_kwargs, **options.get("env_kwargs", {})}
    options.setdefault("eval_every", max(1, options["steps"] // entry.evaluations))
    options.setdefault("eval_episodes", entry.eval_episodes)
    options.setdefault("log_every", max(1, min(1000, options["steps"] // 100)))
    config = RunConfig(algorithm=algorithm, env=env, preset=preset, agent=to_dict(chosen), **options)
    config.validate()
    return config


def start_run(config: RunConfig, path: str | Path | None, progress: Progress) -> Run:
    """Begin a run from its config."""
    world = make_world(config, config.seed_list, config.num_envs)
    try:
        agent = build_agent(config, world.spec)
        check_warm_up(agent, config.steps)
        require_mirrors(config.mirror)
        plan = memory.plan(Program(agent, config.seed_list, config.num_envs, config.steps))
        plan.refuse_if_too_large()
        stamp = time.strftime("%Y%m%d-%H%M%S")
        name = re.sub(r"[^\w.-]+", "-", config.env.split("/")[-1])  # no colon: scp takes what is before it for a host
        folder = Path(path) if path else Path("runs") / f"{config.algorithm}-{name}-{stamp}"
        run = RunDir.create(folder, config, to_dict(type(agent.config)()), world.codec)
    except BaseException:
        world.close()
        raise
    progress.begin(_title(config), [str(plan), device_line(), f"run directory: {run.path}"])
    if world.spec.max_episode_steps is None:
        progress.note(
            f"warning: {config.env} has no time limit, an episode may never end; "
            "register it with max_episode_steps, or pass it in env_kwargs"
        )
    with run.claimed():
        return Run(run.path, Trainer(config, run, agent, world, progress).run())


def resume(path: str | Path, *, steps: int | None = None, progress: Progress | None = None) -> Run:
    """Go on with a run that was stopped, killed or finished; ``steps`` extends it.

    Raises `CheckpointError` where there is nothing to go on with, `UsageError` where nothing is left to do.
    """
    run, progress = RunDir.open(Path(path)), progress or Silent()
    config, _ = run.read_config()
    run.require_world()
    if steps is not None:
        if steps < config.steps:
            raise UsageError(f"the run is made for {config.steps} steps; --steps can only extend it")
        config = dataclasses.replace(config, steps=steps)
    require_mirrors(config.mirror)
    with run.claimed():
        world = make_world(config, config.seed_list, config.num_envs)
        agent = build_agent(config, world.spec)
        trainer = Trainer(config, run, agent, world, progress)
        if checkpoint.found(run.checkpoints):
            trainer.resume()
        else:  # killed before the first checkpoint: beginning again is going on exactly
            run.cut_metrics(0)
        at = trainer.learner.env_steps
        if at >= config.steps:
            raise UsageError(f"the run has finished its {config.steps} steps; extend it with --steps N")
        if steps is not None:
            run.extend(steps)
        progress.begin(_title(config), [f"going on at step {at:,}", device_line(), f"run directory: {run.path}"])
        return Run(run.path, trainer.run())


class Policy:
    """What a run has learned, ready to act: plain numpy in and out, in the environment's own units.

    One observation gives one action, a batch gives a batch. The policy does not explore.
    """

    def __init__(self, agent: Agent, codec: SpaceCodec, state: Any, seed: int):
        self.agent, self.codec, self.state, self.seed = agent, codec, state, seed
        self._act = jax.jit(agent.act, static_argnames="explore")
        self.reset()

    def reset(self) -> None:
        """Begin an episode: policies with a memory forget."""
        self._carry: Any = None
        self._t = 0

    def __call__(self, obs: Any) -> np.ndarray:
        """The action for one observation or a batch. Raises `UsageError` for another shape than the run's."""
        seen = self.codec.obs_to_agent(obs)
        if not np.all(np.isfinite(seen)):
            raise UsageError(f"the policy got an observation that is not finite: {obs}")
        single = seen.ndim == len(item_shape(self.agent.spec.obs))
        own = self.codec.action_to_env(self.act(seen[None] if single else seen))
        return own[0] if single else own

    def act(self, batch: np.ndarray) -> np.ndarray:
        """Actions for a batch of observations, both as agents see them."""
        begins = self._carry is None
        if begins:
            self._carry = self.agent.init_actor(batch.shape[0])
        first = np.full(batch.shape[0], begins)
        key = jax.random.fold_in(jax.random.key(self.seed), self._t)
        action, self._carry = self._act(self.state, self._carry, batch, first, key=key, explore=False)
        self._t += 1
        return np.asarray(action)


def load(path: str | Path, *, seed: int | None = None) -> Policy:
    """The policy of a run's newest checkpoint; of its first seed unless another is named.

    The environment is not needed. Raises `CheckpointError` where the directory holds no run or checkpoint.
    """
    config, codec, agent, learner = load_learner(path)
    index = config.index_of(seed)
    return _policy(agent, codec, learner, index, config.seed_list[index])


def evaluate(path: str | Path, *, episodes: int | None = None, seed: int = 0) -> Evaluation:
    """Play episodes with every seed of a run's newest checkpoint; ``seed`` chooses the episodes.

    ``episodes`` per seed are 100 unless told otherwise, 2 for planners, whose actions are dear.
    """
    if episodes is not None:
        require_within("episodes", episodes, 1)
    RunDir.open(Path(path)).require_world()
    config, _, _, learner = load_learner(path)
    episodes = episodes or catalog.find(config.algorithm).judged_episodes

    def act(obs: np.ndarray, first: np.ndarray, carry: Any, t: int) -> tuple[np.ndarray, Any]:
        return learner.program.act(learner.state, carry, obs, first, t, explore=False)

    carry, at = learner.program.init_carry(episodes), learner.env_steps
    return play(act, carry, config, episodes=episodes, stream=f"judge {seed}", env_steps=at)


def build_agent(config: RunConfig, spec: EnvSpec) -> Agent:
    """The agent that a config describes. Raises `UsageError` where it cannot take the environment."""
    catalog.require_fit(config.algorithm, spec)
    agent_class, config_class = catalog.find(config.algorithm).load()
    return agent_class(from_dict(config_class, config.agent), spec)


def device_line() -> str:
    """The device in use, and a warning when a GPU is there and is not used."""
    device = jax.devices()[0]
    line = f"device: {device.platform} ({device.device_kind})"
    if device.platform == "cpu" and Path("/proc/driver/nvidia/version").exists():
        line += "; warning: an NVIDIA GPU is there and unused: pip install 'forethought[cuda]'"
    return line


def load_learner(path: str | Path) -> tuple[RunConfig, SpaceCodec, Agent, Learner]:
    """Everything that a run's newest checkpoint holds. Raises `CheckpointError` where there is none."""
    run = RunDir.open(Path(path))
    config, codec = run.read_config()
    agent = build_agent(config, codec.spec(config.env))
    learner = Learner(agent, config.seed_list, config.num_envs, config.steps)
    tree, host, _ = checkpoint.load_latest(run.checkpoints, learner.tree, print_warning)
    learner.restore(tree, host["counters"])
    return config, codec, agent, learner


def print_warning(text: str) -> None:
    """A warning where no progress display is at hand."""
    warnings.warn(text, stacklevel=3)


def _title(config: RunConfig) -> str:
    seeds = f"seed {config.seed}" if config.seeds == 1 else f"seeds {config.seed} to {config.seed_list[-1]}"
    preset = f", preset {config.preset}" if config.preset else ""
    return f"{config.algorithm} on {config.env}, {config.steps:,} steps, {seeds}{preset}"


def report_run(path: str | Path) -> tuple[float, float, Path]:
    """Write ``report.html`` into a run, with a video where the environment gives pictures.

    Returns the mean return of its first and last evaluation, and the file.
    """
    folder = Path(path)
    judged = [np.mean(record["return"]) for record in read_run(folder).of("eval")]
    with contextlib.suppress(UsageError, EnvironmentFault):  # without pictures the report stands without a video
        film(folder, folder / "videos" / "final.mp4")
    return float(judged[0]), float(judged[-1]), write_report([folder], folder / "report.html")


def film(path: str | Path, output: str | Path, *, seed: int = 0) -> Path:
    """Write a video (.mp4 or .gif) of one episode of a run's policy.

    Raises `UsageError` or `EnvironmentFault` where the environment gives no pictures.
    """
    require_suffix(Path(output))
    RunDir.open(Path(path)).require_world()
    config, codec, agent, learner = load_learner(path)
    policy = _policy(agent, codec, learner, 0, config.seed)
    world = make_world(config, [seed], stream="film", render=True)
    try:
        return write_video(_frames(world, policy), Path(output))
    finally:
        world.close()


def _frames(world: VectorEnv, policy: Policy) -> Iterator[np.ndarray]:
    obs = world.reset()
    for _ in range(world.spec.max_episode_steps or STEP_LIMIT):
        picture = world.render()
        if picture is None:
            raise UsageError(f"{world.spec.id} gives no pictures")
        yield picture
        step = world.step(policy.act(obs))
        if step.terminated[0] or step.truncated[0]:
            return
        obs = step.obs


def _policy(agent: Agent, codec: SpaceCodec, learner: Learner, index: int, seed: int) -> Policy:
    return Policy(agent, codec, jax.tree.map(lambda x: x[index], learner.state), seed)
