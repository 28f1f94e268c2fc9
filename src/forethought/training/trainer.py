"""The training loop: act, step the world, remember, learn; log, judge and save on the way."""

import signal
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from forethought import envs
from forethought.agents.base import Agent
from forethought.envs.contract import Step, VectorEnv
from forethought.errors import EnvironmentFault, ForethoughtError, TrainingDiverged
from forethought.training import checkpoint
from forethought.training.config import RunConfig, to_dict
from forethought.training.evaluate import Evaluation, evaluate
from forethought.training.learner import Learner, compiled_programs
from forethought.training.mirror import flat, open_mirrors
from forethought.training.progress import Progress, Snapshot
from forethought.training.rundir import RunDir

_CHECKPOINT_S = 60.0  # seconds between checkpoints where no number of steps is asked for
_CHECKPOINT_SHARE = 20  # and at least so many times what writing the last one took
_RATE_S = 5.0  # seconds over which the displayed speed is measured
_RECENT = 20  # training episodes in the displayed mean return


@dataclass
class Episodes:
    """Return and length so far of the episode in each slot, and the returns of the last finished ones."""

    returns: np.ndarray
    lengths: np.ndarray
    finished: int = 0
    recent: deque[float] = field(default_factory=lambda: deque(maxlen=_RECENT))

    def add(self, step: Step) -> list[tuple[int, float, int]]:
        """Count one step of every slot; returns (slot, return, length) of the episodes that ended."""
        self.returns += step.reward
        self.lengths += 1
        ended = []
        for slot in np.flatnonzero(step.terminated | step.truncated):
            ended.append((int(slot), float(self.returns[slot]), int(self.lengths[slot])))
            self.recent.append(self.returns[slot])
            self.returns[slot], self.lengths[slot] = 0.0, 0
        self.finished += len(ended)
        return ended


class Interrupted(ForethoughtError):
    """The user stopped the run; it was saved."""

    exit_code = 130


