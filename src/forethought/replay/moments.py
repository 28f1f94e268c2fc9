"""A replay whose rows are moments: every observation is stored once, and transitions are a view of two rows.

Each environment has a lane of ``room`` rows, in which its moments follow each other in time; the last moment of an
episode is a row of its own, and so is the first one of the next. Lanes are interleaved: the row in slot s of lane e
has the place ``s * num_envs + e``. A transition is known by the place of the moment that it led to; these places are
kept in a `Ring`, in order of time, so that draws are exactly uniform over transitions and never join two episodes.

Everything is pure and made for use inside ``jit`` with the replay donated, as in ``ring.py``.
"""

import dataclasses
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int

from forethought.errors import UsageError
from forethought.replay import hosted as there
from forethought.replay import ring
from forethought.replay.hosted import is_hosted, on_host, to_device
from forethought.replay.packing import Layout
from forethought.replay.ring import Ring
from forethought.types import Experience, Key, Noted, PyTree, TimeStep, Transition

MOST = ring.MOST_ROWS // 2  # transitions: there may be as many last moments of episodes besides
_SMALL_ROW = 2048  # bytes; of smaller rows there is room for an episode in each transition
_SPARE_SHARE, _SPARE_LEAST = 32, 1024  # of larger ones one for each 32 transitions, or so many


class Replay(eqx.Module):
    """The last transitions that were lived through, of ``num_envs`` environments.

    Attributes:
        packed: the rows [room * num_envs, width], by the type of their leaves (`Layout`): each a moment, and the extras
            that the agent gave beside the action that led to it. A row is ``first`` where no transition led to it.
        notes: what phases keep beside the rows, such as priorities; zeros, or what the agent gave (`Noted`), where
            nothing was noted since.
        written: rows written to each lane so far.
        begun: those of the rows held in each lane that are ``first``.
        firsts: which rows are ``first``, once more, where transitions may be forgotten early; nothing elsewhere. Were
            the rows themselves read in a step that writes to them, XLA would copy them all.
        ends: the places of the moments that transitions led to, oldest first; the ring of the transitions.
        num_envs: number of lanes.
        hosted: the rows lie in the host's memory, see `forethought.replay.hosted`.
    """

    packed: dict[str, Any]
    notes: PyTree
    written: Int[Array, " e"]
    begun: Int[Array, " e"]
    firsts: PyTree
    ends: Ring
    num_envs: int = eqx.field(static=True)
    layout: Layout = eqx.field(static=True)
    hosted: bool = eqx.field(static=True, default=False)

    @property
    def room(self) -> int:
        """Rows of each lane."""
        return next(iter(self.packed.values())).shape[-2] // self.num_envs

    @property
    def rows(self) -> TimeStep:
        """A copy of all moments, by their places."""
        return self.layout.unpack(jax.tree.map(np.asarray, self.packed) if self.hosted else self.packed)[0]

    @property
    def capacity(self) -> int:
        """Transitions that there is room for."""
        return self.ends.data.shape[-1]

    @property
    def size(self) -> Int[Array, "*k"]:
        """Transitions that can be drawn."""
        return self.ends.size

    @property
    def keeps_all(self) -> bool:
        """Whether no transition is forgotten before ``capacity`` newer ones, however short the episodes are."""
        return self.room * self.num_envs >= 2 * self.capacity

    @property
    def used(self) -> Bool[Array, " c"]:
        """Which slots of the ring of transitions hold one that can be drawn."""
        slots = jnp.arange(self.capacity)
        return (slots if self.keeps_all else (self.ends.cursor - 1 - slots) % self.ends.limit) < self.size

    def after(self, places: Int[Array, "*p"], n: int = 1) -> Int[Array, "*p"]:
        """The places n rows later in the same lanes (earlier for n < 0)."""
        return (places + n * self.num_envs) % (self.room * self.num_envs)

    def transitions(self, places: Int[Array, "*p"]) -> Transition:
        """The transitions that led to these moments."""
        before, _ = self._at(self.after(places, -1))
        to, extras = self._at(places)
        return Transition(before.obs, to.prev_action, to.reward, to.obs, to.terminated, to.truncated, extras)

    def _at(self, places: Int[Array, "*p"]) -> tuple[TimeStep, PyTree]:
        return self.layout.unpack(
            self._drawn(lambda packed, places: {kind: x[places] for kind, x in packed.items()}, places)
        )

    def _drawn(self, draw: Callable[..., PyTree], *args: Array) -> PyTree:
        """What is drawn from the packed rows, on the device."""
        return to_device(on_host(draw)(self.packed, *args)) if self.hosted else draw(self.packed, *args)

    def in_slots(self, slots: Int[Array, "*s"]) -> Transition:
        """The transitions in these slots of their ring."""
        return self.transitions(self.ends.data[slots])

    def all(self) -> Transition:
        """A copy of every transition, [capacity, ...]; only those in slots that are `used` mean anything."""
        return self.transitions(self.ends.data)

    def sample(self, n: int, *, key: Key) -> Transition:
        """Draw n transitions uniformly, with replacement. An empty replay gives zeros."""
        if not self.keeps_all:  # those that can be drawn are not the first ones of their ring
            return self.sample_newest(n, self.capacity, key=key)
        return self.transitions(ring.sample(self.ends, n, key=key))

    def sample_newest(self, n: int, newest: int, *, key: Key) -> Transition:
        """Draw n of the ``newest`` transitions uniformly, with replacement."""
        return self.transitions(ring.sample_newest(self.ends, n, newest, key=key))

    def newest(self, back: Int[Array, "*b"]) -> Transition:
        """The transitions that were recorded ``back`` before the newest one; fewer than ``size``."""
        return self.transitions(ring.newest(self.ends, back))

    def last(self, n: int) -> Transition:
        """The n newest transitions in order of time, [n, ...]; those of the environments take turns."""
        return self.transitions(ring.last(self.ends, n))

    def numbered(self, number: Int[Array, ""]) -> Transition:
        """The transition that was recorded as number ``number``, counted from 0; it must still be there."""
        return self.transitions(ring.row(self.ends, number))

    def windows(self, places: Int[Array, " n"], length: int) -> TimeStep:
        """Successive moments of one environment each, from these places on; leaves get axes [length, n].

        None may run over the newest row of its lane. A window goes on in the next episode, which ``first`` marks.
        """
        return self._at(self.after(places + self.num_envs * jnp.arange(length)[:, None], 0))[0]

    def sample_windows(self, n: int, length: int, *, key: Key) -> Int[Array, " n"]:
        """Places from which n windows of ``length`` rows begin, drawn uniformly from all that there are.

        At least one lane must hold so many rows.
        """
        held = jnp.minimum(self.written, self.room)
        counts = jnp.cumsum(jnp.maximum(held - length + 1, 0))
        drawn = jax.random.randint(key, (n,), 0, jnp.maximum(counts[-1], 1))
        lane = jnp.searchsorted(counts, drawn, side="right")
        within = drawn - jnp.where(lane > 0, counts[lane - 1], 0)
        return (self.written[lane] - held[lane] + within) % self.room * self.num_envs + lane

    def with_firsts(self) -> "Replay":
        """With `firsts` as the rows have them."""
        if self.keeps_all:
            return self
        firsts = self._drawn(lambda packed: self.layout.unpack(packed)[0].first)
        return eqx.tree_at(lambda replay: replay.firsts, self, firsts)

    def note(self, places: Int[Array, " n"], notes: PyTree) -> "Replay":
        """With these notes [n, ...] beside these rows."""
        written = jax.tree.map(lambda held, new: held.at[places].set(new), self.notes, notes)
        return eqx.tree_at(lambda replay: replay.notes, self, written)


