"""Whole runs of World Models: what a controller learns in dreams and in the world, and that a stopped run goes on."""

import jax
import numpy as np
import pytest

import forethought
import small
from forethought.training.rundir import RunDir

pytestmark = pytest.mark.slow


def same(one, other):
    jax.tree.map(np.testing.assert_array_equal, one, other)


@pytest.mark.parametrize("where", ["dream", "world"])
def test_a_stopped_run_goes_on_to_the_same_bits(where, tmp_path):
    agent = {**small.SETTINGS["world-models"], "every": 20, "c.where": where, "c.rollouts": 1}
    options = {"seeds": 2, "num_envs": 4, "agent": agent, "eval_every": 40, "eval_episodes": 2, "steps": 120}
    whole, part = tmp_path / "whole", tmp_path / "part"
    run = forethought.train("world-models", "seeing:Spot-v0", run=whole, **options)
    stop = {"callback": lambda line: line.get("env_steps", 0) >= 60, "checkpoint_every": 20}
    forethought.train("world-models", "seeing:Spot-v0", run=part, **options, **stop)
    RunDir.open(part).require_unfinished(1)
    resumed = forethought.resume(part)
    same(resumed.transitions().obs, run.transitions().obs)
    same(forethought.load(part).state, forethought.load(whole).state)


CATCH = {
    "random_steps": 3000,
    "replay_capacity": 10_000,
    "v.latent": 8,
    "v.channels": (16, 32),
    "v.batch_size": 32,
    "v.updates": 4000,
    "v.learning_rate": 1e-3,
    "v.kl_tolerance": 1.0,
    "m.hidden": 32,
    "m.mixtures": 3,
    "m.batch_size": 32,
    "m.window": 32,
    "m.updates": 3000,
    "m.learning_rate": 3e-3,
    "m.ending_weight": 1.0,
    "c.horizon": 12,
    "c.population": 32,
    "c.rollouts": 16,
    "c.generations": 150,
}


def trained(tmp_path, env, settings, *, env_kwargs, steps, episodes=200, seed=0, num_envs=1):
    """What every seed of two earns after a run."""
    run = forethought.train(
        "world-models",
        env,
        run=tmp_path / "run",
        env_kwargs=env_kwargs,
        steps=steps,
        seed=seed,
        num_envs=num_envs,
        agent=settings,
        preset="none",
        eval_every=steps,
        eval_episodes=1,
    )
    return forethought.evaluate(run.path, episodes=episodes)


@pytest.mark.learned
def test_a_controller_of_dreams_catches_what_falls(tmp_path):
    """Random actions earn -0.6; it has never been tried out in the world."""
    found = trained(tmp_path, "forethought/Catch-v0", CATCH, env_kwargs={"size": 20}, steps=3001)
    assert found.mean > -0.2


PROBE = {
    "random_steps": 256,
    "replay_capacity": 20_000,
    "v.latent": 2,
    "v.channels": (8,),
    "v.batch_size": 32,
    "v.updates": 3000,
    "v.learning_rate": 3e-3,
    "m.hidden": 8,
    "m.mixtures": 2,
    "m.batch_size": 32,
    "m.window": 8,
    "m.updates": 800,
    "m.learning_rate": 1e-2,
    "m.ending_weight": 1.0,
    "c.horizon": 3,
    "c.population": 16,
    "c.rollouts": 8,
    "c.generations": 60,
    "c.initial_std": 0.5,
}


@pytest.mark.learned
@pytest.mark.parametrize(("action", "least"), [("box", -0.15), ("discrete", 0.6)])
@pytest.mark.parametrize("where", ["dream", "world"])
def test_it_acts_by_what_it_sees(where, action, least, tmp_path):
    """The best is 0 or 1; without looking, it is -0.25 or 0."""
    settings = {**PROBE, "c.where": where}
    steps = 257 if where == "dream" else 16_000
    kinds = {"obs": "image", "action": action}
    found = trained(tmp_path, "forethought/ProbePolicy-v0", settings, env_kwargs=kinds, steps=steps, num_envs=16)
    assert found.mean > least
