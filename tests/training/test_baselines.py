"""What a policy has to beat, and that it is said where it does not."""

import json
import re

import numpy as np
import pytest

import forethought
from forethought.errors import UsageError
from forethought.training import baselines as module
from forethought.training.baselines import Baseline, below, choose, described, far_below, play_baselines
from forethought.training.config import RunConfig
from forethought.training.evaluate import make_world

TINY = {"hidden": (8, 8), "batch_size": 8, "random_steps": 20, "replay_capacity": 500}
QUICK = {"eval_every": 10_000, "eval_episodes": 2, "checkpoint_every": 25, "log_every": 10}


def played(env, **config):
    config = RunConfig("sac", env, 100, eval_episodes=20, **config)
    world = make_world(config, [0])
    world.close()
    return play_baselines(config, world.codec), world


def test_the_best_constant_action_is_found_in_own_units():
    """The constant action -7.5 of -10 to 10 earns nothing lost; see `tests.training.paying:Tracking-v0`."""
    found, _ = played("tests.training.paying:Tracking-v0")
    assert found["best constant action"].action == [-7.5]
    assert found["best constant action"].mean == pytest.approx(0.0, abs=1e-4)
    # |a + 7.5| for a uniform in [-10, 10]: (2.5^2 + 17.5^2) / 40 a step, 5 steps.
    assert found["random actions"].mean == pytest.approx(-5 * (2.5**2 + 17.5**2) / 40, rel=0.2)


def right(obs):
    """What the environment wants, in its own units."""
    return np.array([-7.5])


def test_a_controller_is_played_in_own_units_and_said_to_be_better(tmp_path):
    env = "tests.training.paying:Tracking-v0"
    run = forethought.train(
        "sac", env, steps=30, agent=TINY, run=tmp_path / "run", controller=f"{__name__}:right", **QUICK
    )
    assert run.summary["baselines"]["your controller"]["mean"] == pytest.approx(0.0, abs=1e-4)
    with open(tmp_path / "run" / "metrics.jsonl") as lines:
        warnings = [line["text"] for line in map(json.loads, lines) if line["kind"] == "warning"]
    assert any("the policy earns" in text and "controller (0" in text.replace("-0", "0") for text in warnings), warnings


@pytest.mark.parametrize(
    ("controller", "said"),
    [
        (lambda obs: obs["room"], r"the controller .* raised IndexError"),
        (lambda obs: [1.0, 2.0], r"the controller .*: "),
        (lambda obs: "warmer", r"the controller .*: "),
        ("tests.training.test_baselines:wrong", r"has no 'wrong'"),
        ("math:pi", "controller is 'math:pi'; it takes a function"),
    ],
)
def test_a_controller_that_gives_no_action_is_refused(controller, said, tmp_path):
    with pytest.raises(UsageError, match=said):
        forethought.train(
            "sac",
            "tests.training.paying:Tracking-v0",
            steps=30,
            agent=TINY,
            run=tmp_path / "run",
            controller=controller,
            **QUICK,
        )


def test_every_evaluation_of_a_run_is_of_the_same_episodes(monkeypatch, tmp_path):
    """Else the weather of a day, and not the policy, would say which is the best."""
    from forethought.training import evaluate, trainer

    starts, make = [], evaluate.make_world

    def noted(*args, **options):
        world = make(*args, **options)
        if options.get("stream") == "evaluation":
            starts.append(world.reset().obs[:2].tolist())
        return world

    monkeypatch.setattr(evaluate, "make_world", noted)
    assert trainer.evaluate is evaluate.evaluate
    options = {**QUICK, "eval_every": 10}
    forethought.train("sac", "forethought/Pendulum-v0", steps=30, agent=TINY, run=tmp_path / "run", **options)
    assert len(starts) == 5  # two baselines, and the policy at 0, 20 and 30; by 10 it has learned nothing
    assert all(other == starts[0] for other in starts)


def test_of_a_few_actions_every_one_is_tried():
    found, _ = played("forethought/DynaMaze-v0")
    assert found["best constant action"].action in (0, 1, 2, 3)


def test_candidates_are_compared_in_episodes_that_begin_alike():
    """Starts are worth 100, candidates differ by 1: with starts of its own for each, chance would choose."""
    rng, asked = np.random.default_rng(0), []
    worth = {stream: rng.normal(scale=100.0, size=100) for stream in ("all", "better")}
    candidates = np.arange(12.0)[:, None]

    def returns(tried, episodes, stream):
        asked.append((len(tried), episodes))
        return np.mean(worth[stream][:episodes] - (tried - 7.2) ** 2 / 30.0, axis=1)

    assert choose(candidates, returns).tolist() == [[7.0]]
    assert asked == [(12, 3), (4, 6)]


