"""What users know, said to every agent with a model: reward, termination, and their environment as an object."""

import json
import re
from functools import partial

import gymnasium
import jax.numpy as jnp
import numpy as np
import pytest

import forethought
import small
from forethought import cli
from forethought.configure import configure
from forethought.errors import UsageError
from forethought.policy import build_agent
from forethought.report.read import read_run
from tests.house import House, comfort, frozen, make_house, shown_house

HOUSE = "tests.house:make_house"
SMALL = {**small.SETTINGS["mbpo"], "replay_capacity": 16}  # less than the steps: longer runs need no other programs


def train(path, env, agent=SMALL, **given):
    options = {"eval_every": 100, "eval_episodes": 1, "log_every": 10}
    return forethought.train("mbpo", env, steps=20, run=path, agent=agent, **options, **given)


def config_of(run):
    return json.loads((run.path / "config.json").read_text())


@pytest.fixture(scope="module")
def named(tmp_path_factory):
    """A run of which every part has a name that leads back to it."""
    return train(tmp_path_factory.mktemp("named") / "run", make_house, reward=comfort, termination="tests.house:frozen")


@pytest.fixture(scope="module")
def unnamed(tmp_path_factory):
    """A run of an object and of functions without a name."""
    functions = {name: lambda o, a, n, known=known: known(o, a, n) for name, known in KNOWN.items()}
    return train(tmp_path_factory.mktemp("unnamed") / "run", House(3.0), **functions)


KNOWN = {"reward": comfort, "termination": frozen}


@pytest.mark.parametrize("algorithm", [name for name in small.SETTINGS if name in ("mbpo", *small.PLANNERS)])
def test_every_agent_with_a_model_is_given_them(algorithm):
    config = configure(algorithm, HOUSE, steps=60, reward=comfort, termination=frozen, agent={"model_hidden": (8,)})
    agent = build_agent(config, small.envs.env_spec(HOUSE))
    learner = agent.learner
    assert (learner.reward.name, learner.termination.name) == ("tests.house:comfort", "tests.house:frozen")
    obs, action, after = jnp.array([[290.0, 275.0]]), jnp.zeros((1, 1)), jnp.array([[279.0, 275.0]])
    assert float(learner.reward(obs, action, after)[0]) == pytest.approx(-14.5)  # 14 K too cold, 2500 W
    assert bool(learner.termination(obs, action, after)[0])


@pytest.mark.parametrize("algorithm", ["sac", "dyna-q"])
def test_agents_without_such_a_model_refuse_them(algorithm):
    with pytest.raises(UsageError, match=f"{algorithm} takes no termination function"):
        configure(algorithm, HOUSE, steps=60, termination=frozen)


def test_a_given_reward_comes_before_a_known_one():
    spec = small.envs.env_spec("Pendulum-v1")
    config = configure("pets", "Pendulum-v1", steps=3000, reward=lambda o, a, n: -(a[:, 0] ** 2))
    assert config.agent["reward"] == "known"  # of the preset
    agent = build_agent(config, spec)
    np.testing.assert_allclose(agent.learner.reward(jnp.zeros((1, 3)), jnp.ones((1, 1)), jnp.zeros((1, 3))), [-4.0])


@pytest.mark.parametrize(
    ("reward", "said"),
    [
        ("comfort", "reward is 'comfort'; give a function, or module:function"),
        ("tests.house:comfrot", "has no 'comfrot'; did you mean 'comfort'"),
        (lambda o, a, n: n, r"returns the shape \(5, 2\) for 5 rows"),
    ],
)
def test_a_wrong_one_is_refused_before_anything_is_written(reward, said, tmp_path):
    with pytest.raises(UsageError, match=said):
        train(tmp_path / "run", make_house, reward=reward)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_the_run_keeps_names_and_finds_them_again(named, capsys):
    held = config_of(named)
    assert (held["env"], held["reward"], held["termination"]) == (HOUSE, "tests.house:comfort", "tests.house:frozen")
    assert "given" not in held
    run = read_run(named.path)
    # Both are right, and were held against the data.
    assert not any("contradicts" in record["text"] for record in run.of("warning"))
    (model,) = [record for record in run.of("model") if "reward_disagreement" in record]
    assert (model["reward_disagreement"], model["termination_disagreement"]) == ([0.0], [0.0])
    assert cli.main(["eval", str(named.path), "--episodes", "1"]) == 0
    assert forethought.resume(named.path, steps=22).summary["env_steps"] == 22


