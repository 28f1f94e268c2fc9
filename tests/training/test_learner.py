import jax
import numpy as np
import pytest

import small
from forethought.agents.base import Phase, Pieces
from forethought.errors import TrainingDiverged
from forethought.training import learner as learner_module
from forethought.types import Transition
from tests.training.recording import Recorder, Stop, stopping_at

PROBE = "forethought/ProbeAction-v0"


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


class InPieces(Recorder):
    """An agent that counts its ordinary phase, and writes down the steps of one that counts to seven, in pieces."""

    def phases(self):
        pieces = Pieces(self.begin, self.proceed, self.finish, "counting", "number")
        return (
            Phase("count", 2, self.count, kind="model"),
            Phase("note", 2, pieces, 3, kind="model"),
        )

    def init(self, *, key):
        return {**super().init(key=key), "counted": jax.numpy.array(0)}

    def count(self, state, replay, *, step, key):
        return {**state, "counted": state["counted"] + 1}, replay, {"counted": state["counted"] + 1}

    def begin(self, state, replay, *, step, key):
        return {"reached": jax.numpy.array(0), "drawn": jax.numpy.array(0.0)}

    def proceed(self, work, replay, *, step, key, units):
        def one(work):
            drawn = jax.random.normal(jax.random.fold_in(key, work["reached"]))
            return {"reached": work["reached"] + 1, "drawn": work["drawn"] + drawn}

        last = jax.numpy.minimum(work["reached"] + units, 7)
        work = jax.lax.while_loop(lambda work: work["reached"] < last, one, work)
        return work, work["reached"] < 7

    def finish(self, state, work, replay, *, step, key):
        written, replay, info = self.write_down(state, replay, step=step, key=key)
        return {**state, **written}, replay, {**info, **work}


@pytest.mark.parametrize(("wanted", "times"), [("note", 1), ("counting, number 1", 2), ("counting, number 1", 3)])
def test_learning_that_was_stopped_goes_on_where_it_was(wanted, times):
    """Three environments at a time: both phases are due twice at step 6, and it is stopped within that step."""
    spec = small.envs.env_spec("forethought/ProbeConstant-v0")

    def live(on_progress):
        world = small.envs.make("forethought/ProbeConstant-v0", seeds=[0, 1], envs_per_seed=3)
        learner = small.Learner(InPieces(spec, 2, 0), [0, 1], 3, 12, on_progress=on_progress)
        return learner, world

    whole, world = live(lambda text: None)
    small.live(whole, world, 12)
    stopped, world = live(stopping_at((wanted,), times))
    with pytest.raises(Stop):
        small.live(stopped, world, 12)
    assert (stopped.env_steps, stopped.learned) == (6, 3)
    resumed, _ = live(lambda text: None)
    resumed.restore(jax.tree.map(jax.numpy.array, stopped.tree()), stopped.counters())
    for learner in (stopped, resumed):
        assert [phase.name for phase in learner.learn()] == ["count", "note"]
        assert learner.state["counted"].tolist() == [3, 3]
        assert learner.state["at"][:, :3].tolist() == [[2, 4, 6]] * 2
        assert learner.updates == 3 * 3
        assert learner.metrics("count") == {"counted": [3.0, 3.0]}
    world = small.envs.make("forethought/ProbeConstant-v0", seeds=[0, 1], envs_per_seed=3)
    now = world.reset()
    for _ in range(2):
        actions = [learner.act(now) for learner in (stopped, resumed)]
        step = world.step(actions[0])
        np.testing.assert_array_equal(*actions)
        for learner in (stopped, resumed):
            learner.observe(now, step)
            learner.learn()
        now = step.now
    for learner in (stopped, resumed):
        jax.tree.map(np.testing.assert_array_equal, learner.state, whole.state)
        assert learner.metrics("note") == whole.metrics("note")
        assert learner.counters()["runs"] == {}


