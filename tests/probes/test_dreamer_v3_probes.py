"""Dreamer V3 finds the values that are known, and the actions that are best."""

import pytest

import probing

pytestmark = [pytest.mark.learned, pytest.mark.slow]

SETTINGS = {**probing.DREAM, "learning_rate": 1e-3, "warmup": 20, "discount": probing.GAMMA, "slow_rate": 0.1}
STEPS = 4000
# Numbers are drawn widely at first, and while they are, the bound is the best mean there is: what is cut off there errs
# less than what falls on the other side.
LONGER = {"Policy": 6000}


@pytest.fixture(scope="module")
def learners():
    return {kind: probing.learner("dreamer-v3", kind, SETTINGS, max(LONGER.values())) for kind in ("box", "discrete")}


@pytest.mark.parametrize(
    ("kind", "name"), [*(("discrete", name) for name in probing.NAMES), ("box", "Action"), ("box", "Policy")]
)
def test_values_and_actions(learners, kind, name):
    """Numbers differ from choices in their actions alone."""
    probing.values_and_actions(learners[kind], name, kind, LONGER.get(name, STEPS))
