"""The one place that runs a model forward: a policy lives in a believed world.

`imagine` keeps whole trajectories of a policy, `follow` those of a plan; `branched_rollouts` writes them to a ring as
they come, so its memory does not grow with their length, and that length may be decided inside ``jit``.
"""

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from forethought.models.base import Belief, WorldModel
from forethought.replay import ring
from forethought.types import Key, PyTree, Transition

Policy: TypeAlias = Callable[[PyTree, Key], PyTree]  # (features [n, ...], key) -> actions [n, ...]

# Particles of a branched rollout that are advanced together: the activations of networks of the usual sizes then stay
# in the cache of a CPU (`python -m benchmarks.speed branched_rollout`).
BLOCK = 10_000


class Imagined(NamedTuple):
    """Imagined steps; ``transition`` holds features in place of observations and is never truncated.

    ``alive`` is False for every step that begins after the world has terminated: such steps are to be ignored.
    ``continues`` is the model's own word of it, before it is taken for an end (below a half) or for none.
    """

    transition: Transition
    alive: Bool[Array, "*h n"]
    continues: Float[Array, "*h n"]


def advance(
    model: WorldModel[Belief], policy: Policy, belief: Belief, alive: Bool[Array, " n"], *, key: Key
) -> tuple[Belief, Bool[Array, " n"], Imagined]:
    """One imagined step of n particles: next belief, who is still alive after it, and what happened."""
    key_policy, key_model = jax.random.split(key)
    features = model.features(belief)
    action = policy(features, key_policy)
    belief, outcome = model.step(belief, action, key=key_model)
    ended = outcome.continues < 0.5
    next_features = model.features(belief)
    happened = Transition(features, action, outcome.reward, next_features, ended, jnp.zeros_like(ended))
    return belief, alive & ~ended, Imagined(happened, alive, outcome.continues)


def imagine(
    model: WorldModel[Belief], policy: Policy, belief: Belief, horizon: int, *, key: Key
) -> tuple[Belief, Imagined]:
    """Let the policy act for ``horizon`` steps from a batch of n beliefs; leaves get axes [horizon, n]."""

    nothing = jnp.zeros(horizon)
    belief, _, imagined = follow(model, lambda features, _, key: policy(features, key), belief, nothing, key=key)
    return belief, imagined


def follow(
    model: WorldModel[Belief],
    decide: Callable[[PyTree, PyTree, Key], PyTree],
    belief: Belief,
    plan: PyTree,
    *,
    key: Key,
) -> tuple[Belief, Bool[Array, " n"], Imagined]:
    """Carry out a plan whose leaves have a leading axis of time: ``decide(features, plan[t], key)`` is the action at t.

    Returns the last belief, which particles are still alive in it, and the steps, whose leaves get axes [horizon, n].
    """

    def step(carry: tuple[Belief, Array], at: tuple[PyTree, Key]) -> tuple[tuple[Belief, Array], Imagined]:
        decision, key = at
        policy = lambda features, key: decide(features, decision, key)  # noqa: E731
        belief, alive, imagined = advance(model, policy, *carry, key=key)
        return (belief, alive), imagined

    n = jax.tree.leaves(belief)[0].shape[0]
    horizon = jax.tree.leaves(plan)[0].shape[0]
    start = belief, jnp.ones(n, bool)
    (belief, alive), imagined = jax.lax.scan(step, start, (plan, jax.random.split(key, horizon)))
    return belief, alive, imagined


def imagined_returns(
    model: WorldModel[Belief], policy: Policy, belief: Belief, horizon: int, *, key: Key
) -> tuple[Float[Array, " n"], Int[Array, " n"]]:
    """What a policy earns from each of n beliefs on, and for how many steps: until the world ends, or for ``horizon``.

    The sum of all rewards, none discounted. Nothing of the way is kept, and nobody is waited for who is not alive.
    """

    def going_on(at: tuple[Array, Belief, Array, Array, Array]) -> Array:
        return (at[0] < horizon) & jnp.any(at[2])

    def step(at: tuple[Array, Belief, Array, Array, Array]) -> tuple[Array, Belief, Array, Array, Array]:
        i, belief, alive, earned, lived = at
        belief, still, now = advance(model, policy, belief, alive, key=jax.random.fold_in(key, i))
        return i + 1, belief, still, earned + jnp.where(alive, now.transition.reward, 0.0), lived + alive

    n = jax.tree.leaves(belief)[0].shape[0]
    start = jnp.array(0), belief, jnp.ones(n, bool), jnp.zeros(n), jnp.zeros(n, jnp.int32)
    _, _, _, earned, lived = jax.lax.while_loop(going_on, step, start)
    return earned, lived


def branched_rollouts(
    model: WorldModel[Belief],
    policy: Policy,
    belief: Belief,
    length: Int[Array, ""],
    into: ring.Ring,
    *,
    key: Key,
) -> tuple[ring.Ring, Float[Array, ""]]:
    """Add the rollouts of ``length`` steps that branch off n real states to a ring (MBPO, algorithm 2).

    A rollout stops where its world terminates, and where the model's prediction is not finite; what would come after
    is not stored. Returns the ring and the number of transitions added per rollout.
    """

    def step(i: Array, carry: tuple[Belief, Array, ring.Ring, Array]) -> tuple[Belief, Array, ring.Ring, Array]:
        belief, alive, into, added = carry
        belief, alive, imagined = _in_blocks(model, policy, belief, alive, key=jax.random.fold_in(key, i))
        sound = _finite(imagined.transition)
        keep = imagined.alive & sound
        return belief, alive & sound, ring.add_where(into, imagined.transition, keep), added + jnp.sum(keep)

    n = jax.tree.leaves(belief)[0].shape[0]
    start = belief, jnp.ones(n, bool), into, jnp.array(0)
    _, _, into, added = jax.lax.fori_loop(0, length, step, start)
    return into, added / n


def _in_blocks(
    model: WorldModel[Belief], policy: Policy, belief: Belief, alive: Bool[Array, " n"], *, key: Key
) -> tuple[Belief, Bool[Array, " n"], Imagined]:
    """`advance`, one block of particles after the other: as many equal blocks as n allows."""
    n = alive.shape[0]
    blocks = next(b for b in range(max(1, n // BLOCK), 0, -1) if n % b == 0)
    if blocks == 1:
        return advance(model, policy, belief, alive, key=key)
    parts = jax.tree.map(lambda x: x.reshape(blocks, -1, *x.shape[1:]), (belief, alive))
    keys = jax.random.split(key, blocks)
    done = jax.lax.map(lambda part: advance(model, policy, *part[0], key=part[1]), (parts, keys))
    return jax.tree.map(lambda x: x.reshape(n, *x.shape[2:]), done)


def _finite(t: Transition) -> Bool[Array, " n"]:
    return jnp.isfinite(t.reward) & jnp.all(jnp.isfinite(t.next_obs), axis=-1)
