"""How long the rest of a run will take."""

from forethought.training.config import RunConfig
from forethought.training.learner import Learner

_OF_STEPS = ("act", "env", "record")  # what is not charged to these names does not belong to single steps


class Pace:
    """Estimates from what each part of a run took so far: phases and evaluations by their means, steps of the policy.

    The pace of all steps so far would be that of random actions before the first fit, and would jump with every fit.
    """

    def __init__(self, config: RunConfig, learner: Learner):
        self.config, self.learner = config, learner
        self._mark: tuple[int, float] | None = None

    def left(self, now: float) -> float | None:
        """Seconds from the moment ``now`` to the last step, or None while something that is to come never happened."""
        config, learner = self.config, self.learner
        at, spent = learner.now, learner.clock.seconds
        if at >= config.steps:
            return 0.0
        steps_s = now - sum(seconds for name, seconds in spent.items() if name not in _OF_STEPS)
        if self._mark is None:
            if at > learner.agent.random_steps or not config.steps:
                self._mark = at, steps_s
            return None
        if at == self._mark[0]:
            return None
        left = (config.steps - at) * (steps_s - self._mark[1]) / (at - self._mark[0])
        passed = at // config.eval_every
        evaluations = -(-config.steps // config.eval_every) - passed
        made = 1 + passed - (-learner.pretrain // config.eval_every)  # one was made before the first step
        parts = [("evaluate", made, evaluations)]
        for phase in learner.phases:
            ran = learner.runs(phase, learner.learned)
            parts.append((phase.name, ran, learner.runs(phase, config.steps) - ran))
        for name, ran, to_come in parts:
            if to_come and (not ran or name not in spent):
                return None
            left += to_come * spent.get(name, 0.0) / max(ran, 1)
        return left
