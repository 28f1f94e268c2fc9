"""The best policy of each seed so far: what it acted with in its best evaluation, and nothing else of its state."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from forethought.agents.base import Agent
from forethought.errors import UsageError
from forethought.types import PyTree


class Best:
    """What K seeds acted with when each of them was evaluated best.

    Attributes:
        returns: mean return of each seed's best evaluation so far, -inf before the first.
        steps: where it stood then.
        held: the leaves of the state that acting reads, by their path, in the host's memory.
    """

    def __init__(self, agent: Agent, state: PyTree, k: int):
        self.agent = agent
        self.returns, self.steps = np.full(k, -np.inf), np.zeros(k, np.int64)
        self.held = self._acting(state)

    @property
    def known(self) -> bool:
        """Whether an evaluation has chosen one for each seed."""
        return bool(np.all(np.isfinite(self.returns)))

    def update(self, returns: np.ndarray, step: int, state: PyTree) -> None:
        """Keep what each seed acts with where its return [K] in an evaluation at that step is the best so far."""
        better = returns > self.returns
        self.returns = np.where(better, returns, self.returns)
        self.steps = np.where(better, step, self.steps)
        if better.any():
            self.held = {name: _where(better, new, self.held[name]) for name, new in self._acting(state).items()}

    def state(self, newest: PyTree) -> PyTree:
        """The newest state, with what each seed acted with in its best evaluation.

        Raises `UsageError` where no evaluation has chosen one.
        """
        if not self.known:
            raise UsageError("no evaluation has chosen a best policy in this run; take the newest")
        return jax.tree_util.tree_map_with_path(
            lambda path, leaf: jnp.asarray(self.held.get(jax.tree_util.keystr(path), leaf)), newest
        )

    def counters(self) -> dict[str, Any]:
        """The host side of a checkpoint."""
        return {"best_return": self.returns, "best_step": self.steps}

    def restore(self, held: dict[str, Any], counters: dict[str, Any]) -> None:
        """Become what ``held`` and `counters` were."""
        self.held = {name: np.array(leaf) for name, leaf in held.items()}
        self.returns, self.steps = np.array(counters["best_return"]), np.array(counters["best_step"])

    def _acting(self, state: PyTree) -> dict[str, np.ndarray]:
        wanted = {id(leaf) for leaf in jax.tree.leaves(self.agent.acts_with(state))}
        named = jax.tree_util.tree_leaves_with_path(state)
        return {jax.tree_util.keystr(path): np.array(leaf) for path, leaf in named if id(leaf) in wanted}


def _where(seeds: np.ndarray, new: np.ndarray, old: np.ndarray) -> np.ndarray:
    return np.where(seeds.reshape(-1, *[1] * (new.ndim - 1)), new, old)
