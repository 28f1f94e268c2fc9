"""What is said of good models and of models that are broken on purpose."""

import contextlib
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from dreamers import KEY, SMALL, Constant, Walk, WrongSign, play, too_sure, walks

from forethought.diagnostics import measure, read_diagnosis, verdict, write_diagnosis
from forethought.diagnostics.words import trusted_steps
from forethought.envs.control import Pendulum
from forethought.errors import CheckpointError
from forethought.models.oracle import Oracle

pytestmark = [pytest.mark.slow, pytest.mark.learned]

ORACLE = Oracle(Pendulum())
HORIZON = 20


@pytest.fixture(scope="module")
def examine(held_out, world):
    return lambda model, **more: measure(model, held_out, horizon=HORIZON, world=world, settings=SMALL, key=KEY, **more)


def one_line_each(said):
    assert all("\n" not in sentence for sentence in said)
    return said


def test_the_world_itself_is_good(examine):
    d = examine(ORACLE)
    assert one_line_each(verdict(d))[0].startswith("Good")
    assert trusted_steps(d) == HORIZON
    assert np.asarray(d.open_loop.mean).max() < 1e-3
    np.testing.assert_allclose(d.exploitation.imagined, d.exploitation.real, atol=0.05)
    assert d.exploitation.imagined[-1].mean() > d.exploitation.imagined[0].mean() + 5.0  # planning does gain
    np.testing.assert_allclose(d.value_gap.imagined, d.value_gap.real, atol=0.05)
    assert float(d.favoured.model_error) < 0.1


def test_the_world_itself_under_a_policy(examine):
    push = lambda obs: np.sign(obs[:, 2:])  # noqa: E731
    episodes = play(3, seed=4, act=push)
    d = measure(
        ORACLE, episodes, horizon=HORIZON, policy=lambda obs, key: jnp.sign(obs[:, 2:]), settings=SMALL, key=KEY
    )
    # sign(0) is where float32 may fall to either side; nearly all starts agree
    assert np.median(np.abs(np.asarray(d.value_gap.imagined - d.value_gap.real))) < 0.01
    assert d.value_gap.closed_loop
    assert d.exploitation is None


def test_a_well_fitted_ensemble_is_good(examine, fitted):
    d = examine(fitted)
    # Where all errors are small, it is chance whether disagreement ranks them.
    said = [sentence for sentence in verdict(d) if not sentence.startswith("Its disagreement does not tell")]
    assert all(sentence.startswith("Good") for sentence in said)
    assert d.open_loop.mean[0, 1] < 0.1 * d.open_loop.still[0, 1]
    assert float(d.nll) < 1.5  # one that knows only the spread of each of three dimensions has 4.3


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_whether_disagreement_tells_where_the_model_is_wrong(sign):
    """It is twice as wrong upwards as downwards; its disagreement is greatest there, or least."""

    class Doubtful(Walk):
        def step(self, belief, action, *, key):
            return super().step(belief, action + 0.125 * (1 + (action > 0)), key=key)

        def disagreement(self, belief, action):
            return sign * action[:, 0]

    d = measure(Doubtful(), walks(6, 40), horizon=5, settings=SMALL, key=KEY)
    assert float(d.disagreement_rank) == pytest.approx(sign, abs=0.01)
    said = one_line_each(verdict(d))
    assert any("disagreement does not tell where it is wrong" in sentence for sentence in said) == (sign < 0)


@pytest.mark.parametrize("inner", ["oracle", "fitted"])
def test_a_reward_with_the_wrong_sign_is_named(examine, fitted, inner):
    said = one_line_each(verdict(examine(WrongSign(ORACLE if inner == "oracle" else fitted))))
    assert "reward has the wrong sign" in said[0]
    assert any("Exploited by planning" in sentence for sentence in said)
    assert any("promises too much" in sentence for sentence in said)
    assert not any("confident" in sentence for sentence in said)


def test_too_much_confidence_is_named(examine, fitted):
    said = one_line_each(verdict(examine(too_sure(fitted))))
    assert [sentence.split(":")[0] for sentence in said] == ["Over-confident"]


@pytest.mark.parametrize("inner", ["oracle", "fitted"])
def test_a_constant_is_named(examine, fitted, inner):
    said = one_line_each(verdict(examine(Constant(ORACLE if inner == "oracle" else fitted))))
    assert said[0].startswith("No better than the prediction that nothing changes")
    assert not any("confident" in sentence or "reward" in sentence for sentence in said)


