"""Q tables: what Dyna-Q and prioritized sweeping share."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from forethought.types import Key, Transition


def epsilon_greedy(
    q: Float[Array, "s a"], obs: Int[Array, " n"], epsilon: float | Array, *, key: Key
) -> Int[Array, " n"]:
    """The best action, ties broken at random (a fixed choice never leaves the corner), or any with chance epsilon."""
    key_tie, key_any, key_which = jax.random.split(key, 3)
    values = q[obs]
    best = values == jnp.max(values, axis=-1, keepdims=True)
    greedy = jnp.argmax(jnp.where(best, jax.random.uniform(key_tie, values.shape), -1.0), axis=-1)
    anything = jax.random.randint(key_any, obs.shape, 0, q.shape[1])
    return jnp.where(jax.random.uniform(key_which, obs.shape) < epsilon, anything, greedy).astype(jnp.int32)


def q_target(q: Float[Array, "s a"], t: Transition, discount: float) -> Float[Array, ""]:
    """``r + gamma (1 - terminated) max_a Q(s', a)`` (Watkins 1989); a time limit does not stop the bootstrap."""
    return t.reward + discount * jnp.where(t.terminated, 0.0, jnp.max(q[t.next_obs]))


def q_learning(q: Float[Array, "s a"], t: Transition, step_size: float, discount: float) -> Float[Array, "s a"]:
    """``Q(s, a) += alpha (target - Q(s, a))`` for one transition (unbatched)."""
    return q.at[t.obs, t.action].add(step_size * (q_target(q, t, discount) - q[t.obs, t.action]))
