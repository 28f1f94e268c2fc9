"""Environments of the gymnax package (Lange 2022) as functional ones; an optional dependency.

Ids are ``gymnax/`` and the package's own name: ``gymnax/Pendulum-v1``, ``gymnax/CartPole-v1``, ``gymnax/Catch-bsuite``.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float32

from forethought.envs.gym_make import one_line
from forethought.errors import EnvironmentFault, MissingExtra, UsageError, nearest
from forethought.types import Box, Discrete, EnvSpec, Key, PyTree

GYMNAX = "gymnax/"

Options = tuple[tuple[str, Any], ...]


@dataclass(frozen=True)
class GymnaxEnv:
    """One environment of gymnax in the agent's units; make it with `gymnax_env`, which checks the names.

    Box observations of three axes come as float32 images, others as one vector. Box actions lie in [-1, 1], also those
    of a policy that is shipped, and are stretched to the environment's bounds. ``terminated`` is the environment's own
    natural ending; the time limit is left to whoever runs it. Gradients pass through the steps that gymnax can
    differentiate.
    """

    name: str
    options: Options = ()

    @property
    def spec(self) -> EnvSpec:
        """Spaces as the agent sees them, and ``max_steps_in_episode`` as the time limit."""
        made = _made(self.name, self.options)
        limit = int(made.params.max_steps_in_episode)
        size = made.action_low.size
        return EnvSpec(GYMNAX + self.name, made.obs, made.action, limit, 1, (-1.0,) * size, (1.0,) * size)

    def init(self, key: Key) -> PyTree:
        """Any state; `reset` begins the episode."""
        return self.reset(None, key)[0]

    def reset(self, state: PyTree, key: Key) -> tuple[PyTree, Array]:
        """Begin an episode; nothing is kept of the one before."""
        made = _made(self.name, self.options)
        obs, begun = made.env.reset_env(key, made.params)
        # Python numbers become arrays with a type of their own.
        return jax.tree.map(lambda x: jnp.asarray(x, jnp.result_type(x)), begun), _seen(made, obs)

    def step(self, state: PyTree, action: Array, key: Key) -> tuple[PyTree, Array, Float32[Array, ""], Bool[Array, ""]]:
        """Act once, without gymnax's own restart at the end of an episode."""
        made = _made(self.name, self.options)
        if isinstance(made.action, Box):
            unit = jnp.clip(action.reshape(made.action_low.shape), -1.0, 1.0)
            action = 0.5 * ((1.0 - unit) * made.action_low + (1.0 + unit) * made.action_high)
        obs, after, reward, terminated, _ = made.env.step_env(key, state, action, made.params)
        # Some environments change the type of a number of their state as they go.
        after = jax.tree.map(lambda was, now: jnp.asarray(now, was.dtype), state, after)
        reward, terminated = jnp.asarray(reward, jnp.float32), jnp.asarray(terminated, bool)
        return after, _seen(made, obs), reward.reshape(()), terminated.reshape(())

    def render(self, state: PyTree) -> np.ndarray:
        """The observation as squares of 16 pixels, brighter for greater numbers; vectors and integers in one row."""
        made = _made(self.name, self.options)
        shown = made.env.observe(jax.random.key(0), jax.tree.map(jnp.asarray, state), None, made.params)
        if isinstance(made.obs, Discrete):
            shown = np.eye(made.obs.n)[int(shown)]
        grid = np.asarray(shown, float)
        grid = grid.max(axis=-1) if grid.ndim == 3 else np.atleast_2d(grid)
        shade = (255 / (1 + np.exp(-np.clip(2 * grid, -9, 9)))).astype(np.uint8)
        return np.stack([shade] * 3, axis=-1).repeat(16, axis=0).repeat(16, axis=1)


def gymnax_env(env_id: str, **options: Any) -> GymnaxEnv:
    """The environment of that id.

    ``options`` replace parameters of the environment (``max_steps_in_episode`` is one of all), or go to its
    constructor. Raises `MissingExtra` where gymnax is not installed, `UsageError` for an unknown name or spaces that
    are not supported, `TypeError` for options that the environment does not have, and `EnvironmentFault` where its
    constructor fails.
    """
    env = GymnaxEnv(env_id.removeprefix(GYMNAX), tuple(sorted(options.items())))
    _made(env.name, env.options)
    return env


class _Made(NamedTuple):
    """gymnax's environment, its parameters, and the spaces as the agent sees them."""

    env: Any
    params: Any
    obs: Box | Discrete
    action: Box | Discrete
    action_low: np.ndarray  # in the environment's units and shape; empty for Discrete actions
    action_high: np.ndarray


@lru_cache
def _made(name: str, options: Options) -> _Made:
    # The first call may come while another function is being traced; what is kept must be numbers all the same.
    with jax.ensure_compile_time_eval():
        env, params = _configured(name, options)
        action, low, high = _describe_action(name, env.action_space(params))
        return _Made(env, params, _describe_obs(name, env, params), action, low, high)


def _configured(name: str, options: Options) -> tuple[Any, Any]:
    try:
        import gymnax
    except ImportError as error:
        raise MissingExtra(GYMNAX + name, "gymnax") from error
    if name not in gymnax.registered_envs:
        raise UsageError(f"gymnax has no environment {name!r}; {nearest(name, gymnax.registered_envs)}")
    try:
        _, defaults = gymnax.make(name)
        replaced = {key: value for key, value in options if hasattr(defaults, key)}
        env, params = gymnax.make(name, **{key: value for key, value in options if key not in replaced})
    except TypeError:
        raise
    except Exception as error:
        raise EnvironmentFault(
            f"{GYMNAX}{name} raised {type(error).__name__} while it was made: {one_line(error)}"
        ) from error
    if env.supports_transition_gradients:
        env = env.with_transition_gradients()
    return env, params.replace(**replaced)


def _describe_action(name: str, space: Any) -> tuple[Box | Discrete, np.ndarray, np.ndarray]:
    if hasattr(space, "n"):
        return Discrete(int(space.n)), np.zeros(0), np.zeros(0)
    low, high = (np.broadcast_to(np.asarray(bound, np.float32), space.shape) for bound in (space.low, space.high))
    if not (np.isfinite(low).all() and np.isfinite(high).all()):
        raise UsageError(f"the actions of {GYMNAX}{name} have no finite bounds, which is not supported")
    return Box((low.size,)), low, high


def _describe_obs(name: str, env: Any, params: Any) -> Box | Discrete:
    space = env.observation_space(params)
    if hasattr(space, "n"):
        return Discrete(int(space.n))
    # The shape that is there rather than the one declared: in some environments the two differ.
    obs, _ = jax.eval_shape(env.reset_env, jax.random.key(0), params)
    if not isinstance(obs, jax.ShapeDtypeStruct):
        raise UsageError(f"{GYMNAX}{name} shows a {type(obs).__name__}; supported are arrays and integers")
    return Box(obs.shape if len(obs.shape) == 3 else (math.prod(obs.shape),))


def _seen(made: _Made, obs: Any) -> Array:
    """The observation in the agent's view."""
    if isinstance(made.obs, Discrete):
        return jnp.asarray(obs, jnp.int32)
    return jnp.asarray(obs, jnp.float32).reshape(made.obs.shape)
