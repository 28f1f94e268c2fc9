"""Model predictive path integral control: all samples count, weighted by their value."""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from forethought.errors import require_within
from forethought.planning.cem import require_continuous
from forethought.planning.guides import Guide
from forethought.planning.planner import Found, Objective, shifted
from forethought.settings import Settings
from forethought.types import Key


class Path(NamedTuple):
    """What MPPI carries: the mean, and the decision before it, from which samples move away smoothly."""

    mean: Float[Array, "n s d"]
    before: Float[Array, "n d"]


@dataclass(frozen=True)
class MPPI(Settings):
    """MPPI with samples that are smooth in time, as in the code of PDDM (Nagabandi et al. 2019, arXiv 1909.11652).

    (Their paper smooths the noise alone; their code and mbrl-lib smooth the decisions, mean and all.)
    ``x_t = beta (mean_t + noise_t) + (1 - beta) x_{t-1}`` with normal noise, cut to the bounds when all are there; the
    new mean is the average of the samples, weighted by ``exp((value - max) / temperature)``. Defaults are those of
    mbrl-lib for HalfCheetah.
    """

    population: int = 350
    """Samples per iteration."""
    iterations: int = 5
    """Averages per decision."""
    std: float = 1.0
    """Standard deviation of the noise; actions lie in [-1, 1]."""
    beta: float = 0.9
    """Weight of the new decision against the one before: 1 leaves the samples rough."""
    temperature: float = 1.1
    """Difference of value at which a sample weighs ``1/e`` of the best (mbrl-lib's gamma of 0.9 is its inverse)."""

    def check(self) -> None:
        """Counts, shares and bounds."""
        require_within("population", self.population, 1)
        require_within("iterations", self.iterations, 1)
        require_within("std", self.std, 1e-8)
        require_within("beta", self.beta, 0.0, 1.0)
        require_within("temperature", self.temperature, 1e-8)

    def begin(self, mean: Float[Array, "n s d"]) -> Path:
        """Before the first decision lies the middle."""
        return Path(mean, jnp.zeros_like(mean[:, 0]))

    def search(self, objective: Objective, guide: Guide, carry: Path, *, key: Key) -> tuple[Found, Path]:
        """Returns the last weighted average, and the weighted value of its samples."""
        require_continuous(guide)

        def iterate(state: tuple[Array, Array], key: Key) -> tuple[tuple[Array, Array], None]:
            key_draw, key_judge = jax.random.split(key)
            mean, _ = state
            x = self._draw(mean, carry.before, guide, key_draw)
            value = objective(x, key_judge)
            weight, expected = self.weigh(value)
            average = jnp.clip(jnp.einsum("np,npsd->nsd", weight, x), guide.low, guide.high)  # not beyond by rounding
            some = jnp.any(jnp.isfinite(value), axis=1)
            return (jnp.where(some[:, None, None], average, mean), expected), None

        start = carry.mean, jnp.full(carry.mean.shape[0], -jnp.inf)
        (mean, value), _ = jax.lax.scan(iterate, start, jax.random.split(key, self.iterations))
        return Found(mean, value), carry._replace(mean=mean)

    def weigh(self, value: Float[Array, "n p"]) -> tuple[Float[Array, "n p"], Float[Array, " n"]]:
        """Weights that sum to 1 (0 for broken samples) and the weighted value; -inf where all samples are broken."""
        sound = jnp.isfinite(value)
        best = jnp.max(value, axis=1, keepdims=True)
        weight = jnp.where(sound, jnp.exp((value - best) / self.temperature), 0.0)
        weight /= jnp.maximum(jnp.sum(weight, axis=1, keepdims=True), 1e-30)
        expected = jnp.sum(weight * jnp.where(sound, value, 0.0), axis=1)
        return weight, jnp.where(jnp.any(sound, axis=1), expected, -jnp.inf)

    def move_on(self, carry: Path) -> Path:
        """The mean a step later, its last decision repeated; the decision just carried out lies before it."""
        return Path(shifted(carry.mean, carry.mean[:, -1:]), carry.mean[:, 0])

    def _draw(self, mean: Array, before: Array, guide: Guide, key: Key) -> Float[Array, "n p s d"]:
        n, s, d = mean.shape
        noise = self.std * jax.random.normal(key, (s, n, self.population, d))
        wanted = jnp.moveaxis(mean, 1, 0)[:, :, None] + noise

        def smooth(last: Array, now: Array) -> tuple[Array, Array]:
            x = self.beta * now + (1.0 - self.beta) * last
            return x, x

        start = jnp.broadcast_to(before[:, None], wanted.shape[1:])
        _, x = jax.lax.scan(smooth, start, wanted)
        return jnp.clip(jnp.moveaxis(x, 0, 2), guide.low, guide.high)
