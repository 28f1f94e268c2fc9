"""A diagnosis written down by hand, without a fault, to be changed where a test wants one."""

import numpy as np

from forethought.diagnostics import Diagnosis
from forethought.diagnostics.calibration import LEVELS, NOMINAL, Calibration
from forethought.diagnostics.exploitation import Exploitation
from forethought.diagnostics.long_run import QUANTILES, LongRun
from forethought.diagnostics.open_loop import Foretold, OpenLoop
from forethought.diagnostics.outcomes import Outcomes
from forethought.diagnostics.traces import Trace
from forethought.diagnostics.value_gap import ValueGap

HORIZON = 30


def diagnosis() -> Diagnosis:
    """Two observations; the second never moves."""
    flat = np.full((HORIZON, 1), 0.1) * [0.5, 1.0, 2.0]
    real = np.stack([np.sin(np.arange(20.0)), np.full(20, 3.0)], axis=1)
    plans = np.array([[-20.0, -21.0], [-10.0, -11.0]])
    return Diagnosis(
        horizon=HORIZON,
        episodes=3,
        steps=600,
        outcomes=Outcomes(*map(np.float64, (0.99, 0.05, 1.0, np.nan, 0.0, 0.0))),
        open_loop=OpenLoop(flat, flat, 10 * flat, flat, flat, flat[:, :2], flat[:, :2]),
        wrong_states=None,
        calibration=Calibration(
            np.array([1.0, 5.0, 30.0]),
            np.tile(LEVELS, (3, 1)),
            np.tile(NOMINAL, (3, 1)),
            np.ones(3),
            np.full((3, 2), 0.9),
        ),
        nll=np.float64(0.1),
        disagreement_rank=np.float64(0.5),
        value_gap=ValueGap(np.full(8, -10.0), np.full(8, -10.0), np.float64(5.0), HORIZON, True),
        exploitation=Exploitation(np.array([1.0, 600.0]), plans, plans),
        long_run=LongRun(
            20, True, np.full(2, 0.1), np.full(2, 0.1), np.zeros((len(QUANTILES), 2)), np.zeros((len(QUANTILES), 2))
        ),
        favoured=None,
        traces=[Trace(real, np.stack([real - 0.1, real, real + 0.1]))],
        foretold=Foretold(*(np.array([x, np.nan]) for x in (0.01, 1.0, 1.0))),
    )


def with_errors(**medians) -> Diagnosis:
    """The same with other median errors, by the fields of `OpenLoop`."""
    d = diagnosis()
    fields = {name: np.asarray(column, float)[:, None] * [0.5, 1.0, 2.0] for name, column in medians.items()}
    return d._replace(open_loop=d.open_loop._replace(**fields))
