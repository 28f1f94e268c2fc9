"""One episode and what the model makes of it, told its first state and all of its actions."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from forethought.diagnostics.dreams import Dream
from forethought.diagnostics.episodes import Windows
from forethought.diagnostics.open_loop import QUANTILES


class Trace(NamedTuple):
    """The observations after each of t steps, real, and as quantiles (10, 50, 90 %) of the imagined particles."""

    real: Float[np.ndarray, "t d"]
    imagined: Float[np.ndarray, "3 t d"]


def trace(dream: Dream, real: Windows, index: int) -> Trace:
    """The trace of one window and its reenactment, as far as the episode goes."""
    t = int(np.sum(np.asarray(real.valid)[:, index]))
    # The nearest value: between a finite and an infinite one there is nothing to interpolate.
    imagined = np.quantile(np.asarray(dream.obs)[:t, :, index], QUANTILES, axis=1, method="nearest")
    return Trace(np.asarray(real.obs)[1 : t + 1, index], imagined)
