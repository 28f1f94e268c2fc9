"""Do the intervals of an ensemble hold what they promise on data it has never seen?"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.results import Check, Result
from benchmarks.tasks.common import Request
from forethought import envs
from forethought.diagnostics import Episode, collect, measure
from forethought.diagnostics.calibration import LEVELS
from forethought.models.ensemble import Ensemble
from forethought.models.fit import FitConfig, fit, init
from forethought.models.termination import never
from forethought.replay.moments import Replay, holding
from forethought.types import TimeStep, Transition

_LENGTH, _HELD_OUT = 200, 10  # steps per episode, episodes
_STEPS = 1, 3, 10  # those that `measure` looks at for a horizon of 10


def calibration_pendulum(asked: Request) -> Result:
    """Fits of Pendulum-v1 as MBPO makes them, with the spread left alone and set right, evaluated on whole episodes.

    Actions wander: each is 0.8 of the one before, and normal noise of deviation 0.5 on top.
    """
    means, details = [], {}
    for name, config in {"as fitted": FitConfig(), "calibrate": FitConfig(calibrate=True)}.items():
        covered, nll = zip(*[_judged(config, asked.steps, seed) for seed in range(asked.seeds)], strict=True)
        means.append(float(np.mean(covered, axis=0)[0]))
        after = dict(zip((f"{steps} steps" for steps in _STEPS), np.mean(covered, axis=0), strict=True))
        details[name] = {"coverage_90": covered, "mean": after, "nll": nll, "mean_nll": float(np.mean(nll))}
    as_fitted, calibrated = (100 * share for share in means)
    checks = (
        Check("one step ahead, as fitted", as_fitted, 95.0, "%", "at most"),
        Check("one step ahead, with fit.calibrate", calibrated, 85.0, "%"),
        Check("one step ahead, with fit.calibrate", calibrated, 95.0, "%", "at most"),
    )
    title = f"What 90 % intervals of an ensemble hold, {asked.steps:,} steps of Pendulum-v1, {asked.seeds} seeds"
    return Result("calibration_pendulum", "learning", title, checks, details)


def _judged(config: FitConfig, steps: int, seed: int) -> tuple[np.ndarray, float]:
    """What the central 90 % of the predictions hold after 1, 3 and 10 steps, and the NLL one step ahead."""
    key_model, key_fit, key_judge = jax.random.split(jax.random.key(seed), 3)
    n = steps // _LENGTH
    episodes = _wandered(n + _HELD_OUT, seed)
    replay = _replay(episodes[:n])
    start = init(Ensemble(3, 1, key=key_model, termination=never), config)
    state, _ = jax.jit(lambda s, r: fit(s, r, config, key=key_fit))(start, replay)
    found = measure(state.model.predictor(), episodes[n:], horizon=_STEPS[-1], key=key_judge)
    assert found.calibration is not None
    assert found.nll is not None
    assert found.calibration.steps.tolist() == list(_STEPS)
    return np.asarray(found.calibration.coverage)[:, LEVELS.index(0.9)], float(found.nll)


def _wandered(n: int, seed: int) -> list[Episode]:
    """Whole episodes of the pendulum whose actions wander."""
    world = envs.make("forethought/Pendulum-v0", seeds=[seed], envs_per_seed=n)
    rng = np.random.default_rng(seed)

    def act(now: TimeStep, action: Any, t: int) -> tuple[np.ndarray, Any]:
        action = np.clip(0.8 * action + 0.5 * rng.normal(size=(n, 1)), -1.0, 1.0).astype(np.float32)
        return action, action

    try:
        return collect(world, act, np.zeros((n, 1)), most_steps=_LENGTH)
    finally:
        world.close()


def _replay(episodes: list[Episode]) -> Replay:
    """All steps of the episodes."""
    obs, next_obs = (np.concatenate([e.obs[part] for e in episodes]) for part in (slice(-1), slice(1, None)))
    action, reward = (np.concatenate([getattr(e, name) for e in episodes]) for name in ("action", "reward"))
    no = np.zeros(len(reward), bool)
    rows = jax.tree.map(jnp.asarray, Transition(obs, action, reward, next_obs, no, no))
    return holding(rows, len(reward))
