"""What lies between an environment's units and the networks of policy and value."""

from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from forethought.models.normalizer import Normalizer, fit_normalizer, identity, is_constant, moments
from forethought.nets.mlp import MLP
from forethought.replay.moments import Replay

_SHORTEST = 1e-3  # 1 / steps that a reward counts for at most: a discount of 1 in a world without end has no value


class Scales(NamedTuple):
    """An exact change of units of the learning problem, by the statistics of the real transitions.

    The networks see ``(obs - mean) / std``, and a critic's output Q stands for the action value ``value + unit Q``.
    With that, Bellman's equation ``q = r + discount (1 - terminated) q'`` is the same one for Q, with the reward
    ``(r - (1 - discount) value - discount value terminated) / unit`` (`reward`).

    - ``value``, in units of the environment's reward, is what a world is worth that always pays the mean reward r and
      terminates with the share p of steps that do: ``r / (1 - discount (1 - p))``. That makes Q's reward 0 on average.
    - ``unit``, also in units of reward, is the standard deviation of what Q's reward is before it is divided, so that
      Q begins near its size, and neither needs weights of thousands first. As long as rewards never vary, it is their
      size.
    - ``known``: whether they have ever varied.
    """

    obs: Normalizer
    value: Float[Array, ""]
    unit: Float[Array, ""]
    known: Bool[Array, ""]

    def reward(self, reward: Float[Array, " b"], terminated: Bool[Array, " b"], discount: float) -> Float[Array, " b"]:
        """The reward of Q."""
        return (reward - (1.0 - discount) * self.value - discount * self.value * terminated) / self.unit


def unscaled(n_obs: int) -> Scales:
    """The environment's own units."""
    return Scales(identity(n_obs), jnp.array(0.0), jnp.array(1.0), jnp.array(False))


def fit_scales(replay: Replay, discount: float) -> Scales:
    """The scales of the transitions in a replay."""
    t, used = replay.all(), replay.used
    ends = jnp.sum(t.terminated & used) / jnp.maximum(replay.size, 1)
    mean = moments(t.reward[:, None], used)[0][0]
    value = mean / jnp.maximum(1.0 - discount * (1.0 - ends), _SHORTEST)
    # What varies in Q's reward. Without terminations it is the reward itself: a constant one is seen to be constant.
    varying = moments((t.reward - discount * value * t.terminated)[:, None], used)
    known, spread = ~is_constant(*varying)[0], varying[1][0]
    size = jnp.where(mean == 0.0, 1.0, jnp.abs(mean))
    return Scales(fit_normalizer(t.obs, used), value, jnp.where(known, spread, size), known)


def preserve_outputs(net: MLP, old: Scales, new: Scales) -> MLP:
    """The critic that gives the same action values at the new scale as it did at the old one.

    ``W' = W unit / unit'``, ``b' = (unit b + value - value') / unit'`` of the last layer: Pop-Art (van Hasselt et al.
    2016, arXiv 1602.07714, equations 2 to 4). Where the old unit was not known, there is nothing to preserve.
    """
    last = net.layers[-1]
    ratio = jnp.where(old.known, old.unit / new.unit, 1.0)
    shift = jnp.where(old.known, (old.value - new.value) / new.unit, 0.0)
    return eqx.tree_at(
        lambda net: (net.layers[-1].weight, net.layers[-1].bias), net, (last.weight * ratio, last.bias * ratio + shift)
    )
