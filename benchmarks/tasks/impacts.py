"""What weighing errors by the variance is for: a jump that few transitions show.

A controller holds the pole of InvertedPendulum-v5 and drives it about; where it drives beyond the end of the rail, the
cart stops dead. A model that takes these jumps for noise lets planners drive through the end.
"""

from dataclasses import replace

import jax
import numpy as np

from benchmarks.results import Check, Result
from benchmarks.tasks.common import Controller, Request, Summary, transitions
from forethought.agents.control.pets import PETSConfig
from forethought.agents.presets import PETS_PRESETS
from forethought.models import fit
from forethought.models.ensemble import Ensemble, EnsembleBelief
from forethought.models.termination import known_termination
from forethought.replay.moments import holding
from forethought.training.config import from_dict

_ENV, _END = "InvertedPendulum-v5", 0.985  # the rail ends at 1 m
_BETAS = (0.0, 0.5)
_EPOCHS = 500
# The feedback that is best for the linearised dynamics with weights 1, 1, 0.1, 0.1 of the state and 1 of the action.
_GAINS = np.array([-0.584, -3.238, -0.603, -0.571])


def impacts(asked: Request) -> Result:
    """Error of the next state one step ahead where the cart meets the end of the rail, and elsewhere."""
    agent = from_dict(PETSConfig, PETS_PRESETS["inverted-pendulum"].settings)
    config = replace(agent.fit, max_epochs=_EPOCHS)
    details: dict[str, Summary] = {}
    for beta in _BETAS:
        found = [_errors(seed, asked.steps, replace(config, beta=beta)) for seed in range(asked.seeds)]
        details[f"beta {beta:g}"] = {name: [errors[name] for errors in found] for name in found[0]}
    median = {name: float(np.median(found["at the end"])) for name, found in details.items()}
    plain, weighed = (median[f"beta {beta:g}"] for beta in _BETAS)
    check = Check("median error at the end of the rail with beta 0 over that with 0.5", plain / weighed, 1, "times")
    title = f"Impacts: a model of {asked.steps} transitions of {_ENV}, {asked.seeds} seeds"
    return Result("impacts", "learning", title, (check,), {"median_error_at_the_end": median, **details})


def _errors(seed: int, steps: int, config: fit.FitConfig) -> dict[str, float]:
    """Root mean square errors on as many other transitions, in standard deviations of each output."""
    key_model, key_fit = jax.random.split(jax.random.key(seed))
    seen, unseen = (transitions(_ENV, s, steps, _drive_about(s)) for s in (seed, seed + 1000))
    replay = holding(seen, steps)
    model = Ensemble(4, 1, key=key_model, members=5, termination=known_termination(_ENV), propagation="expectation")
    state, _ = jax.jit(fit.fit, static_argnums=2)(fit.init(model, config), replay, config, key=key_fit)
    dreamt, _ = state.model.predictor().step(EnsembleBelief(unseen.obs), unseen.action, key=key_fit)
    error = np.square((dreamt.obs - unseen.next_obs) / state.model.outputs.std[1:])
    hit = np.abs(unseen.next_obs[:, 0]) > _END
    return {
        "transitions at the end": int(np.sum(np.abs(seen.next_obs[:, 0]) > _END)),
        "at the end": float(np.sqrt(np.mean(error[hit]))),
        "elsewhere": float(np.sqrt(np.mean(error[~hit]))),
    }


def _drive_about(seed: int) -> Controller:
    """Holds the pole and goes for a new place within 2 m, half of them beyond the rail, every 50 steps."""
    places, steps = np.random.default_rng(seed), 0
    place = 0.0

    def act(obs: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        nonlocal steps, place
        if steps % 50 == 0:
            place = places.uniform(-2.0, 2.0)
        steps += 1
        error = obs - [[place, 0.0, 0.0, 0.0]]
        error[:, 0] = error[:, 0].clip(-0.5, 0.5)  # no faster than it can be held
        return np.clip(-error @ _GAINS[:, None] + 0.05 * rng.normal(size=(1, 1)), -1.0, 1.0)

    return act
