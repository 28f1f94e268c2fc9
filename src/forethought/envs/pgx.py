"""Games of the pgx package (Koyamada et al. 2023) as functional environments; an optional dependency.

Ids are ``pgx/`` and the package's own name: ``pgx/tic_tac_toe``, ``pgx/connect_four``, ``pgx/minatar-breakout``.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float32, Int32

from forethought.errors import MissingExtra, UsageError, nearest
from forethought.types import Box, Discrete, EnvSpec, Key, PyTree

PGX = "pgx/"


@dataclass(frozen=True)
class PgxGame:
    """One game of one or more players, who move in turn; make it with `pgx_game`, which checks the name.

    The observation is what the player sees whose turn it is, as a float32 image, or as a vector where it has another
    number of axes than three. The reward is that of the player who has moved. An illegal move loses, as pgx has it.
    """

    name: str

    @property
    def spec(self) -> EnvSpec:
        """Spaces, and how many players there are; games end by themselves."""
        game = _made(self.name)
        shape = game.observation_shape
        seen = Box(shape if len(shape) == 3 else (int(np.prod(shape)),))
        return EnvSpec(PGX + self.name, seen, Discrete(game.num_actions), players=game.num_players, game=True)

    def init(self, key: Key) -> PyTree:
        """Any state; `reset` begins the game."""
        return self.reset(None, key)[0]

    def reset(self, state: PyTree, key: Key) -> tuple[PyTree, Array]:
        """Begin a game; who moves first is drawn."""
        begun = _made(self.name).init(key)
        return begun, self._seen(begun)

    def step(self, state: PyTree, action: Array, key: Key) -> tuple[PyTree, Array, Float32[Array, ""], Bool[Array, ""]]:
        """Move once."""
        after = _made(self.name).step(state, action, key)
        reward = jnp.asarray(after.rewards, jnp.float32)[state.current_player]
        # Some games draw the line after so many moves; that is a rule of the game.
        return after, self._seen(after), reward, after.terminated | after.truncated

    def legal(self, state: PyTree) -> Bool[Array, " a"]:
        """Which actions the rules allow now; all where the game is over."""
        return state.legal_action_mask

    def player(self, state: PyTree) -> Int32[Array, ""]:
        """Whose turn it is."""
        return jnp.asarray(state.current_player, jnp.int32)

    def render(self, state: PyTree) -> np.ndarray:
        """The planes of the observation side by side, 16 pixels to a field."""
        planes = np.asarray(state.observation, float)
        planes = planes.reshape(*planes.shape[:2], -1) if planes.ndim > 1 else planes[None, :, None]
        shade = (255 * np.clip(planes, 0.0, 1.0)).astype(np.uint8)
        row = np.concatenate(list(np.moveaxis(shade, -1, 0)), axis=1)
        return np.stack([row] * 3, axis=-1).repeat(16, axis=0).repeat(16, axis=1)

    def _seen(self, state: PyTree) -> Float32[Array, "*shape"]:
        shape = self.spec.obs.shape  # type: ignore[union-attr]
        return jnp.asarray(state.observation, jnp.float32).reshape(shape)


def pgx_game(env_id: str) -> PgxGame:
    """The game of that id. Raises `MissingExtra` where pgx is not installed, `UsageError` for an unknown name."""
    game = PgxGame(env_id.removeprefix(PGX))
    _made(game.name)
    return game


@lru_cache
def _made(name: str) -> Any:
    try:
        import pgx
    except ImportError as error:
        raise MissingExtra(PGX + name, "boards") from error
    known = pgx.available_envs()
    if name not in known:
        raise UsageError(f"pgx has no game {name!r}; {nearest(name, known)}")
    with jax.ensure_compile_time_eval():
        return pgx.make(name)
