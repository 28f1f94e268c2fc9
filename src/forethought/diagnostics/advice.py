"""What to do about each verdict: the one home of it, which the terminal, the report and the documentation repeat."""

from dataclasses import dataclass

PAGE = "How to read the diagnostics"  # its title: who installed a wheel has no file of it


@dataclass(frozen=True)
class Kind:
    """A kind of verdict: the heading that it has on the `PAGE`, and what helps. Code stands between backticks.

    ``latent``: what helps latent models, where that is something else.
    """

    title: str
    advice: str
    latent: str = ""

    @property
    def where(self) -> str:
        """The place in the documentation."""
        return f"{PAGE}: {self.title}"

    def advised(self, latent: bool) -> str:
        """What helps a latent model, or another."""
        return self.latent if latent and self.latent else self.advice


_MORE = (
    "more data, more updates (a lower `--agent.train-every`, more `--agent.updates`; in World Models "
    "`--agent.v.updates` and `--agent.m.updates`)"
)
_SHORTER = (
    "More data where the policy goes, which training goes on to collect; dreams of fewer steps (`--agent.horizon`, in "
    "World Models `--agent.c.horizon`)."
)


GOOD = Kind(
    "Good",
    "Nothing in the model needs mending. Whether there is more to earn, the simplest controller says; where it earns "
    "more than the policy, the cause lies elsewhere: rewards of random actions that are many times those of good ones, "
    "too few updates or steps, or settings of the policy or the planner.",
)
NO_BETTER = Kind(
    "No better than nothing changes",
    "More data, longer fits (`--agent.fit.max-epochs`, `--agent.fit.patience`), a larger network "
    "(`--agent.model-hidden`).",
    f"{_MORE[0].upper()}{_MORE[1:]}, a larger model (`--agent.size` of Dreamer V3).",
)
BLIND = Kind(
    "It is blind to some of what it sees",
    "Show what goes round, as the hour or an angle, as its sine and cosine: the way from 23.75 to 0 is a jump that no "
    "smooth function has. Show what a jump depends on (the hour of a price that steps), or leave the quantity out if "
    "the policy can do without. Where that is done, what remains is the moment of a switch, which a Gaussian misses: "
    "it does harm only where the reward hangs on that very moment. Else more data.",
)
FORGETS = Kind(
    "It does not keep what it sees",
    "What is wrong lies before any dream: in the encoder, in the latents or in the decoder. More updates (a lower "
    "`--agent.train-every`, more `--agent.updates`; in World Models `--agent.v.updates`), a larger model "
    "(`--agent.size` of Dreamer V3), fewer `--agent.free-nats`. What is small in a picture weighs little: larger "
    "pictures, or the thing as a number beside them. Rewards and ends may be right all the same, and a policy lives "
    "by these: look at their lines, and at its return.",
)
ERRORS_GROW = Kind(
    "Its errors grow",
    "Imagine no further than the steps to trust: rollouts by `--agent.schedule.last` (MBPO; they are of one step where "
    "nothing else was set), plans by `--agent.horizon` (planners). More data and longer fits move the limit.",
    "Imagine no further than the steps to trust (`--agent.horizon`, in World Models `--agent.c.horizon`). An error "
    "that is there after 0 steps, of what was "
    f"just seen, is the decoder's and not the dream's. What moves the limit: {_MORE}, longer windows "
    "(`--agent.batch-length`, in World Models `--agent.m.window`).",
)
OVER_CONFIDENT = Kind(
    "Over-confident",
    "A hold-out to stop the fits by, where there is none (`--agent.fit.holdout-ratio 0.2`), more members "
    "(`--agent.members`), more data.",
    f"{_MORE[0].upper()}{_MORE[1:]}.",
)
UNDER_CONFIDENT = Kind(
    "Under-confident",
    "`--agent.fit.calibrate`, which sets the width of the predictions right on held-out transitions after each fit "
    "(it needs a hold-out: `--agent.fit.holdout-ratio 0.2`).",
    f"{_MORE[0].upper()}{_MORE[1:]}.",
)
REWARD_SIGN = Kind(
    "Its reward has the wrong sign",
    "Look for a sign in the environment's own code first; where that is right, give planners the known reward of the "
    "task (`--agent.reward known`), else collect more data.",
    "Look for a sign in the environment's own code first; where that is right, collect more data.",
)
REWARD_WRONG = Kind(
    "Its reward is wrong",
    "`--agent.fit.beta 0.5`, with which rare jumps are learned too (the default without a preset); the reward as a "
    "function (`--reward`), or the known one where the task has it and the agent plans (`--agent.reward known`); what "
    "the reward depends on among the observations; more data.",
    f"{_MORE[0].upper()}{_MORE[1:]}: rare rewards are learned last. Dreamer V2 learns the tanh of rewards, in which "
    'all beyond 3 look nearly alike, unless `--agent.rewards` says "as they are".',
)
FALSE_ENDINGS = Kind(
    "It believes in endings that do not come",
    "More data near the ends of episodes; rollouts of fewer steps, where they have several "
    "(`--agent.schedule.last`): fewer false endings add up.",
    "More data near the ends of episodes; dreams of fewer steps (`--agent.horizon`, in World Models "
    "`--agent.c.horizon`): fewer false endings add up.",
)
MISSED_ENDINGS = Kind(
    "It does not see the world end",
    "More data that lead to an ending, such as more random steps (`--agent.random-steps`): what was hardly ever seen "
    "cannot be foretold.",
    "PlaNet, and Dreamer V1 without `--agent.predict-ends`, take the world to go on for ever. Else more data that lead "
    "to an ending, such as more random steps (`--agent.random-steps`).",
)
DISAGREEMENT = Kind(
    "Its disagreement does not tell where it is wrong",
    "More members (`--agent.members`); until then, use their disagreement neither to explore nor to cut rollouts "
    "short.",
)
EXPLOITED = Kind(
    "Exploited by planning",
    "More particles (`--agent.particles`) with `--agent.propagation ts1`, fewer candidates "
    "(`--agent.search.population`), and data that the planner itself collects.",
    "More data, and dreams or plans of fewer steps (`--agent.horizon`, in World Models "
    "`--agent.c.horizon`). A policy that is learned in the model searches "
    "less hard than these plans: whether it is misled, the gap between its imagined and real return says.",
)
DIVERGES = Kind(
    "Its dreams diverge",
    "More data where the policy goes; rollouts of fewer steps, where they have several (`--agent.schedule.last`), and "
    "shorter plans (`--agent.horizon`).",
    _SHORTER,
)
PROMISES = Kind(
    "It promises too much or too little",
    "Data from the policy that is evaluated; rollouts of fewer steps, where they have several "
    "(`--agent.schedule.last`): less of what the policy learns from is then imagined far from real states. Rollouts of "
    "one step hardly suffer from this.",
    _SHORTER,
)
LONG_DREAMS = Kind(
    "Its long dreams lead elsewhere",
    "Data from the policy that is to be evaluated; rollouts of fewer steps, where they have several "
    "(`--agent.schedule.last`). Rollouts of one step hardly suffer from this.",
    "Data from the policy that is to be evaluated, which training goes on to collect. Dreams of `--agent.horizon` "
    "steps that begin from what was really seen hardly suffer from this.",
)

KINDS = (
    GOOD, NO_BETTER, BLIND, FORGETS, ERRORS_GROW, OVER_CONFIDENT, UNDER_CONFIDENT, REWARD_SIGN, REWARD_WRONG,
    FALSE_ENDINGS, MISSED_ENDINGS, DISAGREEMENT, EXPLOITED, DIVERGES, PROMISES, LONG_DREAMS,
)  # fmt: skip
