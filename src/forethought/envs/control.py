"""Two control problems whose every number is known: swinging up a pendulum, and a linear system with quadratic costs.

Actions outside [-1, 1] are clipped. See `forethought.envs.cartpole` for the tasks with a cart.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Float32

from forethought.envs.drawing import BLACK, BLUE, GREY, RED, blank, draw_line
from forethought.errors import UsageError
from forethought.types import Box, EnvSpec, Key

MAX_TORQUE = 2.0  # N m
MAX_SPEED = 8.0  # rad/s
PENDULUM_TIME_STEP = 0.05  # s
PENDULUM_GRAVITY = 10.0  # m/s²

INTEGRATOR_TIME_STEP = 0.1
DYNAMICS = np.array([[1.0, INTEGRATOR_TIME_STEP], [0.0, 1.0]])  # A
CONTROL = np.array([0.0, INTEGRATOR_TIME_STEP])  # B
STATE_COST = np.eye(2)  # Q
CONTROL_COST = 0.1  # R
# The control of action 1. The best control of the states in [-1, 1]² is largest in the corners, there
# K (1, 1) = 2.585 + 3.575 = 6.16, so that the unbounded solution is also the one within the bound.
MAX_CONTROL = 10.0


class PendulumState(NamedTuple):
    """Angle from upright in rad (any number of turns), and its speed in rad/s."""

    angle: Float32[Array, ""]
    speed: Float32[Array, ""]


@dataclass(frozen=True)
class Pendulum:
    """Gymnasium's Pendulum-v1: swing up a rod of 1 m and 1 kg with a motor that is too weak to lift it.

    With the torque ``u = 2 * action`` in N m, the angle θ from upright in [-π, π), g = 10 m/s² and 0.05 s to the step,

    ::

        reward = -(θ² + 0.1 θ'² + 0.001 u²)                       before the step
        θ'_{t+1} = clip(θ'_t + (1.5 g sin θ_t + 3 u) 0.05, ±8)
        θ_{t+1} = θ_t + 0.05 θ'_{t+1}

    Observed are cos θ, sin θ and θ'. An episode begins anywhere in ±(π, 1), never terminates and has 200 steps.
    """

    observation_names = "cos angle", "sin angle", "speed"
    action_names = ("torque",)

    @property
    def spec(self) -> EnvSpec:
        """Three numbers to see, one to do, 200 steps."""
        return EnvSpec("forethought/Pendulum-v0", Box((3,)), Box((1,)), 200, 1, (-1.0,), (1.0,))

    def init(self, key: Key) -> PendulumState:
        """Any state; `reset` begins the episode."""
        return PendulumState(jnp.float32(0.0), jnp.float32(0.0))

    def reset(self, state: PendulumState, key: Key) -> tuple[PendulumState, Float32[Array, "3"]]:
        """Any angle, a speed of at most 1 rad/s."""
        angle, speed = jax.random.uniform(key, (2,), minval=-1.0, maxval=1.0)
        begun = PendulumState(jnp.pi * angle, speed)
        return begun, _show(begun)

    def step(
        self, state: PendulumState, action: Float32[Array, "1"], key: Key
    ) -> tuple[PendulumState, Float32[Array, "3"], Float32[Array, ""], Bool[Array, ""]]:
        """Turn the motor for 0.05 s."""
        torque = MAX_TORQUE * jnp.clip(action[0], -1.0, 1.0)
        pull = 1.5 * PENDULUM_GRAVITY * jnp.sin(state.angle) + 3.0 * torque
        speed = jnp.clip(state.speed + pull * PENDULUM_TIME_STEP, -MAX_SPEED, MAX_SPEED)
        after = PendulumState(state.angle + speed * PENDULUM_TIME_STEP, speed)
        return after, _show(after), pendulum_reward(state, action), jnp.bool_(False)

    def state_of(self, obs: Float32[Array, "3"]) -> PendulumState:
        """The state that shows this observation, with its angle in [-π, π]."""
        return PendulumState(jnp.arctan2(obs[1], obs[0]), obs[2])

    def render(self, state: PendulumState) -> np.ndarray:
        """The rod and its axle, 96 by 96 pixels; the angle counts counter-clockwise, as in Gymnasium's picture."""
        picture = blank(96, 96)
        tip = 48 - 40 * float(np.sin(state.angle)), 48 - 40 * float(np.cos(state.angle))
        draw_line(picture, (48, 48), tip, RED, thickness=6)
        draw_line(picture, (48, 48), (48, 48), BLACK, thickness=6)
        return picture


def pendulum_reward(state: PendulumState, action: Float32[Array, "1"]) -> Float32[Array, ""]:
    """``-(θ² + 0.1 θ'² + 0.001 u²)``, with θ in [-π, π)."""
    torque = MAX_TORQUE * jnp.clip(action[0], -1.0, 1.0)
    angle = (state.angle + jnp.pi) % (2.0 * jnp.pi) - jnp.pi
    return -(angle**2 + 0.1 * state.speed**2 + 0.001 * torque**2)


def _show(state: PendulumState) -> Float32[Array, "3"]:
    return jnp.stack([jnp.cos(state.angle), jnp.sin(state.angle), state.speed])


