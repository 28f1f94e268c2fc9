"""The model of a small discrete world: counts of what each (state, action) led to.

Memory is S x A x ``outcomes`` rather than S x A x S: a pair keeps its few distinct (next state, terminated) outcomes
with their counts and mean rewards, and where there are more of them than fit, the rarest gives way.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from forethought.types import Key, Outcome, Transition


class TabularBelief(NamedTuple):
    """The state is known."""

    state: Int[Array, " n"]


class TabularModel(eqx.Module):
    """Counts of outcomes, and the list of pairs that were visited.

    Attributes:
        next_state, ended, reward, count: one entry per outcome; a count of zero is a free entry.
        pairs: visited ``state * A + action``, in order of first visit; ``n_pairs`` of them are valid. Drawing a
            visited pair is one look-up, however many there are.
        states: visited states, in the same way; ``n_states`` of them are valid.
        decay: factor on the older counts of a pair at each visit: 1 keeps the empirical distribution, 0 only the
            last outcome (the deterministic world of Sutton & Barto).
    """

    next_state: Int[Array, "s a k"]
    ended: Bool[Array, "s a k"]
    reward: Float[Array, "s a k"]
    count: Float[Array, "s a k"]
    pairs: Int[Array, " p"]
    n_pairs: Int[Array, ""]
    states: Int[Array, " s"]
    n_states: Int[Array, ""]
    decay: Float[Array, ""]

    def __init__(self, n_states: int, n_actions: int, *, outcomes: int = 8, decay: float = 1.0):
        shape = (n_states, n_actions, outcomes)
        self.next_state, self.ended = jnp.zeros(shape, jnp.int32), jnp.zeros(shape, bool)
        self.reward, self.count = jnp.zeros(shape), jnp.zeros(shape)
        self.pairs, self.n_pairs = jnp.zeros(n_states * n_actions, jnp.int32), jnp.array(0, jnp.int32)
        self.states, self.n_states = jnp.zeros(n_states, jnp.int32), jnp.array(0, jnp.int32)
        self.decay = jnp.asarray(decay, jnp.float32)

    @property
    def n_actions(self) -> int:
        """Actions per state."""
        return self.count.shape[1]

    def learn(self, t: Transition) -> "TabularModel":
        """Count one transition (unbatched)."""
        s, a = t.obs, t.action
        count = self.count[s, a] * self.decay
        same = (self.next_state[s, a] == t.next_obs) & (self.ended[s, a] == t.terminated) & (count > 0)
        k = jnp.where(jnp.any(same), jnp.argmax(same), jnp.argmin(count))
        seen = jnp.where(same[k], count[k], 0.0)
        mean = (self.reward[s, a, k] * seen + t.reward) / (seen + 1.0)
        new_pair, new_state = jnp.sum(self.count[s, a]) == 0, jnp.sum(self.count[s]) == 0
        return eqx.tree_at(
            lambda m: (m.next_state, m.ended, m.reward, m.count, m.pairs, m.n_pairs, m.states, m.n_states),
            self,
            (
                self.next_state.at[s, a, k].set(t.next_obs),
                self.ended.at[s, a, k].set(t.terminated),
                self.reward.at[s, a, k].set(mean),
                self.count.at[s, a].set(count.at[k].set(seen + 1.0)),
                _append_if(new_pair, self.pairs, self.n_pairs, s * self.n_actions + a),
                self.n_pairs + new_pair,
                _append_if(new_state, self.states, self.n_states, s),
                self.n_states + new_state,
            ),
        )

    def sample_pairs(self, n: int, *, key: Key) -> tuple[Int[Array, " n"], Int[Array, " n"]]:
        """n visited (state, action), each uniformly."""
        pair = self.pairs[jax.random.randint(key, (n,), 0, jnp.maximum(self.n_pairs, 1))]
        return pair // self.n_actions, pair % self.n_actions

    def sample_states(self, n: int, *, key: Key) -> Int[Array, " n"]:
        """n visited states, each uniformly."""
        return self.states[jax.random.randint(key, (n,), 0, jnp.maximum(self.n_states, 1))]

    def sample_outcomes(self, s: Int[Array, " n"], a: Int[Array, " n"], *, key: Key) -> Transition:
        """A transition from the empirical distribution of each pair; an untried one stays where it is, reward 0.

        One uniform number chooses: the first outcome where the sum of the shares up to it is greater.
        """
        below = jnp.cumsum(self.count[s, a], axis=-1)
        total = below[:, -1]
        k = jnp.argmax(below > (jax.random.uniform(key, s.shape) * total)[:, None], axis=-1)
        tried = total > 0
        ended = tried & self.ended[s, a, k]
        next_state = jnp.where(tried, self.next_state[s, a, k], s)
        reward = jnp.where(tried, self.reward[s, a, k], 0.0)
        return Transition(s, a, reward, next_state, ended, jnp.zeros_like(ended))

    def probability(self) -> Float[Array, "s a k"]:
        """Share of each outcome of each pair; zeros where a pair is untried."""
        return self.count / jnp.maximum(jnp.sum(self.count, axis=-1, keepdims=True), 1e-9)

    def initial(self, n: int) -> TabularBelief:
        """State 0, until something is observed."""
        return TabularBelief(jnp.zeros(n, jnp.int32))

    def observe(
        self, belief: TabularBelief, action: Array, obs: Int[Array, " n"], first: Bool[Array, " n"], *, key: Key
    ) -> TabularBelief:
        """The observation is the state."""
        return TabularBelief(obs)

    def features(self, belief: TabularBelief) -> Int[Array, " n"]:
        """The state."""
        return belief.state

    def step(self, belief: TabularBelief, action: Int[Array, " n"], *, key: Key) -> tuple[TabularBelief, Outcome]:
        """Sample an outcome for each particle."""
        t = self.sample_outcomes(belief.state, action, key=key)
        return TabularBelief(t.next_obs), Outcome(t.reward, 1.0 - t.terminated)


def _append_if(new: Bool[Array, ""], items: Int[Array, " n"], count: Int[Array, ""], item: Array) -> Int[Array, " n"]:
    return items.at[jnp.where(new, count, items.shape[0])].set(item, mode="drop")
