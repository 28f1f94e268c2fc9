"""What a run tells of itself: the lines of ``metrics.jsonl``, what writers get, warnings, episodes and speed."""

import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from forethought.agents.base import Agent, Phase
from forethought.envs.contract import Step
from forethought.stored import array, count, number, numbers, require, words
from forethought.training.baselines import Baseline, Baselines, are_stored
from forethought.training.block import StepLog
from forethought.training.clock import compiled_programs
from forethought.training.config import RunConfig, to_dict
from forethought.training.learner import Learner
from forethought.training.pace import Pace
from forethought.training.portion import is_mark
from forethought.training.progress import Snapshot
from forethought.training.rundir import RunDir
from forethought.training.writers import flat, open_writers

_RATE_S = 5.0  # seconds over which the displayed speed is measured
_MOST_LINES = 50  # of episodes, in a quarter of a second
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
        self.returns += step.reached.reward
        self.lengths += 1
        ended = []
        for slot in np.flatnonzero(step.ended):
            ended.append((int(slot), float(self.returns[slot]), int(self.lengths[slot])))
            self.recent.append(float(self.returns[slot]))
            self.returns[slot], self.lengths[slot] = 0.0, 0
        self.finished += len(ended)
        return ended

    def add_block(self, told: StepLog) -> list[tuple[int, int, float, int]]:
        """Count the steps of a block; returns (step, slot, return, length) of the episodes that ended, in their order.

        Rewards are summed one after the other, as `add` does, so that where a run is cut into blocks changes no bit.
        """
        ended, begin = [], [0] * told.ended.shape[1]
        for t, slot in np.argwhere(told.ended).tolist():
            total, length = self._summed(told, slot, begin[slot], t + 1)
            ended.append((t, slot, total, length))
            self.recent.append(total)
            self.returns[slot], self.lengths[slot], begin[slot] = 0.0, 0, t + 1
        for slot in range(len(begin)):
            self.returns[slot], self.lengths[slot] = self._summed(told, slot, begin[slot], len(told.ended))
        self.finished += len(ended)
        return ended

    def _summed(self, told: StepLog, slot: int, begin: int, end: int) -> tuple[float, int]:
        rewards = np.concatenate([self.returns[slot : slot + 1], told.reward[begin:end, slot].astype(np.float64)])
        return float(np.cumsum(rewards)[-1]), int(self.lengths[slot] + end - begin)


