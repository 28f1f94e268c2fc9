"""A dream as pictures: what a model draws of an episode that it sees the beginning of, beside what was seen."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, UInt8

from forethought.diagnostics.decoded import AS_IT_IS, Decoded, look
from forethought.diagnostics.episodes import Episode, beliefs_along, side_by_side
from forethought.imagine import follow
from forethought.models.base import Belief, WorldModel
from forethought.types import Key, PyTree, Space, is_image, per_part

CONTEXT, LONGEST = 5, 50  # moments that are seen first, and in all


class Film(NamedTuple):
    """t moments of an episode, and what the model draws of each.

    Attributes:
        real: what was seen.
        drawn: what was decoded; of the first ``context`` moments from beliefs that had seen them, of the others from
            beliefs that were told nothing but the actions.
        context: moments that were seen.
    """

    real: UInt8[np.ndarray, "t h w 3"]
    drawn: UInt8[np.ndarray, "t h w 3"]
    context: int

    @property
    def error(self) -> UInt8[np.ndarray, "t h w 3"]:
        """How far apart both are: black where they are alike."""
        return np.abs(self.real.astype(np.int16) - self.drawn.astype(np.int16)).astype(np.uint8)


class Strip(NamedTuple):
    """Some moments of a film as one picture: reality above, the error, and what was drawn below.

    Attributes:
        moments: which, from left to right; 0 is the first of the episode.
        context: moments that were seen before the dream began.
        png: the picture, in base 64.
    """

    moments: list[int]
    context: int
    png: str


def film(model: WorldModel, episode: Episode, *, context: int = CONTEXT, longest: int = LONGEST, key: Key) -> Film:
    """Film the beginning of an episode: the model sees its first moments, and dreams what follows the real actions.

    Raises `ValueError` where there are no pictures to be seen.
    """
    n = min(episode.length + 1, longest)
    shown = episode._replace(
        obs=jax.tree.map(lambda x: x[:n], episode.obs), action=episode.action[: n - 1], reward=episode.reward[: n - 1]
    )
    context = min(context, n - 1)
    drawn = _drawn(model, shown, context, key=key)
    return Film(picture(shown.obs), picture(jax.tree.map(np.asarray, drawn)), context)


def sees_pictures(space: Space) -> bool:
    """Whether there is anything to be filmed among observations."""
    found: list[bool] = []
    per_part(lambda part: found.append(is_image(part)), space)
    return any(found)


def picture(obs: PyTree) -> UInt8[np.ndarray, "t h w 3"]:
    """The pictures among observations [t, ...], side by side; of more channels than colours have, the last are shown.

    Raises `ValueError` where there is none.
    """
    seen = [x for x in jax.tree.leaves(obs) if x.ndim == 4 and x.dtype == np.uint8]
    height = max(x.shape[1] for x in seen)
    return np.concatenate([np.pad(_rgb(x), ((0, 0), (0, height - x.shape[1]), (0, 0), (0, 0))) for x in seen], axis=2)


def _rgb(x: UInt8[np.ndarray, "t h w c"]) -> UInt8[np.ndarray, "t h w 3"]:
    return x[..., -3:] if x.shape[-1] % 3 == 0 else np.repeat(x[..., -1:], 3, axis=-1)


def _drawn(model: WorldModel, episode: Episode, context: int, *, key: Key) -> PyTree:
    """What is decoded of each moment [t, ...]."""
    key_see, key_dream = jax.random.split(key)
    held = side_by_side([episode])
    beliefs = beliefs_along(model, held, key=key_see)
    seen = jax.tree.map(lambda x: x[:context, 0], beliefs)
    last = jax.tree.map(lambda x: x[context - 1], beliefs)
    dreamt = _dreamt(model, last, held.action[context - 1 :], key=key_dream)
    pictures = jax.jit(look)(model, seen)
    return jax.tree.map(lambda a, b: jnp.concatenate([a, b]), pictures, dreamt)


@jax.jit
def _dreamt(model: WorldModel[Belief], belief: Belief, action: Array, *, key: Key) -> PyTree:
    """What is decoded after each action, from the belief [1, ...] before the first."""

    drawing = Decoded(model, AS_IT_IS)
    _, _, imagined = follow(drawing, lambda looked, action, key: action, belief, action, key=key)
    return jax.tree.map(lambda x: x[:, 0], imagined.transition.next_obs.row)
