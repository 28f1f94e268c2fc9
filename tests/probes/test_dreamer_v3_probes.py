"""Dreamer V3 finds the values that are known, and the actions that are best."""

import pytest

import probing

pytestmark = [pytest.mark.learned, pytest.mark.slow]

SETTINGS = {**probing.DREAM, "learning_rate": 1e-3, "warmup": 20, "discount": probing.GAMMA, "slow_rate": 0.1}
STEPS = 4000
# Numbers are drawn widely at first, and while they are, the bound is the best mean there is: what is cut off there errs
# less than what falls on the other side.
LONGER = {"Policy": 6000}


@pytest.fixture(scope="module", params=["box", "discrete"])
def learner(request):
    return request.param, probing.learner("dreamer-v3", request.param, SETTINGS, max(LONGER.values()))


@pytest.mark.parametrize("name", probing.NAMES)
def test_values_and_actions(learner, name):
    kind, agent = learner
    probing.values_and_actions(agent, name, kind, LONGER.get(name, STEPS))
