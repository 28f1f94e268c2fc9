"""Balancing a pole on a cart, in the two forms in which planners are compared.

Both move as Gymnasium's CartPole-v1 does (the equations are those of Barto, Sutton & Anderson 1983, without friction):
with the force F on a cart of mass m_c, a pole of mass m_p and half length l, m = m_c + m_p, and the angle θ from
upright,

::

    a = (F + m_p l θ'² sin θ) / m
    θ'' = (g sin θ - a cos θ) / (l (4/3 - m_p cos² θ / m))
    x'' = a - m_p l θ'' cos θ / m

integrated by explicit Euler steps of 0.02 s. The state is what is observed, (x, x', θ, θ') in m, m/s, rad and rad/s,
and begins uniformly in ±0.05 on each. Actions outside [-1, 1] are clipped.
"""

from dataclasses import dataclass
from math import pi
from typing import ClassVar, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float32

from forethought.envs.drawing import BLACK, GREY, RED, blank, draw_line
from forethought.types import Box, EnvSpec, Key

CartPoleState: TypeAlias = Float32[Array, "4"]  # (x, x', θ, θ')

GRAVITY = 9.8  # m/s²
MASS_CART, MASS_POLE = 1.0, 0.1  # kg
HALF_LENGTH = 0.5  # m
MAX_FORCE = 10.0  # N
TIME_STEP = 0.02  # s
X_LIMIT = 2.4  # m
ANGLE_LIMIT = 12 * pi / 180  # rad


@dataclass(frozen=True)
class _CartPole:
    """What both forms share: all but the force, the reward and the end."""

    env_id: ClassVar[str]
    limit: ClassVar[int]

    observation_names = "position", "speed", "angle", "angular speed"

    @property
    def spec(self) -> EnvSpec:
        """Four numbers to see, one to do."""
        return EnvSpec(self.env_id, Box((4,)), Box((1,)), self.limit, 1, (-1.0,), (1.0,))

    def init(self, key: Key) -> CartPoleState:
        """Any state; `reset` begins the episode."""
        return jnp.zeros(4)

    def reset(self, state: CartPoleState, key: Key) -> tuple[CartPoleState, CartPoleState]:
        """Nearly upright, nearly at rest, near the middle."""
        begun = jax.random.uniform(key, (4,), minval=-0.05, maxval=0.05)
        return begun, begun

    def state_of(self, obs: CartPoleState) -> CartPoleState:
        """The state that shows this observation: the observation itself."""
        return obs

    def render(self, state: Float32[np.ndarray, "4"]) -> np.ndarray:
        """The cart on its track and the pole, 96 by 144 pixels; a cart that has left the track stands at its end."""
        picture, scale, ground = blank(96, 144), 28, 60  # 28 pixels to the metre
        across, lean = 72 + scale * float(np.clip(state[0], -X_LIMIT, X_LIMIT)), float(state[2])
        tip = across + 2 * HALF_LENGTH * scale * np.sin(lean), ground - 2 * HALF_LENGTH * scale * np.cos(lean)
        draw_line(picture, (72 - scale * X_LIMIT, ground), (72 + scale * X_LIMIT, ground), GREY)
        draw_line(picture, (across - 8, ground), (across + 8, ground), BLACK, thickness=10)
        draw_line(picture, (across, ground), tip, RED, thickness=4)
        return picture


@dataclass(frozen=True)
class CartPoleContinuous(_CartPole):
    """The continuous CartPole of mbrl-lib (``mbrl/env/cartpole_continuous.py``), used there for PETS.

    The force is 10 N times the action. Every step pays 1, also the one that ends the episode, which is when the cart
    is more than 2.4 m from the middle or the pole leans by more than 12°. Episodes have at most 200 steps.
    """

    env_id = "forethought/CartPoleContinuous-v0"
    limit = 200

    def step(
        self, state: CartPoleState, action: Float32[Array, "1"], key: Key
    ) -> tuple[CartPoleState, CartPoleState, Float32[Array, ""], Bool[Array, ""]]:
        """Push in proportion to the action."""
        after = move(state, MAX_FORCE * jnp.clip(action[0], -1.0, 1.0))
        terminated = (jnp.abs(after[0]) > X_LIMIT) | (jnp.abs(after[2]) > ANGLE_LIMIT)
        return after, after, jnp.float32(1.0), terminated


@dataclass(frozen=True)
class GymCartPole(_CartPole):
    """The ``gym_cartpole`` of MBBL (Wang et al. 2019, arXiv 1907.02057), one of the tasks of POPLIN.

    The force is 10 N to the right for a positive action and 10 N to the left for any other. A step pays
    ``cos θ - 0.01 x²`` of the state it was taken from. Nothing ends the episode but its 201st step (MBBL compares its
    count to the length of 200 after adding to it), so a fallen pole may swing up again.
    """

    env_id = "forethought/GymCartPole-v0"
    limit = 201

    def step(
        self, state: CartPoleState, action: Float32[Array, "1"], key: Key
    ) -> tuple[CartPoleState, CartPoleState, Float32[Array, ""], Bool[Array, ""]]:
        """Push with the full force to the side of the action."""
        after = move(state, jnp.where(action[0] > 0.0, MAX_FORCE, -MAX_FORCE))
        return after, after, upright_reward(state), jnp.bool_(False)


def move(state: CartPoleState, force: Float32[Array, ""]) -> CartPoleState:
    """The state after 0.02 s under a force in newtons; see the equations at the top."""
    _, x_dot, theta, theta_dot = state
    mass, sine, cosine = MASS_CART + MASS_POLE, jnp.sin(theta), jnp.cos(theta)
    a = (force + MASS_POLE * HALF_LENGTH * theta_dot**2 * sine) / mass
    inertia = HALF_LENGTH * (4.0 / 3.0 - MASS_POLE * cosine**2 / mass)
    theta_acc = (GRAVITY * sine - a * cosine) / inertia
    x_acc = a - MASS_POLE * HALF_LENGTH * theta_acc * cosine / mass
    return state + TIME_STEP * jnp.stack([x_dot, x_acc, theta_dot, theta_acc])


def upright_reward(state: CartPoleState) -> Float32[Array, ""]:
    """``cos θ - 0.01 x²``."""
    return jnp.cos(state[2]) - 0.01 * state[0] ** 2
