"""What the model makes of real beginnings: the real actions done once more in it, or a policy that lives in it."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from forethought.diagnostics.decoded import Decoded, Looked
from forethought.diagnostics.episodes import Windows
from forethought.imagine import Imagined, Policy, follow, imagine
from forethought.models.base import Belief
from forethought.types import Key, PyTree


class Dream(NamedTuple):
    """h imagined steps of p particles from each of s beginnings.

    ``alive`` is False for steps that begin after the world of the particle has ended.
    """

    obs: Array  # [h, p, s, ...]: what each step led to, as rows or numbers (`forethought.diagnostics.decoded.View`)
    reward: Float[Array, "h p s"]
    ended: Bool[Array, "h p s"]
    alive: Bool[Array, "h p s"]


@partial(jax.jit, static_argnames="particles")
def reenact(model: Decoded, belief: Belief, real: Windows, *, particles: int, key: Key) -> Dream:
    """Carry out the real actions in the model, from the beliefs [s, ...] at the beginnings of the windows."""
    actions = jnp.tile(real.action, (1, particles, *[1] * (real.action.ndim - 2)))
    _, _, imagined = follow(model, lambda looked, action, key: action, _copies(belief, particles), actions, key=key)
    return _by_particle(imagined, particles)


@partial(jax.jit, static_argnames=("policy", "steps", "particles"))
def live(model: Decoded, belief: Belief, policy: Policy, *, steps: int, particles: int, key: Key) -> Dream:
    """Let the policy act in the model, from beliefs [s, ...]: it reads the model's own features."""

    def act(looked: Looked, key: Key) -> PyTree:
        return policy(looked.features, key)

    _, imagined = imagine(model, act, _copies(belief, particles), steps, key=key)
    return _by_particle(imagined, particles)


@jax.jit
def within(dream: Dream, real: Windows) -> Dream:
    """The dream without the steps past the end of the real episode: nothing is alive there."""
    return dream._replace(alive=dream.alive & real.valid[:, None])


@jax.jit
def signed_errors(dream: Dream, real: Windows, std: Float[Array, " d"]) -> Float[Array, "h p s d"]:
    """``(imagined - real) / std`` per dimension; NaN past the end of the episode, infinite where not finite.

    Particles whose world has ended count as the others do: endings are evaluated by themselves (`Outcomes`).
    """
    error = (dream.obs - real.obs[1:, None]) / std
    return jnp.where(real.valid[:, None, :, None], jnp.where(jnp.isfinite(error), error, jnp.inf), jnp.nan)


def spread(errors: Float[Array, "*b p s d"], axis: int) -> Float[Array, "*b s d"]:
    """Standard deviation of `signed_errors` over the particles; infinite where one of them is."""
    apart = errors - jnp.take(errors, jnp.array([0]), axis=axis)  # 0 where all are the same: no rounding
    return jnp.where(jnp.any(jnp.isinf(errors), axis=axis), jnp.inf, jnp.std(apart, axis=axis))


def _copies(belief: Belief, particles: int) -> Belief:
    """Particles are the outermost axis: models that deal their batch to members then share each belief fairly."""
    return jax.tree.map(lambda x: jnp.tile(x, (particles, *[1] * (x.ndim - 1))), belief)


def _by_particle(imagined: Imagined, particles: int) -> Dream:
    t = imagined.transition
    fields = t.next_obs.row, t.reward, t.terminated, imagined.alive
    return Dream(*(x.reshape(x.shape[0], particles, -1, *x.shape[2:]) for x in fields))
