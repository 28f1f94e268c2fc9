"""Epochs of `forethought.models.fit.fit`, the function that MBPO calls."""

from typing import Any

import jax

from benchmarks.measure import Timing, timed
from benchmarks.peers import venv
from benchmarks.results import Check, Result
from benchmarks.workloads.setting import (
    MEMBERS,
    MODEL_HIDDEN,
    MODEL_SIZES,
    N_ACTION,
    N_OBS,
    multiply_adds,
    random_transitions,
)
from forethought.models.ensemble import Ensemble
from forethought.models.fit import FitConfig, fit, init
from forethought.models.termination import known_termination
from forethought.replay.moments import holding

TRANSITIONS = 10_000
BATCH = 256
HELD_OUT = 0.2
# Forward, gradient of the weights, gradient of the inputs of all layers but the first.
PER_ROW = 3 * multiply_adds(MODEL_SIZES) - MODEL_SIZES[0] * MODEL_SIZES[1]


def run(quick: bool) -> Result:
    """Ten epochs in one fit, divided by ten: drawing, updates, and the little that begins and ends a fit.

    Nothing is held out, so that an epoch is 10,000 transitions for each member. What scoring on held-out transitions
    adds in a real fit is measured apart.
    """
    epochs, repeats = (1, 2) if quick else (10, 6)
    timing = _time_fit(TRANSITIONS, 0.0, epochs, repeats)
    scored = _time_fit(round(TRANSITIONS / (1 - HELD_OUT)), HELD_OUT, epochs, repeats)
    repeats_theirs = ["--repeats", "1" if quick else "8"]
    peer = venv.run_script("mbrl", "mbrl_lib.py", ["epoch", *repeats_theirs], probe=["epoch", "--repeats", "1"])
    gflop = epochs * 2 * PER_ROW * MEMBERS * TRANSITIONS / 1e9
    return Result(
        name="ensemble_epoch",
        kind="speed",
        title="Ensemble epoch, 7 members of 4 x 200, 10,000 transitions",
        checks=(Check("share of the matrix-product peak", 100 * timing.share(gflop), 38, "%"),),
        details={
            **timing.described(gflop, epochs),
            "epochs_per_call": epochs,
            "with_hold_out_seconds_best": scored.best / epochs,
            "with_hold_out": f"{TRANSITIONS} transitions to train on, a further {HELD_OUT:.0%} of all scored",
            "mbrl_lib": peer,
        },
        command="python -m benchmarks.speed ensemble_epoch",
        partial=quick,
    )


def _time_fit(transitions: int, holdout_ratio: float, epochs: int, repeats: int) -> Timing:
    """Seconds of fits with exactly this number of epochs."""
    config = FitConfig(batch_size=BATCH, holdout_ratio=holdout_ratio, max_epochs=epochs, patience=epochs + 1)
    replay = holding(random_transitions(transitions), transitions)
    known = known_termination("HalfCheetah-v5")
    model = Ensemble(N_OBS, N_ACTION, key=jax.random.key(0), members=MEMBERS, hidden=MODEL_HIDDEN, termination=known)
    state = init(model, config)
    fit_once = jax.jit(lambda state, replay, key: fit(state, replay, config, key=key), donate_argnums=0)

    def call(i: int) -> Any:
        nonlocal state
        state, info = fit_once(state, replay, jax.random.key(i))
        return state, info

    return timed(call, repeats)