@pytest.mark.parametrize(("num_envs", "pretrain", "expected"), [(1, 6, [-5, -1, 3, 7, 11]), (2, 3, [-3, 1, 5, 9])])
def test_what_was_given_is_learned_from_before_the_first_step(num_envs, pretrain, expected):
    """The schedule goes on through step 0 without a gap; its own start does not matter."""
    world = small.envs.make("forethought/ProbeConstant-v0", seeds=[0], envs_per_seed=num_envs)
    learner = small.Learner(Recorder(world.spec, 4, 100), [0], num_envs, 20, pretrain=pretrain)
    rows = Transition(
        np.ones((3, 1)), np.ones((3, 1)), np.ones(3), np.ones((3, 1)), np.ones(3, bool), np.zeros(3, bool)
    )
    learner.give(rows)
    assert small.lived(learner).reward[:4].tolist() == [1, 1, 1, 0]
    assert learner.now == learner.learned == -(-pretrain // num_envs) * -num_envs
    learner.learn()
    assert learner.now == learner.env_steps == 0
    before = sum(step <= 0 for step in expected)
    assert learner.state["at"][0][: int(learner.state["n"][0])].tolist() == expected[:before]
    assert learner.fits == before
    small.live(learner, world, 12)
    assert learner.state["at"][0][: int(learner.state["n"][0])].tolist() == expected
    assert small.lived(learner).reward.tolist() == [1.0] * 15 + [0.0] * 5
    assert learner.fits == len(expected)


def test_what_is_remembered_is_what_happened():
    """Rows are interleaved by environment; an ending keeps its own last observation."""
    learner = small.train("sac", "forethought/ProbeDiscount-v0", steps=6, num_envs=2)
    assert (learner.env_steps, learner.frames) == (6, 6)
    t = small.lived(learner)
    assert t.obs[:, 0].tolist() == [0, 0, 1, 1, 0, 0]
    assert t.next_obs[:, 0].tolist() == [1, 1, 1, 1, 1, 1]
    assert t.reward.tolist() == [0, 0, 1, 1, 0, 0]
    assert t.terminated.tolist() == [False, False, True, True, False, False]


@pytest.mark.slow
def test_random_actions_first_and_the_policy_after():
    learner = small.train("sac", steps=8)
    warm_up = small.lived(learner).action[:, 0]
    assert len(np.unique(warm_up)) == 8
    assert warm_up.min() < -0.4
    assert warm_up.max() > 0.4
    now = small.seen(learner.agent.spec, np.zeros((1, 1), np.float32))
    action = learner.act(now)
    said = learner.program.act("explore", learner.state, learner.carry, jax.tree.map(lambda x: x[None], now), 8)
    assert action.tolist() == said.action[0].tolist()


@pytest.mark.slow
def test_a_number_that_is_not_finite_stops_the_run():
    learner = small.train("sac", steps=10)
    learner.infos["update"]["critic_loss"] = jax.numpy.array([jax.numpy.nan])
    with pytest.raises(TrainingDiverged, match=r"critic_loss became nan at step 10 \(seed 0\)"):
        learner.metrics("update")
    learner = small.train("sac", steps=10)
    learner.state = learner.state._replace(log_alpha=jax.numpy.array([jax.numpy.inf]))
    with pytest.raises(TrainingDiverged, match="a parameter became NaN or infinite at step 10"):
        learner.check_finite()


@pytest.mark.parametrize("num_envs", [1, 3])
def test_a_turn_is_recording_learning_and_acting(num_envs):
    """A learner that is told what it will see next does the same in one program as another in three."""
    told, untold = (
        small.Learner(small.make_agent("sac", small.envs.env_spec(PROBE)), [0, 1], num_envs, 60) for _ in range(2)
    )
    world = small.envs.make(PROBE, seeds=[0, 1], envs_per_seed=num_envs)
    now = world.reset()
    for _ in range(10):
        action = told.act(now)
        np.testing.assert_allclose(untold.act(now), action, atol=1e-5)
        step = world.step(action)
        for learner in (told, untold):
            learner.observe(now, step)
        ran = told.learn_step(step.now)
        assert [phase.name for phase in untold.learn()] == [phase.name for phase in ran]
        assert (told.decision is not None) == (told.env_steps >= 8)  # after the random steps
        now = step.now
    assert (told.updates, told.learned) == (untold.updates, untold.learned)
    assert told.updates > 0
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), told.state, untold.state)
    jax.tree.map(np.testing.assert_array_equal, told.replay, untold.replay)
    again = small.Learner(told.agent, [0, 1], num_envs, 60)
    again.restore(told.tree(), told.counters())
    np.testing.assert_array_equal(again.act(now), told.act(now))
    np.testing.assert_array_equal(again.act(now), told.act(now))  # asked twice, as after a step that failed