def of_walk(model, horizon=10, **more):
    return verdict(measure(model, walks(n=20, steps=40, **more), horizon=horizon, settings=SMALL, key=KEY))


def test_errors_that_grow_are_named_with_the_step():
    (said, *_) = of_walk(Walk(drift=0.3))
    assert said.startswith("Its errors grow: trust rollouts of up to ")
    steps = int(said.split("up to ")[1].split(" ")[0])
    std = np.concatenate([e.obs for e in walks(n=20, steps=40)]).std()
    assert steps == int(0.3 * std / 0.3)  # a drift of 0.3 per step, an error of 0.3 standard deviations


def test_too_little_confidence_is_named():
    assert any("Under-confident" in sentence for sentence in of_walk(Walk(noise=2.0), noise=0.2))
    assert not any("confident" in sentence for sentence in of_walk(Walk(noise=0.2), noise=0.2))


def test_wrong_endings_are_named():
    assert any("does not see the world end" in sentence for sentence in of_walk(Walk(), terminated=True))
    assert any("endings that do not come" in sentence for sentence in of_walk(Walk(wall=3.0)))


def test_a_wrong_reward_is_named():
    assert any("reward is wrong" in sentence for sentence in of_walk(Walk(pay=3.0)))


def test_what_is_written_is_read(examine, fitted, tmp_path):
    d = examine(fitted)
    path = write_diagnosis(d, verdict(d), tmp_path / "deep" / "diagnostics.json")
    again = read_diagnosis(path)
    assert verdict(again) == verdict(d)
    assert json.loads(path.read_text())["verdict"] == verdict(d)
    assert jax.tree.structure(again, is_leaf=lambda x: x is None) == jax.tree.structure(d, is_leaf=lambda x: x is None)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), again, d)


@pytest.mark.parametrize("pay", [np.inf, -np.inf, np.nan])
def test_what_diverges_is_named_also_where_it_is_read_again(pay, tmp_path):
    d = measure(Walk(pay=pay), walks(), horizon=4, settings=SMALL, key=KEY)
    assert any("dreams diverge" in sentence for sentence in one_line_each(verdict(d)))
    again = read_diagnosis(write_diagnosis(d, verdict(d), tmp_path / "diagnostics.json"))
    np.testing.assert_array_equal(again.value_gap.imagined, d.value_gap.imagined)
    assert verdict(again) == verdict(d)


def test_plans_that_diverge_are_named(examine):
    d = examine(ORACLE)
    d = d._replace(exploitation=d.exploitation._replace(imagined=d.exploitation.imagined.at[-1, 0].set(jnp.nan)))
    assert verdict(d) == ["Exploited by planning: what the best of 600 plans promises is no finite number."]


def test_the_worst_confidence_is_told_where_other_steps_are_unknown(examine, fitted):
    d = examine(too_sure(fitted))
    coverage = 0.5 * np.array(d.calibration.coverage)  # whichever steps it was that it was too sure of
    coverage[-1] = np.nan
    (said,) = verdict(d._replace(calibration=d.calibration._replace(coverage=coverage)))
    assert said.startswith("Over-confident")
    assert "nan" not in said


def test_no_flipped_bit_of_a_diagnosis_is_believed(tmp_path):
    d = measure(Walk(pay=3.0), walks(), horizon=4, settings=SMALL, key=KEY)
    path = write_diagnosis(d, verdict(d), tmp_path / "diagnostics.json")
    whole, said = path.read_bytes(), json.loads(path.read_text())
    for at in np.random.default_rng(0).permutation(8 * len(whole))[:300]:
        damaged = bytearray(whole)
        damaged[at // 8] ^= 1 << at % 8
        path.write_bytes(bytes(damaged))
        with contextlib.suppress(CheckpointError):
            read_diagnosis(path)
            assert json.loads(path.read_bytes()) == said  # another way of writing the same number


def test_what_is_no_diagnosis_is_refused_in_one_line(tmp_path):
    path = tmp_path / "diagnostics.json"
    for text in ("{", "[]", '{"format": 1}', '{"format": 2}', '{"format": 2, "horizon": "x"}'):
        path.write_text(text)
        with pytest.raises(CheckpointError) as caught:
            read_diagnosis(path)
        assert "\n" not in str(caught.value)
    with pytest.raises(CheckpointError, match=r"cannot read .*nothing.json: No such file"):
        read_diagnosis(tmp_path / "nothing.json")
