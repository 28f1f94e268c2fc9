"""The training loop: act, step the world, remember, learn; log, evaluate and save on the way."""

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import jax
import numpy as np

from forethought.agents.base import Agent, Phase
from forethought.envs import JaxVector
from forethought.envs.contract import Step, VectorEnv
from forethought.errors import (
    CheckpointError,
    EnvironmentFault,
    ForethoughtError,
    Interrupted,
    StopTraining,
    TrainingDiverged,
)
from forethought.stored import arrays, flag, named, require
from forethought.training.baselines import STARTS, WHAT_HELPS, Controller, below, described, far_below, play_baselines
from forethought.training.block import FIRST, FROM_STEP, SECONDS
from forethought.training.config import RunConfig
from forethought.training.evaluate import Evaluation, evaluate
from forethought.training.journal import Journal, crossed
from forethought.training.learner import Learner
from forethought.training.portion import Portion
from forethought.training.progress import Progress, Snapshot
from forethought.training.rundir import RunDir
from forethought.training.signals import SecondSignal, Signals
from forethought.types import PyTree, TimeStep
from forethought.unroll import unroll

_CHECKPOINT_S = 60.0  # seconds between checkpoints where no number of steps is asked for
_CHECKPOINT_SHARE = 20  # and at least so many times what writing the last one took


Callback = Callable[[dict[str, Any]], Any]  # gets each line of the metrics; True ends the run


class _Stopping(Exception):
    """Work is left off here, because the user wants to stop; all that a checkpoint holds is whole."""


