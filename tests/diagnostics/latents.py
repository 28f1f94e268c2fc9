"""A world on a ring of eight places, seen in several ways, and models that believe in a place and decode it."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from forethought.diagnostics import Episode
from forethought.types import Outcome

PLACES, SIDE = 8, 24


def picture(place: int) -> np.ndarray:
    """A column out of eight is lit."""
    drawn = np.zeros((SIDE, SIDE, 1), np.uint8)
    wide = SIDE // PLACES
    drawn[:, place * wide : (place + 1) * wide] = 255
    return drawn


PICTURES = np.stack([picture(i) for i in range(PLACES)])
VECTORS = np.stack([np.cos(np.arange(PLACES)), np.sin(2.0 * np.arange(PLACES))], axis=1).astype(np.float32)
NUMBERS = np.arange(PLACES, dtype=np.int32)
SEEN_AS = {
    "picture": PICTURES,
    "vector": VECTORS,
    "number": NUMBERS,
    "all": {"camera": PICTURES, "gear": NUMBERS % 2, "speed": VECTORS},
}


def of_places(kind: str, at):
    """What is seen at places [...]."""
    shown = SEEN_AS[kind]
    return {name: x[at] for name, x in shown.items()} if isinstance(shown, dict) else shown[at]


def rounds(kind: str, n: int = 5, steps: int = 20, seed: int = 0) -> list[Episode]:
    """Episodes of random steps back (0) and forth (1); place 0 pays."""
    rng, found = np.random.default_rng(seed), []
    for _ in range(n):
        action = rng.integers(0, 2, steps).astype(np.int32)
        place = (rng.integers(PLACES) + np.cumsum([0, *(2 * action - 1)])) % PLACES
        found.append(Episode(of_places(kind, place), action, (place[1:] == 0).astype(np.float32), False, True))
    return found


class Ring(eqx.Module):
    """It believes in a place, and its features are no observations.

    ``drawn``: what is decoded of each place; ``moves``: how far a step leads.
    """

    drawn: object
    kind: str = eqx.field(static=True)
    moves: int = eqx.field(static=True, default=1)

    @classmethod
    def of(cls, kind: str, beside: int = 0, moves: int = 1) -> "Ring":
        """That draws what is so many places beside what it believes."""
        places = (np.arange(PLACES) + beside) % PLACES
        return cls({k: jnp.asarray(x) for k, x in of_places("all", places).items()}, kind, moves)

    def initial(self, n):
        return jnp.zeros(n, jnp.int32)

    def observe(self, belief, action, obs, first, *, key):
        if self.kind == "number":
            return obs
        if self.kind in ("vector", "all"):
            speed = obs["speed"] if self.kind == "all" else obs
            return jnp.argmin(jnp.sum((speed[:, None] - VECTORS) ** 2, axis=-1), axis=1)
        return jnp.argmax(obs[:, 0, :, 0], axis=-1).astype(jnp.int32) // (SIDE // PLACES)

    def step(self, belief, action, *, key):
        belief = (belief + self.moves * (2 * action - 1)) % PLACES
        return belief, Outcome((belief == 0).astype(jnp.float32), jnp.ones(belief.shape))

    def features(self, belief):
        return jnp.stack([belief, -belief, belief], axis=-1).astype(jnp.float32)

    def decode(self, belief):
        everything = {name: x[belief] for name, x in self.drawn.items()}
        names = {"picture": "camera", "vector": "speed"}
        if self.kind == "number":
            return belief
        return everything if self.kind == "all" else everything[names[self.kind]]
