"""A world model around the recurrent state-space model: it sees with an encoder, and says what follows with heads."""

from functools import partial
from typing import NamedTuple, Protocol, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from forethought.models.rssm import RSSM, Filtered, LatentBelief
from forethought.nets.autoencoder import ObsDecoder, ObsEncoder
from forethought.nets.mlp import MLP, on_rows
from forethought.nets.sight import Sight, shown, sight
from forethought.nets.twohot import SymlogTwoHot, TwoHot, symexp_bins
from forethought.types import Box, Discrete, Key, Outcome, PyTree, Space, TimeStep

_ALMOST_ONE = 0.9999  # tanh(5)


class UnitNormal(NamedTuple):
    """``N(mean, 1)``; densities leave out the constant."""

    center: Float[Array, "*b"]

    def mean(self) -> Float[Array, "*b"]:
        """Its middle."""
        return self.center

    def log_prob(self, x: Float[Array, "*b"]) -> Float[Array, "*b"]:
        """``-(x - mean)^2 / 2``."""
        return -0.5 * (x - self.center) ** 2


class Regression(eqx.Module):
    """A number, as the mean of a `UnitNormal` (PlaNet to Dreamer V2)."""

    net: MLP

    def __call__(self, features: Float[Array, "*b f"]) -> UnitNormal:
        """Of features with any leading axes."""
        return UnitNormal(on_rows(self.net, features)[..., 0])


class Classification(eqx.Module):
    """A number of any size, as `TwoHot`, or as `SymlogTwoHot` where ``even`` says so (Dreamer V3, 2025 and 2023)."""

    net: MLP
    even: bool = eqx.field(static=True, default=False)

    def __call__(self, features: Float[Array, "*b f"]) -> TwoHot | SymlogTwoHot:
        """Of features with any leading axes."""
        logits = on_rows(self.net, features)
        return SymlogTwoHot(logits) if self.even else TwoHot(logits, symexp_bins(logits.shape[-1]))


class Unsquashed(eqx.Module):
    """A number whose tanh was learned: beyond 5 it cannot be told from other large ones."""

    squashed: Regression

    def __call__(self, features: Float[Array, "*b f"]) -> UnitNormal:
        """Of features with any leading axes."""
        return UnitNormal(jnp.arctanh(jnp.clip(self.squashed(features).mean(), -_ALMOST_ONE, _ALMOST_ONE)))


@runtime_checkable  # for the type checks of the tests
class Decodes(Protocol):
    """Models that can say what a belief looks like."""

    def decode(self, belief: PyTree) -> PyTree:
        """The observations [n, ...]."""
        ...


class LatentModel(eqx.Module):
    """See `WorldModel` for its methods.

    Attributes:
        going_on: its output is the logit of ``discount`` times the probability that the world goes on; None where it is
            taken to go on for ever.
        discount: see there; 1 where the head tells of ends alone.
    """

    encoder: ObsEncoder
    rssm: RSSM
    decoder: ObsDecoder
    reward: Regression | Classification | Unsquashed
    going_on: MLP | None
    space: Space = eqx.field(static=True)
    action: Box | Discrete = eqx.field(static=True)
    discount: float = eqx.field(static=True)

    def initial(self, n: int) -> LatentBelief:
        """Zeros."""
        return self.rssm.initial(n)

    def observe(
        self, belief: LatentBelief, action: PyTree, obs: PyTree, first: Bool[Array, " n"], *, key: Key
    ) -> LatentBelief:
        """The belief after ``action`` led to ``obs``, its z drawn."""
        return self.rssm.see(belief, self.as_vectors(action), self.embed(obs), first, key=key)[0]

    def step(self, belief: LatentBelief, action: PyTree, *, key: Key) -> tuple[LatentBelief, Outcome]:
        """The belief after an action, its z drawn from the prior; the mean reward and the probability of going on."""
        belief, _ = self.rssm.imagine(belief, self.as_vectors(action), key=key)
        features = self.features(belief)
        return belief, Outcome(self.reward(features).mean(), self.continues(features))

    def features(self, belief: LatentBelief) -> Float[Array, "*n f"]:
        """h and z."""
        return belief.features

    def continues(self, features: Float[Array, "*b f"]) -> Float[Array, "*b"]:
        """The probability that the world goes on from where it is: what is learned, without the discount, at most 1."""
        if self.going_on is None:
            return jnp.ones(features.shape[:-1])
        return jnp.minimum(jax.nn.sigmoid(on_rows(self.going_on, features)[..., 0]) / self.discount, 1.0)

    def decode(self, belief: LatentBelief) -> PyTree:
        """What beliefs [n, ...] look like."""
        told = self.decoder.plain(self.decoder(belief.deter, belief.stoch))
        return jax.vmap(partial(shown, self.space))(told)

    def filter(self, belief: LatentBelief, window: TimeStep, *, key: Key) -> tuple[Filtered, Sight]:
        """What is believed along a window [t, n], from a belief before it; and what was seen."""
        seen = jax.vmap(jax.vmap(partial(sight, self.space)))(window.obs)
        embedding = _flat(self.encoder, seen)
        return self.rssm.filter(belief, self.as_vectors(window.prev_action), embedding, window.first, key=key), seen

    def losses(
        self, belief: LatentBelief, seen: Sight, reward: Float[Array, "t n"], terminated: Bool[Array, "t n"]
    ) -> dict[str, Float[Array, "t n"]]:
        """How wrong it is about what it believes of [t, n] moments: the errors of "image" and "vector" by `ObsDecoder`,
        and less the log-probabilities of "reward" and "going_on".
        """
        features = belief.features

        def errors(belief: LatentBelief, seen: Sight) -> dict[str, Array]:
            return self.decoder.errors(self.decoder(belief.deter, belief.stoch), seen)

        found = _flat(errors, belief, seen)
        found["reward"] = -self.reward(features).log_prob(reward)
        if self.going_on is not None:
            logit, p = on_rows(self.going_on, features)[..., 0], self.discount * (1.0 - terminated)
            found["going_on"] = -(p * jax.nn.log_sigmoid(logit) + (1.0 - p) * jax.nn.log_sigmoid(-logit))
        return found

    def embed(self, obs: PyTree) -> Float[Array, "n e"]:
        """What the encoder makes of n observations."""
        return self.encoder(jax.vmap(partial(sight, self.space))(obs))

    def carried_out(self, action: PyTree) -> PyTree:
        """An action as the world takes it: what lies beyond [-1, 1] is cut off."""
        return jnp.clip(action, -1.0, 1.0) if isinstance(self.action, Box) else action

    def as_vectors(self, action: PyTree) -> Float[Array, "*b a"]:
        """Actions as they are carried out, choices as rows of an identity matrix. Rows are taken as they are."""
        if isinstance(self.action, Box):  # as when carried out, but that there is a gradient beyond the bounds too
            return action / jax.lax.stop_gradient(jnp.maximum(1.0, jnp.abs(action)))
        return jax.nn.one_hot(action, self.action.n) if jnp.issubdtype(action.dtype, jnp.integer) else action


def n_action(space: Box | Discrete) -> int:
    """Numbers of an action as a vector."""
    return space.n if isinstance(space, Discrete) else space.shape[0]


def _flat(function, *trees: PyTree) -> PyTree:
    """A function of [n, ...] on [t, n, ...]."""
    t, n = jax.tree.leaves(trees)[0].shape[:2]
    merged = jax.tree.map(lambda x: x.reshape(t * n, *x.shape[2:]), trees)
    return jax.tree.map(lambda x: x.reshape(t, n, *x.shape[1:]), function(*merged))
