"""Environments written as pure JAX functions, and the two ways to run them.

`JaxVector` steps all slots in one compiled call; `FunctionalGym` makes the same environment an ordinary Gymnasium one.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple, Protocol, runtime_checkable

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
from gymnasium.error import UnsupportedMode
from jaxtyping import Array, Bool, Float32, Int32, UInt32

from forethought.envs.codec import SpaceCodec
from forethought.envs.contract import (
    EnvState,
    Step,
    agent_steps,
    checked_action,
    derived_entropy,
    first_nonfinite,
    place,
    seen_amiss,
    slot_seeds,
)
from forethought.envs.views import gym_space
from forethought.errors import CheckpointError, EnvironmentFault
from forethought.types import Box, EnvSpec, Key, PyTree, TimeStep, per_part

KeyData = UInt32[Array, "2"]  # a threefry key as plain numbers, so that a state holds nothing but arrays


@runtime_checkable  # for the type checks of the tests
class FunctionalEnv(Protocol):
    """One environment as pure functions of an explicit state; a frozen dataclass, hashable, vmapped from outside.

    The state is any pytree of arrays (no typed PRNG keys). Actions and observations are in the agent's units: Box
    actions in [-1, 1]. The time limit is ``spec.max_episode_steps``, counted and enforced outside.
    """

    @property
    def spec(self) -> EnvSpec:
        """What an agent may know, with an action repeat of 1."""
        ...

    def init(self, key: Key) -> PyTree:
        """The state before the first episode."""
        ...

    def reset(self, state: PyTree, key: Key) -> tuple[PyTree, PyTree]:
        """Begin an episode: (state, obs). What the state keeps across episodes is the environment's own affair."""
        ...

    def step(self, state: PyTree, action: Array, key: Key) -> tuple[PyTree, PyTree, Array, Array]:
        """Act once: (state, obs, reward as a float32 scalar, terminated as a bool scalar)."""
        ...

    def render(self, state: PyTree) -> np.ndarray:
        """A picture of the state, uint8 [height, width, 3]."""
        ...


@runtime_checkable
class Game(Protocol):
    """What a `FunctionalEnv` has besides where the rules allow some actions only, and say whose turn it is."""

    def legal(self, state: PyTree) -> Bool[Array, " a"]:
        """Which actions are allowed now."""
        ...

    def player(self, state: PyTree) -> Int32[Array, ""]:
        """Whose turn it is."""
        ...


class _Slot(NamedTuple):
    """All there is to know of one slot between two steps; with a leading axis, of all slots."""

    env: PyTree
    now: TimeStep
    steps: Int32[Array, "*slots"]  # the environment's own steps since the episode began
    key: UInt32[Array, "*slots 2"]  # never changes
    time: Int32[Array, "*slots"]  # agent steps since the first reset; with the key, it gives the step's random numbers


class _Moment(NamedTuple):
    """Where an action repeat stands."""

    env: PyTree
    obs: PyTree
    steps: Int32[Array, ""]
    reward: Float32[Array, ""]
    terminated: Bool[Array, ""]
    truncated: Bool[Array, ""]


def _processor() -> jax.Device:
    """Where environments run."""
    try:
        return jax.local_devices(backend="cpu")[0]
    except RuntimeError:  # JAX_PLATFORMS may leave the processor out
        return jax.local_devices()[0]


def _keys_at(key: KeyData, time: Int32[Array, ""], n: int) -> Key:
    """The ``n`` typed keys of one step.

    Counted rather than carried on from step to step: where an environment draws nothing, they cost nothing.
    """
    return jax.random.split(jax.random.fold_in(jax.random.wrap_key_data(key, impl="threefry2x32"), time), n)


def _begin(env: FunctionalEnv, key: KeyData) -> _Slot:
    time = jnp.int32(0)
    key_init, key_reset = _keys_at(key, time, 2)
    state, obs = env.reset(env.init(key_init), key_reset)
    return _Slot(state, _first(env, state, obs), jnp.int32(0), key, time)


def _first(env: FunctionalEnv, state: PyTree, obs: PyTree) -> TimeStep:
    """The first moment of an episode."""
    space, no = env.spec.action, jnp.bool_(False)
    action = jnp.zeros(space.shape) if isinstance(space, Box) else jnp.int32(0)
    return TimeStep(obs, action, jnp.float32(0), jnp.bool_(True), no, no, *_rules(env, state))


def _rules(env: FunctionalEnv, state: PyTree) -> tuple[PyTree, PyTree]:
    """Which actions are legal and whose turn it is, where the environment says so."""
    return (env.legal(state), env.player(state)) if isinstance(env, Game) else ((), ())


def _act(env: FunctionalEnv, repeat: int, slot: _Slot, action: Array) -> _Moment:
    """One agent step of one slot."""
    limit = env.spec.max_episode_steps
    keys = _keys_at(slot.key, slot.time + 1, repeat + 1)

    def act(moment: _Moment, key_step: Key) -> tuple[_Moment, None]:
        state, obs, reward, terminated = env.step(moment.env, action, key_step)
        steps = moment.steps + 1
        truncated = jnp.bool_(False) if limit is None else steps >= limit
        after = _Moment(state, obs, steps, moment.reward + reward, terminated, truncated)
        ended = moment.terminated | moment.truncated
        return jax.tree.map(partial(jnp.where, ended), moment, after), None

    no = jnp.bool_(False)
    still = _Moment(slot.env, slot.now.obs, slot.steps, jnp.float32(0), no, no)
    return jax.lax.scan(act, still, keys[1:], unroll=True)[0]


