"""When the phases of an agent are due, and whether a run is long enough for them."""

from collections.abc import Sequence
from typing import TypeAlias

from forethought.agents.base import Agent, Phase, Pieces
from forethought.errors import UsageError

Repeats: TypeAlias = tuple[tuple[Phase, int], ...]

_FOR_EVER = 2**31 - 1  # steps


class Schedule:
    """When the phases of an agent run: a function of the environment step and of nothing else.

    A phase is due at its ``start`` (not at step 0) and every ``every`` steps or updates from there.
    """

    def __init__(self, phases: Sequence[Phase], num_envs: int, random_steps: int = 0, first: int = 0):
        """Of so many environments, ``random_steps`` of whose steps are random.

        ``first``: the step before the first one; below 0 with steps that only learn from what was given.
        """
        self.phases, self.num_envs, self.random_steps, self.first = tuple(phases), num_envs, random_steps, first

    def runs(self, phase: Phase, step: int) -> int:
        """How often a phase will have run by an environment step."""
        if phase.clock == "updates":
            return phase.times * _due(phase, 0, self._updates(step))
        return phase.times * _due(phase, self.first, step)

    def due(self, phase: Phase, now: int) -> int:
        """How often a phase runs after the step of all environments that leads to environment step ``now``."""
        return self.runs(phase, now) - self.runs(phase, now - self.num_envs)

    def of_each_step(self, now: int) -> Repeats:
        """The phases that are due at step ``now`` with their repeats, if all of them are so at each step; else none."""
        phases = tuple((phase, repeats) for phase in self.phases if (repeats := self.due(phase, now)))
        for phase, _ in phases:
            if _is_long(phase) or phase.every > self.num_envs or (now - phase.start) % phase.every:
                return ()
        return phases

    def steady(self, step: int) -> tuple[Repeats, int]:
        """The phases that are due at the next step with their repeats, and for how many steps these are due, and acting
        stays random or stops being so; 0 steps where one of them is rare.
        """
        n, now = self.num_envs, step + self.num_envs
        most, phases = max(1, (_FOR_EVER - step) // n), []
        for phase in self.phases:
            repeats = self.due(phase, now)
            by_updates = phase.clock == "updates"  # the same number at one turn says nothing of the next
            if repeats and (by_updates or _is_long(phase) or n % phase.every or repeats != n // phase.every):
                return (), 0
            if repeats:
                phases.append((phase, repeats))
            else:
                most = min(most, 1 + self._quiet(phase, now, most))
        if self.random_after(step):
            most = min(most, -(-(self.random_steps - now) // n))
        return tuple(phases), most

    def random_after(self, step: int) -> bool:
        """Whether acting is random after the next step."""
        return step + self.num_envs < self.random_steps

    def _quiet(self, phase: Phase, now: int, most: int) -> int:
        """Of the ``most`` turns after step ``now``, how many come before the first one that the phase is due in."""
        low, high, runs = 0, most, self.runs(phase, now)
        while low < high:
            middle = (low + high + 1) // 2
            if self.runs(phase, now + middle * self.num_envs) == runs:
                low = middle
            else:
                high = middle - 1
        return low

    def _updates(self, step: int) -> int:
        return sum(phase.updates * self.runs(phase, step) for phase in self.phases if phase.clock == "steps")


def _is_long(phase: Phase) -> bool:
    return isinstance(phase.run, Pieces) or phase.counted


def _due(phase: Phase, before: int, now: int) -> int:
    """How often it is due when what its clock counts goes from ``before`` to ``now``."""
    return _times_by(phase, now) - _times_by(phase, before)


def _times_by(phase: Phase, at: int) -> int:
    return 0 if at < phase.start else (at - phase.start) // phase.every + 1


def check_given(agent: Agent, given: int, rows: int, *, pretrain: bool) -> None:
    """Raise `UsageError` where the replay could not keep the transitions that it is given beside those to come,
    ``rows`` in all, or where they are too few to learn from.
    """
    if rows > agent.replay_capacity:
        raise UsageError(
            f"the transitions given and the steps to come are {rows:,}, the replay keeps {agent.replay_capacity:,}; "
            "raise --agent.replay-capacity, or give fewer"
        )
    agent.check_data(given, pretrain)


def usual_repeats(phase: Phase, num_envs: int) -> list[int]:
    """The repeats with which a phase may be compiled: how often it may run after a step of so many environments."""
    if _is_long(phase):
        return [1]
    first = -(-max(phase.start, 1) // num_envs) * num_envs
    return sorted({_due(phase, first - num_envs, first), num_envs // phase.every, -(-num_envs // phase.every)} - {0})


def check_warm_up(agent: Agent, steps: int, pretrain: int = 0) -> None:
    """Raise `UsageError` where a run would end before its agent has begun to learn."""
    if not pretrain and steps <= agent.random_steps:
        raise UsageError(
            f"{steps} steps end within the {agent.random_steps} random steps at the start, nothing would be learned; "
            "raise --steps or lower --agent.random-steps"
        )