class Trainer:
    """One run, from wherever it stands to its last step."""

    def __init__(self, config: RunConfig, run: RunDir, agent: Agent, world: VectorEnv, progress: Progress):
        self.config, self.run_dir, self.agent, self.world, self.progress = config, run, agent, world, progress
        self.learner = Learner(agent, config.seed_list, config.num_envs, config.steps, progress.compiling)
        self.episodes = Episodes(np.zeros(world.num_slots), np.zeros(world.num_slots, np.int64))
        self.obs: np.ndarray | None = None
        self.evaluation: Evaluation | None = None
        self.wall_s = 0.0
        self.saved: Path | None = None
        self.mirrors = open_mirrors(config.mirror, run.path, to_dict(config))
        self._stop: str | None = None
        self._warned: set[str] = set()

    def resume(self) -> None:
        """Take up the newest whole checkpoint. Raises `CheckpointError` where there is none."""
        tree, host, self.saved = checkpoint.load_latest(self.run_dir.checkpoints, self.learner.tree, self._warn_later)
        self.learner.restore(tree, host["counters"])
        self.run_dir.cut_metrics(host["metrics_bytes"])
        self.wall_s = host["wall_s"]
        self.episodes.returns, self.episodes.lengths = np.array(host["returns"]), np.array(host["lengths"])
        self.episodes.finished = host["episodes"]
        self.episodes.recent.extend(host["recent"])
        self.obs, warnings = self.world.set_state(host["world"])
        # A slot whose replay went astray begins a new episode.
        stored = host["obs"].reshape(self.obs.shape[0], -1)
        astray = ~np.all(self.obs.reshape(stored.shape) == stored, axis=1)
        self.episodes.returns[astray], self.episodes.lengths[astray] = 0.0, 0
        self.learner.first |= astray.reshape(self.learner.first.shape)
        for text in warnings:
            self._warn_later(text)

    def run(self) -> dict[str, Any]:
        """Train to the last step; returns the summary, which is also written.

        Whatever ends the run early leaves a checkpoint behind and raises: `Interrupted`, `EnvironmentFault`,
        `TrainingDiverged` or `CheckpointError`.
        """
        self._started, self._last_save = time.monotonic() - self.wall_s, time.monotonic()
        self._save_cost, self._rate, self._mark = 0.0, 0.0, (self.learner.env_steps, time.monotonic())
        self._latest: dict[str, float] = {}
        status, message = "failed", ""
        try:
            with self._signals():
                self._loop()
            status = "finished"
        except Interrupted as stop:
            status, message = "interrupted", str(stop)
            raise
        except ForethoughtError as error:
            message = str(error)
            raise
        finally:
            self.progress.end()
            summary = self._summary(status, message)
            self.run_dir.write_summary(summary)
            self.run_dir.close()
            for mirror in self.mirrors:
                mirror.close()
            self.world.close()
        return summary

    def _loop(self) -> None:
        if self.obs is None:
            self.obs = self._guarded(self.world.reset)
            self.progress.compiling("evaluation")
            self._evaluate()
            self._save()
        while self.learner.env_steps < self.config.steps:
            self._step()
            if self._stop:
                self._save()
                raise Interrupted(
                    f"stopped by {self._stop} and saved at step {self.learner.env_steps}; "
                    f"go on with: forethought resume {self.run_dir.path}"
                )
        if self._latest_step() != self.learner.env_steps:
            self._save()

    def _step(self) -> None:
        assert self.obs is not None
        learner, before, compiled = self.learner, self.learner.env_steps, compiled_programs()
        action = learner.act(self.obs)
        with learner.clock.measure("env"):
            step = self._guarded(lambda: self.world.step(action))
        learner.observe(self.obs, action, step)
        self.obs = step.obs
        for slot, total, length in self.episodes.add(step):
            seed = self.config.seed_list[slot // self.config.num_envs]
            self._log("episode", {"seed": seed, "return": total, "length": length})
        self._report_models(learner.learn())
        if self._crossed(before, self.config.log_every):
            self._log_training()
        if self._crossed(before, self.config.eval_every) or learner.env_steps >= self.config.steps:
            self._evaluate()
        if self._save_is_due(before):
            self._save()
        if compiled_programs() > compiled:  # a step that waited for the compiler says nothing of the speed
            self._mark = learner.env_steps, time.monotonic()
        self.progress.advance(self._snapshot())

    def _guarded(self, call: Any) -> Any:
        """Run a call of the world; where it fails, keep what was learned so far and say where."""
        try:
            return call()
        except (EnvironmentFault, TrainingDiverged) as fault:
            if self.saved is not None and isinstance(fault, EnvironmentFault):
                self._save()
            raise type(fault)(f"{fault}; {self._last_good()}") from fault

    def _last_good(self) -> str:
        if self.saved is None:
            return "nothing was learned yet"
        return f"the last good checkpoint is {self.saved}, go on with: forethought resume {self.run_dir.path}"

    def _report_models(self, ran: list[Any]) -> None:
        metrics: dict[str, list[float]] = {}
        for phase in ran:
            if phase.kind == "model":
                metrics.update(self._checked_metrics(phase.name))
        if metrics:
            self._log("model", metrics)
            for text in self.agent.concerns(metrics):
                self._warn(text)

    def _log_training(self) -> None:
        metrics: dict[str, Any] = {}
        for phase in self.learner.phases:
            if phase.kind == "train":
                metrics.update(self._checked_metrics(phase.name))
        self._measure_rate()
        seconds = {name: round(s, 4) for name, s in self.learner.clock.seconds.items()}
        self._latest = {name: float(np.mean(values)) for name, values in metrics.items()}
        self._log("train", {**metrics, "steps_per_s": self._rate, "seconds": seconds})

    def _checked_metrics(self, phase: str) -> dict[str, list[float]]:
        try:
            return self.learner.metrics(phase)
        except TrainingDiverged as error:
            raise TrainingDiverged(f"{error}; {self._last_good()}") from error

    def _evaluate(self) -> None:
        learner, episodes = self.learner, self.config.eval_episodes
        carry = learner.program.init_carry(episodes)

        def act(obs: np.ndarray, first: np.ndarray, carry: Any, t: int) -> tuple[np.ndarray, Any]:
            return learner.program.act(learner.state, carry, obs, first, t, explore=False)

        with learner.clock.measure("evaluate"):
            stream = f"evaluation at {learner.env_steps}"
            self.evaluation = self._guarded(lambda: evaluate(act, carry, self.config, episodes=episodes, stream=stream))
        assert self.evaluation is not None
        self._log("eval", {"return": self.evaluation.returns.tolist(), "length": self.evaluation.lengths.tolist()})

    def _save_is_due(self, before: int) -> bool:
        if self.config.checkpoint_every is not None:
            return self._crossed(before, self.config.checkpoint_every)
        wait = max(_CHECKPOINT_S, _CHECKPOINT_SHARE * self._save_cost)
        return time.monotonic() - self._last_save >= wait

    def _save(self) -> None:
        learner, began = self.learner, time.monotonic()
        try:
            learner.check_finite()
        except TrainingDiverged as error:
            raise TrainingDiverged(f"{error}; {self._last_good()}") from error
        host = {
            "counters": learner.counters(),
            "world": self.world.get_state(),
            "obs": self.obs,
            "returns": self.episodes.returns,
            "lengths": self.episodes.lengths,
            "episodes": self.episodes.finished,
            "recent": [float(x) for x in self.episodes.recent],
            "metrics_bytes": self.run_dir.metrics_size(),
            "wall_s": self._wall(),
        }
        with learner.clock.measure("checkpoint"):
            root, keep = self.run_dir.checkpoints, self.config.keep
            self.saved = checkpoint.save(root, learner.env_steps, learner.tree(), host, keep=keep)
        self._last_save, self._save_cost = time.monotonic(), time.monotonic() - began

    def _latest_step(self) -> int:
        return int(self.saved.name.split("_")[1]) if self.saved else -1

    def _crossed(self, before: int, every: int) -> bool:
        return self.learner.env_steps // every > before // every

    def _wall(self) -> float:
        return time.monotonic() - self._started

    def _measure_rate(self) -> None:
        """Environment steps per second, of all seeds together, since the last measurement."""
        steps, since = self.learner.env_steps - self._mark[0], time.monotonic() - self._mark[1]
        self._rate = steps * self.config.seeds / max(since, 1e-9)
        self._mark = self.learner.env_steps, time.monotonic()

    def _log(self, kind: str, values: dict[str, Any]) -> None:
        learner = self.learner
        counters = {"env_steps": learner.env_steps, "frames": learner.frames, "updates": learner.updates}
        self.run_dir.log({"kind": kind, **counters, "wall_s": round(self._wall(), 3), **values})
        for mirror in self.mirrors:
            mirror.scalars({f"{kind}/{name}": value for name, value in flat(values).items()}, learner.env_steps)

    def _warn(self, text: str) -> None:
        if text not in self._warned:
            self._warned.add(text)
            self._log("warning", {"text": text})
            self.progress.note(f"warning: {text}")

    def _warn_later(self, text: str) -> None:
        """A warning before the metrics are open: shown, not logged."""
        self.progress.note(f"warning: {text}")

    def _snapshot(self) -> Snapshot:
        learner = self.learner
        if time.monotonic() - self._mark[1] > _RATE_S:
            self._measure_rate()
        judged = self.evaluation
        return Snapshot(
            steps=self.config.steps,
            seeds=self.config.seeds,
            env_steps=learner.env_steps,
            frames=learner.frames,
            updates=learner.updates,
            episodes=self.episodes.finished,
            wall_s=self._wall(),
            steps_per_s=self._rate,
            train_return=float(np.mean(self.episodes.recent)) if self.episodes.recent else None,
            eval_return=None if judged is None else float(judged.returns.mean()),
            metrics=self._latest,
        )

    def _summary(self, status: str, message: str) -> dict[str, Any]:
        learner, judged = self.learner, self.evaluation
        return {
            "status": status,
            "message": message,
            "env_steps": learner.env_steps,
            "frames": learner.frames,
            "updates": learner.updates,
            "wall_s": round(self._wall(), 3),
            "seconds": {name: round(s, 3) for name, s in learner.clock.seconds.items()},
            "return": None if judged is None else judged.returns.mean(axis=1).tolist(),
        }

    def _signals(self) -> "_Signals":
        return _Signals(self)


class _Signals:
    """Ctrl-C and SIGTERM ask the loop to save and stop at the next step instead of tearing it apart."""

    def __init__(self, trainer: Trainer):
        self.trainer = trainer
        self.previous: dict[int, Any] = {}

    def __enter__(self) -> None:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self.previous[number] = signal.signal(number, self._ask)

    def __exit__(self, *_: object) -> None:
        for number, handler in self.previous.items():
            signal.signal(number, handler)

    def _ask(self, number: int, frame: object) -> None:
        if self.trainer._stop:
            signal.signal(number, signal.default_int_handler)
        self.trainer._stop = "Ctrl-C" if number == signal.SIGINT else "SIGTERM"
        self.trainer.progress.note("stopping after this step; a second Ctrl-C stops at once")


def make_world(config: RunConfig) -> VectorEnv:
    """The environments that a run trains in."""
    return envs.make(
        config.env,
        seeds=config.seed_list,
        envs_per_seed=config.num_envs,
        action_repeat=config.action_repeat,
        env_kwargs=config.env_kwargs,
    )
