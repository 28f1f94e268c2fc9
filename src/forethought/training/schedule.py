"""When the phases of an agent are due, and whether a run is long enough for them."""

from forethought.agents.base import Agent, Phase, Pieces
from forethought.errors import UsageError


def due(phase: Phase, before: int, now: int) -> int:
    """How often a phase runs when the environment steps go from ``before`` to ``now``.

    It runs at ``start`` (not at step 0) and every ``every`` steps from there.
    """

    def runs_by(step: int) -> int:
        return 0 if step < phase.start else (step - phase.start) // phase.every + 1

    return runs_by(now) - runs_by(before)


def check_room(agent: Agent, rows: int) -> None:
    """Raise `UsageError` where the replay could not keep the transitions that it is given beside those to come."""
    if rows > agent.replay_capacity:
        raise UsageError(
            f"the transitions given and the steps to come are {rows:,}, the replay keeps {agent.replay_capacity:,}; "
            "raise --agent.replay-capacity, or give fewer"
        )


def usual_repeats(phase: Phase, num_envs: int) -> list[int]:
    """How often a phase may run after one step of so many environments, where it runs at all."""
    if isinstance(phase.run, Pieces):
        return [1]
    first = -(-max(phase.start, 1) // num_envs) * num_envs
    return sorted({due(phase, first - num_envs, first), num_envs // phase.every, -(-num_envs // phase.every)} - {0})


def check_warm_up(agent: Agent, steps: int, pretrain: int = 0) -> None:
    """Raise `UsageError` where a run would end before its agent has begun to learn."""
    if not pretrain and steps <= agent.random_steps:
        raise UsageError(
            f"{steps} steps end within the {agent.random_steps} random steps at the start, nothing would be learned; "
            "raise --steps or lower --agent.random-steps"
        )
