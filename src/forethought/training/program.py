"""The compiled side of a run: one agent, K seeds, N environments per seed.

State and replay carry a leading axis of seeds. All random numbers are functions of (seed, purpose, environment step),
so there is no generator to carry along, a resumed run draws what an uninterrupted one would have drawn, and a seed
draws the same whether or not others train beside it.
"""

import time
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from forethought.agents.base import Agent, Phase, Pieces, Setting, empty_items
from forethought.compilation import keep_programs
from forethought.errors import UsageError
from forethought.replay import moments
from forethought.replay.moments import Replay
from forethought.types import Box, EnvSpec, Experience, Info, Key, PyTree, TimeStep, Transition

PIECE_S = 0.5  # seconds that a piece of a long phase should take

How: TypeAlias = Literal["random", "explore", "exploit"]  # at random, while learning, when judged or used
HOW: tuple[How, ...] = get_args(How)
_PURPOSES = {"random": "random", "explore": "act", "exploit": "evaluate"}


class Decision(NamedTuple):
    """What is to be done next, leaves [K, N, ...]: actions, the carry after them, and extras to be kept with them."""

    action: PyTree
    carry: PyTree
    extras: PyTree


def purpose_key(key: Key, purpose: str, step: Array | int) -> Key:
    """The key of one use (named) at one environment step."""
    # crc32 and not hash(): the latter differs from one Python process to the next.
    return jax.random.fold_in(jax.random.fold_in(key, zlib.crc32(purpose.encode()) & 0x7FFFFFFF), step)


def over_seeds(fn: Callable[..., Any], k: int, in_axes: tuple[Any, ...], out_axes: Any = 0) -> Callable[..., Any]:
    """``jax.vmap`` over the axis of seeds; for one seed the axis is dropped and put back instead.

    A batch axis of length 1 is not free: on the CPU it makes matrix products and gathers about 1.5 times slower.
    """
    if k > 1:
        return jax.vmap(fn, in_axes, out_axes)

    def single(*args: Any) -> Any:
        out = fn(*(_on_axes(_drop, a, x) for a, x in zip(in_axes, args, strict=True)))
        if isinstance(out_axes, tuple) and not hasattr(out_axes, "_fields"):
            return tuple(_on_axes(_put_back, a, x) for a, x in zip(out_axes, out, strict=True))
        return _on_axes(_put_back, out_axes, out)

    return single


def _on_axes(change: Callable[[Array], Array], axes: Any, tree: PyTree) -> PyTree:
    """Apply ``change`` where the prefix tree ``axes`` says 0, leave the rest alone."""

    def visit(axis: int | None, sub: PyTree) -> PyTree:
        return sub if axis is None else jax.tree.map(change, sub)

    return jax.tree.map(visit, axes, tree, is_leaf=lambda x: x is None)


def _drop(x: Array) -> Array:
    return x[0]


def _put_back(x: Array) -> Array:
    return x[None]


@partial(jax.tree_util.register_dataclass, data_fields=["leaves"], meta_fields=["structure"])
@dataclass(frozen=True)
class Flat:
    """A pytree as the list of its leaves, which is how it should be kept between two calls of a compiled program.

    Equinox modules take a tenth of a millisecond to be taken apart and as long to be put together, at each call.
    """

    leaves: list[Any]
    structure: Any

    @classmethod
    def of(cls, tree: PyTree) -> "Flat":
        """The leaves of a tree."""
        return cls(*jax.tree.flatten(tree))

    @property
    def tree(self) -> PyTree:
        """The tree again."""
        return jax.tree.unflatten(self.structure, self.leaves)


def _tree(state: PyTree | Flat) -> PyTree:
    return state.tree if isinstance(state, Flat) else state


def _as_given(given: PyTree | Flat, out: tuple[PyTree, Replay, Info]) -> tuple[PyTree | Flat, Replay, Info]:
    """A new state in the form of the one given, with all else beside it."""
    return (Flat.of(out[0]), *out[1:]) if isinstance(given, Flat) else out