class Journal:
    """Writes down what a learner lives through, whoever drives it.

    Every method that reads the agent's numbers raises `TrainingDiverged` where one of them is NaN or infinite.
    """

    def __init__(
        self, config: RunConfig, run: RunDir, agent: Agent, learner: Learner, show: Callable[[str], None]
    ) -> None:
        self.config, self.run, self.agent, self.learner, self.show = config, run, agent, learner, show
        slots = config.seeds * config.num_envs
        self.episodes = Episodes(np.zeros(slots), np.zeros(slots, np.int64))
        self.writers = open_writers(config.writers, run.path, to_dict(config))
        self.latest: dict[str, float] = {}
        self.baselines: Baselines = {}
        self.tell: Callable[[dict[str, Any]], None] = lambda record: None  # gets every line
        self._warned: set[str] = set()
        self._causes: tuple[str, ...] = ()  # that the last fit gave cause for, each up to its first colon
        self._names = run.read().codec.obs_names
        learner.on_check = lambda found: self._warn_of(self.agent.warnings(found, self._names))
        self._rate = 0.0
        self.begin(0.0)

    def begin(self, wall_s: float) -> None:
        """Start the clocks, ``wall_s`` seconds into the run."""
        now = time.monotonic()
        self._started, self._programs = now - wall_s, compiled_programs()
        self._mark, self.pace = (self.learner.now, now), Pace(self.config, self.learner)
        self._logged = self.learner.learned

    @property
    def wall_s(self) -> float:
        """Seconds of the whole run, earlier processes included."""
        return time.monotonic() - self._started

    def log(self, kind: str, values: dict[str, Any], counters: dict[str, int] | None = None) -> None:
        """One line, with the counters, which are those of now where no others are given."""
        learner = self.learner
        counters = counters or {"env_steps": learner.now, "frames": learner.frames, "updates": learner.updates}
        record = {"kind": kind, **counters, "wall_s": round(self.wall_s, 3), **values}
        self.run.log(record)
        for writer in self.writers:
            scalars = {f"{kind}/{name}": value for name, value in flat(values).items()}
            writer.scalars(scalars, counters["env_steps"])
        self.tell(record)

    def warn(self, text: str) -> None:
        """Say something once, whatever its figures after the colon are."""
        if _about(text) not in self._warned:
            self._warned.add(_about(text))
            self.log("warning", {"text": text})
            self.show(f"warning: {text}")

    def _warn_of(self, texts: Sequence[str]) -> None:
        """What the last fit gives cause to warn of; what an earlier one did, and this one does not, is taken back."""
        found = tuple(map(_about, texts))
        for about in self._causes:
            if about not in found:
                self.log("warning", {"text": about, "over": True})
                self.show(f"no longer, by the newest fit: {about}")
        for text, about in zip(texts, found, strict=True):
            if about in self._warned:
                self.log("warning", {"text": text})  # with its newest figures
                if about not in self._causes:
                    self.show(f"warning: again, {about}")
            self.warn(text)
        self._causes = found

    def stepped(self, step: Step) -> None:
        """One step of every slot: the episodes that end with it."""
        for slot, total, length in self.episodes.add(step):
            seed = self.config.seed_list[slot // self.config.num_envs]
            self.log("episode", {"seed": seed, "return": total, "length": length})

    def lived(self, told: StepLog, updates: int) -> None:
        """The steps of a block, the last of which is the newest, with so many updates after each.

        Where more than `_MOST_LINES` episodes end in it, one line tells of all of a seed: their mean and their number.
        """
        learner, made, ended = self.learner, len(told.ended), self.episodes.add_block(told)
        of_step = told.frames.sum(axis=1) // self.config.seeds

        def tell(t: int, slot: int, values: dict[str, Any]) -> None:
            later = made - 1 - t
            counters = {
                "env_steps": learner.env_steps - later * self.config.num_envs,
                "frames": learner.frames - int(of_step[t + 1 :].sum()),
                "updates": learner.updates - (later + 1) * updates,  # those of its own step follow it
            }
            self.log("episode", {"seed": self.config.seed_list[slot // self.config.num_envs], **values}, counters)

        if len(ended) <= _MOST_LINES:
            for t, slot, total, length in ended:
                tell(t, slot, {"return": total, "length": length})
            return
        for first in range(0, len(self.episodes.returns), self.config.num_envs):
            of_seed = [e for e in ended if first <= e[1] < first + self.config.num_envs]
            if of_seed:
                mean = np.mean([(total, length) for _, _, total, length in of_seed], axis=0).tolist()
                tell(of_seed[-1][0], first, {"return": mean[0], "length": mean[1], "count": len(of_seed)})

    def learned(self, ran: Sequence[Phase]) -> None:
        """After the phases of a step: what the model says of itself, and the training metrics where they are due."""
        models = self._metrics(phase for phase in ran if phase.kind == "model")
        if models:
            self.log("model", models)
            self._warn_of(self.agent.warnings(models, self._names))
        every, step = self.config.log_every, self.learner.env_steps
        if step // every > self._logged // every:  # not `crossed`: learning may have been put off for many steps
            self._logged = step
            metrics = self._metrics(phase for phase in self.learner.phases if phase.kind == "train")
            self._measure_rate()
            seconds = {name: round(s, 4) for name, s in self.learner.clock.seconds.items()}
            self.latest = {name: float(np.mean(values)) for name, values in metrics.items()}
            self.log("train", {**metrics, "steps_per_s": self._rate, "seconds": seconds})

    def parted(self, phase: str, done: int, runs: int) -> None:
        """In the middle of a stage of so many ``runs`` at one step: what its phase reports, at each hundredth of it."""
        if not is_mark(done, runs):
            return
        metrics = self.learner.metrics(phase)
        self.latest = {name: float(np.mean(values)) for name, values in metrics.items()}
        kind = next(known.kind for known in self.learner.phases if known.name == phase)
        self.log(kind, {**metrics, "part": done})

    def host(self) -> dict[str, Any]:
        """What a checkpoint keeps of it."""
        return {
            "returns": self.episodes.returns,
            "lengths": self.episodes.lengths,
            "episodes": self.episodes.finished,
            "recent": [float(x) for x in self.episodes.recent],
            "metrics_bytes": self.run.metrics_size(),
            "baselines": {name: list(played) for name, played in self.baselines.items()},
            "warned": sorted(self._warned),
            "causes": list(self._causes),
            "wall_s": self.wall_s,
        }

    def restore(self, host: dict[str, Any]) -> None:
        """Become what `host` was; lines that were written later are cut off.

        Raises `CheckpointError`, and cuts nothing, where it is not what it must be.
        """
        returns, lengths = self.episodes.returns, self.episodes.lengths
        arrays = {"returns": array(returns.shape, returns.dtype), "lengths": array(lengths.shape, lengths.dtype)}
        simple = {"episodes": count, "recent": numbers, "metrics_bytes": count, "wall_s": number}
        require(host, {**arrays, **simple, "baselines": are_stored, "warned": words, "causes": words})
        lost = self.run.cut_metrics(host["metrics_bytes"])
        if lost:
            self.show(f"warning: {self.run.metrics_path} has lost {lost:,} bytes of what the checkpoint knows of")
        self.episodes.returns, self.episodes.lengths = np.array(host["returns"]), np.array(host["lengths"])
        self.episodes.finished = host["episodes"]
        self.episodes.recent = deque(host["recent"], maxlen=_RECENT)
        self.baselines = {name: Baseline(*played) for name, played in host["baselines"].items()}
        self._warned, self._causes = set(host["warned"]), tuple(host["causes"])
        self.begin(host["wall_s"])

    def snapshot(self, evaluated: float | None) -> Snapshot:
        """The numbers for a display, the last evaluation's return ``evaluated`` among them."""
        learner, now = self.learner, time.monotonic()
        if compiled_programs() > self._programs:  # a step that waited for the compiler says nothing of the speed
            self._programs = compiled_programs()
            self._mark = learner.now, now
        if now - self._mark[1] > _RATE_S:
            self._measure_rate()
        return Snapshot(
            steps=self.config.steps,
            env_steps=learner.now,
            frames=learner.frames,
            updates=learner.updates,
            fits=learner.fits,
            episodes=self.episodes.finished,
            wall_s=self.wall_s,
            steps_per_s=self._rate,
            left_s=self.pace.left(now),
            train_return=sum(recent) / len(recent) if (recent := self.episodes.recent) else None,
            eval_return=evaluated,
            metrics=self.latest,
        )

    def summary(self, status: str, message: str = "", returns: list[float] | None = None) -> dict[str, Any]:
        """Write ``summary.json`` and return it; ``returns`` are the last evaluation's, per seed."""
        learner, best = self.learner, self.learner.best
        summary = {
            "status": status,
            "message": message,
            "env_steps": learner.env_steps,
            "frames": learner.frames,
            "updates": learner.updates,
            "fits": learner.fits,
            "wall_s": round(self.wall_s, 3),
            "seconds": {name: round(s, 3) for name, s in learner.clock.seconds.items()},
            "return": returns,
            "best": {"return": best.returns.tolist(), "step": best.steps.tolist()} if best.known else None,
            "baselines": {name: played._asdict() for name, played in self.baselines.items()},
        }
        self.run.write_summary(summary)
        return summary

    def close(self) -> None:
        """Close the files and the writers."""
        self.run.close()
        for writer in self.writers:
            writer.close()

    def _metrics(self, phases: Iterable[Phase]) -> dict[str, list[float]]:
        metrics: dict[str, list[float]] = {}
        for phase in phases:
            metrics.update(self.learner.metrics(phase.name))
        return metrics

    def _measure_rate(self) -> None:
        """Environment steps per second, of all seeds together, since the last measurement."""
        steps, since = self.learner.now - self._mark[0], time.monotonic() - self._mark[1]
        self._rate = steps * self.config.seeds / max(since, 1e-9)
        self._mark = self.learner.now, time.monotonic()


def _about(text: str) -> str:
    """What a warning is about, whatever its figures are."""
    return text.split(": ")[0]


def crossed(learner: Learner, every: int) -> bool:
    """Whether the newest step of every environment passed a multiple of ``every``."""
    return learner.now // every > (learner.now - learner.num_envs) // every
