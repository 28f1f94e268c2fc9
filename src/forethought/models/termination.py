"""When the standard tasks end, as functions of (obs, action, next obs), and the check of such a function on data.

The conditions are those of the Gymnasium source of each task (version 5 of the MuJoCo tasks, default arguments), and
those of our own tasks. An environment that is not listed gets its termination learned.
"""

from collections.abc import Callable
from typing import TypeAlias

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from forethought.envs.cartpole import ANGLE_LIMIT, X_LIMIT
from forethought.replay.moments import Replay

# Environments decide in float64 what these functions decide in float32, so a few borderline cases may differ.
TOLERATED_DISAGREEMENT = 1e-3

Termination: TypeAlias = Callable[[Array, Array, Array], Array]


def never(obs: Float[Array, "n o"], action: Array, next_obs: Float[Array, "n o"]) -> Bool[Array, " n"]:
    """The task has no terminal states; what is not finite ends all the same."""
    return ~_finite(next_obs)


def inverted_pendulum(obs: Float[Array, "n o"], action: Array, next_obs: Float[Array, "n o"]) -> Bool[Array, " n"]:
    """The pole leans by more than 0.2 rad."""
    return ~(_finite(next_obs) & (jnp.abs(next_obs[:, 1]) <= 0.2))


def inverted_double_pendulum(
    obs: Float[Array, "n o"], action: Array, next_obs: Float[Array, "n o"]
) -> Bool[Array, " n"]:
    """The tip of two poles of 0.6 m is at most 1 m high; observed are sines (1, 2) and cosines (3, 4) of the angles."""
    first, second = (jnp.arctan2(next_obs[:, i], next_obs[:, i + 2]) for i in (1, 2))
    tip = 0.6 * (jnp.cos(first) + jnp.cos(first + second))
    return ~(_finite(next_obs) & (tip > 1.0))


def hopper(obs: Float[Array, "n o"], action: Array, next_obs: Float[Array, "n o"]) -> Bool[Array, " n"]:
    """Height at most 0.7 m, lean at least 0.2 rad, or a state beyond 100."""
    height, angle = next_obs[:, 0], next_obs[:, 1]
    inside = jnp.all(jnp.abs(next_obs[:, 1:]) < 100.0, axis=-1)
    return ~(_finite(next_obs) & inside & (height > 0.7) & (jnp.abs(angle) < 0.2))


def walker2d(obs: Float[Array, "n o"], action: Array, next_obs: Float[Array, "n o"]) -> Bool[Array, " n"]:
    """Height outside (0.8, 2.0) m or lean outside (-1, 1) rad."""
    height, angle = next_obs[:, 0], next_obs[:, 1]
    return ~(_finite(next_obs) & (height > 0.8) & (height < 2.0) & (jnp.abs(angle) < 1.0))


def ant(obs: Float[Array, "n o"], action: Array, next_obs: Float[Array, "n o"]) -> Bool[Array, " n"]:
    """Height outside [0.2, 1.0] m."""
    return ~(_finite(next_obs) & (next_obs[:, 0] >= 0.2) & (next_obs[:, 0] <= 1.0))


def humanoid(obs: Float[Array, "n o"], action: Array, next_obs: Float[Array, "n o"]) -> Bool[Array, " n"]:
    """Height outside (1.0, 2.0) m."""
    return ~(_finite(next_obs) & (next_obs[:, 0] > 1.0) & (next_obs[:, 0] < 2.0))


def mountain_car(obs: Float[Array, "n o"], action: Array, next_obs: Float[Array, "n o"]) -> Bool[Array, " n"]:
    """The car stands at 0.45 or beyond and does not roll back."""
    return (next_obs[:, 0] >= 0.45) & (next_obs[:, 1] >= 0.0)


def cart_pole(obs: Float[Array, "n o"], action: Array, next_obs: Float[Array, "n o"]) -> Bool[Array, " n"]:
    """The cart is more than 2.4 m from the middle, or the pole leans by more than 12°."""
    x, angle = next_obs[:, 0], next_obs[:, 2]
    return ~(_finite(next_obs) & (jnp.abs(x) <= X_LIMIT) & (jnp.abs(angle) <= ANGLE_LIMIT))


def _finite(x: Float[Array, "n o"]) -> Bool[Array, " n"]:
    return jnp.all(jnp.isfinite(x), axis=-1)


KNOWN: dict[str, Termination] = {
    "Pendulum-v1": never,
    "MountainCarContinuous-v0": mountain_car,
    "HalfCheetah-v5": never,
    "Swimmer-v5": never,
    "Reacher-v5": never,
    "Pusher-v5": never,
    "HumanoidStandup-v5": never,
    "InvertedPendulum-v5": inverted_pendulum,
    "InvertedDoublePendulum-v5": inverted_double_pendulum,
    "Hopper-v5": hopper,
    "Walker2d-v5": walker2d,
    "Ant-v5": ant,
    "Humanoid-v5": humanoid,
    "forethought/CartPoleContinuous-v0": cart_pole,
    "forethought/GymCartPole-v0": never,
    "forethought/Pendulum-v0": never,
    "forethought/DoubleIntegrator-v0": never,
}


def known_termination(env_id: str) -> Termination | None:
    """The function of a standard task; None where termination has to be learned."""
    return KNOWN.get(env_id)


def disagreement(termination: Termination, replay: Replay) -> Float[Array, ""]:
    """Share of the real transitions whose ``terminated`` the function gets wrong."""
    t, used = replay.all(), replay.used
    wrong = (termination(t.obs, t.action, t.next_obs) != t.terminated) & used
    return jnp.sum(wrong) / jnp.maximum(replay.size, 1)
