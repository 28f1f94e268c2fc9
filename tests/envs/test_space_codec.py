import json

import jax
import numpy as np
import pytest
from gymnasium import spaces

from forethought.envs import SpaceCodec
from forethought.envs.views import empty_items
from forethought.errors import CheckpointError, UsageError
from forethought.stored import arrays
from forethought.types import Box, Discrete, Parts

OBSERVATIONS = [
    spaces.Box(-1, 1, (3,), np.float64),
    spaces.Box(-1, 1, (2, 3), np.float32),
    spaces.Box(0, 255, (6, 7), np.uint8),
    spaces.Box(0, 255, (6, 7, 3), np.uint8),
    spaces.Box(0, 255, (128,), np.uint8),
    spaces.Discrete(4, start=2),
    spaces.Dict(b=spaces.Box(-1, 1, (2,), np.float32), a=spaces.Box(-1, 1, (), np.float32)),
    spaces.Dict(see=spaces.Box(0, 255, (6, 7), np.uint8), gear=spaces.Discrete(3), feel=spaces.Box(-1, 1, (2, 2))),
]
ACTIONS = [
    spaces.Box(-2.5, 0.1, (2,), np.float32),
    spaces.Box(np.array([[-1.0, 0.0]]), np.array([[1e6, 0.3]]), dtype=np.float64),
    spaces.Box(0, 10, (1,), np.int64),
    spaces.Discrete(3, start=-1),
]


@pytest.mark.parametrize("space", OBSERVATIONS, ids=str)
def test_observations_one_by_one_and_in_batches_agree(space):
    codec = SpaceCodec.from_spaces(space, ACTIONS[0])
    space.seed(0)
    samples = [space.sample() for _ in range(3)]
    singles = jax.tree.map(lambda *x: np.stack(x), *[codec.obs_to_agent(sample) for sample in samples])
    if isinstance(space, spaces.Dict):
        batch = codec.obs_to_agent({key: np.stack([s[key] for s in samples]) for key in space})
    else:
        batch = codec.obs_to_agent(np.stack(samples))
    jax.tree.map(np.testing.assert_array_equal, singles, batch)
    assert arrays(empty_items(codec.obs, 3))(batch)
    assert codec.batch_of(batch) == (3,)
    assert codec.batch_of(codec.obs_to_agent(samples[0])) == ()
    jax.tree.map(np.testing.assert_array_equal, codec.obs_to_agent(codec.obs_to_env(batch)), batch)


def test_views_of_the_observation_spaces():
    views = [SpaceCodec.from_spaces(space, ACTIONS[0]).obs for space in OBSERVATIONS]
    assert views == [
        Box((3,)),
        Box((6,)),
        Box((6, 7, 1), "uint8"),
        Box((6, 7, 3), "uint8"),
        Box((128,)),
        Discrete(4),
        Box((3,)),
        Parts((("feel", Box((4,))), ("gear", Discrete(3)), ("see", Box((6, 7, 1), "uint8")))),
    ]


@pytest.mark.parametrize("space", ACTIONS, ids=str)
def test_actions_there_and_back(space):
    codec = SpaceCodec.from_spaces(OBSERVATIONS[0], space)
    space.seed(0)
    for _ in range(5):
        own = space.sample()
        agent = codec.action_from_env(own)
        back = codec.action_to_env(agent)
        assert back.dtype == space.dtype
        assert np.shape(back) == np.shape(own)
        np.testing.assert_allclose(back, own, rtol=1e-5, atol=1e-6 * np.max(np.abs(codec.action_high or 1)))
        batch = codec.action_to_env(np.stack([agent, agent]))
        np.testing.assert_array_equal(batch[1], back)
        assert space.contains(back if isinstance(space, spaces.Box) else np.int64(back))


@pytest.mark.parametrize("space", [space for space in ACTIONS if isinstance(space, spaces.Box)], ids=str)
def test_bounds_are_reached_exactly(space):
    codec = SpaceCodec.from_spaces(OBSERVATIONS[0], space)
    one = np.ones(codec.action.shape, np.float32)
    np.testing.assert_array_equal(codec.action_to_env(one), space.high)
    np.testing.assert_array_equal(codec.action_to_env(-one), space.low)
    np.testing.assert_array_equal(codec.action_from_env(space.high), one)
    np.testing.assert_array_equal(codec.action_from_env(space.low), -one)


@pytest.mark.parametrize("obs", OBSERVATIONS, ids=str)
@pytest.mark.parametrize("action", ACTIONS, ids=str)
def test_json_brings_the_same_codec_back(obs, action):
    codec = SpaceCodec.from_spaces(obs, action)
    assert SpaceCodec.from_json(json.loads(json.dumps(codec.to_json()))) == codec


def test_observations_that_do_not_fit_are_refused():
    vector, integer, record, parts = (SpaceCodec.from_spaces(OBSERVATIONS[i], ACTIONS[0]) for i in (0, 5, 6, 7))
    with pytest.raises(UsageError, match=r"must have the shape \(3,\)"):
        vector.obs_to_agent(np.zeros(4))
    with pytest.raises(UsageError, match=r"must lie in 2..5, got 6"):
        integer.obs_to_agent(6)
    with pytest.raises(UsageError, match="must be an integer"):
        integer.obs_to_agent(3.0)
    with pytest.raises(UsageError, match=r"keys \['a', 'b'\]"):
        record.obs_to_agent({"a": 0.0})
    for given, said in (
        ({"gear": 3}, r"observation\['gear'\] must lie in 0..2, got 3"),
        ({"see": np.full((6, 7), 0.5)}, r"observation\['see'\] is an image, whole numbers from 0 to 255"),
        ({"feel": np.zeros(4)}, r"observation\['feel'\] must have the shape \(2, 2\)"),
        ({"feel": np.zeros((5, 2, 2))}, r"parts of the observation are not equally many, .*'feel': \(5,\)"),
    ):
        with pytest.raises(UsageError, match=said):
            parts.obs_to_agent({"see": np.zeros((6, 7)), "gear": 1, "feel": np.zeros((2, 2)), **given})
    with pytest.raises(UsageError, match="parts of the observation are not equally many"):
        record.obs_to_agent({"a": np.zeros(3), "b": np.zeros((4, 2))})
    with pytest.raises(UsageError, match=r"the action must have the shape \(2,\)"):
        vector.action_to_env(np.zeros(3))


@pytest.mark.parametrize(
    "changes",
    [
        {"obs": {"type": "Parts", "named": []}, "obs_keys": [], "obs_parts": []},
        {"obs_start": 3},
        {"obs_names": ["x"]},
        {"obs_keys": ["gear", "feel", "see"]},
    ],
)
def test_parts_that_contradict_each_other_are_refused(changes):
    described = SpaceCodec.from_spaces(OBSERVATIONS[7], ACTIONS[0]).to_json()
    with pytest.raises(CheckpointError, match="contradicts itself"):
        SpaceCodec.from_json({**described, **changes})


def test_parts_in_another_order_are_refused():
    """Their numbers stand in the order of their names, wherever they come from."""
    described = SpaceCodec.from_spaces(OBSERVATIONS[7], ACTIONS[0]).to_json()
    turned = {name: described[name][::-1] for name in ("obs_keys", "obs_parts")}
    obs = {**described["obs"], "named": described["obs"]["named"][::-1]}
    with pytest.raises(CheckpointError, match="contradicts itself"):
        SpaceCodec.from_json({**described, **turned, "obs": obs})