def _anew(env: FunctionalEnv, repeat: int, slot: _Slot, ended: Bool[Array, ""], at: PyTree) -> PyTree:
    """State and moment of one slot, of the next episode's beginning where one ended."""
    key = _keys_at(slot.key, slot.time + 1, repeat + 1)[0]
    state, obs = env.reset(at[0], key)
    begun = state, _first(env, state, obs)
    return jax.tree.map(lambda new, old: jnp.where(ended, new, old).astype(old.dtype), begun, at)


@partial(jax.jit, static_argnums=0)
def _begin_all(env: FunctionalEnv, keys: UInt32[Array, "slots 2"]) -> _Slot:
    return jax.vmap(partial(_begin, env))(keys)


def advance(env: FunctionalEnv, repeat: int, slots: _Slot, action: Array) -> tuple[_Slot, Step]:
    """One agent step of all slots: a pure function of their state.

    Where an episode ended the next one begins. That may cost more than many steps, and is not done where none ended.
    """
    moment = jax.vmap(partial(_act, env, repeat))(slots, action)
    ended, rules = moment.terminated | moment.truncated, jax.vmap(partial(_rules, env))(moment.env)
    no = jnp.zeros_like(ended)
    reached = TimeStep(moment.obs, action, moment.reward, no, moment.terminated, moment.truncated, *rules)

    def begin(_: Array, at: PyTree) -> PyTree:
        return jax.vmap(partial(_anew, env, repeat))(slots, ended, at)

    # A loop of one turn, or none: a branch would copy what it does not change.
    state, now = jax.lax.fori_loop(0, jnp.any(ended).astype(jnp.int32), begin, (moment.env, reached))
    after = _Slot(state, now, jnp.where(ended, 0, moment.steps), slots.key, slots.time + 1)
    return after, Step(reached, now, moment.steps - slots.steps)


_advance_all = jax.jit(advance, static_argnums=(0, 1))


class JaxVector:
    """A functional environment in all slots, one compiled call per step; see `VectorEnv` for the contract.

    Steps run on the processor also where an accelerator is present: these environments are far too small for it.
    """

    def __init__(
        self,
        env: FunctionalEnv,
        *,
        seeds: Sequence[int],
        envs_per_seed: int = 1,
        stream: str = "train",
        action_repeat: int = 1,
        render: bool = False,
        name: str | None = None,
    ):
        self._origins = slot_seeds(seeds, envs_per_seed)
        self.num_slots = len(self._origins)
        own = env.spec
        limit = agent_steps(own.max_episode_steps, action_repeat)
        self.spec = replace(own, id=name or own.id, max_episode_steps=limit, action_repeat=action_repeat)
        self.codec = SpaceCodec.identity(own).named_by(env)
        self._env, self._repeat, self._render = env, action_repeat, render
        self._keys = np.stack([derived_entropy(seed, stream, j).generate_state(2) for seed, j in self._origins])
        self._device = _processor()
        self._slots: _Slot | None = None

    def reset(self) -> TimeStep:
        """Begin again from the first episode of every slot; returns its first moment."""
        return self._place(_begin_all(self._env, jax.device_put(self._keys, self._device)))

    def step(self, action: np.ndarray) -> Step:
        """Act once in every slot; see `VectorEnv.step`."""
        slots = self._started()
        checked = checked_action(self.spec, self._origins, action)
        after, out = _advance_all(self._env, self._repeat, slots, checked)
        step: Step = jax.tree.map(np.asarray, out)
        bad = first_nonfinite(step.reached.reward)
        amiss = seen_amiss(step.reached.obs) if bad is None else (bad[0], f"the reward {step.reached.reward[bad]}")
        if amiss is not None:
            raise EnvironmentFault(
                f"{self.spec.id} returned {amiss[1]} in the action that followed step "
                f"{int(slots.steps[amiss[0]])} of the episode in {place(*self._origins[amiss[0]])}; its step function "
                "is at fault"
            )
        self._slots = after
        return step

    def now(self) -> TimeStep:
        """The moment to act on."""
        return jax.tree.map(np.asarray, self._started().now)

    @property
    def advance(self) -> Callable[[PyTree, Array], tuple[PyTree, Step]]:
        """``(slots, actions [n, ...]) -> (slots, step)``: what `step` does, to be compiled into other programs."""
        return partial(advance, self._env, self._repeat)

    @property
    def kind(self) -> tuple[FunctionalEnv, int]:
        """What `advance` depends on: vectors of one kind can share compiled programs."""
        return self._env, self._repeat

    @property
    def slots(self) -> PyTree:
        """The state of all slots, which `advance` takes on; ``slots.now`` is the moment to act on."""
        return self._started()

    @slots.setter
    def slots(self, slots: PyTree) -> None:
        self._slots = jax.device_put(slots, self._device)

    def get_state(self) -> EnvState:
        """Every array of the slots' states, by name; each has a leading axis [n]."""
        named, _ = jax.tree_util.tree_flatten_with_path(self._started())
        return {jax.tree_util.keystr(path): np.array(leaf) for path, leaf in named}

    def set_state(self, state: EnvState) -> tuple[TimeStep, list[str]]:
        """Go back to the very numbers of `get_state`; there is never anything to warn of."""
        template = jax.eval_shape(partial(_begin_all, self._env), self._keys)
        named, structure = jax.tree_util.tree_flatten_with_path(template)
        expected = {jax.tree_util.keystr(path): (leaf.shape, leaf.dtype) for path, leaf in named}
        found = {name: (np.shape(leaf), np.asarray(leaf).dtype) for name, leaf in state.items()}
        if found != expected:
            raise CheckpointError(
                f"the state is not one of {self.spec.id} in {self.num_slots} environments; "
                "make the environment with the seeds and env_kwargs that the state was saved with"
            )
        return self._place(jax.tree.unflatten(structure, [state[name] for name in expected])), []

    def render(self) -> np.ndarray | None:
        """A picture [height, width, 3] of slot 0; None unless made with ``render=True``."""
        if not self._render:
            return None
        return self._env.render(jax.tree.map(lambda leaf: np.asarray(leaf[0]), self._started().env))

    def close(self) -> None:
        """Nothing is held outside this object."""

    def _started(self) -> _Slot:
        if self._slots is None:
            raise ValueError("reset the environment first")
        return self._slots

    def _place(self, slots: _Slot) -> TimeStep:
        # Through numpy, which drops JAX's weak types: with them the second step would compile anew.
        self._slots = jax.device_put(jax.tree.map(np.array, slots), self._device)
        return self.now()


