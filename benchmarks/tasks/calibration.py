"""Do the intervals of an ensemble hold what they promise on data it has never seen?"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.results import Check, Result
from benchmarks.tasks.common import Request
from forethought.diagnostics import measure
from forethought.diagnostics.calibration import LEVELS
from forethought.diagnostics.episodes import Episode
from forethought.envs.control import Pendulum
from forethought.models.ensemble import Ensemble
from forethought.models.fit import FitConfig, fit, init
from forethought.models.termination import never
from forethought.replay import ring
from forethought.types import Transition

_LENGTH, _HELD_OUT = 200, 10


def calibration_pendulum(asked: Request) -> Result:
    """Fits of Pendulum-v1 as MBPO makes them, with the spread left alone and set right, judged on whole episodes.

    Actions wander: each is 0.8 of the one before, and normal noise of deviation 0.5 on top.
    """
    means, details = [], {}
    for name, config in {"as fitted": FitConfig(), "calibrate": FitConfig(calibrate=True)}.items():
        covered, nll = np.transpose([_judged(config, asked.steps, seed) for seed in range(asked.seeds)])
        means.append(float(np.mean(covered)))
        details[name] = {"coverage_90": covered, "mean": means[-1], "nll": nll, "mean_nll": float(np.mean(nll))}
    as_fitted, calibrated = (100 * share for share in means)
    checks = (
        Check("one step ahead, as fitted", as_fitted, 95.0, "%", "at most"),
        Check("one step ahead, with fit.calibrate", calibrated, 85.0, "%"),
        Check("one step ahead, with fit.calibrate", calibrated, 95.0, "%", "at most"),
    )
    title = f"What 90 % intervals of an ensemble hold, {asked.steps:,} steps of Pendulum-v1, {asked.seeds} seeds"
    return Result("calibration_pendulum", "learning", title, checks, details)


def _judged(config: FitConfig, steps: int, seed: int) -> tuple[float, float]:
    """Share of the observations inside of the central 90 % of what the model foretold, and the NLL, one step ahead."""
    key_data, key_model, key_fit, key_judge = jax.random.split(jax.random.key(seed), 4)
    n = steps // _LENGTH
    data = _wandered(n + _HELD_OUT, key_data)
    rows = jax.tree.map(lambda x: x[:n].reshape(-1, *x.shape[2:]), data)
    replay = ring.add(ring.create(jax.tree.map(lambda x: x[0], rows), len(rows.reward)), rows)
    start = init(Ensemble(3, 1, key=key_model, termination=never), config)
    state, _ = jax.jit(lambda s, r: fit(s, r, config, key=key_fit))(start, replay)
    unseen = [_episode(jax.tree.map(lambda x, i=i: np.asarray(x[i]), data)) for i in range(n, n + _HELD_OUT)]
    found = measure(state.model.predictor(), unseen, horizon=2, key=key_judge)
    assert found.calibration is not None
    assert found.nll is not None
    return float(found.calibration.coverage[0, LEVELS.index(0.9)]), float(found.nll)


def _wandered(episodes: int, key: jax.Array) -> Transition:
    """Whole episodes of the pendulum, [episodes, steps, ...]."""
    env = Pendulum()

    def play(key: jax.Array) -> Transition:
        key_begin, key_steps = jax.random.split(key)
        state, obs = env.reset(env.init(key_begin), key_begin)

        def step(carry: tuple, key: jax.Array) -> tuple[tuple, Transition]:
            state, obs, action = carry
            action = jnp.clip(0.8 * action + 0.5 * jax.random.normal(key, (1,)), -1.0, 1.0)
            state, next_obs, reward, ended = env.step(state, action, key)
            return (state, next_obs, action), Transition(obs, action, reward, next_obs, ended, jnp.zeros_like(ended))

        return jax.lax.scan(step, (state, obs, jnp.zeros(1)), jax.random.split(key_steps, _LENGTH))[1]

    return jax.jit(jax.vmap(play))(jax.random.split(key, episodes))


def _episode(rows: Any) -> Episode:
    obs = np.concatenate([rows.obs, rows.next_obs[-1:]])
    return Episode(obs, rows.action, rows.reward, terminated=False, truncated=True)