@pytest.mark.slow
def test_what_has_no_name_is_asked_for_again(unnamed, tmp_path):
    path = unnamed.path
    assert config_of(unnamed)["env"] == "tests.house:House(...)"
    with pytest.raises(UsageError, match=r"the environment was tests.house:House\(...\).*pass it again.*env="):
        forethought.evaluate(path, episodes=1)
    assert forethought.evaluate(path, episodes=1, env=House(3.0)).returns.shape == (1, 1)
    assert forethought.film(path, tmp_path / "v.gif", env=shown_house).exists()
    for use in (partial(forethought.resume, steps=22), forethought.diagnose):
        with pytest.raises(
            UsageError, match=r"the reward function was .*<lambda>, which no import leads to.*reward=\.\.\."
        ):
            use(path, env=House(3.0))
    with pytest.raises(UsageError, match="the termination function was"):
        forethought.diagnose(path, env=House(3.0), reward=comfort)
    assert forethought.resume(path, steps=22, env=House(3.0), **KNOWN).summary["env_steps"] == 22


@pytest.mark.slow
def test_a_policy_acts_without_the_functions_that_only_its_model_needs(unnamed):
    assert forethought.load(unnamed.path)(np.float32([290, 275])).shape == (1,)


def test_what_contradicts_the_data_is_named():
    wrong = {"reward": lambda o, a, n: -a[:, 0], "termination": lambda o, a, n: n[:, 0] > 0}
    agent = build_agent(configure("mbpo", HOUSE, steps=60, **wrong, agent=SMALL), small.envs.env_spec(HOUSE))
    assert agent.warnings({"reward_disagreement": [0.0], "termination_disagreement": [0.0005]}) == []
    said = agent.warnings({"reward_disagreement": [0.0, 0.25], "termination_disagreement": [1.0, 1.0]})
    for text, what, share in zip(said, ("termination", "reward"), ("100.0", "25.0"), strict=True):
        assert f"the {what} function " in text
        assert f"<lambda> contradicts the real transitions: {share} % of them; mend it, or leave out --{what}" in text


def wrong_reward(path, **settings):
    """An ask/tell agent whose reward function has the wrong sign."""
    world, agent = House(), {**small.SETTINGS["mbpo"], **settings}
    spaces = world.observation_space, world.action_space
    wrong = lambda o, a, n: -comfort(o, a, n)  # noqa: E731
    return forethought.start("mbpo", *spaces, run=path, steps=300, agent=agent, reward=wrong)


def live_on(agent, steps):
    """In a house of which nothing is known, until so many steps are made."""
    world = House()
    obs, _ = world.reset(seed=0)
    while agent.steps < steps:
        obs, paid, terminated, _, _ = world.step(agent.act(obs))
        agent.observe(obs, paid, terminated=terminated)
        obs = world.reset()[0] if terminated else obs


CONTRADICTS = "the reward function .* contradicts the real transitions: 100.0 % of them; mend it, or leave out --reward"


def test_a_function_that_is_wrong_is_named_long_before_the_first_fit(tmp_path):
    agent = wrong_reward(tmp_path / "run", random_steps=200)
    live_on(agent, 99)
    with pytest.warns(UserWarning, match=CONTRADICTS):
        live_on(agent, 100)
    (said,) = read_run(tmp_path / "run").of("warning")
    assert said["env_steps"] == 100
    assert agent.learner.fits == 0


def test_where_the_first_fit_comes_early_it_is_named_before_that(tmp_path):
    agent = wrong_reward(tmp_path / "run", random_steps=16)
    agent.learner.program.phases.run = lambda *_: pytest.fail("a fit")
    with pytest.warns(UserWarning, match=CONTRADICTS), pytest.raises(pytest.fail.Exception, match="a fit"):
        live_on(agent, 16)


