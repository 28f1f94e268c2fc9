import jax
import jax.numpy as jnp
import numpy as np
import pytest

from forethought.agents.dyna.dyna_q import DynaQ, DynaQConfig
from forethought.agents.dyna.sweeping import PrioritizedSweeping, SweepingConfig, expected_target
from forethought.envs.mazes import DYNA_MAZE, dyna_maze
from forethought.models.tabular import TabularModel
from forethought.replay.moments import holding
from forethought.types import Discrete, EnvSpec, Transition

pytestmark = pytest.mark.learned

GAMMA = 0.95


def lived(s, a, r, s_next, terminated=False):
    return Transition(
        jnp.int32(s), jnp.int32(a), jnp.float32(r), jnp.int32(s_next), jnp.array(terminated), jnp.array(False)
    )


def remember(model, transitions):
    rows = jax.tree.map(lambda *x: jnp.stack(x), *transitions)
    return jax.jit(lambda m, t: jax.lax.scan(lambda m, t: (m.learn(t), None), m, t)[0])(model, rows)


def only(t):
    return holding(jax.tree.map(lambda x: x[None], t), 1)


def test_the_expected_target_by_hand():
    once = [lived(0, 1, 1.0, 2)] * 3 + [lived(0, 1, 5.0, 2, True), lived(2, 0, 4.0, 0)]
    model = remember(TabularModel(3, 2), once)
    q = jnp.array([[0.0, 10.0], [0.0, 0.0], [3.0, 8.0]])
    said = np.asarray(expected_target(q, model, 0.5))
    assert said[0, 1] == pytest.approx(0.75 * (1.0 + 0.5 * 8.0) + 0.25 * 5.0)
    assert said[2, 0] == pytest.approx(4.0 + 0.5 * 10.0)
    assert said[1].tolist() == [0.0, 0.0]


def corridor(**settings):
    """0 -> 1 -> 2 -> end with reward 1, one action; the agent has lived 0 -> 1 and 1 -> 2 already."""
    agent = PrioritizedSweeping(SweepingConfig(discount=GAMMA, **settings), EnvSpec("toy", Discrete(3), Discrete(1)))
    state = agent.init(key=jax.random.key(0))
    model = remember(state.model, [lived(0, 0, 0.0, 1), lived(1, 0, 0.0, 2)])
    end = lived(2, 0, 1.0, 0, True)
    update, state = jax.jit(agent.update), state._replace(model=model)
    state, _, info = update(state, only(end), step=jnp.array(1), key=jax.random.key(0))
    return state.q[:, 0], state.priority[:, 0], info


@pytest.mark.parametrize(
    ("backups", "q", "priority"),
    [
        (1, [0.0, 0.0, 1.0], [0.0, GAMMA, 0.0]),
        (2, [0.0, GAMMA, 1.0], [GAMMA**2, 0.0, 0.0]),
        (3, [GAMMA**2, GAMMA, 1.0], [0.0, 0.0, 0.0]),
        (6, [GAMMA**2, GAMMA, 1.0], [0.0, 0.0, 0.0]),
    ],
)
def test_a_reward_is_swept_backwards_one_backup_at_a_time(backups, q, priority):
    """No value leaks over the end: state 0, where the next episode begins, does not follow from 2."""
    after, queue, info = corridor(planning_steps=backups)
    np.testing.assert_allclose(after, q, rtol=1e-6)
    np.testing.assert_allclose(queue, priority, rtol=1e-6)
    assert float(info["queued"]) == np.count_nonzero(priority)
    assert float(info["q_max"]) == 1.0


def test_changes_below_the_threshold_do_not_spread():
    after, queue, _ = corridor(planning_steps=6, threshold=0.96)
    np.testing.assert_allclose(after, [0.0, 0.0, 1.0])
    assert not np.any(queue)


def maze_life():
    """Every transition of the Dyna maze once, from the cells that are no wall and not the goal; and Q*."""
    maze, cells = dyna_maze(), "".join(DYNA_MAZE)
    goal, n = cells.index("G"), len(cells)
    free = [c for c in range(n) if cells[c] not in "#G"]
    state = maze.init(jax.random.key(0))
    step = jax.jit(jax.vmap(lambda c, a: maze.step(state._replace(cell=c), a, jax.random.key(0))[1]))
    pairs = np.array([(c, a) for c in free for a in range(4)])
    following = np.asarray(step(jnp.asarray(pairs[:, 0], jnp.int32), jnp.asarray(pairs[:, 1], jnp.int32)))
    best = np.zeros((n, 4))
    for _ in range(100):
        value = best.max(axis=1)
        best[pairs[:, 0], pairs[:, 1]] = (following == goal) + GAMMA * value[following]
    transitions = [
        lived(s, a, float(s_next == goal), s_next, s_next == goal)
        for (s, a), s_next in zip(pairs.tolist(), following.tolist(), strict=True)
    ]
    return transitions, best


def backups_to_converge(agent, transitions, best, at_most):
    """Planned backups, in rounds of 50, until every value is within 0.01 of Q*."""
    state = agent.init(key=jax.random.key(0))
    state = state._replace(model=remember(state.model, transitions))
    update, into_goal = jax.jit(agent.update), next(t for t in transitions if bool(t.terminated))
    for i in range(1, at_most // 50 + 1):
        state, _, _ = update(state, only(into_goal), step=jnp.array(i), key=jax.random.key(i))
        if np.abs(np.asarray(state.q) - best).max() < 0.01:
            return 50 * i
    return at_most


@pytest.mark.slow
def test_sweeping_needs_far_fewer_backups_than_random_planning():
    transitions, best = maze_life()
    assert best.max() == pytest.approx(1.0)
    spec = dyna_maze().spec
    assert best["".join(DYNA_MAZE).index("S")].max() == pytest.approx(GAMMA**13)  # 14 steps
    sweeping = PrioritizedSweeping(SweepingConfig(discount=GAMMA, planning_steps=50), spec)
    random = DynaQ(DynaQConfig(discount=GAMMA, planning_steps=50, step_size=1.0), spec)
    swept = backups_to_converge(sweeping, transitions, best, 1000)
    planned = backups_to_converge(random, transitions, best, 20_000)
    assert swept < 1000
    assert planned / swept > 8
