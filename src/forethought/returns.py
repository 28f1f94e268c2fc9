"""Targets of values along trajectories: n-step returns, lambda-returns and generalized advantages.

All take rows of steps, time first. Step t leads from a state to the next one::

    reward[t]      r_{t+1}, what the step earned
    discount[t]    d_{t+1}: gamma where the world goes on, 0 where it has terminated; negative where the turn passes in
                   a game of two, whose values are those of the player to move
    next_value[t]  v_{t+1}, the value of where the step led: of the last observation of an episode too, not of the first
                   one of the next
    ended[t]       whether row t + 1 begins another episode, by termination or truncation: nothing is taken from there

The last row bootstraps from its ``next_value``, as a truncation does.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from forethought.errors import require_within


def n_step_returns(
    reward: Float[Array, "*steps"],
    discount: Float[Array, "*steps"],
    next_value: Float[Array, "*steps"],
    ended: Bool[Array, "*steps"],
    n: int,
) -> Float[Array, "*steps"]:
    """``G^n_t = r_{t+1} + d_{t+1} G^{n-1}_{t+1}`` with ``G^0_t = v_t`` (Sutton & Barto 2018, equation 7.1).

    Where fewer than n steps are left of an episode or of the rows, as many as there are. Raises `UsageError` for n < 1.
    """
    require_within("n", n, 1)
    last = _last(ended)
    returns = reward + discount * next_value
    for _ in range(n - 1):
        returns = reward + discount * jnp.where(last, next_value, jnp.roll(returns, -1, axis=0))
    return returns


def lambda_returns(
    reward: Float[Array, "*steps"],
    discount: Float[Array, "*steps"],
    next_value: Float[Array, "*steps"],
    ended: Bool[Array, "*steps"],
    lambda_: float,
) -> Float[Array, "*steps"]:
    """``G_t = r_{t+1} + d_{t+1} [(1 - lambda) v_{t+1} + lambda G_{t+1}]`` (Sutton & Barto 2018, section 12.1).

    lambda = 0 is the one-step return, 1 that of Monte Carlo. Raises `UsageError` for a ``lambda_`` outside of [0, 1].
    """
    require_within("lambda_", lambda_, 0.0, 1.0)

    def back(after: Array, row: tuple[Array, Array, Array, Array]) -> tuple[Array, Array]:
        reward, discount, value, last = row
        returns = reward + discount * jnp.where(last, value, (1.0 - lambda_) * value + lambda_ * after)
        return returns, returns

    rows = reward, discount, next_value, _last(ended)
    return jax.lax.scan(back, jnp.zeros_like(reward[0]), rows, reverse=True)[1]


def advantages(
    reward: Float[Array, "*steps"],
    discount: Float[Array, "*steps"],
    value: Float[Array, "*steps"],
    next_value: Float[Array, "*steps"],
    ended: Bool[Array, "*steps"],
    lambda_: float,
) -> Float[Array, "*steps"]:
    """``A_t = sum_l (prod lambda d) delta_{t+l}``, ``delta_t = r_{t+1} + d_{t+1} v_{t+1} - v_t``.

    Generalized advantages (Schulman et al. 2016, arXiv 1506.02438, equation 16). With ``value[t + 1]`` the same as
    ``next_value[t]`` along an episode they are ``G_t - v_t``, G the `lambda_returns`, which is how they are computed.
    """
    return lambda_returns(reward, discount, next_value, ended, lambda_) - value


def _last(ended: Bool[Array, "*steps"]) -> Bool[Array, "*steps"]:
    return ended.at[-1].set(True)
