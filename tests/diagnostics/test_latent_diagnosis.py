"""Models that believe in something that is decoded, laid beside what was seen."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from dreamers import KEY, SMALL, Walk
from latents import PICTURES, PLACES, VECTORS, Ring, of_places, rounds

import small
from forethought.agents import catalog
from forethought.agents.base import Seen
from forethought.diagnostics import Episode, findings, measure, read_diagnosis, split, verdict, write_diagnosis
from forethought.diagnostics.advice import ERRORS_GROW, FORGETS, NO_BETTER
from forethought.diagnostics.decoded import View
from forethought.diagnostics.episodes import side_by_side, spread_of
from forethought.diagnostics.film import CONTEXT, Film, film
from forethought.diagnostics.film import picture as shown
from forethought.diagnostics.sizes import LATENT, sizes_for
from forethought.diagnostics.sizes import PICTURES as OF_PICTURES
from forethought.errors import UsageError
from forethought.types import Box, Discrete, EnvSpec, Transition

KINDS = ("picture", "vector", "number", "all")


def examine(model, **more):
    return measure(model, rounds(model.kind), horizon=6, settings=SMALL, key=KEY, **more)


@pytest.mark.parametrize("kind", KINDS)
def test_one_that_decodes_rightly_is_good(kind, tmp_path):
    d = examine(Ring.of(kind))
    assert verdict(d)[0].startswith("Good")
    assert len(verdict(d)) == 1
    assert d.latent
    if kind != "number":
        np.testing.assert_allclose(d.recall.error, 0.0, atol=1e-5)
        np.testing.assert_allclose(d.open_loop.mean, 0.0, atol=1e-5)
        assert d.open_loop.still[0].min() > 0.5
    nothing = d.calibration, d.nll, d.favoured, d.disagreement_rank, d.foretold  # of what it does not claim
    assert nothing == (None,) * 5
    assert verdict(read_diagnosis(write_diagnosis(d, verdict(d), tmp_path / "d.json"))) == verdict(d)


@pytest.mark.parametrize("kind", ["picture", "vector", "all"])
def test_one_that_draws_something_else_is_found_out(kind):
    d = examine(Ring.of(kind, beside=3))
    assert FORGETS in [found.kind for found in findings(d)]
    assert verdict(d)[0].startswith("It does not keep what it sees: decoding what it has just seen leaves open ")
    assert d.recall.error[1] > 0.5


@pytest.mark.parametrize("kind", ["picture", "vector", "all"])
def test_one_that_sees_well_and_never_moves_is_no_better_than_nothing_changes(kind):
    d = examine(Ring.of(kind, moves=0))
    np.testing.assert_allclose(d.recall.error, 0.0, atol=1e-5)
    kinds = [found.kind for found in findings(d)]
    assert NO_BETTER in kinds
    assert FORGETS not in kinds
    assert "nothing changes, at any of 6 steps: after the last the model is off" in verdict(d)[0]


def test_one_that_goes_astray_is_not_to_be_trusted():
    assert ERRORS_GROW in [found.kind for found in findings(examine(Ring.of("picture", moves=3)))]


def test_the_policy_reads_the_features_of_the_model():
    def back(features, key):
        assert features.shape[1:] == (3,)
        return jnp.where(features[:, 0] > 0.0, 0, 1)  # to place 0, and off and on from there

    d = examine(Ring.of("all"), policy=back)
    assert d.value_gap.closed_loop
    assert d.long_run.closed_loop
    assert float(np.mean(d.value_gap.imagined)) > float(np.mean(d.value_gap.real)) + 0.5
    assert len(d.long_run.distance) == len(d.obs_names) == 4


def test_what_is_told_of_by_itself():
    d = examine(Ring.of("all", beside=3))
    assert d.obs_names == ["speed[0]", "speed[1]", "gear", "camera"]
    assert d.recall.left_open.shape == (4,)
    assert float(d.recall.left_open[3]) == pytest.approx(16.0 / 7.0, rel=0.2)  # two columns of eight are wrong
    assert d.traces[0].real.shape == (20, 2)  # of the vector; pictures are filmed
    assert examine(Ring.of("picture")).obs_names == ["the picture"]
    assert examine(Ring.of("picture")).traces == []
    assert examine(Ring.of("vector")).obs_names == []


def test_less_is_imagined_where_it_is_more_to_hold():
    view = {kind: View.of(rounds(kind)) for kind in KINDS}
    assert sizes_for(Ring.of("vector"), view["vector"]) == LATENT
    assert sizes_for(Ring.of("all"), view["all"]) == OF_PICTURES
    assert sizes_for(Walk(), view["vector"]).particles == 60


def test_rows_of_what_is_seen():
    view = View.of(rounds("all"))
    row = np.asarray(view(jax.tree.map(jnp.asarray, of_places("all", np.array([[2, 5]])))))
    assert row.shape == (1, 2, 2 + 2 + 16 * 16)
    np.testing.assert_allclose(row[0, :, :2], VECTORS[[2, 5]])
    np.testing.assert_array_equal(row[0, :, 2:4], [[1, 0], [0, 1]])
    # Pixels 6 to 8 of 24 are lit: 16 fields of one and a half pixels, of which two, and no other, are.
    np.testing.assert_allclose(row[0, 0, 4:].reshape(16, 16)[7], [0, 0, 0, 0, 1, 1, *[0] * 10], atol=1e-6)
    np.testing.assert_allclose(row[..., 4:].mean(axis=-1), 1.0 / PLACES, rtol=1e-5)
    np.testing.assert_array_equal(view.groups, [0, 1, 2, 2, *[3] * 256])


def test_pixels_share_one_spread():
    episodes = rounds("picture")
    view = View.of(episodes)
    held = side_by_side(episodes)
    assert held.obs.dtype == np.uint8  # as small as they are
    std = spread_of(held._replace(obs=view(held.obs)), view.groups)
    assert np.ptp(std) == 0.0
    assert float(std[0]) == pytest.approx((1 / 8 * 7 / 8) ** 0.5, rel=0.05)


def test_what_cannot_be_compared_is_refused_in_one_line():
    odd = [e._replace(obs={"speed": np.zeros((21, 2, 2), np.float32)}) for e in rounds("vector")]
    with pytest.raises(
        UsageError, match=r"speed have shape \(2, 2\) of float32; only vectors, pictures of whole numbers"
    ):
        measure(Ring.of("vector"), odd, horizon=4, key=KEY)
    with pytest.raises(UsageError, match="features of this model are no observations"):
        measure(Ring.of("vector"), rounds("picture"), horizon=4, key=KEY)


def filmed(kind="picture", steps=20, **model) -> tuple[Film, Episode]:
    episode = rounds(kind, n=1, steps=steps)[0]
    return film(Ring.of(kind, **model), episode, key=KEY), episode


@pytest.mark.parametrize("kind", ["picture", "all"])
def test_a_film_of_one_that_is_right_shows_reality_twice(kind):
    found, episode = filmed(kind)
    assert found.real.shape == (21, 24, 24, 3)
    np.testing.assert_array_equal(found.drawn, found.real)
    np.testing.assert_array_equal(found.real, shown(episode.obs))
    assert not found.error.any()
    assert found.context == CONTEXT


def test_the_dream_begins_after_the_context():
    """One that never moves shows what it has seen last."""
    found, _ = filmed(moves=0)
    np.testing.assert_array_equal(found.drawn[:CONTEXT], found.real[:CONTEXT])
    for drawn in found.drawn[CONTEXT:]:
        np.testing.assert_array_equal(drawn, found.real[CONTEXT - 1])
    assert found.error[CONTEXT].any()
    assert (found.error.max(), found.error.dtype) == (255, np.uint8)


def test_the_first_dreamt_moment_is_where_the_last_seen_action_led():
    found, _ = filmed(moves=3)
    place = [int(np.argmax(frame[0, :, 0])) // 3 for frame in (found.real[4], found.real[5], found.drawn[5])]
    assert (place[2] - place[0]) % PLACES == 3 * (place[1] - place[0]) % PLACES


@pytest.mark.parametrize(("steps", "moments", "context"), [(3, 4, 3), (1, 2, 1), (120, 50, 5)])
def test_short_and_long_episodes_are_filmed(steps, moments, context):
    found, _ = filmed(steps=steps)
    assert (len(found.real), len(found.drawn), found.context) == (moments, moments, context)


def test_what_is_shown_of_channels():
    four = np.arange(2 * 3 * 3 * 4, dtype=np.uint8).reshape(2, 3, 3, 4)  # four grey frames, the newest last
    np.testing.assert_array_equal(shown(four), np.repeat(four[..., 3:], 3, axis=-1))
    np.testing.assert_array_equal(shown(four[..., :3]), four[..., :3])
    both = shown(
        {"left": four[..., :1], "number": np.zeros(2), "right": np.pad(four[..., :1], ((0, 0), (0, 2), *[(0, 0)] * 2))}
    )
    assert both.shape == (2, 5, 6, 3)


def test_logged_steps_of_several_parts_are_cut_into_episodes():
    place = np.arange(13) % PLACES
    seen, after = of_places("all", place[:-1]), of_places("all", place[1:])
    no = np.zeros(12, bool)
    ends = np.arange(12) % 6 == 5
    rows = Transition(seen, np.ones(12, np.int32), np.zeros(12, np.float32), after, no, ends)
    first, second = split(rows)
    np.testing.assert_array_equal(second.obs["camera"], PICTURES[place[6:]])
    assert (first.length, second.length) == (6, 6)
    wrong = rows._replace(obs={**seen, "gear": np.where(np.arange(12) == 3, 1 - seen["gear"], seen["gear"])})
    with pytest.raises(UsageError, match="row 3 does not begin where row 2 led to"):
        split(wrong)


def test_the_same_key_gives_the_same_diagnosis():
    one, same = (examine(Ring.of("all", moves=3)) for _ in range(2))
    jax.tree.map(np.testing.assert_array_equal, one, same)


def test_the_policy_of_a_dreamer_lives_on_its_beliefs():
    spec = EnvSpec("x", Box((3,)), Discrete(4))
    agent_class, config_class = catalog.find("dreamer-v3").load()
    agent = agent_class(config_class(), spec)
    state = agent.init(key=KEY)
    belief = jax.tree.map(lambda x: jax.random.normal(KEY, (5, *x.shape[1:])), agent.init_actor(5))
    acted = agent.policy_within(state)(agent.world_model(state).features(belief), KEY)
    np.testing.assert_array_equal(acted, agent.decide(state, belief, key=KEY, explore=False)[0])


def test_a_policy_without_a_memory_lives_on_what_it_sees_and_a_planner_does_not_live_there():
    spec = small.envs.env_spec("forethought/ProbeAction-v0")
    agent, obs = small.make_agent("sac", spec), jnp.ones((5, 1))
    state = agent.init(key=KEY)
    acted = agent.decide(state, Seen(obs), key=KEY, explore=False)[0]
    np.testing.assert_array_equal(agent.policy_within(state)(obs, KEY), acted)
    planner = small.make_agent("cem", spec)
    assert planner.policy_within(planner.init(key=KEY)) is None
