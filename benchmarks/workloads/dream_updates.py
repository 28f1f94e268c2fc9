"""Our sides of the updates of agents that learn in dreams: one jit crossing each, on windows drawn from a replay."""

import time
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array

from benchmarks.work import gflop
from forethought.agents.base import Agent, Setting
from forethought.agents.dream.dreamer_v1 import DreamerV1, DreamerV1Config
from forethought.agents.dream.dreamer_v2 import DreamerV2, DreamerV2Config
from forethought.agents.dream.dreamer_v3 import DreamerV3, DreamerV3Config
from forethought.nets.vae import VAE
from forethought.replay import moments
from forethought.training.program import empty_moment
from forethought.types import Box, EnvSpec, Transition

_ROWS = 1024
_PICTURES = 64  # of a step of the VAE
_VECTOR, _IMAGE = Box((10,)), Box((64, 64, 3), "uint8")
# sheeprl's defaults for V2, which are those of Atari: h of 600, and no ends.
_V2: dict[str, Any] = {"deter": 600, "predict_ends": False}
_XS: dict[str, Any] = {"size": "xs", "elder": True, "dynamics_weight": 0.5, "replay_value_weight": 0.0}


class Ours(NamedTuple):
    """One update that waits for itself and says how many seconds it took, and how much arithmetic it is."""

    update: Callable[[], float]
    gflop: float


def v3_vector() -> Ours:
    """Dreamer V3, 1m, ten numbers."""
    return _update(DreamerV3(DreamerV3Config(), _spec(_VECTOR)))


def v3_pixels() -> Ours:
    """Dreamer V3, 1m, images."""
    return _update(DreamerV3(DreamerV3Config(), _spec(_IMAGE)))


def v3_xs_pixels() -> Ours:
    """Dreamer V3 of 2023, XS, images."""
    return _update(DreamerV3(DreamerV3Config(**_XS), _spec(_IMAGE)))


def v1_pixels() -> Ours:
    """Dreamer V1, 16 windows of 50."""
    return _update(DreamerV1(DreamerV1Config(batch_size=16), _spec(_IMAGE)))


def v2_pixels() -> Ours:
    """Dreamer V2, 16 windows of 50."""
    return _update(DreamerV2(DreamerV2Config(**_V2), _spec(_IMAGE)))


def vae() -> Ours:
    """One step of Adam on V of World Models, on a fixed batch of noise."""
    optimizer = optax.adam(1e-4)
    model = VAE(_IMAGE.shape, key=jax.random.key(0))
    pictures = jnp.asarray(np.random.default_rng(0).integers(0, 256, (_PICTURES, *_IMAGE.shape)), jnp.uint8)

    @partial(jax.jit, donate_argnums=(0, 1))
    def step(model: VAE, opt: Any, key: Array) -> tuple[VAE, Any, Array]:
        loss, grads = jax.value_and_grad(lambda model: jnp.mean(model.loss(pictures, key=key).total))(model)
        change, opt = optimizer.update(grads, opt)
        return optax.apply_updates(model, change), opt, loss

    at = {"model": model, "opt": optimizer.init(model), "steps": 0}

    def update() -> float:
        key = jax.random.key(at["steps"])
        began = time.perf_counter()
        model, opt, loss = jax.block_until_ready(step(at["model"], at["opt"], key))
        seconds = time.perf_counter() - began
        assert np.isfinite(loss)
        at.update(model=model, opt=opt, steps=at["steps"] + 1)
        return seconds

    return Ours(update, gflop(step, at["model"], at["opt"], jax.random.key(0)))


def _spec(obs: Box) -> EnvSpec:
    return EnvSpec("benchmark", obs, Box((2,)), 1000, action_low=(-1.0, -1.0), action_high=(1.0, 1.0))


def _update(agent: Any) -> Ours:
    """An update on the next windows; state and replay go on from it."""
    agent.setting = Setting(1, _ROWS)
    state = jax.jit(lambda key: agent.init(key=key))(jax.random.key(0))
    replay = _filled(agent)
    learn = jax.jit(lambda state, replay, key: agent.learn(state, replay, key=key), donate_argnums=(0, 1))
    at = {"state": state, "replay": replay, "updates": 0}

    def update() -> float:
        key = jax.random.key(at["updates"])
        began = time.perf_counter()
        state, replay, info = jax.block_until_ready(learn(at["state"], at["replay"], key))
        seconds = time.perf_counter() - began
        assert all(np.isfinite(x) for x in info.values())
        at.update(state=state, replay=replay, updates=at["updates"] + 1)
        return seconds

    return Ours(update, gflop(learn, state, replay, jax.random.key(0)))


def _filled(agent: Agent) -> moments.Replay:
    """With noise: what it costs to learn it is the same as for any other data."""
    rng, obs = np.random.default_rng(0), agent.spec.obs
    assert isinstance(obs, Box)
    assert isinstance(agent.spec.action, Box)
    shape = (_ROWS + 1, *obs.shape)
    seen = rng.integers(0, 256, shape).astype(np.uint8) if obs.dtype == "uint8" else rng.normal(size=shape)
    seen, never = seen.astype(obs.dtype), np.zeros(_ROWS, bool)
    action = rng.uniform(-1.0, 1.0, (_ROWS, *agent.spec.action.shape)).astype(np.float32)
    rows = Transition(seen[:-1], action, rng.normal(size=_ROWS).astype(np.float32), seen[1:], never, never)
    return moments.fill(moments.create(empty_moment(agent.spec), _ROWS, 1, notes=agent.notes()), rows)