class Counter(Recorder):
    """Carries how many moments it has seen, and gives that beside every action."""

    has_memory = True

    def init_actor(self, n):
        return jax.numpy.zeros((n,))

    def observe(self, state, carry, time_step, *, key):
        return carry + 1.0

    def decide(self, state, carry, *, key, explore):
        return jax.numpy.zeros((len(carry), 1)), carry, carry


@pytest.mark.parametrize("every", [1, 4])
@pytest.mark.parametrize("told", [True, False])
def test_a_transition_keeps_the_extras_of_its_action(told, every):
    """Also where nothing is learned for some steps, and it is recorded only with the next one."""
    world = small.envs.make(PROBE, seeds=[0])
    learner = small.Learner(Counter(world.spec, every, 0), [0], 1, 20)
    now = world.reset()
    for t in range(10):
        action = learner.act(now)
        np.testing.assert_array_equal(learner.act(now), action)  # asked twice, it has seen it once
        step = world.step(action)
        learner.observe(now, step, own=t != 7)
        learner.learn_step(step.now if told else None)
        now = step.now
    # None where another action was carried out, though that moment was seen too.
    assert small.lived(learner).extras[:10].tolist() == [1, 2, 3, 4, 5, 6, 7, 0, 9, 10]


def test_random_steps_are_seen_too():
    """Only the action is another, and has no extras."""
    world = small.envs.make(PROBE, seeds=[0])
    agent = Counter(world.spec, 4, 0)
    agent.random_steps = 6
    learner = small.Learner(agent, [0], 1, 20)
    small.live(learner, world, 10)
    actions = small.lived(learner).action[:10, 0]
    assert np.all(actions[:6] != 0.0)
    assert not actions[6:].any()
    assert small.lived(learner).extras[:10].tolist() == [0] * 6 + [7, 8, 9, 10]
    assert np.asarray(learner.carry).tolist() == [[10.0]]


def test_acting_waits_for_the_phase_that_runs_and_charges_it(monkeypatch):
    """Not the decision, which would look slow in its place."""
    world = small.envs.make(PROBE, seeds=[0], envs_per_seed=1)
    agent = small.make_agent("sac", world.spec, random_steps=2)
    learner = learner_module.Learner(agent, [0], 1, 20)
    now = world.reset()
    for _ in range(3):
        now = small.advance(learner, world, now)
    waited = []

    def wait(x):
        waited.extend(jax.tree.leaves(x))
        return x

    monkeypatch.setattr(learner_module.jax, "block_until_ready", wait)
    measured, measure = [], learner.clock.measure
    monkeypatch.setattr(learner.clock, "measure", lambda name: measured.append(name) or measure(name))
    learner.act(now)
    assert measured == ["update", "act"]
    assert {id(leaf) for leaf in learner._state.leaves} <= {id(leaf) for leaf in waited}
    learner.act(now)
    assert measured == ["update", "act", "act"]  # it was waited for once
    world.close()
