"""The cross-entropy method, as in PETS, and iCEM, its sample-efficient form."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from forethought.errors import BadSetting, UsageError, require_within
from forethought.planning.guides import Choices, Guide
from forethought.planning.noise import coloured_noise
from forethought.planning.planner import Found, Objective, shifted
from forethought.settings import Settings
from forethought.types import Key


class Proposal(NamedTuple):
    """A normal distribution of decisions with independent dimensions, for n states."""

    mean: Float[Array, "n s d"]
    var: Float[Array, "n s d"]


@dataclass(frozen=True)
class _Refits(Settings):
    """The settings that both forms share."""

    population: int = 400
    """Samples per iteration (iCEM: of the first)."""
    elites: int = 40
    """Samples that the distribution is fitted to."""
    iterations: int = 5
    """Fits per decision."""
    momentum: float = 0.1
    """Share of the old mean and variance in the new ones (alpha in PETS)."""
    initial_std: float = 0.5
    """Standard deviation of the first samples; actions lie in [-1, 1] (PETS: a quarter of the range)."""

    def check(self) -> None:
        """Counts, shares and bounds."""
        require_within("population", self.population, 1)
        require_within("elites", self.elites, 1)
        if self.elites > self.population:
            raise BadSetting(
                "elites",
                f"are {self.elites} of a population of {self.population}; lower search.elites, or raise "
                "search.population",
            )
        require_within("iterations", self.iterations, 1)
        require_within("momentum", self.momentum, 0.0, 0.99)
        require_within("initial_std", self.initial_std, 1e-8)


@dataclass(frozen=True)
class _RefitsMean(_Refits):
    """Those whose plan is the last mean that a normal distribution has, fitted to the best of its own samples."""

    @abstractmethod
    def draw(self, gaussian: Proposal, guide: Guide, *, key: Key) -> Float[Array, "n p s d"]:
        """Samples within the bounds."""

    def begin(self, mean: Float[Array, "n s d"]) -> Float[Array, "n s d"]:
        """The middle of the first samples."""
        return mean

    def search(
        self, objective: Objective, guide: Guide, carry: Float[Array, "n s d"], *, key: Key
    ) -> tuple[Found, Float[Array, "n s d"]]:
        """Returns the last mean, and the mean value of the last elites."""
        require_continuous(guide)

        def iterate(state: tuple[Proposal, Array], key: Key) -> tuple[tuple[Proposal, Array], None]:
            key_draw, key_judge = jax.random.split(key)
            gaussian, _ = state
            x = self.draw(gaussian, guide, key=key_draw)
            elites, value = best_of(x, objective(x, key_judge), self.elites)
            return (within(refit(gaussian, elites, value, self.momentum), guide), mean_value(value)), None

        start = Proposal(carry, jnp.full_like(carry, self.initial_std**2)), jnp.full(carry.shape[0], -jnp.inf)
        (gaussian, value), _ = jax.lax.scan(iterate, start, jax.random.split(key, self.iterations))
        return Found(gaussian.mean, value), gaussian.mean


@dataclass(frozen=True)
class CEM(_RefitsMean):
    """The cross-entropy method: a normal distribution is fitted to the best of its own samples, several times.

    Defaults are those of PETS for its cartpole (Chua et al. 2018, official code); samples are cut at two standard
    deviations, and a standard deviation is at most half the distance of the mean to the nearer bound.
    """

    def move_on(self, carry: Float[Array, "n s d"]) -> Float[Array, "n s d"]:
        """The mean, a step later."""
        return shifted(carry)

    def draw(self, gaussian: Proposal, guide: Guide, *, key: Key) -> Float[Array, "n p s d"]:
        """Normal, cut as said above."""
        noise = jax.random.truncated_normal(
            key, -2.0, 2.0, (gaussian.mean.shape[0], self.population, *gaussian.mean.shape[1:])
        )
        room = jnp.minimum(gaussian.mean - guide.low, guide.high - gaussian.mean) / 2.0
        std = jnp.minimum(jnp.sqrt(gaussian.var), room)
        return gaussian.mean[:, None] + std[:, None] * noise


@dataclass(frozen=True)
class PlainCEM(_RefitsMean):
    """The cross-entropy method as PlaNet has it (Hafner et al. 2019, algorithm 2): samples of a normal distribution are
    clipped to the bounds, only the elites count in the next one, and every decision is searched for anew.
    """

    population: int = 1000
    elites: int = 100
    iterations: int = 10
    momentum: float = 0.0
    initial_std: float = 1.0

    def move_on(self, carry: Float[Array, "n s d"]) -> Float[Array, "n s d"]:
        """Nothing is kept."""
        return jnp.zeros_like(carry)

    def draw(self, gaussian: Proposal, guide: Guide, *, key: Key) -> Float[Array, "n p s d"]:
        """Normal, clipped."""
        noise = jax.random.normal(key, (gaussian.mean.shape[0], self.population, *gaussian.mean.shape[1:]))
        return jnp.clip(gaussian.mean[:, None] + jnp.sqrt(gaussian.var)[:, None] * noise, guide.low, guide.high)


class Remembered(NamedTuple):
    """What iCEM carries: the mean, and the best plans of the last search, best first."""

    mean: Float[Array, "n s d"]
    kept: Float[Array, "n k s d"]


@dataclass(frozen=True)
class ICEM(_Refits):
    """iCEM (Pinneri et al. 2020, arXiv 2008.06389, algorithm 1): fewer samples, better used.

    Noise that is correlated over time, a population that shrinks, elites that are kept from iteration to iteration and
    from decision to decision, the mean among the last samples, and the best plan seen carried out rather than a mean.
    Defaults are the paper's where it has one for all tasks.
    """

    population: int = 40
    elites: int = 10
    iterations: int = 3
    noise_beta: float = 2.0
    """Power spectral density of the noise is ``1 / f^beta``: 0 is white."""
    shrink: float = 1.25
    """Factor by which the population falls from iteration to iteration, down to twice the elites."""
    keep: float = 0.3
    """Share of the elites that are kept."""

    def check(self) -> None:
        """Counts, shares and bounds."""
        super().check()
        require_within("noise_beta", self.noise_beta, 0.0)
        require_within("shrink", self.shrink, 1.0)
        require_within("keep", self.keep, 0.0, 1.0)

    def begin(self, mean: Float[Array, "n s d"]) -> Remembered:
        """Nothing is kept yet: copies of the mean stand in."""
        return Remembered(mean, jnp.repeat(mean[:, None], self.n_kept, axis=1))

    @property
    def n_kept(self) -> int:
        """Plans kept; one at least, which is the best."""
        return max(1, int(self.keep * self.elites))

    def search(self, objective: Objective, guide: Guide, carry: Remembered, *, key: Key) -> tuple[Found, Remembered]:
        """Returns the best plan seen and its value."""
        require_continuous(guide)
        gaussian = Proposal(carry.mean, jnp.full_like(carry.mean, self.initial_std**2))
        kept = carry.kept
        for i, key_i in enumerate(jax.random.split(key, self.iterations)):
            key_draw, key_judge = jax.random.split(key_i)
            size = max(int(self.population * self.shrink**-i), min(2 * self.elites, self.population))
            x = jnp.concatenate([self._draw(gaussian, guide, size, key_draw), kept], axis=1)
            if i == self.iterations - 1:
                x = jnp.concatenate([x, gaussian.mean[:, None]], axis=1)
            elites, value = best_of(x, objective(x, key_judge), self.elites)
            gaussian, kept = within(refit(gaussian, elites, value, self.momentum), guide), elites[:, : self.n_kept]
        return Found(kept[:, 0], value[:, 0]), Remembered(gaussian.mean, kept)

    def move_on(self, carry: Remembered) -> Remembered:
        """Mean and kept plans, a step later; their last decision is repeated."""
        return Remembered(*(shifted(x, x[..., -1:, :]) for x in carry))

    def _draw(self, gaussian: Proposal, guide: Guide, size: int, key: Key) -> Float[Array, "n p s d"]:
        n, s, d = gaussian.mean.shape
        noise = jnp.moveaxis(coloured_noise(self.noise_beta, (n, size, d), s, key=key), -1, 2)
        x = gaussian.mean[:, None] + jnp.sqrt(gaussian.var)[:, None] * noise
        return jnp.clip(x, guide.low, guide.high)


def best_of(
    x: Float[Array, "n p s d"], value: Float[Array, "n p"], k: int
) -> tuple[Float[Array, "n k s d"], Float[Array, "n k"]]:
    """The k plans of greatest value and their values, best first."""
    value, index = jax.lax.top_k(value, k)
    return jax.vmap(lambda x, i: x[i])(x, index), value


def refit(gaussian: Proposal, elites: Float[Array, "n k s d"], value: Float[Array, "n k"], momentum: float) -> Proposal:
    """Moments of the elites, mixed with the old ones. Broken plans (-inf) do not count; if all are, nothing changes."""
    sound = jnp.isfinite(value)
    weight = (sound / jnp.maximum(jnp.sum(sound, axis=1, keepdims=True), 1))[..., None, None]
    mean = jnp.sum(weight * elites, axis=1)
    var = jnp.sum(weight * (elites - mean[:, None]) ** 2, axis=1)
    mixed = Proposal(*(momentum * old + (1.0 - momentum) * new for old, new in zip(gaussian, (mean, var), strict=True)))
    some = jnp.any(sound, axis=1)[:, None, None]
    return Proposal(*(jnp.where(some, new, old) for new, old in zip(mixed, gaussian, strict=True)))


def within(gaussian: Proposal, guide: Guide) -> Proposal:
    """With a mean that is not beyond the bounds by the rounding of an average."""
    return gaussian._replace(mean=jnp.clip(gaussian.mean, guide.low, guide.high))


def mean_value(value: Float[Array, "n k"]) -> Float[Array, " n"]:
    """Mean over the plans that are not broken; -inf where all are."""
    sound = jnp.isfinite(value)
    mean = jnp.sum(jnp.where(sound, value, 0.0), axis=1) / jnp.maximum(jnp.sum(sound, axis=1), 1)
    return jnp.where(jnp.any(sound, axis=1), mean, -jnp.inf)


def require_continuous(guide: Guide) -> None:
    """Raise `UsageError` where decisions are choices."""
    if isinstance(guide, Choices):
        raise UsageError("this planner searches continuous actions; for discrete ones use random shooting")
