"""Agents and models small enough to train in a test, and the loop that trains agents."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from forethought import envs
from forethought.agents import catalog
from forethought.envs.contract import beginning
from forethought.models.ensemble import Ensemble
from forethought.models.fit import Weights
from forethought.models.termination import never
from forethought.replay.moments import holding, of_seed
from forethought.training.config import from_dict
from forethought.training.learner import Learner
from forethought.types import Discrete, EnvSpec, TimeStep, Transition

SETTINGS: dict[str, dict[str, Any]] = {
    "sac": {"hidden": (8,), "batch_size": 16, "random_steps": 8, "replay_capacity": 200},
    "dqn": {"hidden": (8,), "batch_size": 16, "random_steps": 8, "replay_capacity": 200, "target_every": 8},
    "ppo": {"hidden": (8,), "rollout_steps": 8, "epochs": 2, "minibatches": 2},
    "mbpo": {
        "updates_per_step": 2,
        "real_ratio": 0.25,
        "model_every": 8,
        "rollouts_per_step": 4,
        "epoch_steps": 16,
        "random_steps": 16,
        "members": 3,
        "elites": 2,
        "model_hidden": (8,),
        "replay_capacity": 200,
        "fit.max_epochs": 2,
        "fit.batch_size": 8,
        "sac.hidden": (8,),
        "sac.batch_size": 16,
    },
    "world-models": {
        "random_steps": 16,
        "replay_capacity": 200,
        "v.latent": 3,
        "v.channels": (4,),
        "v.batch_size": 4,
        "v.updates": 3,
        "m.hidden": 4,
        "m.mixtures": 2,
        "m.batch_size": 4,
        "m.window": 6,
        "m.updates": 3,
        "c.horizon": 5,
        "c.population": 4,
        "c.rollouts": 2,
        "c.generations": 2,
    },
    "dyna-q": {"planning_steps": 5},
    "dyna-q-plus": {"planning_steps": 5},
    "prioritized-sweeping": {"planning_steps": 5},
}

_PLANNING = {
    "horizon": 2,
    "particles": 4,
    "model_every": 8,
    "random_steps": 16,
    "members": 2,
    "elites": 2,
    "model_hidden": (8,),
    "replay_capacity": 200,
    "fit.max_epochs": 2,
    "fit.batch_size": 8,
    "search.population": 16,
}
_DREAM = {"batch_size": 2, "batch_length": 4, "train_every": 4, "random_steps": 8, "replay_capacity": 200, "horizon": 3}
_ELDER = {**_DREAM, "updates": 2, "deter": 8, "units": 8, "depth": 2}
SETTINGS |= {
    "planet": {**_ELDER, "stoch": 4, "search.population": 8, "search.elites": 2, "search.iterations": 2},
    "dreamer-v1": {**_ELDER, "stoch": 4, "pretrain": 1},
    "dreamer-v2": {**_ELDER, "choices": 2, "classes": 3, "slow_every": 2, "pretrain": 0},
    "dreamer-v3": _DREAM,
}
PLANNERS = ("random-shooting", "cem", "icem", "mppi", "pets", "poplin-a", "poplin-p")
SETTINGS |= dict.fromkeys(PLANNERS, _PLANNING)
_POPLIN = {"policy_hidden": (4,), "policy_updates": 3, "policy_batch": 8}
for _name in ("cem", "icem", "pets", "poplin-a", "poplin-p"):
    SETTINGS[_name] = {**_PLANNING, "search.elites": 4, "search.iterations": 2}
    if _name.startswith("poplin"):
        SETTINGS[_name] |= _POPLIN

# One environment for each algorithm that it can learn.
WORLDS = dict.fromkeys(SETTINGS, "forethought/DynaMaze-v0") | {
    "sac": "forethought/ProbeAction-v0",
    "dqn": "CartPole-v1",
    "ppo": "forethought/ProbeAction-v0",
    "mbpo": "forethought/ProbeAction-v0",
    "planet": "forethought/ProbeAction-v0",
    "dreamer-v1": "forethought/ProbeAction-v0",
    "dreamer-v2": "CartPole-v1",
    "dreamer-v3": "forethought/ProbeAction-v0",
    "world-models": "seeing:Spot-v0",
    **dict.fromkeys(PLANNERS, "forethought/ProbeAction-v0"),
}


def quick(names: Sequence[str], *those: str) -> list[Any]:
    """Parameters for a test or a fixture, of which all but ``those`` are marked as slow."""
    return [name if name in those else pytest.param(name, marks=pytest.mark.slow) for name in names]


def make_agent(algorithm: str, spec: EnvSpec, **settings: Any) -> Any:
    """An agent with the settings above and those given over them."""
    agent_class, config_class = catalog.find(algorithm).load()
    return agent_class(from_dict(config_class, {**SETTINGS[algorithm], **settings}), spec)


def train(
    algorithm: str,
    env: str | None = None,
    *,
    steps: int,
    seeds: Sequence[int] = (0,),
    num_envs: int = 1,
    env_kwargs: Mapping[str, Any] | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Learner:
    """A learner after ``steps`` environment steps per seed."""
    world = envs.make(env or WORLDS[algorithm], seeds=seeds, envs_per_seed=num_envs, env_kwargs=env_kwargs)
    learner = Learner(make_agent(algorithm, world.spec, **(settings or {})), seeds, num_envs, steps)
    live(learner, world, steps)
    return learner


def live(learner: Learner, world: Any, steps: int) -> None:
    """Act and learn until so many environment steps are made, from the beginning of the world to its end."""
    now = world.reset()
    while learner.env_steps < steps:
        now = advance(learner, world, now)
    world.close()


def restart(learner: Learner) -> None:
    """A new life with the programs that are compiled already, in another environment with the same spaces."""
    learner.state, learner.replay = learner.program.init_state(), learner.program.init_replay()
    learner.carry, learner.decision = learner.program.init_carry(), None
    learner.env_steps = learner.frames = learner.updates = learner.learned = 0


def seen(spec: EnvSpec, obs: Any, first: bool = True) -> TimeStep:
    """A moment in which so many environments see ``obs`` [n, ...]; nothing led to it."""
    now = beginning(spec, jax.tree.map(np.asarray, obs))
    return jax.tree.map(jnp.asarray, now._replace(first=np.full_like(now.first, first)))


def advance(learner: Learner, world: Any, now: Any) -> Any:
    """One step of every slot: act, remember, learn; returns the moment after it."""
    action = learner.act(now)
    step = world.step(action)
    learner.observe(now, step)
    learner.learn()
    return step.now


def lived(learner, k=0):
    """The transitions in the replay of seed k, by slot."""
    return jax.tree.map(np.asarray, of_seed(learner.replay, k).all())


def full_replay(n, n_obs=2, seed=0, **columns):
    """A replay of n transitions of noise; columns given replace it."""
    rng = np.random.default_rng(seed)
    rows = Transition(
        rng.normal(size=(n, n_obs)),
        rng.uniform(-1, 1, size=(n, 1)),
        rng.normal(size=n),
        rng.normal(size=(n, n_obs)),
        np.zeros(n, bool),
        np.zeros(n, bool),
    )._replace(**columns)
    rows = jax.tree.map(lambda x: jnp.asarray(x, bool if x.dtype == bool else jnp.float32), rows)
    return holding(rows, n)


def predict_all(model, replay):
    t = replay.all()
    x = model.inputs.normalize(jnp.concatenate([t.obs, t.action], axis=-1))
    said = model.predict(jnp.broadcast_to(x, (model.n_members, *x.shape)))
    mean = np.stack([np.asarray(model.outputs.restore(m)) for m in said.mean])
    return mean, np.exp(0.5 * np.asarray(said.logvar)) * np.asarray(model.outputs.std), said


def ensemble(members=3, n_obs=2, hidden=(4,), termination=never):
    return Ensemble(n_obs, 1, key=jax.random.key(0), members=members, elites=2, hidden=hidden, termination=termination)


def weights_of(model):
    return Weights(model.members, model.max_logvar, model.min_logvar)


def actions(world: Any, rng: np.random.Generator) -> np.ndarray:
    """One for each environment, at random."""
    n, space = world.num_slots, world.spec.action
    if isinstance(space, Discrete):
        return rng.integers(0, space.n, n).astype(np.int32)
    return rng.uniform(-1.0, 1.0, (n, *space.shape)).astype(np.float32)