def _next_key(key: KeyData) -> tuple[KeyData, Key]:
    """The key to carry on, and one to use now."""
    carried, used = jax.random.split(jax.random.wrap_key_data(key, impl="threefry2x32"))
    return jax.random.key_data(carried), used


@partial(jax.jit, static_argnums=0)
def _gym_init(env: FunctionalEnv, key: KeyData) -> PyTree:
    return env.init(jax.random.wrap_key_data(key, impl="threefry2x32"))


@partial(jax.jit, static_argnums=0)
def _gym_reset(env: FunctionalEnv, state: PyTree, key: KeyData) -> tuple[PyTree, PyTree, KeyData]:
    key, key_reset = _next_key(key)
    return *env.reset(state, key_reset), key


@partial(jax.jit, static_argnums=0)
def _gym_step(env: FunctionalEnv, state: PyTree, action: Array, key: KeyData) -> tuple[Any, ...]:
    key, key_step = _next_key(key)
    return *env.step(state, action, key_step), key


class FunctionalGym(gymnasium.Env):
    """A functional environment as a Gymnasium one, in the agent's units (Box actions in [-1, 1]).

    ``reset(seed=...)`` forgets everything, also what the environment keeps across episodes; ``reset()`` begins the
    next episode. Raises Gymnasium's `UnsupportedMode` for render modes other than "rgb_array" and None.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012 - Gymnasium declares it so

    def __init__(self, env: FunctionalEnv, render_mode: str | None = None):
        if render_mode not in (None, "rgb_array"):
            raise UnsupportedMode(f"{env.spec.id} is drawn with render_mode='rgb_array' only, got {render_mode!r}")
        self.render_mode = render_mode
        self.observation_space = gym_space(env.spec.obs, bound=np.inf)
        self.action_space = gym_space(env.spec.action, bound=1.0)
        self._env = env
        self.time_limit = env.spec.max_episode_steps
        self._state: PyTree = None
        self._steps = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode; see the class for what a seed does."""
        super().reset(seed=seed)
        keys = jax.device_put(self.np_random.integers(0, 2**32, size=(2, 2), dtype=np.uint32), _processor())
        if seed is not None or self._state is None:
            self._state = _gym_init(self._env, keys[0])
        self._state, obs, self._key = _gym_reset(self._env, self._state, keys[1])
        self._steps = 0
        return self._own(obs), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Act once; Gymnasium's five values."""
        dtype = np.float32 if isinstance(self._env.spec.action, Box) else np.int32
        self._state, obs, reward, terminated, self._key = _gym_step(
            self._env, self._state, np.asarray(action, dtype), self._key
        )
        self._steps += 1
        truncated = self.time_limit is not None and self._steps >= self.time_limit
        return self._own(obs), float(reward), bool(terminated), truncated, {}

    def render(self) -> np.ndarray | None:  # type: ignore[override]
        """A picture [height, width, 3]; None unless ``render_mode`` is "rgb_array"."""
        if self.render_mode is None:
            return None
        return self._env.render(jax.tree.map(np.asarray, self._state))

    def _own(self, obs: Array) -> Any:
        return per_part(lambda part, x: np.array(x) if isinstance(part, Box) else np.int64(x), self._env.spec.obs, obs)
