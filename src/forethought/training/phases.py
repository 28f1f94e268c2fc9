"""The phases of an agent, compiled once each over all seeds: alone, several times in a row, and in pieces."""

import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from forethought.agents.base import Phase, Pieces
from forethought.replay.moments import Replay
from forethought.training.portion import Portion
from forethought.training.seeds import Flat, over_seeds, purpose_key, settled, tree_of
from forethought.types import Info, Key, PyTree

PIECE_S = 0.5  # seconds that a piece of a long phase should take


class Phases:
    """States are pytrees or `Flat`; what is given comes back in the same form."""

    def __init__(self, keys: Key, replay_axes: Replay):
        """With the keys [K] of the seeds, and the axes of their replays."""
        self.keys, self.replay_axes = keys, replay_axes
        self._phases: dict[tuple[str, int], Any] = {}
        self._pieces: dict[str, Pieces] = {}

    def run(
        self,
        phase: Phase,
        state: PyTree,
        replay: Replay,
        step: int,
        repeats: int,
        tell: Callable[[str], None] = lambda text: None,
    ) -> tuple[PyTree, Replay, Info]:
        """Run a phase ``repeats`` times, the last one at ``step``; the state and the replay given are consumed.

        One in `Pieces` runs once, and says through ``tell`` how far it is; where that raises, both are as they were.
        The info has one number per seed.
        """
        if isinstance(phase.run, Pieces):
            assert repeats == 1
            return self._run_pieces(self._pieces_of(phase, phase.run), state, replay, step, tell)
        assert not phase.counted
        return self._phase(phase, repeats)(self.keys, state, replay, step)

    def run_counted(
        self, phase: Phase, state: PyTree, replay: Replay, step: int, first: int, runs: int
    ) -> tuple[PyTree, Replay, Info]:
        """So many runs, from number ``first`` on, of a `Phase.counted` at one step; state and replay are consumed."""
        return self._phase(phase, 1)(self.keys, state, replay, step, first, runs)

    def compiled(self, phase: Phase, repeats: int) -> bool:
        """Whether that phase has run or was prepared before, so that it will not be compiled."""
        return phase.name in self._pieces or (phase.name, repeats) in self._phases

    def prepare(self, phases: Iterable[tuple[Phase, int]], state: PyTree, replay: Replay) -> None:
        """Compile what these phases with their repeats will run; nothing is run, the arrays stay."""
        for phase, repeats in phases:
            if isinstance(phase.run, Pieces):
                self._prepare_pieces(self._pieces_of(phase, phase.run), state, replay)
            else:
                numbers = (0, 1) if phase.counted else ()
                self._phase(phase, repeats).lower(self.keys, state, replay, 0, *numbers).compile()

    def _prepare_pieces(self, parts: Any, state: PyTree, replay: Replay) -> None:
        work = jax.eval_shape(parts.begin, self.keys, state, replay, 0)
        parts.begin.lower(self.keys, state, replay, 0).compile()
        parts.proceed.lower(self.keys, work, replay, 0, 1).compile()
        parts.finish.lower(self.keys, state, work, replay, 0).compile()

    def _pieces_of(self, phase: Phase, pieces: Pieces) -> Pieces:
        if phase.name not in self._pieces:
            self._pieces[phase.name] = self._compile_pieces(phase.name, pieces)
        return self._pieces[phase.name]

    def _over_seeds(self, fn: Callable[..., Any], in_axes: tuple[Any, ...], out_axes: Any = 0) -> Callable[..., Any]:
        return over_seeds(fn, len(self.keys), in_axes, out_axes)

    def _phase(self, phase: Phase, repeats: int) -> Any:
        name = phase.name, repeats
        if name not in self._phases:
            self._phases[name] = self._compile_phase(phase, repeats)
        return self._phases[name]

    def _compile_phase(self, phase: Phase, repeats: int) -> Callable[..., Any]:
        axes = self.replay_axes
        if phase.counted:
            counted = self._over_seeds(self._counted(phase), (0, 0, axes, None, None, None), (0, axes, 0))
            return jax.jit(counted, donate_argnums=(1, 2))
        run = self.repeated(phase, repeats)
        return jax.jit(self._over_seeds(run, (0, 0, axes, None), (0, axes, 0)), donate_argnums=(1, 2))

    def repeated(self, phase: Phase, repeats: int) -> Callable[..., Any]:
        """``(key, state, replay, step) -> (state, replay, info)`` of a phase that runs so often, last at ``step``."""

        def once(key: Key, state: PyTree, replay: Replay, step: Array) -> tuple[PyTree, Replay, Info]:
            out = phase.run(tree_of(state), replay, step=step, key=purpose_key(key, phase.name, step))
            return _as_given(state, out)

        def several(key: Key, state: PyTree, replay: Replay, step: Array) -> tuple[PyTree, Replay, Info]:
            def again(at: tuple[PyTree, Replay], step: Array) -> tuple[tuple[PyTree, Replay], Info]:
                state, replay, info = once(key, *at, step)
                return (state, replay), info

            steps = step - phase.every * jnp.arange(repeats - 1, -1, -1)
            (state, replay), infos = jax.lax.scan(again, (state, replay), steps)
            return state, replay, jax.tree.map(lambda x: x[-1], infos)

        return once if repeats == 1 else several

    def _counted(self, phase: Phase) -> Callable[..., Any]:
        """``(key, state, replay, step, first, runs) -> (state, replay, info)``, of as many runs as it is called for."""

        def once(key: Key, number: Array, state: PyTree, replay: Replay, step: Array) -> tuple[PyTree, Replay, Info]:
            key = jax.random.fold_in(purpose_key(key, phase.name, step), number)
            return _as_given(state, phase.run(tree_of(state), replay, step=step, key=key))

        def several(key: Key, state: PyTree, replay: Replay, step: Array, first: Array, runs: Array) -> Any:
            _, _, shapes = jax.eval_shape(once, key, first, state, replay, step)
            nothing = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)

            def again(i: Array, at: tuple[PyTree, Replay, Info]) -> tuple[PyTree, Replay, Info]:
                return once(key, first + i, at[0], at[1], step)

            return jax.lax.fori_loop(0, runs, again, (state, replay, nothing))

        return several

    def _compile_pieces(self, name: str, pieces: Pieces) -> Pieces:
        """The parts over all seeds, with ``(key, state or work, ..., replay, step, ...)`` by place."""

        def begin(key: Key, state: PyTree, replay: Replay, step: Array) -> PyTree:
            return settled(pieces.begin(tree_of(state), replay, step=step, key=purpose_key(key, name, step)))

        def proceed(key: Key, work: PyTree, replay: Replay, step: Array, units: Array) -> tuple[PyTree, Array]:
            return pieces.proceed(work, replay, step=step, key=purpose_key(key, name, step), units=units)

        def finish(key: Key, state: PyTree, work: PyTree, replay: Replay, step: Array) -> tuple[PyTree, Replay, Info]:
            out = pieces.finish(tree_of(state), work, replay, step=step, key=purpose_key(key, name, step))
            return _as_given(state, out)

        axes = self.replay_axes
        return replace(
            pieces,
            begin=jax.jit(self._over_seeds(begin, (0, 0, axes, None))),
            proceed=jax.jit(self._over_seeds(proceed, (0, 0, axes, None, None), (0, 0)), donate_argnums=1),
            finish=jax.jit(self._over_seeds(finish, (0, 0, 0, axes, None), (0, axes, 0)), donate_argnums=(1, 3)),
        )

    def _run_pieces(
        self, parts: Pieces, state: PyTree, replay: Replay, step: int, tell: Callable[[str], None]
    ) -> tuple[PyTree, Replay, Info]:
        work = parts.begin(self.keys, state, replay, step)
        portion, done, left = Portion(PIECE_S), 0, True
        while left:
            began = time.perf_counter()
            units = portion.size
            work, more = parts.proceed(self.keys, work, replay, step, units)
            left, done = bool(np.asarray(more).any()), done + units  # asking waits for the piece
            portion.took(units, time.perf_counter() - began)
            if left:
                tell(f"{parts.doing}, {parts.unit} {done}")
        return parts.finish(self.keys, state, work, replay, step)


def _as_given(given: PyTree | Flat, out: tuple[PyTree, Replay, Info]) -> tuple[PyTree | Flat, Replay, Info]:
    """A new state in the form of the one given, with all else beside it."""
    return (Flat.of(out[0]), *out[1:]) if isinstance(given, Flat) else out
