"""Training runs of the learning benchmarks: made once, gone on with where they were stopped, and read."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import forethought
from forethought import envs, statistics
from forethought.configure import configure
from forethought.envs import Step
from forethought.errors import UsageError
from forethought.report import series
from forethought.report.read import RunLog, read_run
from forethought.training.config import RUN_FIELDS, RunConfig, flatten
from forethought.training.progress import Plain
from forethought.training.rundir import RunDir
from forethought.types import Transition
from forethought.unroll import unroll

EPISODES = 50  # that a final policy is judged by, of each seed

Summary = dict[str, Any]
Controller = Callable[[np.ndarray, np.random.Generator], np.ndarray]  # (obs, rng) -> action


@dataclass(frozen=True)
class Request:
    """What a benchmark is asked for: where its runs are kept, and seeds and steps.

    ``kept``: by label, what an earlier result says of the runs that are not to be made anew.
    """

    runs: Path
    seeds: int
    steps: int
    kept: Mapping[str, Summary] = field(default_factory=dict)


@dataclass(frozen=True)
class Training:
    """One call of `forethought.train`; ``options`` are its further arguments."""

    label: str
    algorithm: str
    env: str
    steps: int
    seeds: int
    options: Mapping[str, Any] = field(default_factory=dict)

    def call(self) -> str:
        """The call as a person would write it."""
        words = [repr(self.algorithm), repr(self.env), f"steps={self.steps}", f"seeds={self.seeds}"]
        words += [f"{name}={value!r}" for name, value in self.options.items()]
        return f"forethought.train({', '.join(words)})"


def trained(training: Training, folder: Path, *, or_longer: bool = False) -> RunLog:
    """The finished run; what an earlier call has already trained is not trained again.

    Raises:
        UsageError: the folder holds a run of another kind, or one that is longer (unless that may be).
    """
    path = folder / training.label.replace(" ", "-")
    if not (path / "config.json").exists():
        forethought.train(
            training.algorithm,
            training.env,
            steps=training.steps,
            seeds=training.seeds,
            run=path,
            progress=Plain(),
            **training.options,
        )
        return read_run(path)
    wanted = configure(training.algorithm, training.env, steps=training.steps, seeds=training.seeds, **training.options)
    held = RunDir.open(path).read().config
    # A round trip through JSON makes lists of tuples, as in the file.
    if _as_json(replace(wanted, steps=held.steps)) != _as_json(held):
        raise UsageError(f"{path} holds a run with other settings; remove it, or choose another --runs")
    if held.steps > training.steps and not or_longer:
        raise UsageError(f"{path} holds a run of {held.steps} steps; remove it, or choose another --runs")
    run = read_run(path)
    if run.summary is None or run.summary["status"] != "finished" or held.steps < training.steps:
        forethought.resume(path, steps=max(held.steps, training.steps), progress=Plain())
        run = read_run(path)
    return run


def described(run: RunLog, training: Training) -> Summary:
    """How a run was made: the call, the settings that are not defaults, the time it took, and its curve."""
    assert run.summary is not None
    config = run.config
    plain_run = RunConfig("", "", 0)
    settings = {
        name: config[name]
        for name in RUN_FIELDS
        if name not in ("algorithm", "env", "steps", "agent") and config[name] != getattr(plain_run, name)
    }
    defaults = flatten(config["agent_defaults"])
    agent = {name: value for name, value in flatten(config["agent"]).items() if value != defaults.get(name)}
    return {
        "call": replace(training, steps=config["steps"]).call(),
        "read": datetime.now(UTC).isoformat(timespec="seconds"),
        "settings": {**settings, **{f"agent.{name}": value for name, value in agent.items()}},
        "algorithm": config["algorithm"],
        "env": config["env"],
        "env_steps": run.summary["env_steps"],
        "wall_s": run.summary["wall_s"],
        "seconds": run.summary["seconds"],
        "trained_on": config["hardware"],
        "trained_with": config["versions"],
        "curve": curve(run),
    }


def curve(run: RunLog) -> Summary:
    """The evaluations on the way: steps, wall seconds, and each seed's mean return."""
    points = series.evaluations(run)
    return {"env_steps": points.env_steps, "wall_s": points.wall_s, "returns": points.values}


def final_evaluation(run: RunLog, episodes: int = EPISODES) -> Summary:
    """The final policy of every seed, on episodes that it never met: scores per seed, and over seeds."""
    returns = forethought.evaluate(run.path, episodes=episodes, seed=1).returns
    scores = returns.mean(axis=1)
    return {
        "episodes": episodes,
        "per_seed": scores,
        "per_seed_standard_deviation": returns.std(axis=1),
        "mean": float(statistics.mean(scores)),
        "mean_interval": statistics.bootstrap_interval(scores, statistics.mean),
        "iqm": float(statistics.iqm(scores)),
        "iqm_interval": statistics.bootstrap_interval(scores, statistics.iqm),
    }


def trained_and_judged(training: Training, asked: Request, episodes: int = EPISODES) -> Summary:
    """What `described` says of a training, and `final_evaluation` of its final policies."""
    run = trained(training, asked.runs)
    return {**described(run, training), "final": final_evaluation(run, episodes)}


def episode_lengths(run: RunLog, seeds: int) -> list[np.ndarray]:
    """The lengths of each seed's training episodes, in order."""
    lengths: list[list[int]] = [[] for _ in range(seeds)]
    for record in run.of("episode"):
        lengths[record["seed"]].append(record["length"])
    return [np.array(of_seed) for of_seed in lengths]


def cumulative_reward(run: RunLog, seeds: int, steps: np.ndarray) -> np.ndarray:
    """The return of all training episodes that had ended by each of the steps, [steps, seeds]."""
    total = np.zeros((len(steps), seeds))
    for record in run.of("episode"):
        total[steps >= record["env_steps"], record["seed"]] += record["return"]
    return total


def transitions(env: str, seed: int, n: int, controller: Controller) -> Transition:
    """n successive transitions of one world under a controller, actions in units of their bounds."""
    world, rng = envs.make(env, seeds=[seed]), np.random.default_rng(seed)
    act = lambda now, carry, t: (controller(now.obs, rng).astype(np.float32), carry)  # noqa: E731
    rows = [Transition(now.obs, action, *_outcome(step)) for now, action, step in unroll(world, act, (), n)]
    world.close()
    return jax.tree.map(lambda *x: jnp.asarray(np.concatenate(x)), *rows)


def _outcome(step: Step) -> tuple[np.ndarray, ...]:
    reached = step.reached
    return reached.reward, reached.obs, reached.terminated, reached.truncated


def standard_error(values: np.ndarray) -> np.ndarray:
    """Standard error of the mean over the last axis."""
    return values.std(axis=-1, ddof=1) / np.sqrt(values.shape[-1])


def _as_json(config: RunConfig) -> Any:
    from forethought.training.config import to_dict

    return json.loads(json.dumps(to_dict(config)))
