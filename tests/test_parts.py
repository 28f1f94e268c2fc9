"""Images, vectors and numbers that are seen together go through every part of the library."""

import jax
import numpy as np
import pytest
from jax import export as jax_export

import forethought
import seeing
import small
from forethought.data import read
from forethought.envs import make
from forethought.errors import EnvironmentFault, UsageError
from forethought.training.rundir import RunDir
from forethought.types import Box, Discrete, Parts

ENV = "seeing:Seeing-v0"
AGENT = {"hidden": (8,), "batch_size": 8, "random_steps": 8, "conv": ((4, 3, 1),), "target_every": 8}
SPACE = Parts((("gear", Discrete(2)), ("picture", Box((5, 6, 1), "uint8")), ("speed", Box((2,)))))


def same(left, right):
    jax.tree.map(np.testing.assert_array_equal, left, right)


def rolled(world, steps, seed=0):
    rng = np.random.default_rng(seed)
    return [world.step(rng.integers(2, size=world.num_slots)) for _ in range(steps)]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    path = tmp_path_factory.mktemp("parts") / "run"
    return forethought.train("dqn", ENV, steps=60, seeds=2, run=path, agent=AGENT, eval_every=30, eval_episodes=2)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_world_goes_back_to_what_was_seen(workers):
    world = make(ENV, seeds=[0, 1], envs_per_seed=2, workers=workers)
    assert world.spec.obs == SPACE
    world.reset()
    rolled(world, 15)
    state, steps = world.get_state(), rolled(world, 15, seed=1)
    assert any(step.ended.any() for step in steps)
    first = next(step for step in steps if step.ended.any())
    i = int(np.argmax(first.ended))
    assert first.now.obs["gear"][i] == 0  # the beginning of the next episode, not the end of this one
    again, notes = world.set_state(state)
    assert notes == []
    same(again.obs, state["obs"])
    same(rolled(world, 15, seed=1), steps)
    world.close()


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("nan", r"returned an observation\['speed'\] with nan in dimension 1 at step 3"),
        ("blind", r"broke its observation space .*the keys \['gear', 'picture', 'speed'\]"),
    ],
)
def test_what_is_wrong_is_named_with_its_part(fault, said):
    world = make(ENV, seeds=[0], env_kwargs={"fault": fault})
    world.reset()
    with pytest.raises(EnvironmentFault, match=said):
        rolled(world, 3)


def test_what_lies_beyond_its_bounds_is_warned_of_once():
    world = make(ENV, seeds=[0], env_kwargs={"fault": "beyond"})
    world.reset()
    with pytest.warns(UserWarning, match=r"7 in dimension 1 of the observation\['speed'\], beyond its declared high 1"):
        rolled(world, 3)


def test_a_stopped_run_goes_on_as_if_it_had_not(run, tmp_path):
    options = {"seeds": 2, "agent": AGENT, "eval_every": 30, "eval_episodes": 2}
    part = tmp_path / "part"
    forethought.train("dqn", ENV, steps=60, run=part, callback=lambda line: line.get("env_steps", 0) >= 40, **options)
    RunDir.open(part).require_unfinished(1)
    resumed = forethought.resume(part)
    same(resumed.transitions().obs, run.transitions().obs)
    one, other = forethought.load(part), forethought.load(run.path)
    same(one.state, other.state)


@pytest.mark.parametrize("algorithm", ["dqn", "ppo"])
def test_blocks_are_the_steps_of_the_host(algorithm):
    kinds = {"obs": "dict", "action": "discrete"}
    settings = {"conv": ((4, 2, 1),), **({"normalize": True} if algorithm == "ppo" else {})}
    learners = []
    for in_blocks in (True, False):
        world = make("forethought/ProbePolicy-v0", seeds=[0, 1], envs_per_seed=2, env_kwargs=kinds)
        learner = small.Learner(small.make_agent(algorithm, world.spec, **settings), [0, 1], 2, 48)
        now = world.reset()
        while learner.env_steps < 48:
            if not in_blocks or learner.run_block(world, (48 - learner.env_steps) // 2) is None:
                now = small.advance(learner, world, world.now())
        learners.append(learner)
    assert learners[0].updates == learners[1].updates > 0
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), *(x.state for x in learners))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), *(x.replay for x in learners))
    assert set(now.obs) == {"number", "picture"}


