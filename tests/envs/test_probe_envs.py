import numpy as np
import pytest

from forethought.envs import make
from forethought.envs.probes import Probe
from forethought.errors import UsageError
from forethought.types import Box, Discrete

NAMES = ("Constant", "Observation", "Discount", "Action", "Policy", "Truncation", "Termination")
GAMMA = 0.9
CASES = [(name, kind, kind) for name in NAMES for kind in ("box", "discrete")]
CASES += [("Policy", "box", "discrete"), ("Policy", "discrete", "box")]


@pytest.mark.parametrize(("name", "obs", "action"), CASES)
def test_the_stated_values_are_those_of_playing_best(name, obs, action):
    """Monte Carlo returns of the best actions, bootstrapped at truncations, equal `optimal_values` wherever seen."""
    probe = Probe(name, obs, action)
    env = make(f"forethought/Probe{name}-v0", seeds=range(4), env_kwargs={"obs": obs, "action": action})
    shown, values, best = probe.observations(), probe.optimal_values(GAMMA), probe.optimal_actions()
    assert env.spec.obs == (Box((1,)) if obs == "box" else Discrete(len(shown)))
    assert env.spec.action == (Box((1,)) if action == "box" else Discrete(2))
    current, seen = env.reset().obs, set()
    for _ in range(12):
        index = [int(np.flatnonzero((shown.reshape(len(shown), -1) == o).all(1))[0]) for o in current]
        chosen = np.zeros((4, *getattr(env.spec.action, "shape", ()))) if best is None else best[index]
        step = env.step(chosen)
        after = [int(np.flatnonzero((shown.reshape(len(shown), -1) == o).all(1))[0]) for o in step.reached.obs]
        target = step.reached.reward + GAMMA * np.where(step.reached.terminated, 0.0, values[after])
        np.testing.assert_allclose(target, values[index], rtol=1e-6)
        seen.update(index)
        current = step.now.obs
    assert seen == set(range(len(shown)))


def test_the_closed_forms():
    values = {name: Probe(name).optimal_values(GAMMA) for name in NAMES}
    assert values["Constant"].tolist() == [1.0]
    assert values["Observation"].tolist() == [-1.0, 1.0]
    assert values["Discount"].tolist() == [GAMMA, 1.0]
    assert values["Action"].tolist() == [0.0]
    assert values["Policy"].tolist() == [0.0, 0.0]
    np.testing.assert_allclose(values["Truncation"], [10.0])
    np.testing.assert_allclose(values["Termination"], [(1 - GAMMA ** (5 - k)) / (1 - GAMMA) for k in range(5)])
    assert Probe("Action", action="discrete").optimal_values(GAMMA).tolist() == [1.0]
    assert Probe("Policy", action="discrete").optimal_actions().tolist() == [0, 1]
    assert Probe("Policy").optimal_actions().tolist() == [[-0.5], [0.5]]
    assert Probe("Constant").optimal_actions() is None


@pytest.mark.parametrize(
    ("name", "kind", "action", "reward"),
    [
        ("Action", "box", [[1.0], [0.5], [0.0], [-1.0]], [-0.25, 0.0, -0.25, -2.25]),
        ("Action", "discrete", [0, 1, 0, 1], [-1.0, 1.0, -1.0, 1.0]),
    ],
)
def test_what_actions_pay(name, kind, action, reward):
    env = make(f"forethought/Probe{name}-v0", seeds=range(4), env_kwargs={"action": kind})
    env.reset()
    step = env.step(np.array(action))
    assert step.reached.reward.tolist() == reward
    assert step.reached.terminated.all()


def test_the_policy_probe_pays_for_looking():
    env = make("forethought/ProbePolicy-v0", seeds=range(8), env_kwargs={"action": "discrete"})
    seen = env.reset().obs[:, 0]
    assert set(seen.tolist()) == {-1.0, 1.0}
    assert env.step(np.ones(8, np.int32)).reached.reward.tolist() == seen.tolist()


def test_truncation_and_termination_differ_in_nothing_but_the_flag():
    for name, terminates in (("Truncation", False), ("Termination", True)):
        env = make(f"forethought/Probe{name}-v0", seeds=[0])
        env.reset()
        steps = [env.step(np.zeros((1, 1))) for _ in range(5)]
        assert [bool(step.ended[0]) for step in steps] == [False] * 4 + [True]
        assert (steps[-1].reached.terminated[0], steps[-1].reached.truncated[0]) == (terminates, not terminates)
        assert all(step.reached.reward[0] == 1.0 for step in steps)


def test_other_kinds_are_refused():
    with pytest.raises(UsageError, match="one of box, discrete, not 'image'"):
        Probe("Constant", action="image")
