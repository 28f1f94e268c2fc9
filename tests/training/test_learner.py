import jax
import numpy as np
import pytest

import small
from forethought.agents.base import Phase
from forethought.errors import TrainingDiverged, UsageError
from forethought.training.learner import check_warm_up, due


def phase(every, start=0):
    return Phase("p", every, lambda *a, **k: None, start=start)


@pytest.mark.parametrize("num_envs", [1, 2, 3, 7])
@pytest.mark.parametrize(("every", "start"), [(1, 0), (1, 5), (4, 0), (4, 5), (4, 8), (250, 0), (3, 300)])
def test_a_phase_is_due_at_its_start_and_every_so_many_steps(num_envs, every, start):
    """Whatever the stride: never at step 0, once for each step of the schedule, as soon as it is reached."""
    moments = [step for step in range(1, 700) if step >= start and (step - start) % every == 0]
    ran = 0
    for now in range(num_envs, 700, num_envs):
        ran += due(phase(every, start), now - num_envs, now)
        assert ran == sum(moment <= now for moment in moments)


class Recorder:
    """An agent that writes down the steps at which its one phase ran."""

    random_steps, replay_capacity = 0, 50

    def __init__(self, spec, every, start):
        self.spec, self.config, self._phase = spec, None, Phase("note", every, self.write_down, 3, start, "model")

    def init(self, *, key):
        return {"at": jax.numpy.zeros(20, int), "n": jax.numpy.array(0)}

    def init_actor(self, n):
        return ()

    def act(self, state, carry, obs, first, *, key, explore):
        return jax.numpy.zeros((len(obs), 1)), carry

    def phases(self):
        return (self._phase,)

    def note(self, carry):
        return ()

    def concerns(self, metrics):
        return []

    def world_model(self, state):
        return None

    def write_down(self, state, replay, *, step, key):
        return {"at": state["at"].at[state["n"]].set(step), "n": state["n"] + 1}, {"step": step}


@pytest.mark.parametrize(
    ("num_envs", "every", "start", "expected"),
    [
        (1, 1, 0, list(range(1, 13))),
        (1, 4, 5, [5, 9]),
        (3, 1, 5, [5, 6, 7, 8, 9, 10, 11, 12]),
        (3, 2, 2, [2, 4, 6, 8, 10, 12]),
        (3, 4, 0, [4, 8, 12]),
    ],
)
def test_phases_run_at_their_own_steps_also_with_several_environments(num_envs, every, start, expected):
    world = small.envs.make("forethought/ProbeConstant-v0", seeds=[0], envs_per_seed=num_envs)
    learner = small.Learner(Recorder(world.spec, every, start), [0], num_envs, 12)
    small.live(learner, world, 12)
    assert learner.state["at"][0][: int(learner.state["n"][0])].tolist() == expected
    assert learner.updates == 3 * len(expected)
    assert learner.metrics("note") == {"step": [float(expected[-1])]}
    assert learner.fits == len(expected)


def test_what_is_remembered_is_what_happened():
    """Rows are interleaved by environment; an ending keeps its own last observation."""
    learner = small.train("sac", "forethought/ProbeDiscount-v0", steps=6, num_envs=2)
    assert (learner.env_steps, learner.frames) == (6, 6)
    t = jax.tree.map(lambda x: np.asarray(x)[0], learner.replay.data)
    assert t.obs[:, 0].tolist() == [0, 0, 1, 1, 0, 0]
    assert t.next_obs[:, 0].tolist() == [1, 1, 1, 1, 1, 1]
    assert t.reward.tolist() == [0, 0, 1, 1, 0, 0]
    assert t.terminated.tolist() == [False, False, True, True, False, False]
    assert learner.first.tolist() == [[False, False]]


def test_random_actions_first_and_the_policy_after():
    learner = small.train("sac", steps=8)
    warm_up = np.asarray(learner.replay.data.action)[0, :, 0]
    assert len(np.unique(warm_up)) == 8
    assert warm_up.min() < -0.4
    assert warm_up.max() > 0.4
    obs = np.zeros((1, 1), np.float32)
    action = learner.act(obs)
    said, _ = learner.program.act(learner.state, (), obs[None], learner.first, 8, explore=True)
    assert action.tolist() == said[0].tolist()


def test_a_number_that_is_not_finite_stops_the_run():
    learner = small.train("sac", steps=10)
    learner.infos["update"]["critic_loss"] = jax.numpy.array([jax.numpy.nan])
    with pytest.raises(TrainingDiverged, match=r"critic_loss became nan at step 10 \(seed 0\)"):
        learner.metrics("update")
    learner = small.train("sac", steps=10)
    learner.state = learner.state._replace(log_alpha=jax.numpy.array([jax.numpy.inf]))
    with pytest.raises(TrainingDiverged, match="a parameter became NaN or infinite at step 10"):
        learner.check_finite()


def test_a_run_must_outlast_its_warm_up():
    agent = small.make_agent("sac", small.envs.env_spec("forethought/ProbeAction-v0"))
    check_warm_up(agent, 9)
    with pytest.raises(UsageError, match="8 steps end within the 8 random steps"):
        check_warm_up(agent, 8)
