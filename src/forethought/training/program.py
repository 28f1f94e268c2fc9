"""The compiled side of a run: one agent, K seeds, N environments per seed.

State and replay carry a leading axis of seeds. All random numbers are functions of (seed, purpose, environment step),
so there is no generator to carry along, a resumed run draws what an uninterrupted one would have drawn, and a seed
draws the same whether or not others train beside it.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from forethought.agents.base import Agent, Phase, Setting
from forethought.compilation import keep_programs
from forethought.envs.views import empty_items
from forethought.errors import UsageError
from forethought.replay import hosted, moments
from forethought.replay.moments import Replay
from forethought.training.phases import Phases
from forethought.training.seeds import over_seeds, purpose_key, settled, tree_of
from forethought.types import Box, EnvSpec, Experience, Info, Key, Noted, PyTree, TimeStep, Transition

How: TypeAlias = Literal["random", "explore", "exploit"]  # at random, while learning, when evaluated or used
HOW: tuple[How, ...] = get_args(How)
_PURPOSES = {"random": "random", "explore": "act", "exploit": "evaluate"}


class Decision(NamedTuple):
    """What is to be done next, leaves [K, N, ...]: actions, the carry after them, and extras to be kept with them."""

    action: PyTree
    carry: PyTree
    extras: PyTree


class Program:
    """Pure functions of an agent, compiled once each, over all seeds at once.

    Attributes:
        phases: those of the agent.
        replay_capacity: transitions kept per seed; a multiple of ``num_envs``.
        hosted: their rows lie in the host's memory.
    """

    def __init__(self, agent: Agent, seeds: Sequence[int], num_envs: int, steps: int):
        keep_programs()  # here, because whatever compiles an agent comes by, and before anything is compiled
        self.agent, self.seeds, self.num_envs = agent, tuple(seeds), num_envs
        agent.setting = Setting(num_envs, steps)
        agent.check_setting()
        self.keys = jax.vmap(jax.random.key)(jnp.array(self.seeds, jnp.uint32))  # of 32 bits, as `require_seed` says
        wanted = max(min(agent.replay_capacity, steps), num_envs)
        self.replay_capacity = -(-wanted // num_envs) * num_envs
        if self.replay_capacity > moments.MOST:
            raise UsageError(f"a replay holds at most {moments.MOST:,} transitions; lower --agent.replay-capacity")
        axes = 0, 0, 0, 0, None
        self._act = {how: jax.jit(self.over_seeds(partial(self.decided, how), axes)) for how in HOW}
        self._turns: dict[tuple[tuple[str, int], ...], Any] = {}
        self._empty: dict[int, Decision] = {}
        rows = jax.eval_shape(partial(self._empty_replay, hosted=False)).packed
        self.hosted = hosted.needed(len(self.seeds) * sum(x.size * x.dtype.itemsize for x in rows.values()))
        self.replay_axes = moments.axes(jax.eval_shape(self._empty_replay))
        record = self.over_seeds(moments.record, (self.replay_axes, 0), self.replay_axes)
        self._record = jax.jit(record, donate_argnums=0)
        self.phases = Phases(self.keys, self.replay_axes)

    def init_state(self) -> PyTree:
        """Agent state of all seeds, [K, ...]."""

        def init(key: Key) -> PyTree:
            return settled(self.agent.init(key=purpose_key(key, "init", 0)))

        return jax.jit(self.over_seeds(init, (0,)))(self.keys)

    def init_replay(self) -> Replay:
        """Empty replays of all seeds; rows have axes [K, rows, ...]."""
        return jax.jit(lambda: settled(moments.spread(self._empty_replay(), len(self.seeds))))()

    def _empty_replay(self, hosted: bool | None = None) -> Replay:
        given = jax.tree.map(lambda x: jnp.zeros(x.shape[2:], x.dtype), self.empty_decision(1).extras)
        extras = given.extras if isinstance(given, Noted) else given
        example, notes = empty_moment(self.agent.spec), self.agent.notes()
        where = self.hosted if hosted is None else hosted
        return moments.create(example, self.replay_capacity, self.num_envs, extras=extras, notes=notes, hosted=where)

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
        """`record`, then phases with their repeats (`Phases.run`), then `act` on what comes next, in one call.

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

    def prepare(self, phases: Iterable[tuple[Phase, int]], state: PyTree, replay: Replay, carry: PyTree) -> None:
        """Compile what acting, recording and phases with their repeats will run; nothing is run, the arrays stay."""
        leading = len(self.seeds), self.num_envs
        time_step = jax.tree.map(lambda x: np.zeros((*leading, *x.shape), x.dtype), empty_moment(self.agent.spec))
        for how in ("random", "explore"):
            self._act[how].lower(self.keys, state, carry, time_step, 0).compile()
        extras = self.empty_decision(self.num_envs).extras
        self._record.lower(replay, Experience(time_step, time_step, extras)).compile()
        self.phases.prepare(phases, state, replay)

    def over_seeds(self, fn: Callable[..., Any], in_axes: tuple[Any, ...], out_axes: Any = 0) -> Callable[..., Any]:
        """See the function of that name; of the seeds of this program."""
        return over_seeds(fn, len(self.seeds), in_axes, out_axes)

    def decided(
        self, how: How, key: Key, state: PyTree, carry: PyTree, time_step: TimeStep, step: Array
    ) -> tuple[PyTree, PyTree, PyTree]:
        """Of one seed: the fields of a `Decision`."""
        tree, key = tree_of(state), purpose_key(key, _PURPOSES[how], step)
        if how == "random":
            return self.agent.act_at_random(tree, carry, time_step, key=key)
        return self.agent.act(tree, carry, time_step, key=key, explore=how == "explore")

    def _compile_turn(self, phases: tuple[tuple[Phase, int], ...]) -> Callable[..., Any]:
        runs = {phase.name: self.phases.repeated(phase, repeats) for phase, repeats in phases}

        def turn(key, state, replay, experience, carry, time_step, step):
            replay = moments.record(replay, experience)
            infos = {}
            for name, run in runs.items():
                state, replay, infos[name] = run(key, state, replay, step)
            return state, replay, infos, self.decided("explore", key, state, carry, time_step, step)

        axes = (0, 0, self.replay_axes, 0, 0, 0, None), (0, self.replay_axes, 0, 0)
        return jax.jit(self.over_seeds(turn, *axes), donate_argnums=(1, 2))


def _named(phases: tuple[tuple[Phase, int], ...]) -> tuple[tuple[str, int], ...]:
    return tuple((phase.name, repeats) for phase, repeats in phases)


def empty_moment(spec: EnvSpec) -> TimeStep:
    """One moment of one environment."""
    obs, action = jax.tree.map(lambda x: jnp.asarray(x[0]), (empty_items(spec.obs, 1), empty_items(spec.action, 1)))
    no = jnp.array(False)
    moment = TimeStep(obs, action, jnp.array(0.0), no, no, no)
    if not spec.game:
        return moment
    assert not isinstance(spec.action, Box)
    return moment._replace(legal=jnp.zeros(spec.action.n, bool), player=jnp.array(0, jnp.int32))
