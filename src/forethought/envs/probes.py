"""Probe environments: one idea each, and values known in closed form.

An agent that fails one has a fault in the part that the probe isolates. After Andy Jones, "Debugging RL" (2021).
With discount γ, V is the optimal value of each observation (written as it is shown to a Box agent):

==================  =============================================================================================
ProbeConstant       one step, reward 1: V(0) = 1
ProbeObservation    one step, the observation is -1 or 1 and so is the reward: V(s) = s
ProbeDiscount       two steps, reward 1 at the end only: V(0) = γ, V(1) = 1
ProbeAction         one step, the reward depends on the action only; best is 0.5 (Box, V = 0) or 1 (Discrete, V = 1)
ProbePolicy         the same, but best is half the observation, -0.5 or 0.5 (Box), or its sign (Discrete: 0 or 1)
ProbeTruncation     reward 1, never terminates, a time limit of 5 steps: V(0) = 1 / (1 - γ)
ProbeTermination    reward 1, terminates after 5 steps, observations 0, 0.2, ... 0.8: V(k / 5) = (1 - γ^(5-k)) / (1 - γ)
==================  =============================================================================================

Where the action matters, a Box action pays ``-(a - best)²`` and a Discrete one 1 where right and -1 where wrong;
where it does not, agents still have one to choose. An agent that mistakes a time limit for an ending finds
``(1 - γ^5) / (1 - γ)`` or less in ProbeTruncation.
"""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float32, Int32

from forethought.errors import UsageError
from forethought.types import Box, Discrete, EnvSpec, Key, Parts, PyTree, Space


class _Rules(NamedTuple):
    """A probe as data; all tuples have one entry per observation.

    An episode begins at one of the first ``starts`` observations and walks on by one each step. It terminates after
    ``length`` steps and is truncated after ``limit``. A step pays ``pay`` of the observation it was taken from, and by
    how near the action was to ``best``.
    """

    shown: tuple[float, ...]
    pay: tuple[float, ...]
    best: tuple[float, ...] | None = None
    starts: int = 1
    length: int | None = 1
    limit: int | None = None


_RULES = {
    "Constant": _Rules(shown=(0.0,), pay=(1.0,)),
    "Observation": _Rules(shown=(-1.0, 1.0), pay=(-1.0, 1.0), starts=2),
    "Discount": _Rules(shown=(0.0, 1.0), pay=(0.0, 1.0), length=2),
    "Action": _Rules(shown=(0.0,), pay=(0.0,), best=(0.5,)),
    "Policy": _Rules(shown=(-1.0, 1.0), pay=(0.0, 0.0), best=(-0.5, 0.5), starts=2),
    "Truncation": _Rules(shown=(0.0,), pay=(1.0,), length=None, limit=5),
    "Termination": _Rules(shown=(0.0, 0.2, 0.4, 0.6, 0.8), pay=(1.0,) * 5, length=5),
}


_SHOWN = ("box", "discrete", "image", "dict")
_IMAGE = Box((5, 5, 1), "uint8")


class ProbeState(NamedTuple):
    """Which observation is shown, and how many steps the episode has taken."""

    place: Int32[Array, ""]  # index into the tuples of the rules
    steps: Int32[Array, ""]


