from collections import deque

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from forethought.envs import make
from forethought.envs.mazes import MazeState, blocking_maze, dyna_maze, shortcut_maze
from forethought.errors import UsageError
from forethought.types import Discrete

UP, DOWN, RIGHT, LEFT = range(4)
KEY = jax.random.key(0)


def transitions(maze, steps):
    """Every (next cell, reward, terminated) of a maze after so many steps, arrays [cell, action]."""
    cells, actions = jnp.meshgrid(jnp.arange(54), jnp.arange(4), indexing="ij")
    one = lambda cell, action: maze.step(MazeState(cell, jnp.int32(steps)), action, KEY)[1:]  # noqa: E731
    return [np.asarray(x) for x in jax.vmap(jax.vmap(one))(cells.astype(jnp.int32), actions.astype(jnp.int32))]


def shortest_path(maze, steps):
    successors, _, terminated = transitions(maze, steps)
    queue = deque([(int(maze.init(KEY).cell), 0)])
    seen = set()
    while queue:
        cell, length = queue.popleft()
        for action in range(4):
            if terminated[cell, action]:
                return length + 1
            if (after := int(successors[cell, action])) not in seen:
                seen.add(after)
                queue.append((after, length + 1))
    return None


@pytest.mark.parametrize(
    ("maze", "steps", "length"),
    [
        (dyna_maze(), 0, 14),
        (dyna_maze(), 10_000, 14),
        (blocking_maze(), 999, 10),
        (blocking_maze(), 1000, 16),
        (shortcut_maze(), 2999, 16),
        (shortcut_maze(), 3000, 10),
        (blocking_maze(switch_at=5), 5, 16),
    ],
)
def test_shortest_paths(maze, steps, length):
    assert shortest_path(maze, steps) == length


def walls(maze, steps):
    successors, _, _ = transitions(maze, steps)
    return {divmod(cell, 9) for cell in range(54) if cell not in np.delete(successors, cell, axis=0)}


def test_walls_are_those_of_the_book():
    assert walls(dyna_maze(), 0) == {(1, 2), (2, 2), (3, 2), (4, 5), (0, 7), (1, 7), (2, 7)}
    right_open, left_open = {(3, c) for c in range(8)}, {(3, c) for c in range(1, 9)}
    assert walls(blocking_maze(), 0) == right_open
    assert walls(blocking_maze(), 1000) == left_open
    assert walls(shortcut_maze(), 0) == left_open
    assert walls(shortcut_maze(), 3000) == {(3, c) for c in range(1, 8)}


def test_starts_goals_and_moves():
    maze = dyna_maze()
    assert int(maze.reset(maze.init(KEY), KEY)[1]) == 2 * 9
    assert int(blocking_maze().init(KEY).cell) == int(shortcut_maze().init(KEY).cell) == 5 * 9 + 3
    successors, reward, terminated = transitions(maze, 0)
    centre = 3 * 9 + 4
    assert successors[centre].tolist() == [centre - 9, centre + 9, centre + 1, centre - 1]
    assert successors[0].tolist() == [0, 9, 1, 0]  # the corner keeps what would leave it
    assert successors[19].tolist() == [10, 28, 19, 18]  # a wall on the right
    assert {tuple(pair) for pair in np.argwhere(terminated)} >= {(17, UP)}
    goal = successors == 8
    np.testing.assert_array_equal(reward, goal.astype(np.float32))
    np.testing.assert_array_equal(terminated, goal)


PATH = [DOWN] * 1 + [RIGHT] * 1 + [DOWN] * 1 + [RIGHT] * 3 + [UP] * 1 + [RIGHT] * 3 + [RIGHT] * 1 + [UP] * 3


def test_walking_the_dyna_maze_in_a_vector():
    env = make("forethought/DynaMaze-v0", seeds=[0, 1])
    assert env.spec.obs == Discrete(54)
    assert env.spec.action == Discrete(4)
    assert env.spec.max_episode_steps is None
    assert env.reset().obs.tolist() == [18, 18]
    steps = [env.step(np.array([action, LEFT])) for action in PATH]
    assert len(PATH) == 14
    assert [step.reached.reward[0] for step in steps] == [0.0] * 13 + [1.0]
    assert steps[-1].reached.terminated.tolist() == [True, False]
    assert steps[-1].reached.obs.tolist() == [8, 18]
    assert steps[-1].now.obs.tolist() == [18, 18]


def test_steps_are_counted_over_episodes_and_restored_in_their_midst():
    env = make("forethought/BlockingMaze-v0", seeds=[0], env_kwargs={"switch_at": 15})
    env.reset()
    path = [RIGHT] * 5 + [UP] * 5
    steps = [env.step(np.array([action])) for action in path]
    assert steps[-1].reached.terminated[0]
    again = [env.step(np.array([action])) for action in path[:6]]
    state = env.get_state()
    blocked = env.step(np.array([UP]))  # step 17 of all: the gap on the right has closed
    assert again[-1].now.obs.tolist() == [4 * 9 + 8]
    assert blocked.now.obs.tolist() == [4 * 9 + 8]
    fresh = make("forethought/BlockingMaze-v0", seeds=[0], env_kwargs={"switch_at": 15})
    now, notes = fresh.set_state(state)
    assert (now.obs.tolist(), notes) == ([44], [])
    assert fresh.step(np.array([UP])).now.obs.tolist() == [44]


def test_one_who_stands_where_the_wall_appears_can_leave():
    maze = blocking_maze(switch_at=1)
    in_the_gap = MazeState(jnp.int32(3 * 9 + 8), jnp.int32(1))
    assert int(maze.step(in_the_gap, jnp.int32(UP), KEY)[1]) == 2 * 9 + 8


def test_a_negative_switch_is_refused():
    with pytest.raises(UsageError, match="switch_at is -1"):
        make("forethought/ShortcutMaze-v0", seeds=[0], env_kwargs={"switch_at": -1})


def test_gymnasium_makes_it_with_its_arguments():
    env = gymnasium.make("forethought/ShortcutMaze-v0", switch_at=0)
    assert env.reset(seed=1) == (48, {})
    assert env.step(RIGHT)[0] == 49


def test_the_picture_shows_walls_and_agent():
    env = make("forethought/BlockingMaze-v0", seeds=[0], env_kwargs={"switch_at": 1}, render=True)
    env.reset()
    picture = env.render()
    assert picture.shape == (96, 144, 3)
    assert picture[5 * 16 + 8, 3 * 16 + 8].tolist() == [200, 60, 60]
    wall, free = [96, 96, 96], [255, 255, 255]
    assert [picture[3 * 16, 0].tolist(), picture[3 * 16, 8 * 16].tolist()] == [wall, free]
    env.step(np.array([UP]))
    picture = env.render()
    assert [picture[3 * 16, 0].tolist(), picture[3 * 16, 8 * 16].tolist()] == [free, wall]
