"""Many environment steps in one program, where the world is a function: act, step, record and learn on the device."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool

from forethought.agents.base import Phase
from forethought.envs.contract import Step
from forethought.replay import moments
from forethought.replay.moments import Replay
from forethought.training.program import Decision, How, Program
from forethought.types import Experience, Info, Key, PyTree, TimeStep

# Environment steps after which blocks pay for being compiled. A number of steps and nothing else: what is compiled as
# one program may round otherwise, and a run that is killed, resumed or extended must change over at the same step.
FROM_STEP = 1000
_MOST_ROWS = 2**20  # of what is told of a block: steps times slots
_MOST_STEPS = 4096
SECONDS, FIRST = 0.25, 8  # that a block should take, and turns of the first one

Advance = Callable[[PyTree, Array], tuple[PyTree, Step]]  # of all slots


class StepLog(NamedTuple):
    """What the host hears of the steps of a block, t of them, in n slots."""

    reward: Any  # float32 [t, n]
    ended: Any  # bool [t, n]
    frames: Any  # int32 [t, n]


class LoopState(NamedTuple):
    """All that changes in a block."""

    state: PyTree
    replay: Replay
    carry: PyTree  # before the moment to act on
    decision: Decision  # in that moment
    slots: PyTree
    infos: dict[str, Info]


class Play:
    """Steps without learning or exploring, up to the one with which the last of the slots that still play has ended."""

    def __init__(self, program: Program, advance: Advance):
        self.program, self.advance = program, advance
        self._decide = program.over_seeds(partial(program.decided, "exploit"), (0, 0, 0, 0, None))
        self._run = jax.jit(self._loop)

    def __call__(
        self, state: PyTree, carry: PyTree, slots: PyTree, playing: np.ndarray, t: int, n: int
    ) -> tuple[PyTree, PyTree, StepLog]:
        """Carry and slots after n turns at most from time t on, and what the host hears of them; the last one may hold
        what is not finite, and has then not happened.
        """
        most = _most_turns(len(playing))
        carry, slots, told, made = self._run(state, carry, slots, playing, t, min(n, most))
        return carry, slots, _first(told, made)

    def _loop(
        self, state: PyTree, carry: PyTree, slots: PyTree, playing: Bool[Array, " s"], t: Array, n: Array
    ) -> tuple[PyTree, PyTree, StepLog, Array]:
        k, s = len(self.program.seeds), playing.shape[0]

        def turn(at: Any) -> Any:
            i, _, carry, slots, playing, told = at
            now = jax.tree.map(lambda x: x.reshape(k, s // k, *x.shape[1:]), slots.now)
            action, after, _ = self._decide(self.program.keys, state, carry, now, t + i)
            action = jax.tree.map(lambda x: x.reshape(s, *x.shape[2:]), action)
            further, led = self.advance(slots, action)
            sound = all_finite((action, led.reached.obs, led.reached.reward))
            carry, slots = jax.tree.map(partial(jnp.where, sound), (after, further), (carry, slots))
            ended = led.reached.terminated | led.reached.truncated
            told = _noted(told, i, led)
            return i + sound, sound, carry, slots, playing & ~ended, told

        start = jnp.array(0), jnp.array(True), carry, slots, playing, _untold(_most_turns(s), s)
        made, _, carry, slots, _, told = jax.lax.while_loop(
            lambda at: (at[0] < n) & at[1] & jnp.any(at[4]), turn, start
        )
        return carry, slots, told, made


class Block:
    """``steps`` turns of the loop: the decision is carried out and recorded, phases run, and the next one is made.

    The loop has a length that is decided when it is called, so where a run is cut into blocks changes no bit. It ends
    before a step whose action, reward or observation is not finite: that step has not happened.
    """

    def __init__(self, program: Program, advance: Advance, phases: tuple[tuple[Phase, int], ...], how: How):
        self.program, self.advance, self.how = program, advance, how
        self.runs = {phase.name: program.phases.repeated(phase, repeats) for phase, repeats in phases}
        self.most = _most_turns(len(program.seeds) * program.num_envs)
        axes = (0, 0, program.replay_axes, 0, 0, 0, None), (0, program.replay_axes, 0, 0)
        self._learn = program.over_seeds(self._learn_one, *axes)
        self._run = jax.jit(self._loop, donate_argnums=(0, 1))

    def __call__(self, alive: LoopState, step: int, n: int) -> tuple[LoopState, StepLog]:
        """Go on from environment step ``step`` for n turns at most; state and replay are consumed."""
        after, told, made = self._run(
            alive.state, alive.replay, alive.carry, alive.decision, alive.slots, step, min(n, self.most)
        )
        return after, _first(told, made)

    def _loop(
        self, state: PyTree, replay: Replay, carry: PyTree, decision: Decision, slots: PyTree, step: Array, n: Array
    ) -> tuple[LoopState, StepLog, Array]:
        k, size = len(self.program.seeds), self.program.num_envs
        told = _untold(self.most, k * size)

        def grouped(tree: PyTree) -> PyTree:
            return jax.tree.map(lambda x: x.reshape(k, size, *x.shape[1:]), tree)

        def turn(at: tuple[Array, Array, LoopState, StepLog]) -> tuple[Array, Array, LoopState, StepLog]:
            i, _, alive, told = at
            action = jax.tree.map(lambda x: x.reshape(k * size, *x.shape[2:]), alive.decision.action)
            slots, led = self.advance(alive.slots, action)
            reached = led.reached
            sound = all_finite((action, reached.obs, reached.reward))
            experience = Experience(grouped(alive.slots.now), grouped(reached), alive.decision.extras)

            def learn(_: Array, alive: LoopState) -> LoopState:
                carry, made = alive.decision.carry, step + (i + 1) * size
                state, replay, infos, decision = self._learn(
                    self.program.keys, alive.state, alive.replay, experience, carry, grouped(slots.now), made
                )
                return LoopState(state, replay, carry, Decision(*decision), slots, infos)

            # One turn of a loop, or none: a branch would copy what it does not change.
            alive = jax.lax.fori_loop(0, sound.astype(jnp.int32), learn, alive)
            return i + sound, sound, alive, _noted(told, i, led)

        alive = LoopState(state, replay, carry, decision, slots, self._no_infos(state, replay, step))
        made, _, alive, told = jax.lax.while_loop(
            lambda at: (at[0] < n) & at[1], turn, (jnp.array(0), jnp.array(True), alive, told)
        )
        return alive, told, made

    def _learn_one(
        self,
        key: Key,
        state: PyTree,
        replay: Replay,
        experience: Experience,
        carry: PyTree,
        now: TimeStep,
        step: Array,
    ) -> Any:
        """Of one seed: record, learn, decide."""
        replay, infos = moments.record(replay, experience), {}
        for name, run in self.runs.items():
            state, replay, infos[name] = run(key, state, replay, step)
        return state, replay, infos, self.program.decided(self.how, key, state, carry, now, step)

    def _no_infos(self, state: PyTree, replay: Replay, step: Array) -> dict[str, Info]:
        """Zeros in the place of what phases tell."""

        def told(key: Key, state: PyTree, replay: Replay) -> dict[str, Info]:
            return {name: run(key, state, replay, step)[2] for name, run in self.runs.items()}

        over_seeds = self.program.over_seeds(told, (0, 0, self.program.replay_axes))
        shapes = jax.eval_shape(over_seeds, self.program.keys, state, replay)
        return jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)


def beside(state: PyTree, tree: PyTree) -> PyTree:
    """On the device of a state: step by step, functional environments live on the processor."""
    return jax.device_put(tree, next(iter(jax.tree.leaves(state)[0].devices())))


def _most_turns(slots: int) -> int:
    return int(np.clip(_MOST_ROWS // slots, 1, _MOST_STEPS))


def _first(told: StepLog, made: Array) -> StepLog:
    """The rows of the turns that were made, on the host: to cut them off on the device compiles for each number."""
    rows = int(made)
    return StepLog(*(np.asarray(x)[:rows] for x in told))


def _untold(turns: int, slots: int) -> StepLog:
    shape = turns, slots
    return StepLog(jnp.zeros(shape), jnp.zeros(shape, bool), jnp.zeros(shape, jnp.int32))


def _noted(told: StepLog, i: Array, led: Step) -> StepLog:
    row = led.reached.reward, led.reached.terminated | led.reached.truncated, led.frames
    return StepLog(*(x.at[i].set(y) for x, y in zip(told, row, strict=True)))


def all_finite(tree: PyTree) -> Bool[Array, ""]:
    """Whether every number of a tree is one."""
    floats = [x for x in jax.tree.leaves(tree) if jnp.issubdtype(x.dtype, jnp.floating)]
    return jnp.all(jnp.array([jnp.all(jnp.isfinite(x)) for x in floats])) if floats else jnp.array(True)
