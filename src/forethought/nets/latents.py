"""What a recurrent model does not know for certain: Gaussian and categorical latents, and how far two differ."""

from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from forethought.types import Key


class Normals(NamedTuple):
    """Independent ``N(mean, std^2)`` (PlaNet, Dreamer V1)."""

    mean: Float[Array, "*b z"]
    std: Float[Array, "*b z"]

    @classmethod
    def of(cls, out: Float[Array, "*b w"], least_std: float = 0.1) -> "Normals":
        """Of a network's 2z outputs: means, and ``softplus + least_std``."""
        mean, std = jnp.split(out, 2, axis=-1)
        return cls(mean, jax.nn.softplus(std) + least_std)

    def sample(self, *, key: Key) -> Float[Array, "*b z"]:
        """Draw, with the pathwise gradient."""
        return self.mean + self.std * jax.random.normal(key, self.mean.shape)

    def mode(self) -> Float[Array, "*b z"]:
        """The means."""
        return self.mean

    def kl(self, other: "Normals") -> Float[Array, "*b"]:
        """``KL(self || other)`` in nats, summed over the last axis."""
        ratio, apart = self.std / other.std, (self.mean - other.mean) / other.std
        return jnp.sum(0.5 * (ratio**2 + apart**2 - 1.0) - jnp.log(ratio), axis=-1)

    def entropy(self) -> Float[Array, "*b"]:
        """In nats."""
        return jnp.sum(jnp.log(self.std) + 0.5 * jnp.log(2.0 * jnp.pi * jnp.e), axis=-1)


class OneHots(NamedTuple):
    """z independent choices of k classes each, drawn as one-hot rows side by side (Dreamer V2 and V3)."""

    logits: Float[Array, "*b z k"]

    @classmethod
    def of(cls, out: Float[Array, "*b w"], classes: int, unimix: float = 0.0) -> "OneHots":
        """Of a network's z times k outputs. ``unimix``: the share of the uniform distribution that is mixed in, below
        which no class falls (V3: 0.01).
        """
        logits = out.reshape(*out.shape[:-1], -1, classes)
        if unimix == 0.0:
            return cls(jax.nn.log_softmax(logits))
        return cls(jnp.log((1.0 - unimix) * jax.nn.softmax(logits) + unimix / classes))

    def sample(self, *, key: Key) -> Float[Array, "*b w"]:
        """Draw; the gradient is that of the probabilities (straight through, Bengio et al. 2013)."""
        p = jax.nn.softmax(self.logits)
        # One number for each choice, where the sum of the classes before it passes it; Gumbel's way takes k.
        drawn = jax.random.uniform(key, (*p.shape[:-1], 1))
        return self._straight_through(jnp.sum(jnp.cumsum(p, axis=-1)[..., :-1] <= drawn, axis=-1), p)

    def mode(self) -> Float[Array, "*b w"]:
        """The likeliest class of each."""
        return self._straight_through(jnp.argmax(self.logits, axis=-1), jax.nn.softmax(self.logits))

    def kl(self, other: "OneHots") -> Float[Array, "*b"]:
        """``KL(self || other)`` in nats, summed over the choices."""
        log_p, log_q = jax.nn.log_softmax(self.logits), jax.nn.log_softmax(other.logits)
        return jnp.sum(jnp.exp(log_p) * (log_p - log_q), axis=(-2, -1))

    def entropy(self) -> Float[Array, "*b"]:
        """In nats, summed over the choices."""
        log_p = jax.nn.log_softmax(self.logits)
        return -jnp.sum(jnp.exp(log_p) * log_p, axis=(-2, -1))

    @staticmethod
    def _straight_through(chosen: Int[Array, "*b z"], p: Float[Array, "*b z k"]) -> Float[Array, "*b w"]:
        through = jax.nn.one_hot(chosen, p.shape[-1]) + (p - jax.lax.stop_gradient(p))
        return through.reshape(*through.shape[:-2], -1)


Latents: TypeAlias = Normals | OneHots


def frozen(tree: Any) -> Any:
    """Without a gradient."""
    return jax.lax.stop_gradient(tree)


def kl_losses(post: Latents, prior: Latents, free: float) -> tuple[Float[Array, "*b"], Float[Array, "*b"]]:
    """``max(free, KL(sg(post) || prior))`` and ``max(free, KL(post || sg(prior)))``: what teaches the dynamics, and
    what holds the representation to them (V3, equation 5; V2's balance of 0.8 weighs the first by it). Less than
    ``free`` nats are let be.
    """
    dynamics, representation = frozen(post).kl(prior), post.kl(frozen(prior))  # type: ignore[arg-type]
    return jnp.maximum(dynamics, free), jnp.maximum(representation, free)