IntegratorState: TypeAlias = Float32[Array, "2"]  # (position, speed), without units


@dataclass(frozen=True)
class DoubleIntegrator:
    """A mass on a line, pushed to the origin: a linear system with quadratic costs, whose solution is known.

    With the control ``u = 10 * action``, A = [[1, 0.1], [0, 1]], B = [0, 0.1], Q = I and R = 0.1,

    ::

        reward = -(sᵀ Q s + R u²)      before the step
        s_{t+1} = A s_t + B u_t

    The state (position, speed) is what is observed. An episode begins at ``start``, or uniformly in [-1, 1]² where
    that is None, never terminates and has 200 steps, after which nothing is left to pay. `riccati` and `lqr_gain`
    have the solution.
    """

    start: tuple[float, float] | None = None

    observation_names = "position", "speed"
    action_names = ("force",)

    @property
    def spec(self) -> EnvSpec:
        """Two numbers to see, one to do, 200 steps."""
        return EnvSpec("forethought/DoubleIntegrator-v0", Box((2,)), Box((1,)), 200, 1, (-1.0,), (1.0,))

    def init(self, key: Key) -> IntegratorState:
        """Any state; `reset` begins the episode."""
        return jnp.zeros(2)

    def reset(self, state: IntegratorState, key: Key) -> tuple[IntegratorState, IntegratorState]:
        """At ``start``, or anywhere in [-1, 1]²."""
        drawn = jax.random.uniform(key, (2,), minval=-1.0, maxval=1.0)
        begun = drawn if self.start is None else jnp.array(self.start, jnp.float32)
        return begun, begun

    def step(
        self, state: IntegratorState, action: Float32[Array, "1"], key: Key
    ) -> tuple[IntegratorState, IntegratorState, Float32[Array, ""], Bool[Array, ""]]:
        """Push for 0.1 units of time."""
        control = MAX_CONTROL * jnp.clip(action[0], -1.0, 1.0)
        position, speed = state
        # Written out, because matrix products are less exact on accelerators.
        after = jnp.stack([position + INTEGRATOR_TIME_STEP * speed, speed + INTEGRATOR_TIME_STEP * control])
        return after, after, integrator_reward(state, action), jnp.bool_(False)

    def state_of(self, obs: IntegratorState) -> IntegratorState:
        """The state that shows this observation: the observation itself."""
        return obs

    def render(self, state: Float32[np.ndarray, "2"]) -> np.ndarray:
        """The state as a dot in the plane of position (across) and speed (up) from -2 to 2, 96 by 96 pixels."""
        picture = blank(96, 96)
        draw_line(picture, (0, 48), (95, 48), GREY, thickness=1)
        draw_line(picture, (48, 0), (48, 95), GREY, thickness=1)
        position, speed = np.clip(state, -2.0, 2.0)
        dot = 48 + 22 * float(position), 48 - 22 * float(speed)
        draw_line(picture, dot, dot, BLUE, thickness=9)
        return picture


def double_integrator(start: Sequence[int | float] | None = None) -> DoubleIntegrator:
    """The environment with episodes that begin at ``start``; raises `UsageError` unless that is two numbers."""
    if start is None:
        return DoubleIntegrator()
    if len(start) != 2:
        raise UsageError(f"start is {list(start)}; give a position and a speed")
    return DoubleIntegrator((float(start[0]), float(start[1])))


def integrator_reward(state: IntegratorState, action: Float32[Array, "1"]) -> Float32[Array, ""]:
    """``-(sᵀ Q s + R u²)``, where Q is the identity."""
    control = MAX_CONTROL * jnp.clip(action[0], -1.0, 1.0)
    return -(jnp.sum(state**2) + CONTROL_COST * control**2)


def riccati(discount: int | float = 1.0) -> Float[np.ndarray, "2 2"]:
    """The matrix P of the least cost to go, ``V(s) = -sᵀ P s``, over an infinite horizon; float64.

    The fixed point of the discrete Riccati equation (Bertsekas, Dynamic Programming and Optimal Control, volume 1)

    ::

        P = Q + γ Aᵀ P A - γ² Aᵀ P B (R + γ Bᵀ P B)⁻¹ Bᵀ P A

    Raises `UsageError` for a discount outside (0, 1].
    """
    if not 0.0 < discount <= 1.0:
        raise UsageError(f"discount is {discount}; it must be above 0 and at most 1")
    p, before = STATE_COST, np.zeros((2, 2))
    while np.abs(p - before).max() > 1e-12:
        p, before = STATE_COST + discount * DYNAMICS.T @ p @ (DYNAMICS - np.outer(CONTROL, _gain(p, discount))), p
    return p


def lqr_gain(discount: int | float = 1.0) -> Float[np.ndarray, "2"]:
    """The best control is ``u = -K s``, that is the action ``-K s / 10``; float64. Raises what `riccati` raises."""
    return _gain(riccati(discount), discount)


def _gain(p: Float[np.ndarray, "2 2"], discount: int | float) -> Float[np.ndarray, "2"]:
    """``K = γ (R + γ Bᵀ P B)⁻¹ Bᵀ P A``."""
    return discount * (CONTROL @ p @ DYNAMICS) / (CONTROL_COST + discount * CONTROL @ p @ CONTROL)
