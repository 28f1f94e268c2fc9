"""Catch, as bsuite has it (Osband et al. 2019, arXiv 1908.03568): the smallest task that is seen."""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float32, Int32

from forethought.errors import UsageError
from forethought.types import Box, Discrete, EnvSpec, Key

_ROWS, _COLUMNS = 10, 5
_PIXELS = 16  # width of a cell in a picture for people


class CatchState(NamedTuple):
    """Where the ball is, and the paddle in the lowest row."""

    row: Int32[Array, ""]
    column: Int32[Array, ""]
    paddle: Int32[Array, ""]


@dataclass(frozen=True)
class Catch:
    """A ball falls through 10 rows from a random one of 5 columns, one row a step; the paddle below moves to the left,
    stays, or moves to the right. After 9 steps the episode ends, with 1 where the ball was caught and -1 elsewhere.
    Random actions earn -0.60, the best 1.

    ``size``: pixels a side of the picture that is seen, uint8 [size, size, 1]; 0 for the 50 cells as a vector. Raises
    `UsageError` where the picture is smaller than the board.
    """

    size: int = 0

    def __post_init__(self):
        if self.size and self.size < _ROWS:
            raise UsageError(f"size is {self.size}; use at least {_ROWS}, or 0 for a vector")

    @property
    def spec(self) -> EnvSpec:
        """The board to see, three actions, no time limit."""
        seen = Box((self.size, self.size, 1), "uint8") if self.size else Box((_ROWS * _COLUMNS,))
        return EnvSpec("forethought/Catch-v0", seen, Discrete(3))

    def init(self, key: Key) -> CatchState:
        """Any state; `reset` begins the episode."""
        return CatchState(jnp.int32(0), jnp.int32(0), jnp.int32(_COLUMNS // 2))

    def reset(self, state: CatchState, key: Key) -> tuple[CatchState, Array]:
        """The ball above a random column, the paddle in the middle."""
        column = jax.random.randint(key, (), 0, _COLUMNS, jnp.int32)
        begun = CatchState(jnp.int32(0), column, jnp.int32(_COLUMNS // 2))
        return begun, self._show(begun)

    def step(
        self, state: CatchState, action: Array, key: Key
    ) -> tuple[CatchState, Array, Float32[Array, ""], Bool[Array, ""]]:
        """Move the paddle, then the ball."""
        paddle = jnp.clip(state.paddle + action - 1, 0, _COLUMNS - 1).astype(jnp.int32)
        state = CatchState(state.row + 1, state.column, paddle)
        down = state.row == _ROWS - 1
        caught = jnp.where(state.paddle == state.column, 1.0, -1.0)
        return state, self._show(state), jnp.where(down, caught, 0.0).astype(jnp.float32), down

    def render(self, state: CatchState) -> np.ndarray:
        """Ball and paddle in white; 16 pixels to the cell."""
        board = np.zeros((_ROWS, _COLUMNS, 3), np.uint8)
        board[int(state.row), int(state.column)] = board[_ROWS - 1, int(state.paddle)] = 255
        return board.repeat(_PIXELS, axis=0).repeat(_PIXELS, axis=1)

    def _show(self, state: CatchState) -> Array:
        board = jnp.zeros((_ROWS, _COLUMNS)).at[state.row, state.column].set(1.0).at[_ROWS - 1, state.paddle].set(1.0)
        if not self.size:
            return board.reshape(-1)
        rows, columns = (jnp.arange(self.size) * n // self.size for n in (_ROWS, _COLUMNS))
        return (255.0 * board[rows][:, columns, None]).astype(jnp.uint8)
