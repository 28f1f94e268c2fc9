"""What a run has learned, read back from its newest checkpoint: to act with, to look at, to film."""

import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from forethought.agents import catalog
from forethought.agents.base import Agent, Seen
from forethought.agents.ensemble import EnsembleLearner, Known
from forethought.envs import SpaceCodec, VectorEnv
from forethought.envs.contract import beginning, seen_amiss
from forethought.envs.views import rows
from forethought.errors import UsageError, brief, nearest, require_seed
from forethought.files import as_path
from forethought.models.taught import Function
from forethought.report.video import require_suffix, write_video
from forethought.training.config import RunConfig, from_dict
from forethought.training.evaluate import STEP_LIMIT, functional, make_world, playable
from forethought.training.given import known
from forethought.training.learner import Learner
from forethought.training.rundir import Description, RunDir
from forethought.types import EnvSpec, PyTree, TimeStep
from forethought.unroll import unroll

WHICH = ("newest", "best")  # of the policies of a run


class Policy:
    """What a run has learned, ready to act: plain numpy in and out, in the environment's own units.

    One observation gives one action, a batch gives a batch. The policy does not explore. It can be pickled. Planners
    and agents that dream remember what they saw: call `reset` where an episode begins.
    """

    def __init__(self, agent: Agent, codec: SpaceCodec, state: Any, seed: int):
        self.agent, self.codec, self.state, self.seed = agent, codec, state, seed
        self._act = jax.jit(agent.act, static_argnames="explore")
        self.reset()

    def reset(self) -> None:
        """Begin an episode: policies with a memory forget."""
        self._carry: Any = None
        self._action: Any = None  # the last one
        self._t = 0

    def __call__(self, obs: Any, legal: Any = ()) -> np.ndarray | np.generic:
        """The action for one observation or a batch; ``legal``: truths of each action, where a game allows only some.

        Raises `UsageError` for another shape than the run's, and for another number of observations than it remembers.
        """
        seen = self.codec.obs_to_agent(obs)
        if seen_amiss(seen) is not None:
            raise UsageError(f"the policy got an observation that is not finite: {brief(obs)}")
        single = not self.codec.batch_of(seen)
        rules = np.atleast_2d(np.asarray(legal, bool)) if len(legal) else ()
        batch = jax.tree.map(lambda x: x[None], seen) if single else seen
        own = self.codec.action_to_env(self.act(batch, rules))
        return own[0] if single else own

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled, as for another process, it is what was learned; it begins an episode there."""
        leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(self.state)]
        agent, known = self.agent, functions_of(self.agent)
        made_of = (agent.config, agent.spec, *([known] if known else []))
        return _unpickled, (type(agent), made_of, self.codec, leaves, self.seed)

    def act(self, batch: PyTree, legal: Any = ()) -> np.ndarray:
        """Actions for a batch of observations, both as agents see them."""
        now = beginning(self.agent.spec, batch)._replace(legal=legal)
        if not isinstance(self._carry, Seen | None) and rows(batch) != len(self._action):
            raise UsageError(
                f"the policy remembers what it was shown of {len(self._action)} at once, and is now shown "
                f"{rows(batch)}; call its reset() where episodes begin"
            )
        if self._carry is None:
            self._carry = self.agent.init_actor(rows(batch))
        else:
            now = now._replace(prev_action=self._action, first=~now.first)
        key = jax.random.fold_in(jax.random.key(self.seed), self._t)
        self._action, self._carry, _ = self._act(self.state, self._carry, now, key=key, explore=False)
        self._t += 1
        return np.asarray(self._action)


def _unpickled(
    agent_class: Any, given: tuple[Any, ...], codec: SpaceCodec, leaves: list[np.ndarray], seed: int
) -> Policy:
    agent = agent_class(*given)
    structure = jax.tree.structure(jax.eval_shape(lambda key: agent.init(key=key), jax.random.key(0)))
    return Policy(agent, codec, jax.tree.unflatten(structure, leaves), seed)


def load(
    path: str | Path,
    *,
    seed: int | None = None,
    which: str = "newest",
    reward: Function = None,
    termination: Function = None,
    trust: bool = False,
) -> Policy:
    """The policy of a run's newest checkpoint; of its first seed unless another is named.

    ``which="best"``: the one whose evaluation during training was the best so far. That evaluation chose it, so its
    return flatters it; `forethought.evaluate` plays it anew.

    The environment is not needed, but planners need the ``reward`` and ``termination`` that they were trained with:
    these functions are to be given again where no import leads to them (from a notebook, a lambda). ``trust``: import
    the modules of those functions, though the run was not made here.

    Raises `CheckpointError` where the directory holds no run or checkpoint.
    """
    held, learner = load_learner(path, which=which, trust=trust, reward=reward, termination=termination)
    index = held.config.index_of(seed)
    return _policy(held, learner, index)


def film(
    path: str | Path,
    output: str | Path,
    *,
    seed: int = 0,
    which: str = "newest",
    env: Any = None,
    reward: Function = None,
    termination: Function = None,
    trust: bool = False,
) -> Path:
    """Write a video (.mp4 or .gif) of one episode of a run's policy.

    ``env``, and ``reward`` and ``termination`` for planners, are to be given again where no import leads to them.
    ``trust``: import the modules that the run names, though it was not made here. Raises `UsageError` or
    `EnvironmentFault` where the environment gives no pictures.
    """
    require_suffix(Path(output))
    seed = require_seed("seed", seed)
    functions: dict[str, Any] = {"reward": reward, "termination": termination}
    played = playable(RunDir.open(as_path(path)), trust=trust, env=env, **functions)
    world = make_world(played.config, [seed], stream="film", render=True, made_for=played.spec)
    try:
        world.reset()
        _picture(world)  # before the policy is loaded, which takes its time
        held, learner = load_learner(path, which=which, trust=trust, env=env, **functions)
        return write_video(_frames(world, _policy(held, learner, 0)), Path(output))
    finally:
        world.close()


def _frames(world: VectorEnv, policy: Policy) -> Iterator[np.ndarray]:
    limit = world.spec.max_episode_steps or STEP_LIMIT
    yield _picture(world)

    def act(now: TimeStep, carry: Any, t: int) -> tuple[np.ndarray, Any]:
        return policy.act(now.obs, now.legal), carry

    for _, _, step in unroll(world, act, (), limit - 1, anew=False):
        if step.ended[0]:
            return
        yield _picture(world)


def _picture(world: VectorEnv) -> np.ndarray:
    picture = world.render()
    if picture is None:
        raise UsageError(f"{world.spec.id} gives no pictures")
    return picture


def _policy(held: Description, learner: Learner, index: int) -> Policy:
    state = jax.tree.map(lambda x: x[index], learner.state)
    return Policy(learner.agent, held.codec, state, held.config.seed_list[index])


def load_learner(
    path: str | Path, *, which: str = "newest", needs_model: bool = False, trust: bool = False, **again: Any
) -> tuple[Description, Learner]:
    """A run, and everything that its newest checkpoint holds; ``again`` is what `RunDir.read` takes.

    With ``which="best"`` it acts as the best policy so far did. Raises `CheckpointError` where there is none,
    `UsageError` where a function that is needed is missing or wrong.
    """
    if which not in WHICH:
        raise UsageError(f"there is no policy {which!r}; {nearest(which, WHICH)}")
    run = RunDir.open(as_path(path))
    held = run.read(**again)
    with run.blamed():
        agent = build_agent(held.config, held.spec)
    if needs_model or catalog.find(held.config.algorithm).plans:
        run.require_trust(held, ("reward", "termination"), trust)
        require_functions(agent)
    with run.blamed():
        config = held.config
        learner = Learner(agent, config.seed_list, config.num_envs, config.rows, pretrain=config.pretrain)
    run.restore(learner.blank, lambda tree, host: learner.restore(tree, host.get("counters")), print_warning)
    if which == "best":
        learner.state = learner.best.state(learner.state)
    return held, learner


def build_agent(config: RunConfig, spec: EnvSpec) -> Agent:
    """The agent that a config describes. Raises `UsageError` where it cannot take the environment."""
    catalog.require_fit(config.algorithm, spec)
    agent_class, config_class = catalog.find(config.algorithm).load()
    settings: Any = from_dict(config_class, config.agent)
    world = functional(config) if getattr(settings, "model", None) == "world" else None
    functions = known(config, spec)._replace(world=world)
    return agent_class(settings, spec, *([] if functions == Known() else [functions]))


def functions_of(agent: Agent) -> Sequence[Any]:
    """The functions that the agent's model takes for known, one for each thing it may; none without an ensemble."""
    learner = getattr(agent, "learner", None)
    return learner.known if isinstance(learner, EnsembleLearner) else ()


def require_functions(agent: Agent) -> None:
    """Raise `UsageError` where a function that the agent's model is given is missing or wrong."""
    for function in functions_of(agent):
        if function is not None:
            function.require()


def print_warning(text: str) -> None:
    """A warning where no progress display is at hand."""
    warnings.warn(text, stacklevel=3)
