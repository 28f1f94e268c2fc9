"""The gridworld mazes of Sutton & Barto, Reinforcement Learning, 2nd edition (2018), chapter 8.

All are 6 rows by 9 columns. The observation is ``row * 9 + column``; the actions are up, down, right, left; moving
into a wall or over the edge leaves the agent where it is. Reaching the goal pays 1 and terminates, every other step
pays 0; there is no time limit.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float32, Int32

from forethought.errors import UsageError
from forethought.types import Discrete, EnvSpec, Key

Layout = tuple[str, ...]  # "S" start, "G" goal, "#" wall, "." free

DYNA_MAZE: Layout = (
    ".......#G",
    "..#....#.",
    "S.#....#.",
    "..#......",
    ".....#...",
    ".........",
)
GAP_RIGHT: Layout = (
    "........G",
    ".........",
    ".........",
    "########.",
    ".........",
    "...S.....",
)
GAP_LEFT: Layout = (*GAP_RIGHT[:3], ".########", *GAP_RIGHT[4:])
GAP_BOTH: Layout = (*GAP_RIGHT[:3], ".#######.", *GAP_RIGHT[4:])

_MOVES = ((-1, 0), (1, 0), (0, 1), (0, -1))  # up, down, right, left as (rows, columns)
_PIXELS = 16  # width of a cell in a picture
_COLOURS = {".": (255, 255, 255), "#": (96, 96, 96), "S": (224, 236, 255), "G": (120, 200, 120)}
_AGENT_COLOUR = (200, 60, 60)


class MazeState(NamedTuple):
    """Where the agent is, and how many steps it took in all its episodes."""

    cell: Int32[Array, ""]
    steps: Int32[Array, ""]


@dataclass(frozen=True)
class Maze:
    """A maze whose walls may change once.

    The first ``switch_at`` steps, counted over all episodes, are taken in ``before``, all later ones in ``after``. An
    agent that stands where a wall appears can still walk away. Raises `UsageError` for a negative ``switch_at``.
    """

    id: str
    before: Layout
    after: Layout
    switch_at: int

    def __post_init__(self):
        if self.switch_at < 0:
            raise UsageError(f"switch_at is {self.switch_at}; it counts steps, so use 0 or more")

    @property
    def spec(self) -> EnvSpec:
        """Cells as observations, four actions, no time limit."""
        return EnvSpec(self.id, Discrete(len(self.before) * len(self.before[0])), Discrete(len(_MOVES)))

    def init(self, key: Key) -> MazeState:
        """At the start, no steps taken."""
        return MazeState(jnp.int32(_find(self.before, "S")), jnp.int32(0))

    def reset(self, state: MazeState, key: Key) -> tuple[MazeState, Int32[Array, ""]]:
        """Back to the start; the count of steps goes on."""
        cell = jnp.int32(_find(self.before, "S"))
        return MazeState(cell, state.steps), cell

    def step(
        self, state: MazeState, action: Int32[Array, ""], key: Key
    ) -> tuple[MazeState, Int32[Array, ""], Float32[Array, ""], Bool[Array, ""]]:
        """Move one cell, or none: (state, cell, reward, whether the goal is reached)."""
        phase = (state.steps >= self.switch_at).astype(jnp.int32)
        cell = jnp.asarray(_successors(self.before, self.after))[phase, state.cell, action]
        at_goal = cell == _find(self.before, "G")
        return MazeState(cell, state.steps + 1), cell, at_goal.astype(jnp.float32), at_goal

    def render(self, state: MazeState) -> np.ndarray:
        """The walls as the next step will find them, and the agent in red; 16 pixels to the cell."""
        layout = self.after if state.steps >= self.switch_at else self.before
        picture = np.array([[_COLOURS[mark] for mark in row] for row in layout], np.uint8)
        picture = picture.repeat(_PIXELS, axis=0).repeat(_PIXELS, axis=1)
        row, column = (k * _PIXELS for k in divmod(int(state.cell), len(layout[0])))
        margin = _PIXELS // 4
        picture[row + margin : row + _PIXELS - margin, column + margin : column + _PIXELS - margin] = _AGENT_COLOUR
        return picture


def dyna_maze() -> Maze:
    """Example 8.1: the shortest path has 14 steps."""
    return Maze("forethought/DynaMaze-v0", DYNA_MAZE, DYNA_MAZE, switch_at=0)


def blocking_maze(switch_at: int = 1000) -> Maze:
    """Example 8.2: the gap on the right (10 steps) closes after ``switch_at`` steps, one on the left (16) opens."""
    return Maze("forethought/BlockingMaze-v0", GAP_RIGHT, GAP_LEFT, switch_at)


def shortcut_maze(switch_at: int = 3000) -> Maze:
    """Example 8.3: to the gap on the left (16 steps) a second one on the right (10) is added after ``switch_at``."""
    return Maze("forethought/ShortcutMaze-v0", GAP_LEFT, GAP_BOTH, switch_at)


def _find(layout: Layout, mark: str) -> int:
    return "".join(layout).index(mark)


@lru_cache
def _successors(*layouts: Layout) -> np.ndarray:
    """The cell that each action leads to, int32 [layout, cell, action]."""
    rows, columns = len(layouts[0]), len(layouts[0][0])
    table = np.empty((len(layouts), rows * columns, len(_MOVES)), np.int32)
    for k, cell, action in np.ndindex(table.shape):
        row, column = (here + move for here, move in zip(divmod(cell, columns), _MOVES[action], strict=True))
        inside = 0 <= row < rows and 0 <= column < columns
        free = inside and layouts[k][row][column] != "#"
        table[k, cell, action] = row * columns + column if free else cell
    return table
