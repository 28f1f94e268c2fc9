"""An agent that learns in two stages after its random steps: ``python staging.py RUN`` begins a run, or goes on.

An autoencoder would be trained so, then a model of its codes; here both stages count, slowly, so that there is time to
kill them.
"""

import dataclasses
import json
import sys
import time

import jax
import jax.numpy as jnp

import forethought
from forethought.agents import catalog
from forethought.agents.base import Agent, Phase
from forethought.settings import Settings
from forethought.training import trainer
from forethought.training.progress import Silent

RUNS = 40


@dataclasses.dataclass(frozen=True)
class StagedConfig(Settings):
    """Nothing to set."""

    random_steps: int = 6
    """Steps before the first stage."""
    replay_capacity: int = 100
    """Transitions kept."""

    def check(self) -> None:
        """Nothing."""


class Staged(Agent):
    """Two numbers: the second stage begins with what the first came to."""

    def __init__(self, config, spec):
        self.config, self.spec = config, spec
        self.random_steps, self.replay_capacity = config.random_steps, config.replay_capacity

    def init(self, *, key):
        return {"first": jnp.array(0.0), "second": jnp.array(0.0)}

    def decide(self, state, carry, *, key, explore):
        return jnp.full((carry.obs.shape[0], *self.spec.action.shape), jnp.tanh(state["second"])), carry, ()

    def acts_with(self, state):
        return state["second"]

    def phases(self):
        stages = (self.first, self.second)
        return tuple(
            Phase(f"stage{i}", 10, run, 1, self.random_steps, "model", times=RUNS) for i, run in enumerate(stages)
        )

    def first(self, state, replay, *, step, key):
        seen = replay.sample(4, key=key).obs.mean() + jax.random.normal(key)
        return {**state, "first": state["first"] + seen}, replay, {"first": state["first"]}

    def second(self, state, replay, *, step, key):
        jax.debug.callback(lambda: time.sleep(0.02))
        drawn = state["first"] * jax.random.normal(key)
        return {**state, "second": state["second"] + drawn}, replay, {"second": state["second"]}


class Telling(Silent):
    """Prints what it works at."""

    def working(self, text: str) -> None:
        """At once."""
        print(text, flush=True)


def main() -> None:
    """Train, or resume where there is a run."""
    sac = catalog.ALGORITHMS["sac"]
    catalog.ALGORITHMS["staged"] = dataclasses.replace(sac, module=__name__, agent="Staged", config="StagedConfig")
    trainer._CHECKPOINT_S = trainer._CHECKPOINT_SHARE = 0  # saved between all parts
    run, tell = sys.argv[1], Telling()
    try:
        forethought.resume(run, progress=tell)
    except forethought.errors.CheckpointError:
        options = {"eval_every": 10, "eval_episodes": 1, "run": run, "progress": tell}
        forethought.train("staged", "forethought/ProbeAction-v0", steps=20, **options)
    print(json.dumps({"ended": True}))


if __name__ == "__main__":
    main()
