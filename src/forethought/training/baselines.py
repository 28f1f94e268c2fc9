"""What a policy has to beat: random actions, and the best action that is always the same."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import numpy as np

from forethought.envs import SpaceCodec
from forethought.stored import numbers
from forethought.training.config import RunConfig
from forethought.training.evaluate import Evaluation, evaluate
from forethought.training.program import purpose_key, random_action
from forethought.types import Discrete

_CANDIDATES = 9  # constant actions that are tried
_TRIALS = 2  # episodes of each; the best one is then played anew
_LEAST_EPISODES = 5

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


def play_baselines(config: RunConfig, codec: SpaceCodec, tell: Callable[[int], None] = lambda t: None) -> Baselines:
    """Play both, on episodes that follow from the first seed of the run alone; ``tell`` is as in `evaluate`.

    Constant actions are tried on a grid where there is one dimension; else zero and draws from the whole box, or every
    action of a few. The best of them is judged on other episodes than it was chosen by.
    """
    config = replace(config, seeds=1)
    n = max(config.eval_episodes, _LEAST_EPISODES)
    candidates = _candidates(codec, config.seed)

    def constant(stream: str, actions: np.ndarray) -> Evaluation:
        act = lambda obs, first, carry, t: (actions[None], carry)  # noqa: E731
        return evaluate(act, (), config, episodes=len(actions), stream=stream, env_steps=0, tell=tell)

    def random(obs: np.ndarray, first: np.ndarray, carry: Any, t: int) -> tuple[np.ndarray, Any]:
        key = purpose_key(jax.random.key(config.seed), "baseline", t)
        return np.asarray(random_action(codec.action, n, key))[None], carry

    tried = constant("constant actions", np.repeat(candidates, _TRIALS, axis=0)).returns.reshape(-1, _TRIALS)
    best = candidates[np.argmax(tried.mean(axis=1))]
    of_random = evaluate(random, (), config, episodes=n, stream="baseline", env_steps=0, tell=tell)
    of_constant = constant("baseline", np.repeat(best[None], n, axis=0))
    return {
        "random actions": _judged(of_random),
        "best constant action": _judged(of_constant)._replace(action=codec.action_to_env(best).tolist()),
    }


def below(returns: np.ndarray, baselines: Baselines) -> str | None:
    """Words on a policy, with ``returns`` [seeds, episodes], that earns less than a baseline; None where it does not.

    Less by more than the standard error of the difference of the two means.
    """
    name, best = max(baselines.items(), key=lambda item: item[1].mean, default=("", None))
    if best is None:
        return None
    mean, error = float(np.mean(returns)), float(np.std(returns)) / np.size(returns) ** 0.5
    if mean >= best.mean - np.hypot(error, best.error):
        return None
    return f"the policy earns {mean:.4g}, less than {described(name, best)}"


def described(name: str, baseline: Baseline) -> str:
    """A baseline with its action and its return."""
    action = "" if baseline.action is None else f" {np.array2string(np.asarray(baseline.action), precision=4)}"
    return f"{name}{action} ({baseline.mean:.4g})"


def are_stored(value: Any) -> bool:
    """Whether this is what a checkpoint keeps of baselines."""
    return isinstance(value, dict) and all(
        isinstance(played, list) and len(played) == len(Baseline._fields) and numbers(played[:2])
        for played in value.values()
    )


def _judged(found: Evaluation) -> Baseline:
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
