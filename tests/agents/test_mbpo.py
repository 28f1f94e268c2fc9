from fractions import Fraction

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import small
from forethought.agents.catalog import find, find_preset
from forethought.agents.dyna.mbpo import MBPO, MBPOConfig, RolloutSchedule
from forethought.errors import UsageError
from forethought.replay.moments import holding
from forethought.replay.ring import Ring
from forethought.training.config import from_dict
from forethought.training.schedule import Schedule
from forethought.types import Box, EnvSpec, Transition

SPEC = EnvSpec("toy", Box((1,)), Box((1,)))


def of_preset(env_id):
    return from_dict(MBPOConfig, find_preset("mbpo", None, env_id)[1])


def test_the_schedule_of_hopper():
    """Length 1 until epoch 20, 15 from epoch 150, rounded down between: 1 + 14 (epoch - 20) / 130."""
    length = jax.jit(of_preset("Hopper-v5").schedule.length)
    epochs = [0, 5, 20, 29, 30, 38, 39, 85, 149, 150, 400]
    expected = [1, 1, 1, 1, 2, 2, 3, 8, 14, 15, 15]
    assert [int(length(jnp.array(1000 * epoch))) for epoch in epochs] == expected
    assert sorted({int(length(jnp.array(s))) for s in range(0, 160_000, 500)}) == list(range(1, 16))


def test_lengths_of_the_other_tasks():
    for env_id, at, expected in (
        ("HalfCheetah-v5", 200_000, 1),
        ("Ant-v5", 60_000, 13),
        ("Ant-v5", 100_000, 25),
        ("Humanoid-v5", 300_000, 25),
        ("InvertedPendulum-v5", 10_000, 1),
    ):
        assert int(of_preset(env_id).schedule.length(jnp.array(at))) == expected
    assert int(RolloutSchedule(start=5, end=5, first=1, last=4).length(jnp.array(5))) == 1
    assert int(RolloutSchedule(start=5, end=5, first=1, last=4).length(jnp.array(6))) == 4


def official_length(epoch, first_epoch, last_epoch, first, last):
    """``_set_rollout_length`` of the official code, in fractions instead of floats."""
    along = min(max(Fraction(epoch - first_epoch, last_epoch - first_epoch), 0), 1)
    return int(first + along * (last - first))


