"""What every agent is to the training loop, the ask/tell loop and a loaded policy."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

from jaxtyping import Array

from forethought.models.base import WorldModel
from forethought.types import EnvSpec, Info, Key, PyTree


@dataclass(frozen=True)
class Phase:
    """One way in which an agent learns, and how often.

    Attributes:
        name: what the progress display and the timings call it.
        every: environment steps between two runs.
        run: ``(state, replay, *, step, key) -> (state, info)``: pure; it is compiled alone, scanned where it is due
            several times at one step, and vmapped over seeds. ``step`` (environment steps so far) is the same for
            all seeds, so a ``lax.cond`` on it stays a branch.
        updates: gradient steps (or table updates) that one run makes, for the accounts.
        start: environment steps before the first run.
        kind: "model" for phases that are logged at each run, "train" for those logged now and then.
    """

    name: str
    every: int
    run: Callable[..., tuple[PyTree, Info]]
    updates: int = 0
    start: int = 0
    kind: Literal["train", "model"] = "train"


@runtime_checkable  # for the type checks of the tests
class Agent(Protocol):
    """An agent is static configuration; ``State`` is everything that changes while it learns.

    State and replay are pytrees of arrays, so that they can be vmapped over seeds, donated, and saved as they are.
    """

    spec: EnvSpec
    config: Any

    @property
    def replay_capacity(self) -> int:
        """Transitions to keep for `Phase.run`."""
        ...

    @property
    def random_steps(self) -> int:
        """Environment steps with uniformly random actions before the policy acts."""
        ...

    def init(self, *, key: Key) -> PyTree:
        """State before the first step."""
        ...

    def init_actor(self, n: int) -> PyTree:
        """What acting carries from step to step, for n environments; ``()`` for a memoryless policy."""
        ...

    def act(
        self, state: PyTree, carry: PyTree, obs: PyTree, first: Array, *, key: Key, explore: bool
    ) -> tuple[PyTree, PyTree]:
        """Actions for a batch of n observations, and the carry. ``first[i]``: an episode begins with ``obs[i]``.

        ``explore`` is static: True while learning, False when the policy is judged or used.
        """
        ...

    def note(self, carry: PyTree) -> PyTree:
        """What to keep of the carry, after acting, beside the transition that follows; ``()`` for nothing."""
        ...

    def phases(self) -> tuple[Phase, ...]:
        """How the agent learns, in the order of one environment step."""
        ...

    def concerns(self, metrics: dict[str, list[float]]) -> list[str]:
        """What a person should be warned of, given what the phases of kind "model" reported (per seed)."""
        ...

    def world_model(self, state: PyTree) -> WorldModel | None:
        """The model as imagination uses it; None in agents without one."""
        ...