def create(
    example: TimeStep,
    capacity: int,
    num_envs: int = 1,
    *,
    extras: PyTree = (),
    notes: PyTree = (),
    hosted: bool = False,
) -> Replay:
    """An empty replay for moments like ``example`` (one, no leading axis) of ``num_envs`` environments.

    ``capacity``: transitions, a multiple of ``num_envs``. Where a row is larger than 2 KiB, as those of most images
    are, there is room for one episode in 32 transitions; the oldest ones are forgotten sooner where episodes are
    shorter than that. Of smaller rows there is room for as many episodes as transitions. ``hosted``: they lie in the
    host's memory.
    """
    lane = capacity // num_envs
    spare = max(lane // _SPARE_SHARE, min(lane, _SPARE_LEAST)) if _bytes(example) > _SMALL_ROW else lane
    rooms = (lane + spare) * num_envs
    layout = Layout.of((example, extras))
    notes = jax.tree.map(lambda x: jnp.zeros((rooms, *jnp.shape(x)), jnp.asarray(x).dtype), notes)
    none = jnp.zeros(num_envs, jnp.int32)
    ends = ring.create(jnp.array(0, jnp.int32), capacity)
    firsts = () if spare == lane else jnp.zeros(rooms, bool)
    zeros = partial(layout.zeros, rooms)
    if hosted:
        packed = jax.tree.map(lambda x: there.zeros((1, *x.shape), x.dtype).reshape(x.shape), jax.eval_shape(zeros))
    else:
        packed = zeros()
    return Replay(packed, notes, none, jnp.copy(none), firsts, ends, num_envs, layout, hosted)


def record(replay: Replay, experience: Experience) -> Replay:
    """Add what was lived through in one step of each environment.

    The moment that was acted in is written where it is ``first``; else it is there already, reached by the step before.
    """
    if replay.num_envs > 1:
        return _recorded(replay, experience)
    # A loop of one turn, which XLA does not know: it would copy all rows, because it joins the writing of a slice with
    # the draws that read it.
    once = (replay.ends.cursor >= 0).astype(jnp.int32)
    return jax.lax.fori_loop(0, once, lambda _, replay: _recorded(replay, experience), replay)


def _recorded(replay: Replay, experience: Experience) -> Replay:
    now, reached, given = experience
    extras = given.extras if isinstance(given, Noted) else given
    n = replay.num_envs
    lanes = jnp.arange(n)

    def place(rank: Array) -> Array:
        return (replay.written + rank) % replay.room * n + lanes

    at, to = place(jnp.zeros_like(now.first)), place(now.first)
    begins = jnp.where(now.first, at, replay.room * n)  # outside, where nothing is written

    def write(held: PyTree, before: PyTree, after: PyTree) -> PyTree:
        if n > 1:
            return _written(held, before, after, begins, to)
        # Two updates of a slice are much faster than a scatter; the first one may be written over.
        first = jnp.where(now.first, at, to)[0]

        def put(held: Array, before: Array, after: Array) -> Array:
            held = jax.lax.dynamic_update_slice_in_dim(held, before, first, 0)
            return jax.lax.dynamic_update_slice_in_dim(held, after, to[0], 0)

        return jax.tree.map(put, held, before, after)

    none = jax.tree.map(jnp.zeros_like, extras)
    before, after = replay.layout.pack((now, none)), replay.layout.pack((reached, extras))
    if replay.hosted:
        both = jax.tree.map(lambda x, y: jnp.concatenate([x, y]), before, after)
        # Where it is not first, what was acted in is written over by what was reached.
        places = jnp.concatenate([jnp.where(now.first, at, to), to])
        packed = there.written(replay.packed, jax.tree.map(lambda x: x[:, None], both), places)
    else:
        packed = write(replay.packed, before, after)
    nothing = jax.tree.map(lambda held: jnp.zeros((n, *held.shape[1:]), held.dtype), replay.notes)
    notes = write(replay.notes, nothing, given.notes if isinstance(given, Noted) else nothing)
    written, begun, ends = replay.written + now.first + 1, replay.begun, ring.add(replay.ends, to)
    firsts = jax.tree.map(lambda held: write(held, now.first, reached.first), replay.firsts)
    if not replay.keeps_all:  # rows that were never written are not first
        begun = begun + now.first - jnp.where(now.first, replay.firsts[at], 0) - replay.firsts[to]
        cut = (written > replay.room) & ~firsts[replay.after(to)]  # what led to the oldest row of a lane
        alive = jnp.minimum(written, replay.room) - begun - cut
        ends = eqx.tree_at(lambda ends: ends.size, ends, jnp.minimum(ends.size, n * jnp.min(alive)))
    return Replay(packed, notes, written, begun, firsts, ends, n, replay.layout, replay.hosted)


def _written(held: PyTree, before: PyTree, after: PyTree, begins: Int[Array, " n"], to: Int[Array, " n"]) -> PyTree:
    """Rows with two more of each lane."""
    both = jnp.concatenate([begins, to])
    return jax.tree.map(lambda x, y, z: x.at[both].set(jnp.concatenate([y, z]), mode="drop"), held, before, after)


def fill(replay: Replay, given: Transition) -> Replay:
    """An empty replay with transitions [n, ...] in it, in order of time; without extras they have zeros.

    Each lane takes an equal part of them, one behind the other. Where one does not go on from where the one before it
    led, an episode begins. Raises `UsageError` where there are too many or too short episodes for the room there is.
    """
    reward, n = np.asarray(given.reward), replay.num_envs
    parts = np.array_split(np.arange(len(reward)), n)
    begins = _begins(given)
    begins[[part[0] for part in parts if len(part)]] = True
    places, written = np.zeros(len(reward), np.int64), np.zeros(n, np.int32)
    for lane, part in enumerate(parts):
        ranks = np.cumsum(1 + begins[part])
        places[part], written[lane] = (ranks - 1) * n + lane, ranks[-1] if len(part) else 0
    if written.max() > replay.room or len(reward) > replay.capacity:
        raise UsageError(
            f"the replay has no room for {len(reward)} transitions in {begins.sum()} episodes; raise "
            "--agent.replay-capacity, or give fewer"
        )
    turns = np.concatenate([np.arange(len(part)) * n + lane for lane, part in enumerate(parts)])
    begun = jnp.array([begins[part].sum() for part in parts], jnp.int32)

    room = int(written.max()) if replay.hosted else replay.room
    packed = _laid_out(replay.layout, room * n, given, np.flatnonzero(begins), places, n)
    if replay.hosted:
        block = jax.tree.map(lambda x: x[None], packed)
        packed = there.written(replay.packed, block, jnp.zeros(1, jnp.int32))
    ends = jax.jit(ring.add)(replay.ends, jnp.asarray(places[np.argsort(turns)], jnp.int32))
    counts = jnp.asarray(written), begun
    filled = Replay(packed, replay.notes, *counts, replay.firsts, ends, n, replay.layout, replay.hosted)
    return filled.with_firsts()


@partial(jax.jit, static_argnums=(0, 1, 5))
def _laid_out(
    layout: Layout, rooms: int, given: Transition, begins: Int[Array, " b"], places: Int[Array, " n"], num_envs: int
) -> PyTree:
    """Packed rows, of which those at ``places`` are what each transition has reached, and those before where episodes
    begin what was seen first.
    """
    start, extras = layout.unpack(layout.zeros(len(begins)))
    start = start._replace(obs=jax.tree.map(lambda x: x[begins], given.obs), first=jnp.ones(len(begins), bool))
    none, nothing = layout.unpack(layout.zeros(len(places)))
    outcome = given.next_obs, given.action, given.reward, none.first, given.terminated, given.truncated
    reached = TimeStep(*outcome, none.legal, none.player)
    before = layout.pack((start, extras))
    after = layout.pack((reached, nothing if given.extras == () else given.extras))
    at = places[begins] - num_envs
    return jax.tree.map(lambda held, x, y: held.at[at].set(x).at[places].set(y), layout.zeros(rooms), before, after)


def holding(rows: Transition, capacity: int) -> Replay:
    """A replay of one environment with these transitions [n, ...] in it, in order of time, and their extras."""
    no = jnp.array(False)
    one = jax.tree.map(lambda x: x[0], rows)
    example = TimeStep(one.obs, one.action, one.reward, no, no, no)
    return fill(create(example, capacity, extras=one.extras), rows)


def axes(replay: Replay) -> Replay:
    """The axes of replays of several seeds, for ``vmap``: they are written in step, and so their rings are as well."""
    shared = {".ends.cursor", ".ends.limit"} | ({".ends.size"} if replay.keeps_all else set())
    return jax.tree_util.tree_map_with_path(lambda path, _: None if jax.tree_util.keystr(path) in shared else 0, replay)


def spread(replay: Replay, k: int) -> Replay:
    """The same replay for each of k seeds; an empty one, where its rows lie in the host's memory."""

    def each(axis: int | None, x: Array) -> Array:
        return x if axis is None else jnp.broadcast_to(x, (k, *x.shape))

    if not replay.hosted:
        return jax.tree.map(each, axes(replay), replay, is_leaf=lambda x: x is None)
    packed = {kind: there.zeros((k, *x.shape), x.dtype) for kind, x in replay.packed.items()}
    small, along = (eqx.tree_at(lambda r: r.packed, of, {}) for of in (replay, axes(replay)))
    rest = jax.tree.map(each, along, small, is_leaf=lambda x: x is None)
    return eqx.tree_at(lambda r: r.packed, rest, packed)


def of_seed(replay: Replay, k: int) -> Replay:
    """The replay of seed k of several; plain arrays where the rows lie in the host's memory."""

    def own(axis: int | None, x: Array) -> Array | np.ndarray:
        return x if axis is None else np.asarray(x)[k] if replay.hosted and is_hosted(x) else x[k]

    one = jax.tree.map(own, axes(replay), replay, is_leaf=lambda x: x is None)
    return dataclasses.replace(one, hosted=False) if replay.hosted else one


def _begins(given: Transition) -> np.ndarray:
    """Where a transition does not begin where the one before it led to."""
    ended = np.asarray(given.terminated) | np.asarray(given.truncated)
    apart = np.zeros(len(ended), bool)
    for seen, led in zip(jax.tree.leaves(given.obs), jax.tree.leaves(given.next_obs), strict=True):
        differ = np.asarray(seen)[1:] != np.asarray(led)[:-1]
        apart[1:] |= differ.any(axis=tuple(range(1, differ.ndim)))
    return np.append(True, ended[:-1] | apart[1:]) if len(ended) else apart


def _bytes(example: PyTree) -> int:
    return sum(math.prod(jnp.shape(x)) * jnp.asarray(x).dtype.itemsize for x in jax.tree.leaves(example))