class Program:
    """Pure functions of an agent, compiled once each, over all seeds at once.

    States are pytrees or `Flat`; what is given comes back in the same form.

    Attributes:
        replay_capacity: transitions kept per seed; a multiple of ``num_envs``.
    """

    def __init__(self, agent: Agent, seeds: Sequence[int], num_envs: int, steps: int):
        keep_programs()  # here, because whatever compiles an agent comes by, and before anything is compiled
        self.agent, self.seeds, self.num_envs = agent, tuple(seeds), num_envs
        agent.setting = Setting(num_envs, steps)
        self.keys = jax.vmap(jax.random.key)(jnp.array(self.seeds, jnp.uint32))  # of 32 bits, as `require_seed` says
        wanted = max(min(agent.replay_capacity, steps), num_envs)
        self.replay_capacity = -(-wanted // num_envs) * num_envs
        if self.replay_capacity > moments.MOST:
            raise UsageError(f"a replay holds at most {moments.MOST:,} transitions; lower --agent.replay-capacity")
        axes = 0, 0, 0, 0, None
        self._act = {how: jax.jit(self.over_seeds(partial(self.decided, how), axes)) for how in HOW}
        self._phases: dict[tuple[str, int], Any] = {}
        self._turns: dict[tuple[tuple[str, int], ...], Any] = {}
        self._pieces: dict[str, Pieces] = {}
        self._empty: dict[int, Decision] = {}
        self.replay_axes = moments.axes(jax.eval_shape(self._empty_replay))
        record = self.over_seeds(moments.record, (self.replay_axes, 0), self.replay_axes)
        self._record = jax.jit(record, donate_argnums=0)

    def init_state(self) -> PyTree:
        """Agent state of all seeds, [K, ...]."""

        def init(key: Key) -> PyTree:
            return _settled(self.agent.init(key=purpose_key(key, "init", 0)))

        return jax.jit(self.over_seeds(init, (0,)))(self.keys)

    def init_replay(self) -> Replay:
        """Empty replays of all seeds; rows have axes [K, rows, ...]."""
        return jax.jit(lambda: _settled(moments.spread(self._empty_replay(), len(self.seeds))))()

    def _empty_replay(self) -> Replay:
        extras = jax.tree.map(lambda x: jnp.zeros(x.shape[2:], x.dtype), self.empty_decision(1).extras)
        example, notes = empty_moment(self.agent.spec), self.agent.notes()
        return moments.create(example, self.replay_capacity, self.num_envs, extras=extras, notes=notes)

    def fill(self, replay: Replay, rows: Transition) -> Replay:
        """Put the same transitions [n, ...] into the empty replays of all seeds; the replay is consumed.

        Raises `UsageError` where there is no room for them.
        """
        put = self.over_seeds(lambda replay: moments.fill(replay, rows), (self.replay_axes,), self.replay_axes)
        return jax.jit(put, donate_argnums=0)(replay)

    def init_carry(self, n: int | None = None) -> PyTree:
        """What acting carries in n environments per seed (default: those of training), [K, n, ...]."""
        carry = self.agent.init_actor(n or self.num_envs)
        return jax.tree.map(lambda x: jnp.stack([x] * len(self.seeds)), carry)

    def act(self, how: How, state: PyTree, carry: PyTree, time_step: TimeStep, step: int) -> Decision:
        """Filter the time steps [K, N, ...] and decide; N may differ from ``num_envs`` (it compiles anew)."""
        return Decision(*self._act[how](self.keys, state, carry, time_step, step))

    def empty_decision(self, n: int) -> Decision:
        """Zeros in the place of a decision for n environments per seed, leaves [K, n, ...]."""
        if n not in self._empty:  # the agent is traced to see what it gives
            shapes = jax.eval_shape(
                lambda key, carry: self.agent.decide(self.agent.init(key=key), carry, key=key, explore=True),
                jax.random.key(0),
                jax.eval_shape(lambda: self.agent.init_actor(n)),
            )
            k = len(self.seeds)
            self._empty[n] = Decision(*jax.tree.map(lambda x: np.zeros((k, *x.shape), x.dtype), shapes))
        return self._empty[n]

    def record(self, replay: Replay, experience: Experience) -> Replay:
        """Add one step of each environment, [K, N, ...]; the replay is consumed."""
        return self._record(replay, experience)

    def turn(
        self,
        phases: tuple[tuple[Phase, int], ...],
        state: PyTree,
        replay: Replay,
        experience: Experience,
        carry: PyTree,
        time_step: TimeStep,
        step: int,
    ) -> tuple[PyTree, Replay, dict[str, Info], Decision]:
        """`record`, then `run` of phases with their repeats, then `act` on what comes next, in one call.

        Returns state, replay, what each phase reports, and the decision. It costs half of what the three cost beside
        the work itself. State and replay are consumed.
        """
        if not self.turns(phases):
            self._turns[_named(phases)] = self._compile_turn(phases)
        state, replay, infos, decision = self._turns[_named(phases)](
            self.keys, state, replay, experience, carry, time_step, step
        )
        return state, replay, infos, Decision(*decision)

    def turns(self, phases: tuple[tuple[Phase, int], ...]) -> bool:
        """Whether a `turn` with these phases was made before, so that it will not be compiled."""
        return _named(phases) in self._turns

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

    def prepare(self, phases: Iterable[tuple[Phase, int]], state: PyTree, replay: Replay, carry: PyTree) -> None:
        """Compile what acting, recording and phases with their repeats will run; nothing is run, the arrays stay."""
        leading = len(self.seeds), self.num_envs
        time_step = jax.tree.map(lambda x: np.zeros((*leading, *x.shape), x.dtype), empty_moment(self.agent.spec))
        for how in ("random", "explore"):
            self._act[how].lower(self.keys, state, carry, time_step, 0).compile()
        extras = self.empty_decision(self.num_envs).extras
        self._record.lower(replay, Experience(time_step, time_step, extras)).compile()
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

    def over_seeds(self, fn: Callable[..., Any], in_axes: tuple[Any, ...], out_axes: Any = 0) -> Callable[..., Any]:
        """See the function of that name; of the seeds of this program."""
        return over_seeds(fn, len(self.seeds), in_axes, out_axes)

    def decided(
        self, how: How, key: Key, state: PyTree, carry: PyTree, time_step: TimeStep, step: Array
    ) -> tuple[PyTree, PyTree, PyTree]:
        """Of one seed: the fields of a `Decision`."""
        tree, key = _tree(state), purpose_key(key, _PURPOSES[how], step)
        if how == "random":
            return self.agent.act_at_random(tree, carry, time_step, key=key)
        return self.agent.act(tree, carry, time_step, key=key, explore=how == "explore")

    def _phase(self, phase: Phase, repeats: int) -> Any:
        name = phase.name, repeats
        if name not in self._phases:
            self._phases[name] = self._compile_phase(phase, repeats)
        return self._phases[name]

    def _compile_phase(self, phase: Phase, repeats: int) -> Callable[..., Any]:
        axes = self.replay_axes
        if phase.counted:
            counted = self.over_seeds(self._counted(phase), (0, 0, axes, None, None, None), (0, axes, 0))
            return jax.jit(counted, donate_argnums=(1, 2))
        run = self.repeated(phase, repeats)
        return jax.jit(self.over_seeds(run, (0, 0, axes, None), (0, axes, 0)), donate_argnums=(1, 2))

    def _compile_turn(self, phases: tuple[tuple[Phase, int], ...]) -> Callable[..., Any]:
        runs = {phase.name: self.repeated(phase, repeats) for phase, repeats in phases}

        def turn(key, state, replay, experience, carry, time_step, step):
            replay = moments.record(replay, experience)
            infos = {}
            for name, run in runs.items():
                state, replay, infos[name] = run(key, state, replay, step)
            return state, replay, infos, self.decided("explore", key, state, carry, time_step, step)

        axes = (0, 0, self.replay_axes, 0, 0, 0, None), (0, self.replay_axes, 0, 0)
        return jax.jit(self.over_seeds(turn, *axes), donate_argnums=(1, 2))

    def repeated(self, phase: Phase, repeats: int) -> Callable[..., Any]:
        """``(key, state, replay, step) -> (state, replay, info)`` of a phase that runs so often, last at ``step``."""

        def once(key: Key, state: PyTree, replay: Replay, step: Array) -> tuple[PyTree, Replay, Info]:
            out = phase.run(_tree(state), replay, step=step, key=purpose_key(key, phase.name, step))
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
            return _as_given(state, phase.run(_tree(state), replay, step=step, key=key))

        def several(key: Key, state: PyTree, replay: Replay, step: Array, first: Array, runs: Array) -> Any:
            _, _, shapes = jax.eval_shape(once, key, first, state, replay, step)
            nothing = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
            return jax.lax.fori_loop(
                0, runs, lambda i, at: once(key, first + i, *at[:2], step), (state, replay, nothing)
            )

        return several

    def _compile_pieces(self, name: str, pieces: Pieces) -> Pieces:
        """The parts over all seeds, with ``(key, state or work, ..., replay, step, ...)`` by place."""

        def begin(key: Key, state: PyTree, replay: Replay, step: Array) -> PyTree:
            return _settled(pieces.begin(_tree(state), replay, step=step, key=purpose_key(key, name, step)))

        def proceed(key: Key, work: PyTree, replay: Replay, step: Array, units: Array) -> tuple[PyTree, Array]:
            return pieces.proceed(work, replay, step=step, key=purpose_key(key, name, step), units=units)

        def finish(key: Key, state: PyTree, work: PyTree, replay: Replay, step: Array) -> tuple[PyTree, Replay, Info]:
            out = pieces.finish(_tree(state), work, replay, step=step, key=purpose_key(key, name, step))
            return _as_given(state, out)

        axes = self.replay_axes
        return replace(
            pieces,
            begin=jax.jit(self.over_seeds(begin, (0, 0, axes, None))),
            proceed=jax.jit(self.over_seeds(proceed, (0, 0, axes, None, None), (0, 0)), donate_argnums=1),
            finish=jax.jit(self.over_seeds(finish, (0, 0, 0, axes, None), (0, axes, 0)), donate_argnums=(1, 3)),
        )

    def _run_pieces(
        self, parts: Pieces, state: PyTree, replay: Replay, step: int, tell: Callable[[str], None]
    ) -> tuple[PyTree, Replay, Info]:
        work = parts.begin(self.keys, state, replay, step)
        units, done, left = 1, 0, True
        while left:
            began = time.perf_counter()
            work, more = parts.proceed(self.keys, work, replay, step, units)
            left, done = bool(np.asarray(more).any()), done + units  # asking waits for the piece
            took = time.perf_counter() - began
            units = max(1, min(2 * units, int(units * PIECE_S / took)))
            if left:
                tell(f"{parts.doing}, {parts.unit} {done}")
        return parts.finish(self.keys, state, work, replay, step)


def _named(phases: tuple[tuple[Phase, int], ...]) -> tuple[tuple[str, int], ...]:
    return tuple((phase.name, repeats) for phase, repeats in phases)


def empty_moment(spec: EnvSpec) -> TimeStep:
    """One moment of one environment."""
    obs, action, no = empty_items(spec.obs, 1)[0], empty_items(spec.action, 1)[0], jnp.array(False)
    moment = TimeStep(obs, action, jnp.array(0.0), no, no, no)
    if not spec.game:
        return moment
    assert not isinstance(spec.action, Box)
    return moment._replace(legal=jnp.zeros(spec.action.n, bool), player=jnp.array(0, jnp.int32))


def _settled(tree: PyTree) -> PyTree:
    """Without JAX's weak types: the first step would lose them, and every program would compile a second time."""
    return jax.tree.map(lambda x: jax.lax.convert_element_type(x, x.dtype) if x.weak_type else x, tree)