@dataclass(frozen=True)
class Probe:
    """One probe, for agents of every kind: observations and actions are Box vectors of one number, or Discrete.

    ``obs`` may also be "image": uint8 pictures of 5 x 5, in which the pixel of that observation is lit, or "dict": such
    a picture and the number of ``box``. Raises `UsageError` where ``obs`` or ``action`` is none of these.
    """

    name: str
    obs: str = "box"
    action: str = "box"

    def __post_init__(self):
        for given, kinds in ((self.obs, _SHOWN), (self.action, ("box", "discrete"))):
            if given not in kinds:
                raise UsageError(f"a probe's obs and action are one of {', '.join(kinds)}, not {given!r}")

    @property
    def spec(self) -> EnvSpec:
        """One number or ``Discrete`` to see, one number in [-1, 1] or ``Discrete(2)`` to do."""
        rules = _RULES[self.name]
        number, index = Box((1,)), Discrete(len(rules.shown))
        both = Parts((("number", number), ("picture", _IMAGE)))
        kinds: dict[str, Space] = {"box": number, "discrete": index, "image": _IMAGE, "dict": both}
        done: Box | Discrete = Box((1,)) if self.action == "box" else Discrete(2)
        bounds = ((-1.0,), (1.0,)) if self.action == "box" else ((), ())
        return EnvSpec(f"forethought/Probe{self.name}-v0", kinds[self.obs], done, rules.limit, 1, *bounds)

    def init(self, key: Key) -> ProbeState:
        """Any state; `reset` begins the episode."""
        return ProbeState(jnp.int32(0), jnp.int32(0))

    def reset(self, state: ProbeState, key: Key) -> tuple[ProbeState, PyTree]:
        """Draw one of the first observations."""
        index = jax.random.randint(key, (), 0, _RULES[self.name].starts, jnp.int32)
        return ProbeState(index, jnp.int32(0)), self._show(index)

    def step(
        self, state: ProbeState, action: Array, key: Key
    ) -> tuple[ProbeState, PyTree, Float32[Array, ""], Bool[Array, ""]]:
        """Pay for the observation and the action; the last observation stays to the end of the episode."""
        rules = _RULES[self.name]
        reward = jnp.asarray(rules.pay, jnp.float32)[state.place]
        if rules.best is not None:
            reward = reward + self._score(action, jnp.asarray(rules.best, jnp.float32)[state.place])
        steps = state.steps + 1
        terminated = jnp.bool_(False) if rules.length is None else steps >= rules.length
        walked = jnp.minimum(state.place + 1, len(rules.shown) - 1)
        index = jnp.where(terminated, state.place, walked)
        return ProbeState(index, steps), self._show(index), reward, terminated

    def render(self, state: ProbeState) -> np.ndarray:
        """A row of squares, the one shown in white; 32 pixels each."""
        squares = np.full((1, len(_RULES[self.name].shown), 3), 64, np.uint8)
        squares[0, int(state.place)] = 255
        return squares.repeat(32, axis=0).repeat(32, axis=1)

    def observations(self) -> PyTree:
        """Every observation that can be acted from, as the agent sees it: float32 [k, 1], int32 [k], uint8
        [k, 5, 5, 1], or a dict of the first and the last.
        """
        return jax.tree.map(np.asarray, jax.vmap(self._show)(jnp.arange(len(_RULES[self.name].shown))))

    def optimal_values(self, gamma: float) -> np.ndarray:
        """The optimal value of each of `observations`, float64 [k], for a discount below 1."""
        rules = _RULES[self.name]
        best_score = 0.0 if rules.best is None or self.action == "box" else 1.0
        pay = np.array(rules.pay) + best_score
        if rules.length is None:
            return pay / (1.0 - gamma)
        # Where episodes are longer than a step, the next observation's value follows; one-step episodes just end.
        values = pay.copy()
        if rules.length > 1:
            for k in reversed(range(len(pay) - 1)):
                values[k] += gamma * values[k + 1]
        return values

    def optimal_actions(self) -> np.ndarray | None:
        """The best action at each of `observations`, float32 [k, 1] or int32 [k]; None where all are equally good."""
        best = _RULES[self.name].best
        if best is None:
            return None
        actions = np.array(best, np.float32)
        return actions[:, None] if self.action == "box" else (actions > 0).astype(np.int32)

    def _score(self, action: Array, best: Float32[Array, ""]) -> Float32[Array, ""]:
        if self.action == "box":
            return -jnp.square(action[0] - best)
        return jnp.where((action == 1) == (best > 0), 1.0, -1.0).astype(jnp.float32)

    def _show(self, index: Int32[Array, ""]) -> PyTree:
        picture = (255 * jax.nn.one_hot(index, 25, dtype=jnp.uint8)).reshape(_IMAGE.shape)
        number = jnp.asarray(_RULES[self.name].shown, jnp.float32)[index][None]
        both = {"number": number, "picture": picture}
        return {"box": number, "discrete": index, "image": picture, "dict": both}[self.obs]
