"""The recurrent state-space model: what PlaNet and all Dreamers believe (Hafner et al. 2019, arXiv 1811.04551).

A belief has a part that is carried on, h, and a part that is drawn, z::

    h_t = core(h_{t-1}, z_{t-1}, a_{t-1})
    z_t ~ prior(h_t)                       imagined
    z_t ~ posterior(h_t, embedding of o_t)    seen

An episode begins with zeros in the place of h, z and a: nothing of the one before leaks into it.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from forethought.nets.latents import Latents
from forethought.nets.mlp import MLP, Dense, on_rows
from forethought.nets.recurrent import GRU, KerasGRU, NormedGRU
from forethought.types import Key


class LatentBelief(NamedTuple):
    """Of n worlds: what is carried on, and what was drawn (one-hot rows side by side where latents are categorical)."""

    deter: Float[Array, "*n h"]
    stoch: Float[Array, "*n z"]

    @property
    def features(self) -> Float[Array, "*n f"]:
        """What is read of it: both."""
        return jnp.concatenate([self.deter, self.stoch], axis=-1)


class Filtered(NamedTuple):
    """What was believed at each of t moments, and what was said of it before and after seeing: leaves [t, n, ...]."""

    belief: LatentBelief
    prior: Latents
    posterior: Latents


@runtime_checkable  # for the type checks of the tests
class Core(Protocol):
    """``h' = core(h, z, a)``, unbatched: `BlockGRU` of V3 and `DenseCore` are such."""

    def __call__(
        self, h: Float[Array, " h"], z: Float[Array, " z"], action: Float[Array, " a"], /
    ) -> Float[Array, " h"]:
        """The next h."""
        ...


class DenseCore(eqx.Module):
    """A dense layer of z and a, then a recurrent cell (PlaNet, Dreamer V1 and V2)."""

    enter: Dense
    cell: GRU | KerasGRU | NormedGRU

    def __call__(self, h: Float[Array, " h"], z: Float[Array, " z"], action: Float[Array, " a"]) -> Float[Array, " h"]:
        """The next h."""
        return self.cell(h, self.enter(jnp.concatenate([z, action])))


class RSSM(eqx.Module):
    """See above. Actions are vectors here: one-hot where they are choices.

    Attributes:
        core: carries h on.
        prior, posterior: networks of h, and of h beside an embedding, whose outputs ``latents`` reads.
    """

    core: Core
    prior: MLP
    posterior: MLP
    latents: Callable[[Array], Latents] = eqx.field(static=True)
    n_deter: int = eqx.field(static=True)
    n_stoch: int = eqx.field(static=True)

    def initial(self, n: int) -> LatentBelief:
        """Before anything was seen."""
        return LatentBelief(jnp.zeros((n, self.n_deter)), jnp.zeros((n, self.n_stoch)))

    def imagine(self, belief: LatentBelief, action: Float[Array, "n a"], *, key: Key) -> tuple[LatentBelief, Latents]:
        """The belief after an action, its z drawn from the prior; and that prior."""
        deter = self._carried(belief, action)
        prior = self._said(self.prior, deter)
        return LatentBelief(deter, prior.sample(key=key)), prior

    def see(
        self,
        belief: LatentBelief,
        action: Float[Array, "n a"],
        embedding: Float[Array, "n e"],
        first: Bool[Array, " n"],
        *,
        key: Key,
    ) -> tuple[LatentBelief, Latents]:
        """The belief after ``action`` led to what is embedded here, with the posterior of its z."""
        kept = ~first[:, None]
        deter = self._carried(LatentBelief(belief.deter * kept, belief.stoch * kept), action * kept)
        posterior = self._said(self.posterior, jnp.concatenate([deter, embedding], axis=-1))
        return LatentBelief(deter, posterior.sample(key=key)), posterior

    def filter(
        self,
        belief: LatentBelief,
        action: Float[Array, "t n a"],
        embedding: Float[Array, "t n e"],
        first: Bool[Array, "t n"],
        *,
        key: Key,
    ) -> Filtered:
        """`see` along t moments, from a belief before the first of them; ``action`` is the one before each. Priors are
        worked out at once for all moments: nothing that is seen depends on them.
        """

        def step(belief: LatentBelief, now: tuple[Array, Array, Array, Key]) -> tuple[LatentBelief, Any]:
            *seen, key = now
            belief, posterior = self.see(belief, *seen, key=key)
            return belief, (belief, posterior)

        keys = jax.random.split(key, action.shape[0])
        _, (beliefs, posterior) = jax.lax.scan(step, belief, (action, embedding, first, keys))
        return Filtered(beliefs, self._said(self.prior, beliefs.deter), posterior)

    def _carried(self, belief: LatentBelief, action: Float[Array, "n a"]) -> Float[Array, "n h"]:
        return jax.vmap(self.core)(belief.deter, belief.stoch, action)

    def _said(self, network: MLP, seen: Float[Array, "*b i"]) -> Latents:
        return self.latents(on_rows(network, seen))