def test_the_better_ones_are_compared_in_all_their_episodes():
    """The first three episodes flatter candidate 0, the next six say that it is worse than candidate 1."""
    said = {"all": np.array([10.0, 9.0, 0.0]), "better": np.array([0.0, 1.0])}
    chosen = choose(np.array([[0.0], [1.0], [2.0]]), lambda tried, episodes, stream: said[stream])
    assert chosen.tolist() == [[1.0]]


def test_all_candidates_meet_the_same_starts(monkeypatch):
    """Where the start alone says what is earned, all of them earn the same, and that differs from stream to stream."""
    seen = []

    def chosen(candidates, returns):
        seen.extend(returns(candidates, 4, stream) for stream in ("all", "better"))
        return candidates[:1]

    monkeypatch.setattr(module, "choose", chosen)
    played("tests.training.paying:Lottery-v0")
    assert [len(set(returns)) for returns in seen] == [1, 1]
    assert len(seen[0]) == 9
    assert seen[0][0] != seen[1][0]


@pytest.mark.slow
def test_baselines_follow_from_the_seed_alone():
    (first, _), (again, _), (other, _) = (
        played("Pendulum-v1", seed=seed, seeds=seeds) for seed, seeds in ((0, 1), (0, 3), (1, 1))
    )
    assert first == again
    assert first != other


@pytest.mark.parametrize(("returns", "named"), [([-50.0, -52.0], True), ([-9.0, -11.0], False), ([-20.0, 0.0], False)])
def test_a_policy_below_a_baseline_is_named(returns, named):
    baselines = {
        "random actions": Baseline(-80.0, 4.0),
        "best constant action": Baseline(-10.0, 0.5, [4.8]),
    }
    said = below(np.array([returns]), baselines)
    if named:
        assert said == "the policy earns less than a baseline: -51, best constant action [4.8] (-10 ± 0.5)"
    else:
        assert said is None


def test_a_baseline_is_no_more_certain_than_its_episodes():
    """0.6 less, where the baseline's own mean is known to 1.0."""
    assert below(np.full((1, 2), -10.6), {"random actions": Baseline(-10.0, 1.0)}) is None


def test_without_baselines_nothing_is_compared():
    assert below(np.zeros((1, 2)), {}) is None


@pytest.mark.parametrize(
    ("random", "constant", "said"),
    [
        ((-17_090.0, 8000.0), (-1546.0, 220.0), False),  # it might be less than five times
        ((-17_090.0, 4000.0), (-1546.0, 220.0), True),
        ((-1290.0, 100.0), (-1416.0, 50.0), False),
        ((-127.0, 36.0), (-36.0, 0.8), False),
        ((5.0, 1.0), (100.0, 1.0), False),
    ],
)
def test_random_actions_that_hide_the_rest_are_named(random, constant, said):
    words = far_below({"random actions": Baseline(*random), "best constant action": Baseline(*constant, [1.5])})
    assert (words is not None) is said
    if words:
        assert words.startswith(
            "random actions fall far behind the best constant one: they earn -1.709e+04, that -1546; "
        )


def test_a_large_action_is_told_in_few_digits():
    assert described("best constant action", Baseline(1.0, 0.0, [0.1234567, -2.0])) == (
        "best constant action [ 0.1235 -2.    ] (1 ± 0)"
    )


@pytest.mark.slow
def test_a_run_keeps_its_baselines_and_warns_of_a_policy_below_them(tmp_path):
    run = forethought.train(
        "sac", "tests.training.paying:Tracking-v0", steps=60, run=tmp_path / "run", agent=TINY, **QUICK
    )
    lines = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    (record,) = [line for line in lines if line["kind"] == "baselines"]
    assert record["best constant action"]["action"] == [-7.5]
    assert run.summary["baselines"]["best constant action"] == record["best constant action"]
    # Forty updates do not find -7.5.
    assert any(re.search(r"less than a baseline: .*constant action \[-7.5\]", line.get("text", "")) for line in lines)
    longer = forethought.resume(run.path, steps=80)
    assert longer.summary["baselines"] == run.summary["baselines"]


@pytest.mark.slow
def test_baselines_can_be_left_out(tmp_path):
    run = forethought.train("sac", "Pendulum-v1", steps=30, run=tmp_path / "run", agent=TINY, baselines=False, **QUICK)
    assert run.summary["baselines"] == {}
    assert '"baselines"' not in (run.path / "metrics.jsonl").read_text()


@pytest.mark.parametrize(("error", "told"), [(131.4, "130"), (94.6, "95"), (0.4561, "0.46"), (0.0, "0")])
def test_an_error_has_two_digits_and_no_powers(error, told):
    assert module.earned(Baseline(-1404.2, error, None)) == f"-1404 ± {told}"