PRESETS = {name: entry.settings for name, entry in find("mbpo").presets.items()}
SCHEDULES = {
    "first to last": RolloutSchedule(8_000, 252_000, 3, 30),
    "shorter": RolloutSchedule(3_000, 40_000, 30, 7),
    "beyond int32": RolloutSchedule(0, 2_000_000_000, 1, 50),
    **{name: from_dict(MBPOConfig, settings).schedule for name, settings in PRESETS.items()},
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_length_is_reached_where_the_official_code_reaches_it(name):
    """At every hundredth of the way and right before and after, also where the length is a whole number in truth."""
    s = SCHEDULES[name]
    ends = range(0, 2 * s.end, max(s.end // 500, 1)) if s.end > 10**6 else range(0, s.end + 3_000, 250)
    steps = np.array([t + d for t in ends for d in (-1, 0, 1) if 0 <= t + d < 2**31])
    found = jax.jit(jax.vmap(s.length))(jnp.asarray(steps, jnp.int32))
    assert found.dtype == jnp.int32
    np.testing.assert_array_equal(found, [official_length(int(t), s.start, s.end, s.first, s.last) for t in steps])


def test_schedules_that_cannot_be_counted_are_refused():
    for steps, said in (
        ({"end": 2**31}, "end is 2147483648; it must be at most 2,147,483,647"),
        ({"end": 5}, "end is 5; it must be at least 20,000"),
        ({"start": -1}, "start is -1; it must be at least 0"),
    ):
        with pytest.raises(UsageError, match=said):
            RolloutSchedule(**steps)


def test_sizes_of_the_official_configurations():
    """100,000 rollouts after each fit; the imagined replay holds ``retain`` epochs of them."""
    for env_id, per_fit, held in (
        ("HalfCheetah-v5", 100_000, 400_000),
        ("Hopper-v5", 100_000, 15 * 400_000),
        ("InvertedPendulum-v5", 100_000, 100_000),
        ("Humanoid-v5", 100_000, 5 * 25 * 100_000),
    ):
        config = of_preset(env_id)
        assert config.rollouts == per_fit
        assert config.imagined_capacity == held


def lived(n, reward=0.0):
    rng = np.random.default_rng(0)
    obs, action = rng.uniform(-1, 1, (n, 1)), rng.uniform(-1, 1, (n, 1))
    rows = Transition(obs, action, np.full(n, reward), obs + 0.1 * action, np.zeros(n, bool), np.zeros(n, bool))
    rows = jax.tree.map(lambda x: jnp.asarray(x, bool if x.dtype == bool else jnp.float32), rows)
    return holding(rows, n)


def dreamt(replay):
    """A ring of the transitions in a full replay."""
    n = jnp.array(replay.capacity)
    return Ring(replay.all(), jnp.array(0), n, n)


@pytest.mark.slow
@pytest.mark.parametrize(("ratio", "n_real"), [(0.05, 12), (0.0, 0), (1.0, 256)])
def test_a_batch_holds_its_share_of_real_transitions(ratio, n_real):
    """12 of 256 for MBPO's 5 %. Real ones pay 1 here and imagined ones 0."""
    agent = MBPO(MBPOConfig(real_ratio=ratio, updates_per_step=2, rollouts_per_step=1, members=1, elites=1), SPEC)
    state = agent.init(key=jax.random.key(0))._replace(imagined=dreamt(lived(50)))
    batches = []
    agent.sac.learn = lambda sac, batch, *, key: (sac, batches.append(batch.reward.shape) or {"paid": batch.reward})
    _, _, info = agent.update(state, lived(50, reward=1.0), step=jnp.array(0), key=jax.random.key(0))
    assert batches[0] == (256,)
    assert float(jnp.sum(info["paid"])) == n_real


def test_real_and_imagined_transitions_are_drawn_apart():
    """One key for both would pair the same rows of both rings for ever."""
    agent = MBPO(MBPOConfig(real_ratio=0.5, rollouts_per_step=1, members=1, elites=1), SPEC)
    rows = lived(50)
    state = agent.init(key=jax.random.key(0))._replace(imagined=dreamt(rows))
    agent.sac.learn_many = lambda sac, draw, n, *, key: (sac, {"obs": draw(key).obs})
    _, _, info = agent.update(state, rows, step=jnp.array(0), key=jax.random.key(0))
    real, imagined = np.split(np.asarray(info["obs"]), 2)
    assert real.shape == imagined.shape == (128, 1)
    assert np.mean(real == imagined) < 0.2  # 1 in 50 by chance


@pytest.mark.parametrize("random_steps", [0, 30])
def test_the_first_fit_comes_no_later_than_the_first_update(random_steps):
    fit, rollout, update = MBPO(MBPOConfig(random_steps=random_steps), SPEC).phases()
    first = [min(t for t in range(1, 600) if Schedule([phase], 1).due(phase, t)) for phase in (fit, rollout, update)]
    assert first == [max(random_steps, 1)] * 3


@pytest.fixture(scope="module")
def rolled_out():
    """Rollouts of lengths that grow from 1 to 3, of which two epochs are kept, while the ring is watched."""
    settings = {"schedule.start": 10, "schedule.end": 30, "schedule.last": 3, "rollouts_per_step": 2, "model_every": 4}
    agent = small.make_agent("mbpo", SPEC, **settings, epoch_steps=8, retain=2)
    state, replay, seen = agent.init(key=jax.random.key(0)), lived(40), []
    rollout = jax.jit(agent.rollout)
    for step in (8, 12, 16, 20, 24, 28, 32, 36):
        after_exploring = jnp.array(step + agent.config.random_steps)
        state, _, info = rollout(state, replay, step=after_exploring, key=jax.random.key(step))
        seen.append((step, {k: float(v) for k, v in info.items()}, state.imagined))
    return agent, replay, seen


def test_the_ring_holds_the_retained_epochs_of_rollouts_of_the_present_length(rolled_out):
    agent, _, seen = rolled_out
    assert agent.config.rollouts == 8
    assert seen[0][2].capacity == 2 * 2 * 8 * 3
    for step, info, imagined in seen:
        length = {8: 1, 12: 1, 16: 1, 20: 1, 24: 2, 28: 2}.get(step, 3)  # as it is where the epoch of 8 steps began
        assert info["rollout_length"] == length
        assert int(imagined.limit) == 2 * 2 * 8 * length
        assert info["rollout_steps"] <= length
    # Rollouts of one step never end early: 8 of them at steps 8, 12, 16 and 20, which are two epochs.
    assert [int(imagined.size) for _, _, imagined in seen[:4]] == [8, 16, 24, 32]


def test_rollouts_branch_off_real_states_and_are_never_truncated(rolled_out):
    _, replay, seen = rolled_out
    real = set(np.asarray(replay.all().obs)[:, 0].tolist())
    first = jax.tree.map(lambda x: np.asarray(x)[: int(seen[0][2].size)], seen[0][2].data)
    assert len(first.obs) == 8  # the first step of a rollout is always kept
    assert set(first.obs[:, 0].tolist()) <= real
    assert np.all(np.abs(first.action) <= 1.0)
    assert len(np.unique(first.action)) == 8
    assert not any(np.any(imagined.data.truncated) for _, _, imagined in seen)


@pytest.mark.slow
def test_only_elites_dream():
    """Member 0 is broken: with it, a third of the rollouts would hold nothing that is finite."""
    agent = small.make_agent("mbpo", SPEC)
    state = agent.init(key=jax.random.key(0))
    broken = jax.tree.map(lambda p: p.at[0].set(jnp.nan), state.model.model.members)
    for elites, kept in (([1, 2], 1.0), ([0, 1], 0.5)):
        model = eqx.tree_at(lambda e: (e.members, e.elites), state.model.model, (broken, jnp.array(elites)))
        dreaming = state._replace(model=state.model._replace(model=model))
        after, _, info = jax.jit(agent.rollout)(dreaming, lived(40), step=jnp.array(16), key=jax.random.key(0))
        assert float(info["rollout_steps"]) == kept
        assert np.all(np.isfinite(after.imagined.data.next_obs))


@pytest.mark.slow
def test_the_fit_is_reported_and_a_wrong_termination_is_a_concern():
    hopper = EnvSpec("Hopper-v5", Box((11,)), Box((3,)))
    agent = small.make_agent("mbpo", hopper)
    standing = np.zeros((30, 11), np.float32)
    standing[:, 0] = 1.0
    flags = np.arange(30) < 3  # the data say that it ended, the function says that it stands
    rows = Transition(standing, np.zeros((30, 3), np.float32), np.zeros(30, np.float32), standing, flags, flags)
    replay = holding(jax.tree.map(jnp.asarray, rows), 30)
    state = agent.init(key=jax.random.key(0))
    _, _, info = jax.jit(agent.learner.fit_model)(state, replay, step=jnp.array(0), key=jax.random.key(0))
    assert float(info["termination_disagreement"]) == pytest.approx(0.1)
    assert float(info["epochs"]) == 2
    (warning,) = agent.warnings({"termination_disagreement": [0.0, 0.1]})
    assert "Hopper-v5 contradicts the real transitions: 10.0 %" in warning
    assert agent.warnings({"termination_disagreement": [0.001]}) == []
    assert agent.warnings({}) == []


def test_phases():
    agent = small.make_agent("mbpo", SPEC)
    assert [(p.name, p.every, p.start, p.updates, p.kind) for p in agent.phases()] == [
        ("fit_model", 8, 16, 0, "model"),
        ("rollout", 8, 16, 0, "model"),
        ("update", 1, 16, 2, "train"),
    ]
