"""The world itself in the place of a learned model: what a planner earns whose model is right."""

from collections.abc import Sequence
from typing import Any

from forethought.agents.base import Phase
from forethought.envs.functional import FunctionalEnv
from forethought.errors import UsageError
from forethought.models.base import WorldModel
from forethought.models.oracle import Oracle
from forethought.types import EnvSpec, Key


class KnownWorld:
    """Stands where an `EnsembleLearner` does, and has nothing to learn.

    Raises `UsageError` where the world is no function, does not tell its state from an observation, or repeats actions.
    """

    def __init__(self, env: FunctionalEnv | None, spec: EnvSpec):
        if env is None:
            raise UsageError(
                f"model world plans in the true dynamics, which {spec.id} does not give: it is no environment written "
                "in JAX; leave out --agent.model, and a model is learned"
            )
        if spec.action_repeat != 1:
            raise UsageError("model world plans single steps; leave out --action-repeat")
        self.model: WorldModel = Oracle(env)

    def init(self, *, key: Key) -> tuple[()]:
        """Nothing changes."""
        return ()

    def phases(self) -> tuple[Phase, ...]:
        """Nothing is fitted."""
        return ()

    def world_model(self, held: tuple[()]) -> WorldModel:
        """The world."""
        return self.model

    def learned(self, held: tuple[()]) -> tuple[()]:
        """Nothing was."""
        return ()

    def warnings(self, metrics: dict[str, list[Any]], obs_names: Sequence[str] = ()) -> list[str]:
        """It is right."""
        return []