def test_a_policy_takes_one_or_many(run):
    policy, env = forethought.load(run.path), seeing.Seeing()
    seen = [env.reset(seed=i)[0] for i in range(3)]
    one = [policy(obs) for obs in seen]
    policy.reset()
    many = policy({key: np.stack([obs[key] for obs in seen]) for key in seen[0]})
    assert [int(a) for a in one] == many.tolist()
    with pytest.raises(UsageError, match="not finite"):
        policy({**seen[0], "speed": np.array([0.0, np.inf])})
    with pytest.raises(UsageError, match="must be a dict with the keys"):
        policy(np.zeros(3))


def test_an_exported_policy_acts_alike(run):
    pytest.importorskip("flatbuffers")
    (path,) = forethought.export(run.path, run.path / "policy.stablehlo")
    call = jax_export.deserialize(bytearray(path.read_bytes())).call
    policy, rows = forethought.load(run.path), run.transitions(seed=0).obs
    np.testing.assert_array_equal(call(jax.tree.map(np.asarray, rows)), policy(rows))
    with pytest.raises(UsageError, match=r"sees vectors only; write a \.stablehlo"):
        forethought.export(run.path)


def test_logged_transitions_keep_their_parts(run, tmp_path):
    logged = run.transitions()
    assert {name: x.shape[1:] for name, x in logged.obs.items()} == {"gear": (), "picture": (5, 6), "speed": (2,)}
    path, codec = logged.save(tmp_path / "logged.npz"), make(ENV, seeds=[0]).codec
    rows = read(path, codec)
    same(rows.rows.obs, codec.obs_to_agent(logged.obs))
    assert rows.described() == {**read(logged, codec).described(), "source": str(path)}
    again = forethought.train(
        "dqn", ENV, steps=20, run=tmp_path / "again", agent=AGENT, data=path, pretrain=5, eval_every=20, eval_episodes=1
    )
    same(jax.tree.map(lambda x: x[:120], again.transitions().obs), logged.obs)
    broken = {**{name: getattr(logged, name) for name in ("action", "reward", "next_obs", "terminated", "truncated")}}
    for changed, said in (
        ({"speed": np.where(np.arange(120)[:, None] == 7, np.nan, 0.0) * np.ones(2)}, "obs of row 7 is not finite"),
        ({"gear": np.zeros(3, np.int64)}, "not equally many"),
    ):
        with pytest.raises(UsageError, match=said):
            read({**broken, "obs": {**logged.obs, **changed}}, codec)


def test_an_agent_that_is_asked_and_told_resumes(tmp_path):
    env = seeing.Seeing()
    spaces = env.observation_space, env.action_space

    def live(agent, steps, obs):
        for _ in range(steps):
            seen, reward, terminated, truncated, _ = env.step(agent.act(obs))
            agent.observe(seen, reward, terminated=terminated, truncated=truncated)
            obs = env.reset()[0] if terminated or truncated else seen
        return obs

    whole = forethought.start("dqn", *spaces, run=tmp_path / "whole", steps=40, agent=AGENT)
    live(whole, 40, env.reset(seed=3)[0])
    part = forethought.start("dqn", *spaces, run=tmp_path / "part", steps=40, agent=AGENT)
    obs = live(part, 25, env.reset(seed=3)[0])
    part.save()
    part = forethought.resume_live(tmp_path / "part")
    live(part, 15, obs)
    same(part.learner.state, whole.learner.state)
    with pytest.raises(UsageError, match="takes one observation, got a batch"):
        part.act({"gear": np.zeros(2, int), "picture": np.zeros((2, 5, 6)), "speed": np.zeros((2, 2))})


def test_agents_of_vectors_name_those_that_can(tmp_path):
    with pytest.raises(
        UsageError, match=r"it takes vector observations .* has dict observations \(gear: Discrete\(2\)"
    ):
        forethought.train("sac", ENV, steps=10, run=tmp_path / "run")
