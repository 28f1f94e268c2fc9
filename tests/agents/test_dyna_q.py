import jax
import jax.numpy as jnp
import numpy as np
import pytest

from forethought.agents.base import Seen
from forethought.agents.dyna.dyna_q import DynaQ, DynaQConfig, DynaQPlusConfig
from forethought.replay.moments import holding
from forethought.types import Discrete, EnvSpec, Transition

pytestmark = pytest.mark.learned

SPEC = EnvSpec("toy", Discrete(3), Discrete(2))
GAMMA = 0.9


def lived(s, a, r, s_next, terminated=False, truncated=False):
    return Transition(
        jnp.int32(s), jnp.int32(a), jnp.float32(r), jnp.int32(s_next), jnp.array(terminated), jnp.array(truncated)
    )


class Life:
    """Feeds an agent transitions at chosen steps."""

    def __init__(self, agent):
        self.update = jax.jit(agent.update)
        self.state = agent.init(key=jax.random.key(0))

    def live(self, t, step):
        replay = holding(jax.tree.map(lambda x: x[None], t), 1)  # with room for one, all have the same slot
        self.state, _, info = self.update(self.state, replay, step=jnp.array(step), key=jax.random.key(step))
        return info


def agent(config=DynaQConfig, **settings):
    return DynaQ(config(**({"discount": GAMMA, "planning_steps": 0} | settings)), SPEC)


def test_without_planning_it_is_q_learning():
    life = Life(agent(step_size=0.5))
    life.live(lived(1, 0, 2.0, 2, terminated=True), 1)
    life.live(lived(0, 1, 1.0, 1), 2)
    life.live(lived(2, 0, 0.0, 1, truncated=True), 3)
    life.live(lived(1, 1, 0.0, 0, terminated=True), 4)
    # 0.5 * 2; 0.5 (1 + 0.9 * 1); 0.5 * 0.9 * 1 through the time limit; nothing past the ending.
    expected = [[0.0, 0.95], [1.0, 0.0], [0.45, 0.0]]
    np.testing.assert_allclose(life.state.q, expected, rtol=1e-6)
    assert life.state.last_tried.tolist() == [[0, 2], [1, 4], [3, 0]]


def test_planning_reaches_the_values_of_the_world():
    """A deterministic world of three states, every pair lived through once."""
    world = {(0, 0): (0.0, 1, False), (0, 1): (0.3, 0, False), (1, 0): (0.0, 2, False)}
    world |= {(1, 1): (-1.0, 0, False), (2, 0): (5.0, 0, True), (2, 1): (0.5, 2, False)}
    life = Life(agent(step_size=0.5, planning_steps=400))
    for step, ((s, a), (r, s_next, end)) in enumerate(world.items(), start=1):
        info = life.live(lived(s, a, r, s_next, end), step)
    best = np.zeros((3, 2))
    for _ in range(300):
        for (s, a), (r, s_next, end) in world.items():
            best[s, a] = r + GAMMA * (0.0 if end else best[s_next].max())
    np.testing.assert_allclose(life.state.q, best, atol=1e-3)
    assert float(info["pairs_visited"]) == 6
    assert float(info["q_max"]) == pytest.approx(5.0, abs=1e-3)


def test_planning_never_touches_what_was_not_tried():
    life = Life(agent(planning_steps=50))
    life.live(lived(0, 0, 1.0, 1), 1)
    assert float(life.state.q[0, 0]) > 0.5
    assert np.count_nonzero(life.state.q) == 1


def test_the_bonus_of_dyna_q_plus_by_hand():
    """Step size 1: each planned pair takes its target; (0, 1) is untried, and stays in state 0 with the bonus."""
    kappa = 0.01
    life = Life(agent(DynaQPlusConfig, step_size=1.0, planning_steps=300, kappa=kappa))
    life.live(lived(0, 0, 1.0, 2, terminated=True), 7)
    life.live(lived(1, 0, 2.0, 2, terminated=True), 16)
    q = np.asarray(life.state.q)
    assert q[0, 0] == pytest.approx(1.0 + kappa * 3.0)  # tried 9 steps ago
    assert q[1, 0] == pytest.approx(2.0)  # tried now
    assert q[0, 1] == pytest.approx(kappa * 4.0 + GAMMA * q[0].max())  # never tried: 16 steps
    assert q[1, 1] == pytest.approx(kappa * 4.0 + GAMMA * q[1].max())
    assert not np.any(q[2])  # never been there


def test_dyna_q_plus_forgets_an_old_world():
    life = Life(agent(DynaQPlusConfig, step_size=1.0, planning_steps=100, kappa=1e-6))
    life.live(lived(0, 0, 5.0, 2, terminated=True), 1)
    life.live(lived(0, 0, 0.0, 1), 2)
    assert float(life.state.q[0, 0]) == pytest.approx(0.0, abs=1e-3)


def test_acting_explores_only_while_learning():
    made = agent(epsilon=0.5)
    state = made.init(key=jax.random.key(0))._replace(q=jnp.array([[0.0, 1.0]] * 3))
    decide, seen = jax.jit(made.decide, static_argnames="explore"), Seen(jnp.zeros(2000, int))
    evaluated, explored = (decide(state, seen, key=jax.random.key(0), explore=explore)[0] for explore in (False, True))
    assert np.all(np.asarray(evaluated) == 1)
    assert np.mean(np.asarray(explored) == 0) == pytest.approx(0.25, abs=0.04)