def test_logged_data_say_it_before_anything_is_learned(tmp_path):
    obs, no = np.tile(np.float32([290.0, 275.0]), (3, 1)), np.zeros(3, bool)
    rows = {"obs": obs, "action": np.zeros((3, 1)), "next_obs": obs, "terminated": no, "truncated": no}
    given = {"data": rows | {"reward": np.full(3, -3.0)}, "reward": lambda o, a, n: -comfort(o, a, n), "seeds": 2}
    stop = lambda record: record["kind"] == "warning"  # noqa: E731
    run = train(tmp_path / "run", make_house, small.SETTINGS["mbpo"], **given, baselines=False, callback=stop)
    (said,) = read_run(run.path).of("warning")
    assert re.match(CONTRADICTS, said["text"])
    assert run.summary["fits"] == 0


@pytest.mark.slow
def test_ask_and_tell_takes_them_and_a_planner_needs_them(tmp_path):
    world, reward = House(), lambda obs, action, next_obs: comfort(obs, action, next_obs)
    agent = forethought.start(
        *("cem", world.observation_space, world.action_space),
        run=tmp_path / "run",
        steps=40,
        agent=small.SETTINGS["cem"],
        reward=reward,
        termination=frozen,
    )
    obs, _ = world.reset(seed=0)
    for _ in range(3):
        obs, paid, terminated, _, _ = world.step(agent.act(obs))
        agent.observe(obs, paid, terminated=terminated)
    agent.save()
    for use in (forethought.resume_live, forethought.load):
        with pytest.raises(UsageError, match=r"the reward function was .*pass it again"):
            use(tmp_path / "run")
    assert forethought.resume_live(tmp_path / "run", reward=comfort).steps == 3
    policy = forethought.load(tmp_path / "run", reward=comfort)
    assert policy.agent.learner.termination.name == "tests.house:frozen"
    config = tmp_path / "run" / "config.json"
    config.write_text(config.read_text().replace('"keep": 2', '"keep": 3'))  # not as it was made
    with pytest.raises(UsageError, match=r"names code \(tests.house:frozen\) and was not made here.*--trust"):
        forethought.load(tmp_path / "run", reward=comfort)
    assert forethought.load(tmp_path / "run", reward=comfort, trust=True)(obs).shape == (1,)
    with pytest.raises(UsageError, match="the run was made without a reward function"):
        forethought.load(started(tmp_path / "other", world), reward=comfort)


def started(path, world):
    spaces = world.observation_space, world.action_space
    forethought.start("cem", *spaces, run=path, steps=40, agent=small.SETTINGS["cem"]).save()
    return path


def test_the_command_line_names_them(monkeypatch, capsys):
    seen = []
    monkeypatch.setattr("forethought.api.start_run", lambda config, *_, **__: seen.append(config))
    monkeypatch.setattr("forethought.ending.finish", lambda *_, **__: 0)
    words = ["train", "cem", HOUSE, "--steps", "300"]
    assert cli.main([*words, "--reward", "tests.house:comfort", "--termination", "tests.house:frozen"]) == 0
    assert (seen[0].reward, seen[0].termination) == ("tests.house:comfort", "tests.house:frozen")
    monkeypatch.undo()
    for name, said in (("tests.house:nothing", "the module 'tests.house' has no 'nothing'"), ("me", "reward is 'me'")):
        assert cli.main([*words, "--reward", name]) == 2
        error = capsys.readouterr().err
        assert error.startswith(f"error: {said}")
        assert error.count("\n") == 1


@pytest.mark.parametrize(("env", "preset"), [("Pendulum", "pendulum"), ("Hopper-v5", "hopper"), ("Villa", None)])
def test_the_preset_is_that_of_the_version_meant(env, preset):
    config = configure("mbpo", env, steps=6000)
    assert config.preset == preset
    assert config.env == {"Pendulum": "Pendulum-v1", "Villa": "Villa-v2"}.get(env, env)


def test_arguments_of_an_object_are_its_own():
    assert configure("mbpo", gymnasium.make("Pendulum-v1", g=5.0), steps=3000).env_kwargs == {"g": 5.0}
    with pytest.raises(UsageError, match=r"env_kwargs \['size'\] go to a class or a function.*is made already"):
        configure("mbpo", House(), steps=3000, env_kwargs={"size": 2.0})
    assert configure("mbpo", House, steps=3000, env_kwargs={"size": 2.0}).env_kwargs == {"size": 2.0}
