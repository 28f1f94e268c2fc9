"""What the standard tasks pay, as functions of (obs, action, next obs), for those who may use that knowledge.

Actions are the agent's, in [-1, 1]; what lies outside is clipped, as it is on its way to the environment. The rewards
are those of the Gymnasium source of each task with default arguments, and those of our own tasks: most are of the
state before the step, where the code of PETS evaluates the one after it. A reward that is not a function of these three
arguments is not listed.
"""

from collections.abc import Callable
from typing import TypeAlias

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from forethought.envs.cartpole import upright_reward
from forethought.envs.control import DoubleIntegrator, Pendulum, integrator_reward, pendulum_reward
from forethought.errors import UsageError
from forethought.models.termination import inverted_pendulum

Reward: TypeAlias = Callable[[Array, Array, Array], Array]


def pendulum(
    obs: Float[Array, "n 3"], action: Float[Array, "n 1"], next_obs: Float[Array, "n 3"]
) -> Float[Array, " n"]:
    """``-(θ² + 0.1 θ'² + 0.001 u²)`` before the step, with the torque ``u = 2 * action``."""
    return jax.vmap(pendulum_reward)(jax.vmap(Pendulum().state_of)(obs), action)


def alive_inverted_pendulum(
    obs: Float[Array, "n 4"], action: Float[Array, "n 1"], next_obs: Float[Array, "n 4"]
) -> Float[Array, " n"]:
    """1 where the pole leans by at most 0.2 rad after the step, else 0."""
    return 1.0 - inverted_pendulum(obs, action, next_obs)


def one(obs: Float[Array, "n o"], action: Float[Array, "n a"], next_obs: Float[Array, "n o"]) -> Float[Array, " n"]:
    """1 for every step, also for the one that ends the episode."""
    return jnp.ones(obs.shape[0])


def upright_cart_pole(
    obs: Float[Array, "n 4"], action: Float[Array, "n 1"], next_obs: Float[Array, "n 4"]
) -> Float[Array, " n"]:
    """``cos θ - 0.01 x²`` before the step."""
    return jax.vmap(upright_reward)(obs)


def double_integrator(
    obs: Float[Array, "n 2"], action: Float[Array, "n 1"], next_obs: Float[Array, "n 2"]
) -> Float[Array, " n"]:
    """``-(sᵀ s + 0.1 u²)`` before the step, with the control ``u = 10 * action``."""
    return jax.vmap(integrator_reward)(jax.vmap(DoubleIntegrator().state_of)(obs), action)


KNOWN_REWARDS: dict[str, Reward] = {
    "Pendulum-v1": pendulum,
    "InvertedPendulum-v5": alive_inverted_pendulum,
    "forethought/CartPoleContinuous-v0": one,
    "forethought/GymCartPole-v0": upright_cart_pole,
    "forethought/Pendulum-v0": pendulum,
    "forethought/DoubleIntegrator-v0": double_integrator,
}


def known_reward(env_id: str) -> Reward:
    """The function of a standard task with an action repeat of 1. Raises `UsageError` for other tasks."""
    if env_id not in KNOWN_REWARDS:
        raise UsageError(
            f"the reward of {env_id} is not known, only those of {', '.join(KNOWN_REWARDS)}; leave out "
            "--agent.reward known, and it is learned"
        )
    return KNOWN_REWARDS[env_id]
