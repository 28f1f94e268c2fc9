"""The best that can be had in Pendulum-v1, by dynamic programming on a grid: what any planner is to be held against."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.ndimage import map_coordinates

from forethought.envs.control import MAX_SPEED, Pendulum, PendulumState

_ANGLES, _SPEEDS, _ACTIONS = 401, 321, 33
_STEPS = 200


def best_returns(env: Pendulum, state: PendulumState) -> np.ndarray:
    """Returns of whole episodes of the greedy policy of the value on the grid, from each of n states.

    ``V_k(s) = max_a r(s, a) + V_{k-1}(s')`` with k steps to go, linear between the points. The actions are carried out
    in the true dynamics, so the returns are real ones: a lower bound of the best, close to it on a fine grid.
    """
    actions = jnp.linspace(-1.0, 1.0, _ACTIONS)[:, None]
    angles, speeds = jnp.linspace(-jnp.pi, jnp.pi, _ANGLES), jnp.linspace(-MAX_SPEED, MAX_SPEED, _SPEEDS)
    grid = PendulumState(*(x.ravel() for x in jnp.meshgrid(angles, speeds, indexing="ij")))
    move = jax.vmap(lambda state, action: env.step(state, action, jax.random.key(0)))

    def worth(value: jax.Array, state: PendulumState, action: jax.Array) -> jax.Array:
        state, _, reward, _ = move(state, jnp.broadcast_to(action, (*state.angle.shape, 1)))
        angle = (state.angle + jnp.pi) % (2.0 * jnp.pi) / (2.0 * jnp.pi) * (_ANGLES - 1)
        speed = (state.speed + MAX_SPEED) / (2.0 * MAX_SPEED) * (_SPEEDS - 1)
        return reward + map_coordinates(value, [angle, speed], order=1, mode="nearest")

    def backup(value: jax.Array, _: None) -> tuple[jax.Array, jax.Array]:
        best = jnp.max(jax.lax.map(lambda action: worth(value, grid, action), actions), axis=0)
        return best.reshape(value.shape), value

    def step(state: PendulumState, value: jax.Array) -> tuple[PendulumState, jax.Array]:
        choice = jnp.argmax(jax.lax.map(lambda action: worth(value, state, action), actions), axis=0)
        state, _, reward, _ = move(state, actions[choice])
        return state, reward

    @jax.jit
    def play(state: PendulumState) -> jax.Array:
        _, values = jax.lax.scan(backup, jnp.zeros((_ANGLES, _SPEEDS)), length=_STEPS)  # V_0 first
        return jnp.sum(jax.lax.scan(step, state, values[::-1])[1], axis=0)

    return np.asarray(play(state))
