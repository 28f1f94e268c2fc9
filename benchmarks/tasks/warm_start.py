"""What cutting the gradients of the ensemble is for: a fit that goes on where the new data are unlike the old.

Every seed fits to uniformly random actions on Pendulum-v1, then goes on with a quarter of the transitions from a
controller that swings up: states and speeds that random actions hardly meet, of which the model is falsely sure.
"""

import jax
import numpy as np

from benchmarks.results import Check, Result
from benchmarks.tasks.common import Request, Summary, transitions
from forethought.models import fit
from forethought.models.ensemble import Ensemble
from forethought.models.fit import FitConfig
from forethought.replay.moments import holding

_NEW = 0.25  # share of the transitions that come from the controller


def warm_start(asked: Request) -> Result:
    """Hold-out error after the second fit, with and without the cut."""
    n_old = round(asked.steps * (1 - _NEW))
    details: dict[str, Summary] = {}
    for name, norm in (("cut", FitConfig().max_gradient), ("not cut", 1e30)):
        infos = [
            _two_fits(seed, n_old, asked.steps - n_old, FitConfig(max_gradient=norm)) for seed in range(asked.seeds)
        ]
        details[name] = {key: [info[key] for info in infos] for key in infos[0]}
    median = {name: float(np.median(found["holdout_mse"])) for name, found in details.items()}
    check = Check(
        "median hold-out error without the cut over that with it", median["not cut"] / median["cut"], 1, "times"
    )
    title = f"A fit that goes on with new data: {asked.steps} transitions of Pendulum-v1, {asked.seeds} seeds"
    return Result("warm_start", "learning", title, (check,), {"median_holdout_mse": median, **details})


def _two_fits(seed: int, n_old: int, n_new: int, config: FitConfig) -> dict[str, float]:
    key_model, key_first, key_second = jax.random.split(jax.random.key(seed), 3)
    old = transitions("Pendulum-v1", seed, n_old, _at_random)
    new = transitions("Pendulum-v1", seed + 1000, n_new, _swing_up)
    state = fit.init(Ensemble(3, 1, key=key_model), config)
    run = jax.jit(fit.fit, static_argnums=2)
    state, first = run(state, holding(old, n_old + n_new), config, key=key_first)
    both = jax.tree.map(lambda *x: np.concatenate(x), old, new)
    _, second = run(state, holding(both, n_old + n_new), config, key=key_second)
    return {"first_epochs": float(first["epochs"]), **{name: float(value) for name, value in second.items()}}


def _at_random(obs: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return rng.uniform(-1.0, 1.0, (1, 1))


def _swing_up(obs: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Full torque with the motion, which pumps energy into the pendulum; actions are in units of the bound."""
    return np.where(obs[:, 2:] >= 0.0, 1.0, -1.0)
