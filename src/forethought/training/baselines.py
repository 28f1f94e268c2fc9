"""What a policy has to beat: random actions, the best one that is always the same, and a controller of the user's."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import numpy as np

from forethought.agents.base import random_action
from forethought.envs import SpaceCodec
from forethought.envs.catalog import NAMESPACES
from forethought.errors import ForethoughtError, UsageError, brief
from forethought.names import name_of
from forethought.stored import numbers
from forethought.training.config import RunConfig
from forethought.training.evaluate import Evaluation, evaluate
from forethought.training.seeds import purpose_key
from forethought.types import Discrete, TimeStep

_CANDIDATES = 9  # constant actions that are tried
_TRIALS = 3  # episodes that each of them is tried on, and of the better third in all: three times as many
_LEAST_EPISODES = 5
# Times what the constant earns. In the house of `own_worlds` it is 2.5, and policies learn well; with 10 some did not.
_FAR_BELOW = 5.0

WHAT_HELPS = (
    "look at its model first, where it has one (forethought diagnose), then at units, updates and budget "
    '("How to read the diagnostics: A policy below its baselines" says how)'
)


class Baseline(NamedTuple):
    """Mean return of a baseline over its episodes, its standard error, and its action in the environment's units."""

    mean: float
    error: float
    action: list[float] | int | None = None


Baselines = dict[str, Baseline]
STARTS = "evaluation"  # the episodes in which everything that is evaluated on the way is compared
Controller = Callable[[Any], Any]  # from an observation, as the environment shows it, to an action as it takes it


def play_baselines(
    config: RunConfig,
    codec: SpaceCodec,
    tell: Callable[[int], None] = lambda t: None,
    controller: Controller | None = None,
) -> Baselines:
    """Play all, in the episodes in which the first seed's policy is evaluated; ``tell`` is as in `evaluate`.

    Constant actions are tried on a grid where there is one dimension; else zero and draws from the whole box, or every
    action of a few. The best of them (`choose`) is evaluated on other episodes than it was chosen by. Raises
    `UsageError` where the controller fails or does not give an action.
    """
    n = max(config.eval_episodes, _LEAST_EPISODES)
    # Nobody looks at what they lead to; ours have other random numbers where they are not drawn, and so other starts.
    blind = config if config.env.startswith(NAMESPACES) else replace(config, pixels=0)

    def evaluated(act: Any, config: RunConfig = blind) -> Evaluation:
        return evaluate(act, (), config, episodes=n, stream=STARTS, env_steps=0, seeds=[config.seed], tell=tell)

    def constant(actions: np.ndarray, episodes: int, stream: str) -> Evaluation:
        """Every action [K, ...] in episodes that begin alike."""
        held = np.repeat(actions, episodes, axis=0)
        return evaluate(
            lambda time_step, carry, t: (held, carry),
            (),
            blind,
            episodes=episodes,
            stream=stream,
            env_steps=0,
            seeds=[config.seed] * len(actions),
            tell=tell,
        )

    def random(time_step: TimeStep, carry: Any, t: int) -> tuple[np.ndarray, Any]:
        key = purpose_key(jax.random.key(config.seed), "baseline", t)
        return np.asarray(random_action(codec.action, n, key, time_step.legal)), carry

    best = choose(_candidates(codec, config.seed), lambda *asked: constant(*asked).returns.mean(axis=1))
    found = {
        "random actions": _summary(evaluated(random)),
        "best constant action": _summary(constant(best, n, STARTS))._replace(
            action=codec.action_to_env(best[0]).tolist()
        ),
    }
    if controller is not None:
        found["your controller"] = _summary(
            evaluated(lambda now, carry, t: (_controlled(controller, now, codec), carry), config)
        )
    return found


def _controlled(controller: Controller, now: TimeStep, codec: SpaceCodec) -> np.ndarray:
    """What it does in each moment [n, ...], in the agent's units."""
    name, actions = name_of(controller), []
    for i in range(len(now.first)):
        seen = jax.tree.map(lambda x, i=i: x[i], now.obs)
        try:
            actions.append(codec.action_from_env(controller(codec.obs_to_env(seen))))
        except ForethoughtError as error:
            raise UsageError(f"the controller {name}: {error}") from error
        except Exception as error:
            raise UsageError(f"the controller {name} raised {type(error).__name__}: {brief(error)}") from error
    return np.stack(actions)


