"""EpisodeBatch-out episodes of the pendulum, and a model that was fitted well to others."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from dreamers import KEY, play

from forethought import envs
from forethought.diagnostics import Episode
from forethought.models.ensemble import Ensemble
from forethought.models.fit import FitConfig, fit, init
from forethought.models.termination import never
from forethought.replay.moments import holding
from forethought.types import Transition


@pytest.fixture(scope="session")
def held_out() -> list[Episode]:
    return play(5, seed=1)


@pytest.fixture(scope="session")
def world():
    return envs.make("forethought/Pendulum-v0", seeds=[2], envs_per_seed=6, stream="plans")


@pytest.fixture(scope="session")
def fitted() -> Ensemble:
    """Three elites of five, on 5000 random transitions of other episodes."""
    seen = play(25, seed=7)
    no = [np.zeros(e.length, bool) for e in seen]
    columns = (
        [e.obs[:-1] for e in seen],
        [e.action for e in seen],
        [e.reward for e in seen],
        [e.obs[1:] for e in seen],
        no,
        no,
    )
    rows = Transition(*(jnp.asarray(np.concatenate(column)) for column in columns))
    replay = holding(rows, len(rows.reward))
    model = Ensemble(3, 1, key=KEY, members=5, elites=3, hidden=(64, 64), termination=never)
    config = FitConfig(max_epochs=60)
    state, _ = jax.jit(fit, static_argnames="config")(init(model, config), replay, config, key=KEY)
    return state.model.predictor()
