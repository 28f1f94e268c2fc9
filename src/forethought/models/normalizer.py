"""Centring and scaling by the statistics of the data, as an explicit pytree."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from forethought.types import PyTree, Space, is_vector, per_part

# A dimension that never moves but for rounding, in units of its own size or by dust around zero, is not blown up.
_ROUNDING, _DUST = 1e-6, 1e-12
_BLOCK = 1024  # rows that are summed at once


class Normalizer(eqx.Module):
    """``normalize(x) = (x - mean) / std`` per dimension."""

    mean: Float[Array, " d"]
    std: Float[Array, " d"]

    def normalize(self, x: Float[Array, "*b d"]) -> Float[Array, "*b d"]:
        """To zero mean and unit standard deviation."""
        return (x - self.mean) / self.std

    def restore(self, x: Float[Array, "*b d"]) -> Float[Array, "*b d"]:
        """The inverse of `normalize`."""
        return x * self.std + self.mean


class Running(eqx.Module):
    """Mean and variance of all rows that were added so far; before the first of them 0 and 1."""

    count: Float[Array, ""]
    mean: Float[Array, " d"]
    squares: Float[Array, " d"]  # sum of the squared distances from the mean

    def add(self, x: Float[Array, "n d"]) -> "Running":
        """With n rows more (Chan, Golub & LeVeque 1979)."""
        n = x.shape[0]
        mean, total = jnp.mean(x, axis=0), self.count + n
        apart = mean - self.mean
        squares = self.squares + jnp.sum((x - mean) ** 2, axis=0) + apart**2 * self.count * n / total
        return Running(total, self.mean + apart * n / total, squares)

    def std(self) -> Float[Array, " d"]:
        """Standard deviation; of what does not vary it is 1."""
        std = jnp.sqrt(self.squares / jnp.maximum(self.count, 1.0))
        return jnp.where(is_constant(self.mean, std), 1.0, std)

    def normalizer(self) -> Normalizer:
        """To zero mean and unit standard deviation."""
        return Normalizer(self.mean, self.std())


def unseen(dim: int) -> Running:
    """Before the first row."""
    return Running(jnp.zeros(()), jnp.zeros(dim), jnp.zeros(dim))


class ObsScale(eqx.Module):
    """Vectors at unit scale, by all that were met so far; whatever else is seen as it is."""

    met: PyTree  # a `Running` of each vector
    space: Space = eqx.field(static=True)
    limit: float = eqx.field(static=True)  # standard deviations that they are cut at

    @classmethod
    def unseen(cls, space: Space, limit: float) -> "ObsScale":
        """Before the first observation."""
        return cls(per_part(lambda part: unseen(*part.shape) if is_vector(part) else (), space), space, limit)

    def add(self, obs: PyTree) -> "ObsScale":
        """With observations [n, ...] more."""
        met = per_part(lambda part, x, met: met.add(x) if is_vector(part) else (), self.space, obs, self.met)
        return ObsScale(met, self.space, self.limit)

    def __call__(self, obs: PyTree) -> PyTree:
        """Of observations [..., own shape]."""

        def scaled(part: Space, x: Array, met: PyTree) -> Array:
            return jnp.clip(met.normalizer().normalize(x), -self.limit, self.limit) if is_vector(part) else x

        return per_part(scaled, self.space, obs, self.met)


class RewardScale(eqx.Module):
    """The deviation of discounted returns, which rewards are divided by: ``G = discount G + r`` along each episode.

    As the published code of PPO has it (`VecNormalize`): what was earned so far, not what is still to come.
    """

    earned: Float[Array, " n"]  # by the episode that each environment is in
    met: Running

    @classmethod
    def unseen(cls, num_envs: int) -> "RewardScale":
        """Before the first reward."""
        return cls(jnp.zeros(num_envs), unseen(1))

    def add(self, reward: Float[Array, "t n"], ended: Bool[Array, "t n"], discount: float) -> "RewardScale":
        """After t more steps."""

        def step(earned: Array, now: tuple[Array, Array]) -> tuple[Array, Array]:
            earned = discount * earned + now[0]
            return jnp.where(now[1], 0.0, earned), earned

        earned, sums = jax.lax.scan(step, self.earned, (reward, ended))
        return RewardScale(earned, self.met.add(sums.reshape(-1, 1)))

    def std(self) -> Float[Array, ""]:
        """1 before the first reward."""
        return self.met.std()[0]


def identity(dim: int) -> Normalizer:
    """Before any data was seen."""
    return Normalizer(jnp.zeros(dim), jnp.ones(dim))


def fit_normalizer(x: Float[Array, "n d"], keep: Bool[Array, " n"]) -> Normalizer:
    """Statistics of the rows that are kept; see `moments`. A constant dimension is centred and keeps its unit."""
    mean, std = moments(x, keep)
    # The rounding of numbers of millions is more than 1, and a network should not see it so large.
    return Normalizer(mean, jnp.where(is_constant(mean, std), jnp.maximum(std, 1.0), std))


def moments(x: Float[Array, "n d"], keep: Bool[Array, " n"]) -> tuple[Float[Array, " d"], Float[Array, " d"]]:
    """Mean and standard deviation of the rows that are kept, to the same bits whatever room there is after them.

    Two passes, both relative to one of the rows: in float32 the one-pass formula loses a small spread around a large
    mean, and the mean of equal large numbers is not quite that number, which would pass for a tiny spread. Sums are
    taken over blocks of one length, so that a run that is extended goes on as one that was longer from the start, and
    the cost follows the rows and not the room.
    """
    n, row = keep.shape[0], jnp.arange(_BLOCK)
    blocks = (n - jnp.argmax(keep[::-1]) + _BLOCK - 1) // _BLOCK  # up to the last row that is kept

    def mean(of: Callable[[Array], Array]) -> Float[Array, " d"]:
        def add(i: Array, total: Array) -> Array:
            at = i * _BLOCK + row
            inside = jnp.minimum(at, n - 1)
            counts = keep[inside] & (at < n)
            return total + jnp.sum(jnp.where(counts[:, None], of(x[inside]), 0.0), axis=0)

        return jax.lax.fori_loop(0, blocks, add, jnp.zeros(x.shape[1])) / jnp.maximum(jnp.sum(keep), 1)

    origin = x[jnp.argmax(keep)]
    offset = mean(lambda block: block - origin)
    return origin + offset, jnp.sqrt(mean(lambda block: (block - origin - offset) ** 2))


def is_constant(mean: Float[Array, " d"], std: Float[Array, " d"]) -> Bool[Array, " d"]:
    """Whether what varies is no more than rounding."""
    return std < jnp.maximum(_ROUNDING * jnp.abs(mean), _DUST)
