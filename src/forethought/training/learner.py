"""An agent that lives: state, replay and counters, driven by the training loop or by a loop that the user owns."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import jax
import numpy as np

from forethought.agents.base import Agent, Phase, Pieces
from forethought.envs import JaxVector
from forethought.envs.contract import Step
from forethought.errors import TrainingDiverged
from forethought.replay.moments import Replay
from forethought.training import contradictions
from forethought.training.best import Best
from forethought.training.block import Block, LoopState, Play, StepLog, all_finite, beside
from forethought.training.clock import Clock
from forethought.training.counters import require_counters
from forethought.training.exploiting import Exploiting
from forethought.training.phases import PIECE_S
from forethought.training.portion import Portion, next_mark
from forethought.training.program import Decision, How, Program
from forethought.training.remedies import remedy
from forethought.training.schedule import Schedule, usual_repeats
from forethought.training.seeds import Flat
from forethought.types import Experience, PyTree, TimeStep, Transition

Listener = Callable[[str], None]


class Learner:
    """K seeds of one agent with N environments each, and everything that they have learned.

    Attributes:
        env_steps: environment steps per seed so far, over its N environments.
        frames: frames of all environments of a seed, with action repeat counted.
        updates: gradient steps (or table updates) per seed.
        learned: the environment step up to which phases have run; below 0 while there is something left to be learned
            from the transitions that it was given.
        best: what each seed acted with in its best evaluation.
        infos: what each phase last reported, on the device.
        carry: what acting carried before the moment to act on.
        decision: what `act` says there, where that is known already.
        on_compile: is told what will be compiled.
        on_progress: is told that a phase of kind "model" runs, and about twice a second how far a long one is. Where
            it raises, that phase has not run, and `learn` begins with it when it is called again.
        on_part: is told how many of its many runs at a step a phase has done, at each hundredth of them and about
            twice a second; all is whole then, and may be saved. Where it raises, `learn` goes on with the rest.
        on_check: is told what the first transitions say of what is known; see `contradictions`.
    """

    def __init__(
        self,
        agent: Agent,
        seeds: Sequence[int],
        num_envs: int,
        rows: int,
        on_compile: Listener = lambda name: None,
        on_progress: Listener = lambda text: None,
        on_part: Callable[[str, int, int], None] = lambda name, done, runs: None,
        *,
        pretrain: int = 0,
    ):
        """``rows`` bounds what the replay has to hold, those of `give` included.

        With ``pretrain`` above 0 the phases begin so many steps before the first one of the environment, whatever
        their own start: there is something to learn from.
        """
        self.agent, self.num_envs = agent, num_envs
        self.on_compile, self.on_progress, self.on_part = on_compile, on_progress, on_part
        self.on_check: Callable[[dict[str, list[float]]], None] = lambda found: None
        self.program = Program(agent, seeds, num_envs, rows)
        self.pretrain = -(-pretrain // num_envs) * num_envs
        self.phases = agent.phases()
        if pretrain:
            self.phases = tuple(
                replace(phase, start=1 - self.pretrain) if phase.clock == "steps" else phase for phase in self.phases
            )
        self.schedule = Schedule(self.phases, num_envs, agent.random_steps, -self.pretrain)
        self.clock = Clock()
        self.env_steps = self.frames = self.updates = 0
        self.learned = -self.pretrain
        self._acted = False  # by the policy
        self._running: str | None = None  # the phase that was called last, where it may not have ended yet
        self._runs: dict[str, int] = {}  # of the phases of the step after `learned`, where learning was stopped in it
        self.infos: dict[str, dict[str, Any]] = {}
        on_compile("the agent")
        with self.clock.measure("init"):
            self._state = Flat.of(self.program.init_state())
            self._replay = self.program.init_replay()
            self.carry = self.program.init_carry()
        self._unrecorded: Experience | None = None
        self._blocks: dict[Any, Block] = {}
        self._plays: dict[Any, Play] = {}
        self._unsound = False  # what the world gave last
        self.decision: Decision | None = None
        self.best = Best(agent, self.state, len(self.program.seeds))

    @property
    def state(self) -> PyTree:
        """All that the agents have learned; leaves have the leading axis K."""
        return self._state.tree

    @state.setter
    def state(self, state: PyTree) -> None:
        self._state = Flat.of(state)

    @property
    def replay(self) -> Replay:
        """All transitions that are kept, with the newest."""
        if self._unrecorded is not None:
            with self.clock.measure("record"):
                self._replay = self.program.record(self._replay, self._unrecorded)
            self._unrecorded = None
        return self._replay

    @replay.setter
    def replay(self, replay: Replay) -> None:
        self._replay, self._unrecorded = replay, None

    @property
    def leading(self) -> tuple[int, int]:
        """(seeds, environments per seed)."""
        return len(self.program.seeds), self.num_envs

    @property
    def fits(self) -> int:
        """How often the phases of kind "model" were done; many runs at one step are one stage."""
        models = [phase for phase in self.phases if phase.kind == "model"]
        return max((self.runs(phase, self.learned) // phase.times for phase in models), default=0)

    def runs(self, phase: Phase, step: int) -> int:
        """How often a phase will have run by a step."""
        return self.schedule.runs(phase, step)

    @property
    def now(self) -> int:
        """Where it stands: environment steps so far, or how many steps before the first one, below 0."""
        return self.env_steps or min(self.learned, 0)

    def give(self, rows: Transition) -> None:
        """Put transitions [n, ...], as agents see them, into the empty replay of every seed."""
        self.replay = self.program.fill(self.replay, rows)
        for phase in self.phases:
            self._check(phase)

    def warm_up(self) -> None:
        """Compile all that `act`, `observe`, `learn` and `check_finite` will run, and run none of it."""
        with self.clock.measure("init"):
            phases = [(phase, n) for phase in self.phases for n in usual_repeats(phase, self.num_envs)]
            self.program.prepare(phases, self._state, self.replay, self.carry)
            _all_finite.lower(self.state).compile()

    @property
    def full(self) -> bool:
        """Whether the next step would overwrite one that was not learned from yet."""
        return self.env_steps + self.num_envs - max(self.learned, 0) > self.program.replay_capacity

    def act(self, time_step: TimeStep) -> np.ndarray:
        """Actions [K * N, ...] in the moment [K * N, ...], exploring; random during the warm-up. Asked again before
        `observe`, it says the same.
        """
        self._settle()
        with self.clock.measure("act"):
            if self.decision is None:
                random = self.env_steps < self.agent.random_steps
                if not random and not self._acted:
                    self._acted = True
                    self.on_compile("the policy")
                how: How = "random" if random else "explore"
                self.decision = self.program.act(how, self._state, self.carry, self._grouped(time_step), self.env_steps)
            action = np.asarray(self.decision.action)
        return action.reshape(-1, *action.shape[2:])

    def exploiting(self, n: int) -> tuple[Exploiting, PyTree]:
        """The actor that does not explore, in n environments per seed [K * n, ...], and its first carry."""
        return Exploiting(self.program, self._state, n, self._plays), self.program.init_carry(n)

    def observe(self, time_step: TimeStep, step: Step, *, own: bool = True) -> None:
        """Remember what came of the moment for which `act` was asked; all have the leading axis [K * N].

        ``own`` is False where another action was carried out than `act` said: what the agent gave beside that is
        dropped then.
        """
        decision = self.decision
        if decision is not None:
            self.carry = decision.carry
        said = decision if decision is not None and own else self.program.empty_decision(self.num_envs)
        self._replay = self.replay
        self._unrecorded = Experience(self._grouped(time_step), self._grouped(step.reached), said.extras)
        self.decision = None
        self.env_steps += self.num_envs
        self.frames += int(np.sum(step.frames)) // len(self.program.seeds)

    def _grouped(self, tree: PyTree) -> PyTree:
        """Arrays [K * N, ...] as [K, N, ...]."""
        return jax.tree.map(lambda x: np.asarray(x).reshape(*self.leading, *np.shape(x)[1:]), tree)

    def run_block(self, world: JaxVector, most: int) -> StepLog | None:
        """Go on for ``most`` turns at most in one program, and say what happened in them.

        None, and nothing is done, where the next step asks for the host: a rare phase is due at it, learning was put
        off, or what the world gave was not finite, which is for `VectorEnv.step` to say.
        """
        phases, turns = self.schedule.steady(self.env_steps)
        if self._unsound or not turns or most < 1 or self.learned != self.env_steps:
            self._unsound = False
            return None
        how: How = "random" if self.schedule.random_after(self.env_steps) else "explore"
        name = phases[-1][0].name if phases else "env"
        kind = how, *((phase.name, repeats) for phase, repeats in phases)
        if kind not in self._blocks:
            self.on_compile(f"steps with {name}" if phases else "steps")
            self._blocks[kind] = Block(self.program, world.advance, phases, how)
        self.act(world.now())
        assert self.decision is not None
        with self.clock.measure(name):
            slots = beside(self._state, world.slots)
            alive = LoopState(self._state, self.replay, self.carry, self.decision, slots, {})
            alive, told = self._blocks[kind](alive, self.env_steps, min(turns, most))
        self._state, self._replay, self.carry, self.decision, world.slots, infos = alive
        made = len(told.ended)
        self._unsound = made < min(turns, most, self._blocks[kind].most)
        if made:
            self.infos |= infos
        self.env_steps += made * self.num_envs
        self.learned = self.env_steps
        self.frames += int(np.sum(told.frames.sum(axis=1) // len(self.program.seeds)))
        self.updates += made * sum(phase.updates * repeats for phase, repeats in phases)
        return told

    def learn(self) -> list[Phase]:
        """Run every phase that is due after the newest step, and those of earlier steps that were put off, in order.

        Returns those that ran.
        """
        ran = []
        while self.learned < self.env_steps:
            ran += self.learn_step()
        return ran

    def learn_step(self, time_step: TimeStep | None = None) -> list[Phase]:
        """As `learn`, of the next step only. With the moment [K * N, ...] that is to be acted on next, what is due at
        each step runs in one program with the step's recording and with the next decision.
        """
        now = self.learned + self.num_envs
        for phase in self.phases:
            if contradictions.are_due(phase, self.learned, now):
                self._check(phase)
        phases = self.schedule.of_each_step(now)
        newest = self._unrecorded is not None and now == self.env_steps >= self.agent.random_steps
        if time_step is not None and phases and newest and not self._runs:
            return self._turn(phases, now, time_step)
        ran = []
        for phase in self.phases:
            runs = self.schedule.due(phase, now)
            if phase.counted:
                self._run_counted(phase, now, runs)
            else:
                last = now - (now - phase.start) % phase.every
                while left := runs - self._runs.get(phase.name, 0):
                    repeats = 1 if isinstance(phase.run, Pieces) else left
                    self._run(phase, last - (left - repeats) * phase.every, repeats)
            if runs:
                ran.append(phase)
        self.learned, self._runs = now, {}
        return ran

    def _check(self, phase: Phase) -> None:
        with self.clock.measure("init"):
            found = contradictions.found(self.program, phase, self.replay)
        if found:
            self.on_check(found)

    def _turn(self, phases: tuple[tuple[Phase, int], ...], now: int, time_step: TimeStep) -> list[Phase]:
        if not self.program.turns(phases):
            self.on_compile(f"the policy and {' and '.join(phase.name for phase, _ in phases)}")
        self._settle()
        assert self._unrecorded is not None
        last = phases[-1][0].name
        with self.clock.measure(last):
            self._state, self._replay, infos, self.decision = self.program.turn(
                phases, self._state, self._replay, self._unrecorded, self.carry, self._grouped(time_step), now
            )
        self._unrecorded = None
        self.infos |= infos
        self._running, self.learned = last, now
        self.updates += sum(phase.updates * repeats for phase, repeats in phases)
        return [phase for phase, _ in phases]

    def _run(self, phase: Phase, at: int, repeats: int) -> None:
        if not self.program.phases.compiled(phase, repeats):
            self.on_compile(phase.name)
        elif phase.kind == "model":
            self.on_progress(phase.name)
        self._settle()
        with self.clock.measure(phase.name):
            self._state, self.replay, info = self.program.phases.run(
                phase, self._state, self.replay, at, repeats, self.on_progress
            )
        self.infos[phase.name], self._running = info, phase.name
        if phase.every > self.num_envs:  # so that it is heard of when it is done; the others end while the host goes on
            self._settle()
        self.updates += phase.updates * repeats
        self._runs[phase.name] = self._runs.get(phase.name, 0) + repeats

    def _run_counted(self, phase: Phase, at: int, runs: int) -> None:
        """What is left of so many runs at this step, in parts; after each it is whole, and may be stopped or saved."""
        portion, name = Portion(PIECE_S), phase.name
        while left := runs - self._runs.get(name, 0):
            if not self.program.phases.compiled(phase, 1):
                self.on_compile(name)
            self._settle()
            done, began = self._runs.get(name, 0), time.perf_counter()
            part = min(portion.size, next_mark(done, runs) - done)
            with self.clock.measure(name):
                self._state, self.replay, self.infos[name] = self.program.phases.run_counted(
                    phase, self._state, self.replay, at, done, part
                )
                jax.block_until_ready(self._state.leaves)
            self.updates += phase.updates * part
            self._runs[name] = done + part
            if left > part:
                self.on_part(name, done + part, runs)
            portion.took(part, time.perf_counter() - began)

    def _settle(self) -> None:
        """Wait for the phase that is running, and charge the time to it."""
        if self._running is not None:
            with self.clock.measure(self._running):
                jax.block_until_ready((self.infos[self._running], self._state.leaves))  # some report nothing
            self._running = None

    def metrics(self, phase: str) -> dict[str, list[float]]:
        """What a phase last reported: name -> one number per seed.

        Raises `TrainingDiverged` where a number is NaN or infinite.
        """
        values = {name: np.asarray(x, np.float64).tolist() for name, x in self.infos.get(phase, {}).items()}
        for name, per_seed in values.items():
            for seed, value in zip(self.program.seeds, per_seed, strict=True):
                if not np.all(np.isfinite(value)):
                    raise TrainingDiverged(
                        f"{name} became {value} at step {self.env_steps} (seed {seed}); {self._remedy()}"
                    )
        return values

    def check_finite(self) -> None:
        """Raise `TrainingDiverged` where any number of the agent's state is NaN or infinite."""
        for phase in self.infos:
            self.metrics(phase)
        if not bool(_all_finite(self.state)):
            raise TrainingDiverged(f"a parameter became NaN or infinite at step {self.env_steps}; {self._remedy()}")

    def _remedy(self) -> str:
        return remedy(self.agent.config, self.replay)

    def tree(self) -> PyTree:
        """The arrays that a checkpoint must hold."""
        decision = self.decision or self.program.empty_decision(self.num_envs)
        return {
            "state": self.state,
            "replay": self.replay,
            "carry": self.carry,
            "decision": decision._asdict(),
            "best": self.best.held,
        }

    def blank(self) -> PyTree:
        """A `tree` of which the replay may be consumed. The learner's own is gone then: `restore` comes next."""
        del self._replay
        self.replay = self.program.init_replay()
        return self.tree()

    def counters(self) -> dict[str, Any]:
        """The host side of a checkpoint."""
        return {
            "env_steps": self.env_steps,
            "frames": self.frames,
            "updates": self.updates,
            "learned": self.learned,
            "runs": dict(self._runs),
            "infos": {phase: {name: np.asarray(x) for name, x in info.items()} for phase, info in self.infos.items()},
            "decided": self.decision is not None,
            **self.best.counters(),
            "seconds": dict(self.clock.seconds),
        }

    def restore(self, tree: PyTree, counters: Any) -> None:
        """Become what `tree` and `counters` were. Raises `CheckpointError` where these are not what they must be."""
        k = len(self.program.seeds)
        require_counters(counters, seeds=k, num_envs=self.num_envs, pretrain=self.pretrain)
        self.state, self.carry = tree["state"], tree["carry"]
        self.decision = Decision(**tree["decision"]) if counters["decided"] else None
        self.replay = tree["replay"]
        self.best.restore(tree["best"], counters)
        self.env_steps, self.frames, self.updates = (counters[k] for k in ("env_steps", "frames", "updates"))
        self.learned, self._runs = counters["learned"], dict(counters["runs"])
        self.infos = counters["infos"]
        self.clock.seconds = dict(counters["seconds"])


_all_finite = jax.jit(all_finite)
