"""Single measures against numbers worked out by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from dreamers import KEY, SMALL, BesideStill, ClockBesideNoise, Walk, beside_still, play, walks

from forethought import envs
from forethought.diagnostics import Episode, measure, verdict
from forethought.diagnostics.dreams import Dream, spread
from forethought.diagnostics.episodes import Windows, side_by_side, spread_of
from forethought.diagnostics.exploitation import Exploitation, carry_out
from forethought.diagnostics.long_run import wasserstein
from forethought.diagnostics.open_loop import foretold
from forethought.diagnostics.outcomes import reward_scale
from forethought.diagnostics.states import visit_distance, wrong_states
from forethought.envs.control import Pendulum
from forethought.errors import UsageError
from forethought.models.oracle import Oracle
from forethought.report.trust_figures import traces


def examine(model, episodes, horizon=4, **more):
    return measure(model, episodes, horizon=horizon, settings=SMALL, key=KEY, **more)


@pytest.mark.slow
def test_a_drift_of_a_tenth_is_off_by_h_tenths():
    episodes = walks()
    d = examine(Walk(drift=0.1), episodes)
    std = float(spread_of(side_by_side(episodes))[0])
    expected = 0.1 * np.arange(1, 5) / std
    for column in (d.open_loop.mean, d.open_loop.particle):
        np.testing.assert_allclose(column, np.repeat(expected[:, None], 3, axis=1), rtol=1e-3)
    np.testing.assert_allclose(d.open_loop.by_dimension[:, 0], expected, rtol=1e-3)
    np.testing.assert_allclose(d.open_loop.still[0], 1.0 / std, rtol=1e-5)  # every action is a step of 1
    np.testing.assert_allclose(d.open_loop.spread, 0.0, atol=1e-6)
    assert d.calibration is None  # all particles are the same


@pytest.mark.slow
def test_a_true_model_of_a_noisy_world_expects_its_error():
    d = examine(Walk(noise=0.5), walks(n=20, steps=30, noise=0.5))
    std = float(spread_of(side_by_side(walks(n=20, steps=30, noise=0.5)))[0])
    np.testing.assert_allclose(d.open_loop.spread[:, 1] * std, 0.5 * np.sqrt(np.arange(1, 5)), rtol=0.1)
    np.testing.assert_allclose(d.calibration.coverage[0], [0.5, 0.8, 0.9, 0.95], atol=0.06)
    assert d.calibration.steps.tolist() == [1, 2, 4]
    assert float(d.favoured.model_error) < 0.1


def test_what_one_step_leaves_open_by_hand():
    """Errors of -1 and 3 on average, errors that cancel, a dimension that rests; changes of 1 and 3, in units of 2."""
    errors = jnp.array([[[-1.0, 1.0, 0.0], [2.0, 1.0, 0.0]], [[-1.0, -1.0, 0.0], [4.0, -1.0, 0.0]]])
    obs = jnp.array([[[0.0, 0.0, 5.0], [0.0, 0.0, 6.0]], [[2.0, 2.0, 5.0], [-6.0, 2.0, 6.0]]])
    nothing = jnp.zeros((1, 2))
    real = Windows(obs, nothing, nothing, valid=nothing == 0.0, ended=nothing > 0.0)
    found = foretold(errors, real, jnp.full(3, 2.0))
    np.testing.assert_allclose(found.left_open, [(1.0 + 9.0) / (1.0 + 9.0), 0.0, np.nan])
    np.testing.assert_allclose(found.expected, [(0.0 + 1.0) / (1.0 + 9.0), np.nan, np.nan])  # of 2 and 4: 1
    certain = errors.at[:, 0, 0].set(jnp.array([1.0, 5.0]))  # a mean of 3 and a variance of 4, beside 3 and 1
    np.testing.assert_allclose(foretold(certain, real, jnp.full(3, 2.0)).surprise[0], (9.0 / 4.0 + 9.0 / 1.0) / 2.0)


def test_a_clock_that_wraps_is_missed_and_a_random_walk_is_expected():
    """A clock of ten hours changes by 1 nine times and by 9 once; always to say 1 leaves 100 of 90 open."""
    rng = np.random.default_rng(0)
    episodes = []
    for _ in range(20):
        clock = (rng.integers(10) + np.arange(41)) % 10
        obs = np.stack([clock, np.cumsum(rng.normal(size=41))], axis=1).astype(np.float32)
        episodes.append(Episode(obs, np.zeros((40, 1), np.float32), np.ones(40, np.float32), False, True))
    d = examine(ClockBesideNoise(), episodes)
    np.testing.assert_allclose(d.foretold.left_open, [10.0 / 9.0, 1.0], rtol=0.1)
    np.testing.assert_allclose(d.foretold.expected, [0.0, 1.0], atol=0.15)
    said = [sentence for sentence in verdict(d) if sentence.startswith("It is blind")]
    assert len(said) == 1
    assert said[0].endswith("and does not expect that of observation 0.")


@pytest.mark.slow
def test_what_never_moves_hides_nothing():
    episodes = walks(n=20, steps=30, noise=0.5)
    alone, beside = examine(Walk(noise=0.1), episodes), examine(BesideStill(noise=0.1), beside_still(episodes))
    for name in ("mean", "particle", "still", "spread"):
        np.testing.assert_allclose(getattr(beside.open_loop, name), getattr(alone.open_loop, name), rtol=1e-5)
    np.testing.assert_allclose(beside.calibration.factor, alone.calibration.factor, rtol=1e-5)
    np.testing.assert_allclose(beside.calibration.coverage, alone.calibration.coverage, atol=0.02)
    assert np.isnan(beside.calibration.coverage_by_dimension[:, 1:]).all()


@pytest.mark.slow
def test_what_the_model_alone_moves_counts():
    d = examine(BesideStill(slip=0.6), beside_still(walks()))
    std = np.asarray(spread_of(side_by_side(beside_still(walks()))))
    expected = 0.6 * np.arange(1, 5) * np.sqrt(np.mean([0.0, *(1.0 / std[1:]) ** 2]))
    np.testing.assert_allclose(d.open_loop.mean[:, 1], expected, rtol=1e-4)


def test_one_particle_that_diverged_is_an_infinite_spread():
    errors = jnp.array([[1.0, jnp.nan], [3.0, jnp.nan], [2.0, jnp.nan]])[:, :, None]  # [p, s, d]
    np.testing.assert_allclose(spread(errors, axis=0)[:, 0], [np.std([1, 2, 3]), np.nan], rtol=1e-6)
    assert np.isinf(spread(errors.at[0, 0].set(jnp.inf), axis=0)[0])
    assert spread(jnp.full((60, 1, 1), 0.1), axis=0) == 0.0  # of equals, exactly


def test_returns_of_the_same_actions():
    d = examine(Walk(pay=2.0), walks())
    np.testing.assert_allclose(d.value_gap.imagined, 8.0)
    np.testing.assert_allclose(d.value_gap.real, 4.0)
    assert (d.value_gap.gap, d.value_gap.error, d.value_gap.steps) == (4.0, 0.0, 4)
    assert not d.value_gap.closed_loop
    assert float(d.outcomes.reward_error) == pytest.approx(1.0)  # the rewards never change: in units of their size
    assert np.isnan(d.outcomes.reward_correlation)


def test_nothing_is_earned_after_an_imagined_ending():
    up = [e._replace(action=np.ones_like(e.action), obs=np.arange(13.0, dtype=np.float32)[:, None]) for e in walks()]
    d = examine(Walk(wall=-100.0), up)  # everything is an ending
    np.testing.assert_allclose(d.value_gap.imagined, 1.0)
    assert float(d.outcomes.false_endings) == 1.0
    assert np.isnan(d.outcomes.missed_endings)


def test_endings_that_are_missed():
    d = examine(Walk(), walks(terminated=True))
    assert float(d.outcomes.endings) == 4.0
    assert float(d.outcomes.missed_endings) == 1.0
    assert float(d.outcomes.false_endings) == 0.0


def test_a_policy_acts_on_what_it_imagines():
    home = lambda obs, key: jnp.clip(-obs, -1.0, 1.0)  # noqa: E731
    d = examine(Walk(), walks(), policy=home)
    assert d.value_gap.closed_loop
    assert d.long_run.closed_loop
    np.testing.assert_allclose(d.long_run.imagined[:, 0], 0.0)  # it stays where every episode begins
    assert float(d.long_run.distance[0]) > 0.5


def test_what_is_measured_now_is_told():
    told = []
    examine(Walk(), walks(), tell=told.append)
    assert told == [f"imagining {n} from {m} starts" for n, m in (("1 step", 48), ("4 steps", 36), ("12 steps", 2))] + [
        "imagining 12 steps from 4 starts"
    ]


@pytest.mark.slow
def test_traces_show_the_episode_and_the_dream():
    episodes = walks(steps=7)
    d = examine(Walk(drift=0.1), episodes)
    assert len(d.traces) == 2
    np.testing.assert_allclose(d.traces[1].real, episodes[1].obs[1:])
    np.testing.assert_allclose(d.traces[1].imagined[1] - d.traces[1].real, 0.1 * np.arange(1, 8)[:, None], atol=1e-5)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("drift", [np.inf, np.nan])
def test_a_dream_that_diverges_is_drawn_without_a_warning(drift):
    d = examine(Walk(drift=drift), walks())
    assert not np.isfinite(d.traces[0].imagined).any()
    assert [label for label, _ in traces(d)] == ["episode 1, observation 0", "episode 2, observation 0"]


def test_wasserstein_is_of_each_dimension():
    x = np.random.default_rng(0).normal(size=(500, 2))
    np.testing.assert_allclose(wasserstein(x, x[::2] + np.array([2.0, -3.0])), [2.0, 3.0], atol=0.2)
    np.testing.assert_allclose(wasserstein(x, x + np.array([2.0, -3.0])), [2.0, 3.0])
    np.testing.assert_allclose(wasserstein(np.array([[0.0], [1.0]]), np.array([[0.0], [0.0], [4.0]])), [7.0 / 6.0])


def test_visits():
    assert visit_distance(np.array([0, 0, 1, 1]), np.array([0, 1, 2, 2])) == 0.5
    assert visit_distance(np.array([3]), np.array([3, 3])) == 0.0


def test_wrong_states_by_hand():
    real = Windows(
        obs=jnp.array([[0, 0], [0, 1], [1, 9]]),
        action=jnp.zeros((2, 2), jnp.int32),
        reward=jnp.zeros((2, 2)),
        valid=jnp.array([[True, True], [True, False]]),
        ended=jnp.array([[False, True], [False, False]]),
    )
    imagined = jnp.array([[[0, 0], [0, 1]], [[1, 0], [1, 0]]])  # [h, p, s]
    no = jnp.zeros((2, 2, 2), bool)
    found = wrong_states(Dream(imagined, no * 0.0, no, ~no), real)
    np.testing.assert_allclose(found.wrong, [0.25, 0.0])  # one of four; the second window has ended
    np.testing.assert_allclose(found.expected, [0.5, 0.0])  # the particles of the second window differ
    np.testing.assert_allclose(found.still, [0.5, 1.0])


def test_the_scale_of_rewards():
    assert float(reward_scale(jnp.array([1.0, 3.0]))) == 1.0
    assert float(reward_scale(jnp.full(3, -2.0))) == 2.0
    assert float(reward_scale(jnp.zeros(3))) == 1.0


def test_the_slope_is_the_growth_per_doubling():
    effort = jnp.array([1.0, 2.0, 8.0])
    found = Exploitation(effort, jnp.array([[1.0], [4.0], [10.0]]), jnp.array([[1.0], [1.0], [1.0]]))
    assert found.slope == pytest.approx(3.0)
    assert np.isnan(found._replace(imagined=found.imagined - jnp.inf).slope)


def test_plans_are_carried_out_to_the_end_of_the_episode():
    world = envs.make("forethought/ProbeTermination-v0", seeds=[0], envs_per_seed=2)
    np.testing.assert_array_equal(carry_out(world, np.zeros((8, 2, 1), np.float32)), [5.0, 5.0])
    np.testing.assert_array_equal(carry_out(world, np.zeros((3, 2, 1), np.float32)), [3.0, 3.0])


def test_what_cannot_be_judged_is_refused():
    image = Episode(np.zeros((6, 2, 2), np.float32), np.zeros((5, 1), np.float32), np.zeros(5, np.float32), False, True)
    with pytest.raises(UsageError, match=r"have shape \(2, 2\) of float32; only vectors, pictures of"):
        examine(Walk(), [image, image])
    wide = [e._replace(obs=np.repeat(e.obs, 2, axis=1)) for e in walks()]
    with pytest.raises(UsageError, match="features of this model are no observations"):
        examine(Walk(), wide)


def test_the_same_key_gives_the_same_diagnosis():
    one, same = (examine(Walk(noise=1.0), walks()) for _ in range(2))
    jax.tree.map(np.testing.assert_array_equal, one, same)


@pytest.mark.parametrize("env", ["forethought/Pendulum-v0", "Pendulum-v1"])
def test_the_policy_is_judged_from_where_the_plans_begin(env):
    """The same keys, or the same seeds of resets: what it does, done as a plan, earns the same."""
    world = envs.make(env, seeds=[2], envs_per_seed=3, stream="plans")
    push = lambda time_step, carry, t: (np.full((3, 1), 0.5, np.float32), carry)  # noqa: E731
    always, told = lambda obs, key: jnp.full((obs.shape[0], 1), 0.5), []
    d = examine(Oracle(Pendulum()), play(2, seed=4), world=world, actor=(push, ()), policy=always, tell=told.append)
    assert d.exploitation.real.shape == (5, 3)
    np.testing.assert_array_equal(d.beside_plans.real, carry_out(world, np.full((4, 3, 1), 0.5, np.float32)))
    np.testing.assert_allclose(d.beside_plans.imagined, d.beside_plans.real, rtol=1e-3)
    assert d.beside_plans.closed_loop
    # What is done is told before it is: each planner, and the policy, are parts of their own.
    assert told[-9:] == [
        "planning: a random plan",
        *(f"planning: the best of {n} plans" for n in (60, 120, 300, 600)),
        "playing the policy from where the plans begin",
        "imagining 4 steps from 3 starts",
        "imagining what the policy does in 4 steps",
        "imagining what the policy does in 50 steps",
    ]
