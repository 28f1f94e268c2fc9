"""A policy without forethought acts as the policy with it."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import spaces
from jax import export as jax_export

import forethought
import small
from forethought.agents.base import Portable
from forethought.envs import SpaceCodec
from forethought.errors import UsageError
from forethought.exporting import _arrays, _program
from forethought.models.normalizer import Normalizer
from forethought.numpy_policy import Policy
from forethought.policy import Policy as JaxPolicy

DICT = spaces.Dict({"b": spaces.Box(-1.0, 1.0, (2, 1)), "a": spaces.Box(-1.0, 1.0, (1,))})
ACTION = spaces.Box(np.array([-2.0, 0.0]), np.array([6.0, 1.0]))
SEEN = np.random.default_rng(0).uniform(-1, 1, (5, 3)).astype(np.float32)


def of(algorithm, observation_space, action_space, **settings):
    """An untrained agent for spaces: the agent, the codec, the state and its policy in JAX."""
    codec = SpaceCodec.from_spaces(observation_space, action_space)
    agent = small.make_agent(algorithm, codec.spec("toy"), **settings)
    state = agent.init(key=jax.random.key(1))
    return agent, codec, state, JaxPolicy(agent, codec, state, 0)


def in_numpy(tmp_path, agent, codec, state):
    (tmp_path / "p.npz").write_bytes(_arrays(agent, codec, state, {}))
    return Policy(tmp_path / "p.npz")


def program_of(agent, codec, state):
    pytest.importorskip("flatbuffers")
    return jax_export.deserialize(bytearray(_program(agent, codec, state, 0)))


@pytest.mark.parametrize(
    ("algorithm", "settings"), [("sac", {}), ("mbpo", {}), ("poplin-a", {"evaluate_by": "policy"})]
)
def test_numpy_acts_as_jax_in_the_environments_units(algorithm, settings, tmp_path):
    agent, codec, state, _ = of(algorithm, DICT, ACTION, **settings)
    seen = Normalizer(jnp.array([0.3, -0.2, 0.1]), jnp.array([2.0, 0.5, 1.0]))  # what the policy is shown
    if algorithm == "poplin-a":
        state = state._replace(seen=seen)
    elif algorithm == "mbpo":
        state = state._replace(sac=state.sac._replace(scales=state.sac.scales._replace(obs=seen)))
    else:
        state = state._replace(scales=state.scales._replace(obs=seen))
    policy = JaxPolicy(agent, codec, state, 0)
    there = in_numpy(tmp_path, agent, codec, state)
    obs = codec.obs_to_env(SEEN)
    batch = there(obs)
    assert batch.dtype == np.float32
    np.testing.assert_allclose(batch, policy(obs), rtol=1e-5, atol=1e-5)
    one = {key: value[0] for key, value in obs.items()}
    np.testing.assert_allclose(there(one), batch[0], rtol=1e-5, atol=1e-6)
    assert there(one).shape == (2,)
    with pytest.raises(ValueError, match=r"must have the shape \(2, 1\), or \[n, ...\] of it, not \(5,\)"):
        there({"a": obs["a"], "b": np.zeros(5)})
    with pytest.raises(ValueError, match="not finite"):
        there({"a": obs["a"] * np.nan, "b": obs["b"]})


@pytest.mark.parametrize("algorithm", ["dyna-q", "prioritized-sweeping"])
def test_tables_are_exported_too(algorithm, tmp_path):
    agent, codec, state, _ = of(algorithm, spaces.Discrete(6, start=10), spaces.Discrete(3, start=-1))
    state = state._replace(q=jax.random.normal(jax.random.key(0), (6, 3)))
    there, policy = in_numpy(tmp_path, agent, codec, state), JaxPolicy(agent, codec, state, 0)
    obs = np.arange(10, 16)
    np.testing.assert_array_equal(there(obs), policy(obs))
    assert there(10) == policy(np.array([10]))[0]


def test_whole_actions_stay_whole(tmp_path):
    agent, codec, state, policy = of("sac", spaces.Box(-1, 1, (3,)), spaces.Box(0, 9, (1,), np.int32))
    there = in_numpy(tmp_path, agent, codec, state)
    assert there(SEEN).dtype == np.int32
    np.testing.assert_array_equal(there(SEEN), policy(SEEN))
    program = program_of(agent, codec, state)
    np.testing.assert_array_equal(program.call(SEEN), policy(SEEN))


@pytest.mark.parametrize(
    ("algorithm", "obs", "action"), [("sac", DICT, ACTION), ("dyna-q", spaces.Discrete(6), spaces.Discrete(3, start=2))]
)
def test_stablehlo_acts_as_jax(algorithm, obs, action):
    agent, codec, state, policy = of(algorithm, obs, action)
    if algorithm == "dyna-q":
        state = state._replace(q=jax.random.normal(jax.random.key(0), (6, 3)))
        policy = JaxPolicy(agent, codec, state, 0)
    given = codec.obs_to_env(SEEN if algorithm == "sac" else np.array([5, 0, 3], np.int32))
    program = program_of(agent, codec, state)
    assert program.platforms == ("cpu", "cuda")
    said = program.call(jax.tree.map(lambda x: x if x.dtype == np.float32 else x.astype(np.int32), given))
    np.testing.assert_allclose(said, policy(given), rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_a_planner_goes_with_its_search(tmp_path):
    agent, codec, state, policy = of("icem", spaces.Box(-1, 1, (3,)), ACTION)
    with pytest.raises(UsageError, match=r"a planner has no policy to export as arrays; write it as .stablehlo"):
        in_numpy(tmp_path, agent, codec, state)
    program = program_of(agent, codec, state)
    _, memory = jax.tree.unflatten(program.in_tree, program.in_avals)[0][2:]
    memory = tuple(np.zeros(x.shape, x.dtype) for x in memory)
    for step in range(3):
        action, memory = program.call(SEEN[step : step + 1], np.array([step == 0]), np.int32(step), memory)
        np.testing.assert_allclose(action, policy(SEEN[step : step + 1]), rtol=1e-4, atol=1e-4)


def test_export_writes_a_file_and_its_loader_that_need_numpy_alone(tmp_path):
    agent = {"hidden": (8, 8), "batch_size": 8, "random_steps": 20}
    live = forethought.start("sac", spaces.Box(-1, 1, (3,)), ACTION, run=tmp_path / "r", steps=100, agent=agent)
    live.save()
    out = tmp_path / "out"
    files = forethought.export(tmp_path / "r", out / "policy.npz")
    assert [file.name for file in files] == ["policy.npz", "numpy_policy.py"]
    assert forethought.export(tmp_path / "r", out / "policy.npz") == files  # once more, over itself
    program = (
        "import sys; sys.modules['jax'] = sys.modules['forethought'] = None; from numpy_policy import Policy; "
        "print(*Policy('policy.npz')([0.1, 0.2, 0.3]))"
    )
    clean = {"PATH": "/usr/bin"}
    said = subprocess.run(
        [sys.executable, "-c", program], cwd=out, check=True, capture_output=True, text=True, env=clean
    )
    expected = forethought.load(tmp_path / "r")(np.array([0.1, 0.2, 0.3]))
    np.testing.assert_allclose([float(x) for x in said.stdout.split()], expected, rtol=1e-5, atol=1e-5)
    with pytest.raises(UsageError, match=r"written as .npz or .stablehlo, not 'policy.onnx'"):
        forethought.export(tmp_path / "r", out / "policy.onnx")
    (out / "numpy_policy.py").write_text("mine")
    with pytest.raises(UsageError, match="is there already and is not ours"):
        forethought.export(tmp_path / "r", out / "policy.npz")


def test_what_is_exported_knows_its_activation():
    agent, _, state, _ = of("sac", spaces.Box(-1, 1, (3,)), ACTION)
    portable = agent.portable(state)
    assert isinstance(portable, Portable)
    assert (portable.kind, portable.activation) == ("mlp", "relu")
    assert portable.arrays["weight1"].shape == (8, 2)  # without the deviations


def test_a_policy_with_a_memory_is_shown_as_many_as_it_remembers():
    *_, policy = of("dreamer-v3", spaces.Box(-1, 1, (3,)), ACTION)
    policy(np.zeros((3, 3), np.float32))
    for n in (2, 4):
        with pytest.raises(UsageError, match=rf"shown of 3 at once, and is now shown {n}; call its reset"):
            policy(np.zeros((n, 3), np.float32))
    policy.reset()
    assert len(policy(np.zeros((2, 3), np.float32))) == 2
