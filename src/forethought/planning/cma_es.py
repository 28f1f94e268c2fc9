"""CMA-ES: a Gaussian that moves to where the best of what it draws are, and takes their shape.

Equations are those of Hansen's tutorial (2016, arXiv 1604.00772), numbers in brackets; what is sought is the greatest.
Everything is pure, so seeds are an axis, and what a search has learned is saved with all else to the bit. It agrees
with the package `cmaes` on the same draws (``tests/planning/test_cma_es.py``), which works on the host.
"""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from forethought.types import Key

_LEAST_VARIANCE = 1e-8  # of an axis, which rounding could make negative
_LEAST_STD, _MOST_STD = 1e-8, 1e6


class Cloud(NamedTuple):
    """``N(mean, std^2 cov)``, with the paths that it has gone.

    Attributes:
        root, whiten: ``cov^(1/2)`` and ``cov^(-1/2)`` as they were when they were found last. The symmetric root is the
            same in whatever order, and with whatever signs, axes are found.
        std_path, cov_path: p_sigma and p_c.
        generation: how often it has moved.
    """

    mean: Float[Array, " d"]
    std: Float[Array, ""]
    cov: Float[Array, "d d"]
    root: Float[Array, "d d"]
    whiten: Float[Array, "d d"]
    std_path: Float[Array, " d"]
    cov_path: Float[Array, " d"]
    generation: Int[Array, ""]


@dataclass(frozen=True)
class CMAES:
    """The search, of vectors of ``size`` numbers.

    Attributes:
        population: draws of a generation, 4 at least.
        std: standard deviation of the first draws.
    """

    size: int
    population: int
    std: float

    def begin(self, mean: Float[Array, " d"]) -> Cloud:
        """A round cloud about a mean."""
        d = self.size
        eye, nothing = jnp.eye(d), jnp.zeros(d)
        std, none = jnp.array(self.std, jnp.float32), jnp.array(0, jnp.int32)
        return Cloud(mean, std, eye, jnp.copy(eye), jnp.copy(eye), nothing, jnp.copy(nothing), none)

    def ask(self, cloud: Cloud, *, key: Key) -> Float[Array, "p d"]:
        """The candidates of a generation [38-40]."""
        z = jax.random.normal(key, (self.population, self.size))
        return cloud.mean + cloud.std * (z @ cloud.root)

    def tell(self, cloud: Cloud, candidates: Float[Array, "p d"], value: Float[Array, " p"]) -> Cloud:
        """The cloud after candidates that it drew turned out to be worth so much. Of equal ones the first is better.

        One that has shrunk to a point stays as it is: float32 could not tell its candidates apart.
        """
        moved = self._moved(cloud, candidates, value)
        return jax.tree.map(lambda old, new: jnp.where(cloud.std < _LEAST_STD, old, new), cloud, moved)

    def _moved(self, cloud: Cloud, candidates: Float[Array, "p d"], value: Float[Array, " p"]) -> Cloud:
        k, d = self._constants, self.size
        y = (candidates[jnp.argsort(-value, stable=True)] - cloud.mean) / cloud.std
        white = y @ cloud.whiten
        weights = jnp.asarray(k.weights, jnp.float32)
        best = jnp.maximum(weights, 0.0)
        std_path = (1.0 - k.c_std) * cloud.std_path + k.std_gain * (best @ white)  # [43]
        length = jnp.linalg.norm(std_path)
        std = jnp.minimum(cloud.std * jnp.exp(k.c_std / k.damping * (length / k.usual - 1.0)), _MOST_STD)  # [44]
        generation = cloud.generation + 1  # of_short counts one more than the tutorial, as `cmaes` does
        of_short = jnp.sqrt(1.0 - (1.0 - k.c_std) ** (2.0 * (generation + 1.0)))
        moving = (length / of_short < (1.4 + 2.0 / (d + 1.0)) * k.usual).astype(jnp.float32)  # h_sigma
        cov_path = (1.0 - k.c_path) * cloud.cov_path + moving * k.path_gain * (best @ y)  # [45]
        lengths = jnp.sum(white**2, axis=-1) + _LEAST_VARIANCE
        active = weights * jnp.where(weights >= 0.0, 1.0, d / lengths)  # [46]
        kept = 1.0 + k.c_one * (1.0 - moving) * k.c_path * (2.0 - k.c_path) - k.c_one - k.c_mu * np.sum(k.weights)
        cov = kept * cloud.cov + k.c_one * jnp.outer(cov_path, cov_path) + k.c_mu * (y.T * active) @ y  # [47]
        anew = generation % self.rest == 0
        root, whiten = jax.lax.cond(anew, _roots_of, lambda _: (cloud.root, cloud.whiten), cov)
        mean = cloud.mean + cloud.std * (best @ y)  # [42]
        return Cloud(mean, std, cov, root, whiten, std_path, cov_path, generation)

    @property
    def rest(self) -> int:
        """Generations after which the roots are found anew: by then the covariance has changed (tutorial, B.2)."""
        k = self._constants
        return max(1, int(1.0 / (10.0 * self.size * (k.c_one + k.c_mu))))

    @cached_property
    def _constants(self) -> "_Constants":
        return _constants(self.size, self.population)


class _Constants(NamedTuple):
    weights: np.ndarray
    c_std: float
    damping: float
    std_gain: float
    c_path: float
    path_gain: float
    c_one: float
    c_mu: float
    usual: float  # E ||N(0, I)||


def _constants(d: int, population: int) -> _Constants:
    """Table 1 of the tutorial."""
    raw = math.log((population + 1) / 2) - np.log(np.arange(1, population + 1))  # [49]
    good, bad = raw[: population // 2], raw[population // 2 :]
    mass, mass_bad = (float(np.sum(w) ** 2 / np.sum(w**2)) for w in (good, bad))  # mu_eff, and of the rest
    c_one = 2.0 / ((d + 1.3) ** 2 + mass)  # [57]
    c_mu = min(1.0 - c_one - 1e-8, 2.0 * (mass - 2.0 + 1.0 / mass) / ((d + 2.0) ** 2 + mass))  # [58]
    most_bad = min(1.0 + c_one / c_mu, 1.0 + 2.0 * mass_bad / (mass + 2.0), (1.0 - c_one - c_mu) / (d * c_mu))
    weights = np.where(raw >= 0.0, raw / np.sum(raw[raw > 0.0]), most_bad * raw / np.sum(-raw[raw < 0.0]))  # [53]
    c_std = (mass + 2.0) / (d + mass + 5.0)  # [55]
    damping = 1.0 + 2.0 * max(0.0, math.sqrt((mass - 1.0) / (d + 1.0)) - 1.0) + c_std
    c_path = (4.0 + mass / d) / (d + 4.0 + 2.0 * mass / d)  # [56]
    gains = (math.sqrt(c * (2.0 - c) * mass) for c in (c_std, c_path))
    std_gain, path_gain = gains
    usual = math.sqrt(d) * (1.0 - 1.0 / (4.0 * d) + 1.0 / (21.0 * d * d))
    return _Constants(weights, c_std, damping, std_gain, c_path, path_gain, c_one, c_mu, usual)


def _roots_of(cov: Float[Array, "d d"]) -> tuple[Float[Array, "d d"], Float[Array, "d d"]]:
    variance, axes = jnp.linalg.eigh(0.5 * (cov + cov.T))
    std = jnp.sqrt(jnp.maximum(variance, _LEAST_VARIANCE))
    return (axes * std) @ axes.T, (axes / std) @ axes.T
