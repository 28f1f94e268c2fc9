"""Environments of Brax's form as functional ones: Brax itself and MuJoCo Playground; both optional dependencies.

Ids are ``brax/`` or ``playground/`` and the package's own name: ``brax/ant``, ``playground/CartpoleBalance``.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float32

from forethought.envs.gym_make import one_line
from forethought.errors import EnvironmentFault, MissingExtra, UsageError, nearest
from forethought.types import Box, EnvSpec, Key, PyTree

BRAX, PLAYGROUND = "brax/", "playground/"
_EPISODE = 1000  # Brax's own; Playground's tasks say theirs

Options = tuple[tuple[str, Any], ...]


@dataclass(frozen=True)
class BraxEnv:
    """One environment with Brax's ``reset(key)`` and ``step(state, action)``; make it with `brax_env`.

    Actions lie in [-1, 1], as there. Where the observation is a dict, what the policy of such a task sees is taken:
    its entry "state". ``terminated`` is ``done`` without the time limit, which is left to whoever runs it.
    """

    id: str
    options: Options = ()

    @property
    def spec(self) -> EnvSpec:
        """Vectors to see and to do, and ``episode_length`` as the time limit."""
        made = _made(self.id, self.options)
        n = made.env.action_size
        return EnvSpec(self.id, Box((made.n_obs,)), Box((n,)), made.limit, 1, (-1.0,) * n, (1.0,) * n)

    def init(self, key: Key) -> PyTree:
        """Any state; `reset` begins the episode."""
        return self.reset(None, key)[0]

    def reset(self, state: PyTree, key: Key) -> tuple[PyTree, Array]:
        """Begin an episode; nothing is kept of the one before."""
        # Such environments keep keys in their state, and a state is plain arrays.
        begun = _made(self.id, self.options).env.reset(jax.random.key_data(key))
        return jax.tree.map(lambda x: jnp.asarray(x, jnp.result_type(x)), begun), _seen(begun.obs)

    def step(self, state: PyTree, action: Array, key: Key) -> tuple[PyTree, Array, Float32[Array, ""], Bool[Array, ""]]:
        """Act once; the environment draws from the key in its state, not from this one."""
        after = _made(self.id, self.options).env.step(state, jnp.clip(action, -1.0, 1.0))
        after = jax.tree.map(lambda was, now: jnp.asarray(now, was.dtype), state, after)
        over = jnp.asarray(after.info.get("time_out", 0.0), bool)
        return after, _seen(after.obs), jnp.asarray(after.reward, jnp.float32), jnp.asarray(after.done, bool) & ~over

    def render(self, state: PyTree) -> np.ndarray:
        """A picture by the package's own renderer."""
        env = _made(self.id, self.options).env
        if self.id.startswith(PLAYGROUND):
            return np.asarray(env.render([state])[0], np.uint8)
        from brax.io import image

        return np.asarray(image.render_array(env.sys, [state.pipeline_state], 240, 320)[0], np.uint8)


def brax_env(env_id: str, **options: Any) -> BraxEnv:
    """The environment of that id.

    ``options`` go to its constructor, or replace numbers of a task's configuration; ``episode_length`` is one of all.
    Raises `MissingExtra` where the package is not installed, `UsageError` for an unknown name or observations that are
    not vectors, and `EnvironmentFault` where its constructor fails.
    """
    env = BraxEnv(env_id, tuple(sorted(options.items())))
    _made(env.id, env.options)
    return env


class _Made(NamedTuple):
    env: Any
    n_obs: int
    limit: int


@lru_cache
def _made(env_id: str, options: Options) -> _Made:
    # The first call may come while another function is being traced; what is kept must be numbers all the same.
    with jax.ensure_compile_time_eval():
        from_package = _from_playground if env_id.startswith(PLAYGROUND) else _from_brax
        try:
            env, limit = from_package(env_id, dict(options))
            obs = jax.eval_shape(lambda key: _seen(env.reset(key).obs), jax.ShapeDtypeStruct((2,), jnp.uint32))
        except (MissingExtra, UsageError, TypeError):
            raise
        except Exception as error:
            raise EnvironmentFault(
                f"{env_id} raised {type(error).__name__} while it was made: {one_line(error)}"
            ) from error
    if len(obs.shape) != 1:
        raise UsageError(f"{env_id} shows {obs.shape}; supported are vectors")
    return _Made(env, obs.shape[0], int(limit))


def _from_brax(env_id: str, options: dict[str, Any]) -> tuple[Any, int]:
    try:
        from brax import envs
    except ImportError as error:
        raise MissingExtra(env_id, "brax") from error
    name = _known(env_id, BRAX, envs._envs)
    limit = options.pop("episode_length", _EPISODE)
    return envs.get_environment(name, **options), limit


def _from_playground(env_id: str, options: dict[str, Any]) -> tuple[Any, int]:
    try:
        from mujoco_playground import registry
    except ImportError as error:
        raise MissingExtra(env_id, "playground") from error
    name = _known(env_id, PLAYGROUND, registry.ALL_ENVS)
    config = registry.get_default_config(name)
    if unknown := [key for key in options if key not in config]:
        raise TypeError(f"{unknown[0]!r} is not in the configuration, which has {', '.join(sorted(config))}")
    if "impl" in config:
        config.impl = "jax"  # its other one, Warp, keeps values of one traced program for the next
    config.update(options)
    return registry.load(name, config=config), config.episode_length


def _known(env_id: str, namespace: str, names: Any) -> str:
    name = env_id.removeprefix(namespace)
    if name not in names:
        raise UsageError(f"{namespace.rstrip('/')} has no environment {name!r}; {nearest(name, list(names))}")
    return name


def _seen(obs: Any) -> Array:
    shown = obs["state"] if isinstance(obs, dict) and "state" in obs else obs
    if not hasattr(shown, "shape"):
        raise UsageError(f"the observation is a {type(obs).__name__} without a 'state'; supported are arrays")
    return jnp.asarray(shown, jnp.float32)