def choose(candidates: np.ndarray, returns: Callable[[np.ndarray, int, str], np.ndarray]) -> np.ndarray:
    """The candidate with the highest mean return [1, ...]: the better third of all is tried on more episodes.

    ``returns`` plays each in some episodes of a stream; the same for all, as starts may differ more than they do.
    """
    first = returns(candidates, _TRIALS, "all")
    better = np.argsort(-first, kind="stable")[: max(2, len(candidates) // 3)]
    second = returns(candidates[better], 2 * _TRIALS, "better")
    best = better[np.argmax(first[better] + 2.0 * second)]
    return candidates[best : best + 1]


def below(returns: np.ndarray, baselines: Baselines) -> str | None:
    """Words on a policy, with ``returns`` [seeds, episodes], that earns less than a baseline; None where it does not.

    Less by more than the standard error of the difference of the two means.
    """
    # Of two that earn alike the later one, which is the user's controller where there is one.
    name, best = max(reversed(baselines.items()), key=lambda item: item[1].mean, default=("", None))
    if best is None:
        return None
    mean, error = float(np.mean(returns)), float(np.std(returns)) / np.size(returns) ** 0.5
    if mean >= best.mean - np.hypot(error, best.error):
        return None
    return f"the policy earns less than a baseline: {mean:.4g}, {described(name, best)}"


def far_below(baselines: Baselines) -> str | None:
    """Words on random actions that earn so little that they hide what tells good actions apart; None where they do not.

    Where they fall behind the best constant action by several times what that earns, by more than the standard error.
    """
    random, constant = baselines["random actions"], baselines["best constant action"]
    behind = constant.mean - random.mean
    if behind - np.hypot(random.error, constant.error) <= _FAR_BELOW * abs(constant.mean):
        return None
    return (
        f"random actions fall far behind the best constant one: they earn {random.mean:.4g}, that {constant.mean:.4g}; "
        "rewards of such size hide what tells a good policy from a better one. Leave out of the action space what "
        "nobody would do, bound the penalty, or begin with data of a controller (--data)"
    )


def described(name: str, baseline: Baseline) -> str:
    """A baseline with its action, its return and the standard error of that."""
    return f"{' '.join(filter(None, (name, of_action(baseline))))} ({earned(baseline)})"


def of_action(baseline: Baseline) -> str:
    """Its action; nothing where there is none."""
    if baseline.action is None:
        return ""
    return np.array2string(np.asarray(baseline.action), precision=4, max_line_width=999)


def earned(baseline: Baseline) -> str:
    """Its mean return and the standard error of that."""
    error = float(f"{baseline.error:.2g}")  # two digits are known of it, but 130 is not to read 1.3e+02
    return f"{baseline.mean:.4g} ± {error:g}"


def are_stored(value: Any) -> bool:
    """Whether this is what a checkpoint keeps of baselines."""
    return isinstance(value, dict) and all(
        isinstance(played, list) and len(played) == len(Baseline._fields) and numbers(played[:2])
        for played in value.values()
    )


def _summary(found: Evaluation) -> Baseline:
    returns = found.returns.ravel()
    return Baseline(float(returns.mean()), float(returns.std()) / returns.size**0.5)


def _candidates(codec: SpaceCodec, seed: int) -> np.ndarray:
    """Constant actions to try, as agents see them."""
    space, rng = codec.action, np.random.default_rng(seed)
    if isinstance(space, Discrete):
        every = np.arange(space.n, dtype=np.int32)
        return every if space.n <= 2 * _CANDIDATES else rng.choice(every, 2 * _CANDIDATES, replace=False)
    if space.shape == (1,):
        return np.linspace(-1.0, 1.0, _CANDIDATES, dtype=np.float32)[:, None]
    drawn = rng.uniform(-1.0, 1.0, (2 * _CANDIDATES - 1, *space.shape))
    return np.concatenate([np.zeros((1, *space.shape)), drawn]).astype(np.float32)
