"""Random shooting: the best of many random plans (Nagabandi et al. 2018, arXiv 1708.02596)."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Num

from forethought.errors import require_within
from forethought.planning.guides import Guide
from forethought.planning.planner import Found, Objective
from forethought.settings import Settings
from forethought.types import Key


@dataclass(frozen=True)
class RandomShooting(Settings):
    """Uniformly random plans, of which the best is taken. The only search for Discrete actions."""

    population: int = 2000
    """Plans per decision (PETS's comparison on its cartpole: 2000)."""

    def check(self) -> None:
        """Counts, shares and bounds."""
        require_within("population", self.population, 1)

    def begin(self, mean: Num[Array, "n s *d"]) -> Num[Array, "n s *d"]:
        """Remembered for its shape only."""
        return mean

    def search(
        self, objective: Objective, guide: Guide, carry: Num[Array, "n s *d"], *, key: Key
    ) -> tuple[Found, Num[Array, "n s *d"]]:
        """Draw, evaluate, take the best."""
        key_draw, key_judge = jax.random.split(key)
        x = guide.draw((carry.shape[0], self.population, *carry.shape[1:]), key=key_draw)
        value = objective(x, key_judge)
        best = jnp.argmax(value, axis=1)
        return Found(jax.vmap(lambda x, i: x[i])(x, best), jnp.max(value, axis=1)), carry

    def move_on(self, carry: Array) -> Array:
        """Every search begins anew."""
        return carry
