"""Ask and tell: an agent in a loop that the user owns."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np

from forethought.agents import catalog
from forethought.configure import configure
from forethought.data import DataSource, read
from forethought.envs import Source, SpaceCodec, Step
from forethought.envs.contract import beginning, seen_amiss, where
from forethought.envs.kinds import as_flag, as_reward, reward_as_float32
from forethought.envs.views import empty_items
from forethought.errors import UsageError, brief
from forethought.files import as_path
from forethought.models.taught import Function
from forethought.policy import build_agent, print_warning, require_functions
from forethought.stored import arrays, require
from forethought.training import memory
from forethought.training.config import RunConfig, to_dict
from forethought.training.journal import Journal
from forethought.training.learner import Learner
from forethought.training.program import Program
from forethought.training.rundir import RunDir
from forethought.training.schedule import check_given, check_warm_up
from forethought.types import PyTree, TimeStep, item_shape

_ONE_WORLD = "an agent lives in one world"
_NO = np.zeros(1, bool)


class AskTell:
    """An agent in a loop that the user owns: a robot, a simulator that is no Gymnasium environment, a service.

    ``act`` and ``observe`` alternate; observations and actions are plain numpy in the environment's own units.
    """

    def __init__(self, config: RunConfig, codec: SpaceCodec, run: RunDir):
        self.config, self.codec, self.run = config, codec, run
        with run.blamed():
            self.agent = build_agent(config, codec.spec(config.env))
        self.learner = Learner(self.agent, config.seed_list, 1, config.rows, pretrain=config.pretrain)
        self.journal = Journal(config, run, self.agent, self.learner, print_warning)
        self._now: TimeStep | None = None  # for which `act` was asked
        self._action: np.ndarray | None = None
        self._last = beginning(self.agent.spec, empty_items(codec.obs, 1))  # where the last step led

    def warm_up(self) -> None:
        """Compile all that `act`, `observe` and `learn` will run, before the world moves; it may take a minute.

        Nothing else changes: the agent does and learns exactly what it would have without. A fit of the model takes its
        time all the same, see `observe`.
        """
        self.learner.warm_up()

    def act(self, obs: Any) -> np.ndarray | np.generic:
        """The action to take now; exploring, and uniformly random in the first ``random_steps``.

        Raises `UsageError` for an observation that does not fit or is not finite, and for a batch.
        """
        seen = self._seen(obs, "act")
        if seen_amiss(seen) is not None:
            raise UsageError(f"act got an observation that is not finite: {brief(obs)}")
        self._now = self._last._replace(obs=seen, terminated=_NO, truncated=_NO)
        self._apart = not jax.tree.all(jax.tree.map(np.array_equal, seen, self._last.obs))  # time has passed since
        self.learner.decision = None  # for another moment
        self._action = self.learner.act(self._now)
        return self.codec.action_to_env(self._action)[0]

    def observe(
        self,
        next_obs: Any,
        reward: Any,
        *,
        terminated: Any,
        truncated: Any = False,
        action: Any = None,
        learn: bool = True,
    ) -> None:
        """What the last action led to; then the agent learns what is due, which may take seconds.

        Where the world does not wait, pass ``learn=False`` and call `learn` while it rests. No step is lost: where more
        were put off than the replay holds, `observe` learns before one is overwritten.

        ``reward`` is a number, ``terminated`` and ``truncated`` are True or False (NumPy's too, or arrays of one).
        ``next_obs`` is the final observation where the episode ended; then call `act` with the first observation of
        the next one. ``action`` reports what was really done where that is not what `act` said. Episodes and
        training metrics go to ``metrics.jsonl``, as in any run.

        Raises `UsageError` without a preceding `act`, for numbers that are not finite in float32, and for flags that
        are none: nothing is learned then.
        """
        if self._now is None or self._action is None:
            raise UsageError("observe was called without an act before it; call act(obs) first")
        done = self._action if action is None else self._really_done(action)
        seen, paid = self._seen(next_obs, "observe"), reward_as_float32([as_reward(reward)])
        ended, stopped = np.array([as_flag("terminated", terminated)]), np.array([as_flag("truncated", truncated)])
        for name, value, given in (("reward", paid, reward), ("observation", seen, next_obs), ("action", done, action)):
            if seen_amiss(value) is not None:
                raise UsageError(
                    f"observe got {name} {brief(given)}, which is not finite in float32; this step was not learned"
                )
        reached = TimeStep(seen, done, paid, _NO, ended, stopped)
        self._last = where(ended | stopped, beginning(self.agent.spec, seen), reached)
        step = Step(reached, self._last, np.ones(1, np.int32))
        if self.learner.full:
            self.learn()
        own = action is None or np.allclose(done, self._action, rtol=1e-4, atol=1e-5)
        begins = self._now._replace(first=self._now.first | self._apart)  # for the replay; not for a memory
        self.learner.observe(begins, step, own=own)
        self._now = None
        self.journal.stepped(step)
        if learn:
            self.learn()

    def learn(self) -> None:
        """Learn all that is due; only needed after ``observe(..., learn=False)``."""
        self.journal.learned(self.learner.learn())

    def _seen(self, obs: Any, where: str) -> PyTree:
        """One observation as the agent sees it, as a batch of one."""
        seen = self.codec.obs_to_agent(obs)
        batch = self.codec.batch_of(seen)
        if batch:
            raise UsageError(f"{where} takes one observation, got a batch of shape {batch[:1]}: {_ONE_WORLD}")
        return jax.tree.map(lambda x: x[None], seen)

    def _really_done(self, action: Any) -> np.ndarray:
        done = self.codec.action_from_env(action)[None]
        if done.shape[1:] != item_shape(self.codec.action):
            raise UsageError(f"observe takes one action, got a batch of shape {done.shape[1:2]}: {_ONE_WORLD}")
        if not np.allclose(self.codec.action_to_env(done)[0], np.asarray(action), rtol=1e-4, atol=1e-5, equal_nan=True):
            raise UsageError(f"observe got the action {brief(action)}, which lies outside of the action space; clip it")
        return done

    def _last_of_arrays(self) -> dict[str, PyTree]:
        """The moment that the last step led to, without what the world does not have."""
        return {name: x for name, x in self._last._asdict().items() if len(x)}

    def restore(self, tree: PyTree, host: dict[str, Any]) -> None:
        """Become what a checkpoint holds. Raises `CheckpointError` where it is not what it must be."""
        held = {name: arrays(x) for name, x in self._last_of_arrays().items()}
        require(host, {"last": lambda value: isinstance(value, dict)})
        require(host["last"], held)
        self.learner.restore(tree, host.get("counters"))
        self.journal.restore(host)
        self._last = TimeStep(**{name: host["last"][name] for name in held})

    @property
    def steps(self) -> int:
        """Steps observed so far."""
        return self.learner.env_steps

    def save(self) -> Path:
        """Write a checkpoint; `resume_live` and `load` read it. Raises `TrainingDiverged` rather than keep a NaN."""
        self.learner.check_finite()
        host = {"counters": self.learner.counters(), "last": self._last_of_arrays(), **self.journal.host()}
        self.journal.summary("saved")
        return self.run.save(self.steps, self.learner.tree(), host, keep=self.config.keep)


def start(
    algorithm: str,
    observation_space: Any,
    action_space: Any,
    *,
    run: str | Path,
    steps: int,
    name: str = "my environment",
    seed: int = 0,
    agent: Mapping[str, Any] | None = None,
    reward: Function = None,
    termination: Function = None,
    data: DataSource | None = None,
    pretrain: int = 0,
    obs_names: Sequence[str] = (),
    action_names: Sequence[str] = (),
) -> AskTell:
    """Begin an ask/tell agent for Gymnasium spaces; ``steps`` bounds what the replay has to hold.

    Defaults that count steps are fitted to ``steps``; ``reward`` and ``termination`` are what is known of the world, as
    in `forethought.train`, and so are ``data``, ``pretrain`` and the names. What is to be learned from the data is
    learned by the first call of `AskTell.learn` or `AskTell.observe`.
    """
    codec = SpaceCodec.from_spaces(observation_space, action_space).named(obs_names, action_names)
    spec = codec.spec(name)
    options: dict[str, Any] = {"steps": steps, "seed": seed, "pretrain": pretrain, "with_data": data is not None}
    config = configure(algorithm, Source(name), agent=agent, reward=reward, termination=termination, **options)
    built = build_agent(config, spec)
    require_functions(built)
    check_warm_up(built, config.steps, config.pretrain)  # before anything is written
    logged = None if data is None else read(data, codec)
    if logged is not None:
        config = replace(config, data=logged.described())
        check_given(built, len(logged), config.rows, pretrain=config.pretrain > 0)
    memory.plan(Program(built, config.seed_list, 1, config.rows)).refuse_if_too_large()
    defaults = to_dict(catalog.find(algorithm).load()[1]())
    live = AskTell(config, codec, RunDir.create(as_path(run), config, defaults, spec, codec, live=True))
    if logged is not None:
        live.learner.give(logged.rows)
        live.save()  # from here on the run needs its source no more
    return live


def resume_live(
    path: str | Path, *, reward: Function = None, termination: Function = None, trust: bool = False
) -> AskTell:
    """Go on with an ask/tell agent from its newest checkpoint, exactly where `AskTell.save` left it.

    ``reward`` and ``termination`` are to be given again where no import leads to them. ``trust``: import the modules of
    those functions, though the run was not made here.
    """
    run = RunDir.open(as_path(path))
    held = run.read(reward=reward, termination=termination)
    run.require_trust(held, ("reward", "termination"), trust)
    live = AskTell(held.config, held.codec, run)
    require_functions(live.agent)
    run.restore(live.learner.blank, live.restore, print_warning)
    return live
