"""Seconds, and the machine's matrix-product peak measured next to them."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp

# On a GPU so small a product ends before the next is asked for.
_SIZE_ON_CPU, _SIZE_ON_GPU = 1024, 8192
_PRODUCTS = 10


@dataclass(frozen=True)
class Timing:
    """Seconds of each repeat, and the peak (GFLOP/s) before the first, between any two, and after the last."""

    seconds: tuple[float, ...]
    peaks: tuple[float, ...]

    @property
    def best(self) -> float:
        """Seconds of the fastest repeat: other work on the machine can only add to it."""
        return min(self.seconds)

    @property
    def median(self) -> float:
        """Median seconds."""
        return statistics.median(self.seconds)

    @property
    def peak(self) -> float:
        """The highest peak seen during the measurement, GFLOP/s."""
        return max(self.peaks)

    def share(self, gflop: float) -> float:
        """Share of the peak: the fastest repeat against the highest peak."""
        return gflop / self.best / self.peak

    def paired_share(self, gflop: float) -> float:
        """Median over repeats of the share of the higher of the two peaks beside each: robust to changing load."""
        beside = zip(self.peaks, self.peaks[1:], strict=False)
        pairs = zip(self.seconds, beside, strict=True)
        return statistics.median(gflop / seconds / max(pair) for seconds, pair in pairs)

    def described(self, gflop: float, units: int = 1) -> dict[str, Any]:
        """What a result keeps of a timed workload; ``gflop`` is the work of one repeat of ``units`` units."""
        return {
            "seconds_best": self.best / units,
            "seconds_median": self.median / units,
            "gflop": gflop / units,
            "gflop_per_s": gflop / self.best,
            "peak_gflop_per_s": self.peak,
            "peak_median_gflop_per_s": statistics.median(self.peaks),
            "share_of_peak": self.share(gflop),
            "share_of_peak_paired_median": self.paired_share(gflop),
            "repeats": len(self.seconds),
        }


def peak() -> float:
    """GFLOP/s of a float32 product of two square matrices, 1024 x 1024 on a CPU: the best of ten."""
    multiply, a, b = _product()
    best = float("inf")
    for _ in range(_PRODUCTS):
        start = time.perf_counter()
        multiply(a, b).block_until_ready()
        best = min(best, time.perf_counter() - start)
    return 2.0 * len(a) ** 3 / best / 1e9


def timed(call: Callable[[int], Any], repeats: int) -> Timing:
    """Time ``call(i)`` after two calls for warm-up, with the peak measured between any two repeats.

    ``call`` must do different work for each i and return arrays that depend on all of it.
    """
    for i in range(2):
        jax.block_until_ready(call(i))
    seconds, peaks = [], [peak()]
    for i in range(2, 2 + repeats):
        start = time.perf_counter()
        jax.block_until_ready(call(i))
        seconds.append(time.perf_counter() - start)
        peaks.append(peak())
    return Timing(tuple(seconds), tuple(peaks))


@cache
def _product() -> tuple[Any, jax.Array, jax.Array]:
    size = _SIZE_ON_GPU if jax.default_backend() == "gpu" else _SIZE_ON_CPU
    a, b = jax.random.normal(jax.random.key(0), (2, size, size))
    multiply = jax.jit(jnp.matmul)
    multiply(a, b).block_until_ready()
    return multiply, a, b