class Trainer:
    """One run, from wherever it stands to its last step."""

    def __init__(
        self,
        config: RunConfig,
        run: RunDir,
        agent: Agent,
        world: VectorEnv,
        progress: Progress,
        signals: Signals,
        callback: Callback | None = None,
        controller: Controller | None = None,
    ):
        self.config, self.run_dir, self.agent, self.world, self.progress = config, run, agent, world, progress
        self._compiles: str | None = None
        self._controller = controller
        self._signals = signals
        signals.answer = self._answer
        tell = self._compiling, self._working, self._parted
        self.learner = Learner(agent, config.seed_list, config.num_envs, config.rows, *tell, pretrain=config.pretrain)
        self.journal = Journal(config, run, agent, self.learner, progress.note)
        if callback is not None:
            self.journal.tell = lambda record: self._call(callback, record)
        self._portion = Portion(SECONDS, FIRST)
        self.evaluation: Evaluation | None = None
        self.saved: Path | None = None
        self._begun = False
        self._saved_at: int | None = None  # the step whose state the newest checkpoint holds
        self._enough = False  # the callback said so
        self._evaluating = False

    def resume(self) -> None:
        """Take up the newest whole checkpoint. Raises `CheckpointError` where there is none."""
        self.saved = self.run_dir.restore(self.learner.blank, self._take, self._warn)

    def _take(self, tree: PyTree, host: dict[str, Any]) -> None:
        require(host, {"counters": named, "world": named, "evaluating": flag, "evaluation": lambda _: True})
        self.learner.restore(tree, host["counters"])
        now, warnings = self.world.set_state(host["world"])
        require(host, {"obs": arrays(now.obs)})
        evaluated = host["evaluation"] and Evaluation.from_host(host["evaluation"], self.config.seeds)
        self.journal.restore(host)  # last: it cuts what was written later
        self._begun, self._evaluating = True, host["evaluating"]
        self.evaluation, self._saved_at = evaluated, self.learner.now
        # A slot whose replay went astray begins a new episode.
        same = jax.tree.map(lambda x, y: (x == y).reshape(len(x), -1).all(axis=1), now.obs, host["obs"])
        astray = ~np.all(jax.tree.leaves(same), axis=0)
        self.journal.episodes.returns[astray], self.journal.episodes.lengths[astray] = 0.0, 0
        if astray.any():
            self.learner.decision = None  # it was for other observations
        for text in warnings:
            self._warn(text)

    def run(self) -> dict[str, Any]:
        """Train to the last step, or until the callback has had enough; returns the summary, which is also written.

        Whatever else ends the run early leaves a checkpoint behind and raises: `Interrupted`, `EnvironmentFault`,
        `TrainingDiverged` or `CheckpointError`.
        """
        self.journal.begin(self.journal.wall_s)
        self._last_save, self._save_cost = time.monotonic(), 0.0
        try:
            self._loop()
        except BaseException as error:
            with suppress(CheckpointError):  # what stopped the run is what the user must hear of
                self._end(*_fate(error))
            raise
        if self._enough and self.learner.now < self.config.steps:
            return self._end("stopped", f"the callback stopped it at step {self.learner.now}")
        return self._end("finished", "")

    def _end(self, status: str, message: str) -> dict[str, Any]:
        """Write the summary and close what is open."""
        try:
            self.progress.end()
            returns = None if self.evaluation is None else self.evaluation.returns.mean(axis=1).tolist()
            return self.journal.summary(status, message, returns)
        finally:
            self.journal.close()
            self.world.close()

    def _loop(self) -> None:
        try:
            self._live()
        except _Stopping:
            path = self.run_dir.path
            if self.learner.learned < self.learner.env_steps:
                self.progress.advance(self._snapshot())
            if self.saved is None:
                raise Interrupted(
                    f"stopped by {self._signals.by} before the first step; begin again with: forethought resume {path}"
                ) from None
            self._save()
            raise Interrupted(
                f"stopped by {self._signals.by} and saved at step {self.learner.env_steps}; "
                f"go on with: forethought resume {path}"
            ) from None

    def _live(self) -> None:
        learner = self.learner
        self.progress.advance(self._snapshot())
        if self._signals.by:  # since the agent was compiled
            raise _Stopping
        fresh = not self._begun
        if fresh:
            self._guarded(self.world.reset)
            self._begun = self._evaluating = True
            if self.config.data:  # from here on the run needs its source no more
                self._save()
            self._compiling("the policy")
        if self._evaluating:  # or the run was stopped while it was evaluated, or that failed
            self._evaluate()
        elif 0 <= learner.learned < learner.env_steps:  # or while it learned
            self._learn()
        if self.config.baselines and not self.journal.baselines and learner.now == -learner.pretrain:
            self._play_baselines()
        if fresh:
            self._save()
        while learner.now < 0 and not self._enough:  # before the first step it learns from what it was given
            self._learn()
        act = lambda time_step, carry, t: (learner.act(time_step), carry)  # noqa: E731
        life = unroll(_Guarded(self), act, (), anew=False)
        while learner.now < self.config.steps and not self._enough:
            if not self._run_block():
                time_step, _, step = next(life)
                learner.observe(time_step, step)
                self.journal.stepped(step)
                self._learn()
        if learner.now >= self.config.steps:
            self._compare()
        if self._saved_at != learner.now:
            self._save()

    def _learn(self) -> None:
        """All that is due at this step."""
        learner = self.learner
        self._saved_at = None
        self._learned(learner.learn_step(self.world.now()))

    def _learned(self, ran: list[Phase]) -> None:
        """After these phases: what is logged, evaluated and saved at this step."""
        learner = self.learner
        self._guarded(lambda: self.journal.learned(ran))
        # What has learned nothing yet, as while actions are random, earns what it earned at first.
        due = crossed(learner, self.config.eval_every) and (learner.updates or learner.fits)
        if due or learner.now >= self.config.steps:
            self._evaluate()
        if self._save_is_due():
            self._save()
        self._compiles = None
        self.progress.advance(self._snapshot())
        if self._signals.by:
            raise _Stopping

    def _run_block(self) -> bool:
        """Go on in one program up to the next step that the host must see, for a fraction of a second at most; False
        where that is the next one, or the world is no function, or the run too young (`FROM_STEP`).
        """
        learner, config = self.learner, self.config
        if not isinstance(self.world, JaxVector) or learner.now < FROM_STEP:
            return False
        events = [config.eval_every, config.log_every, config.checkpoint_every or config.steps]
        ahead = [every - learner.now % every for every in events] + [config.steps - learner.now]
        began, updates = time.monotonic(), learner.updates
        told = learner.run_block(self.world, min(self._portion.size, -(-min(ahead) // config.num_envs)))
        if told is None or not len(told.ended):
            return False
        made = len(told.ended)
        self._portion.took(made, time.monotonic() - began)
        self._saved_at = None
        self.journal.lived(told, (learner.updates - updates) // made)
        self._learned([])
        return True

    def _call(self, callback: Callback, record: dict[str, Any]) -> None:
        try:
            self._enough |= callback(record) is True
        except StopTraining:
            self._enough = True

    def _answer(self) -> None:
        """What the user is told at once, from another thread."""
        if self._compiles:
            self.progress.note(
                f"stopping as soon as {self._compiles} is compiled, which cannot be interrupted; then the run is saved"
            )
        else:
            self.progress.note("stopping; again: stop without saving")

    def _compiling(self, name: str) -> None:
        self._compiles = name
        self.progress.compiling(name)

    def _working(self, text: str) -> None:
        """In the middle of something long: show it, and leave it off where the user wants to stop."""
        self._compiles = None
        self.progress.working(text)
        if self._signals.by:
            raise _Stopping

    def _parted(self, phase: str, done: int, runs: int) -> None:
        """Between two parts of a stage, where all is whole: as `_working`, and logged and saved now and then."""
        self._guarded(lambda: self.journal.parted(phase, done, runs))
        self._working(f"{phase} {done:,} of {runs:,}")
        if self._long_unsaved():
            self._save()
            self._saved_at = None  # the step is not over

    def _guarded(self, call: Any) -> Any:
        """Run a call of the world; where it fails, keep what was learned so far and say where. A step that fails has
        not happened.
        """
        try:
            return call()
        except SecondSignal:
            raise
        except (EnvironmentFault, TrainingDiverged, KeyboardInterrupt) as fault:
            if self.saved is not None and not isinstance(fault, TrainingDiverged):
                self._save()
            if isinstance(fault, KeyboardInterrupt):
                raise Interrupted(f"stopped by an interrupt in the environment; {self._last_good(fault)}") from fault
            raise type(fault)(f"{fault}; {self._last_good(fault)}") from fault

    def _last_good(self, fault: BaseException) -> str:
        path = self.run_dir.path
        if self.saved is None:
            return f"nothing was learned yet, once that is mended: forethought resume {path}"
        kept = f"the last good checkpoint is {self.saved}"
        if isinstance(fault, TrainingDiverged):  # going on from there would lead to the same numbers
            return f"{kept}, which remains of use: forethought eval {path}"
        return f"{kept}, go on with: forethought resume {path}"

    def _evaluate(self) -> None:
        learner = self.learner
        act, carry = learner.exploiting(self.config.eval_episodes)
        self._evaluating, self._saved_at = True, None
        with learner.clock.measure("evaluate"):
            # The same episodes each time: what tells two evaluations apart is the policy and not the weather.
            self.evaluation = self._guarded(lambda: self._judge(act, carry, STARTS))
        evaluated = self.evaluation
        assert evaluated is not None
        self._evaluating = False
        learner.best.update(evaluated.returns.mean(axis=1), learner.now, learner.state)
        self.journal.log("eval", {"return": evaluated.returns.tolist(), "length": evaluated.lengths.tolist()})

    def _play_baselines(self) -> None:
        tell = lambda t: self._working(f"playing the baselines, step {t}")  # noqa: E731
        with self.learner.clock.measure("baselines"):
            played = self._guarded(lambda: play_baselines(self.config, self.world.codec, tell, self._controller))
        self.journal.baselines = played
        self.journal.log("baselines", {name: baseline._asdict() for name, baseline in played.items()})
        self.progress.note("baselines: " + ", ".join(described(*item) for item in played.items()))
        if words := far_below(played):
            self.journal.warn(words)

    def _compare(self) -> None:
        """Say so where the policy that comes out earns less than a baseline."""
        shortfall = None if self.evaluation is None else below(self.evaluation.returns, self.journal.baselines)
        if shortfall:
            self.journal.warn(f"{shortfall}; {WHAT_HELPS}")

    def _judge(self, act: Any, carry: Any, stream: str) -> Evaluation:
        try:
            config, at = self.config, self.learner.now
            tell = lambda t: self._working(f"evaluating the policy, step {t}")  # noqa: E731
            return evaluate(act, carry, config, episodes=config.eval_episodes, stream=stream, env_steps=at, tell=tell)
        except EnvironmentFault as fault:
            raise EnvironmentFault(f"in an episode of the evaluation: {fault}") from fault

    def _save_is_due(self) -> bool:
        if self.config.checkpoint_every is not None:
            return crossed(self.learner, self.config.checkpoint_every)
        return self._long_unsaved()

    def _long_unsaved(self) -> bool:
        wait = max(_CHECKPOINT_S, _CHECKPOINT_SHARE * self._save_cost)
        return time.monotonic() - self._last_save >= wait

    def _save(self) -> None:
        learner, began = self.learner, time.monotonic()
        self.progress.working("saving")
        self._guarded(learner.check_finite)
        host = {
            "counters": learner.counters(),
            "world": self.world.get_state(),
            "obs": self.world.now().obs,
            "evaluating": self._evaluating,
            "evaluation": None if self.evaluation is None else self.evaluation.to_host(),
            **self.journal.host(),
        }
        with learner.clock.measure("checkpoint"):
            self.saved = self.run_dir.save(learner.env_steps, learner.tree(), host, keep=self.config.keep)
        self._last_save, self._save_cost = time.monotonic(), time.monotonic() - began
        self._saved_at = learner.now

    def _warn(self, text: str) -> None:
        """A warning before the metrics are open: shown, not logged."""
        self.progress.note(f"warning: {text}")

    def _snapshot(self) -> Snapshot:
        return self.journal.snapshot(None if self.evaluation is None else self.evaluation.mean)


class _Guarded:
    """The world of a trainer, timed, and with what it does where a step fails."""

    def __init__(self, trainer: Trainer):
        self._trainer = trainer

    def now(self) -> TimeStep:
        """The moment to act on."""
        return self._trainer.world.now()

    def reset(self) -> TimeStep:
        """Begin anew."""
        return self._trainer.world.reset()

    def step(self, action: np.ndarray) -> Step:
        """Act."""
        trainer = self._trainer
        with trainer.learner.clock.measure("env"):
            return trainer._guarded(lambda: trainer.world.step(action))


def _fate(error: BaseException) -> tuple[str, str]:
    """Status and message of a run that ended so."""
    if isinstance(error, SecondSignal):
        return "interrupted", "a second signal stopped it at once, without saving"
    status = "interrupted" if isinstance(error, Interrupted | KeyboardInterrupt) else "failed"
    return status, str(error) if isinstance(error, ForethoughtError) else f"{type(error).__name__}: {error}"
