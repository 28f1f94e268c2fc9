import jax
import numpy as np
import pytest

from forethought.planning.noise import coloured_noise


def drawn(beta, steps, n=20_000):
    return np.asarray(coloured_noise(beta, (n,), steps, key=jax.random.key(steps)), np.float64)


@pytest.mark.parametrize("beta", [0.0, 1.0, 2.0])
@pytest.mark.parametrize("steps", [1, 2, 5, 16])
def test_the_variance_is_one_at_every_step(beta, steps):
    x = drawn(beta, steps)
    assert x.shape == (20_000, steps)
    np.testing.assert_allclose(x.var(axis=0), 1.0, atol=0.05)  # five standard deviations of the estimate
    np.testing.assert_allclose(x.mean(axis=0), 0.0, atol=0.04)


@pytest.mark.parametrize("steps", [2, 5, 16])
def test_a_beta_of_zero_is_white(steps):
    correlation = np.corrcoef(drawn(0.0, steps).T)
    np.testing.assert_allclose(correlation, np.eye(steps), atol=0.04)


@pytest.mark.parametrize("steps", [64, 65])
@pytest.mark.parametrize("beta", [0.0, 0.5, 1.0, 2.0])
def test_the_power_falls_with_the_frequency_to_the_beta(beta, steps):
    """Slope of the logarithms of mean power against frequency; the mean has the power of the lowest frequency."""
    power = (np.abs(np.fft.rfft(drawn(beta, steps, 4000))) ** 2).mean(axis=0)
    frequency = np.fft.rfftfreq(steps)
    slope, _ = np.polyfit(np.log(frequency[1:]), np.log(power[1:]), 1)
    assert slope == pytest.approx(-beta, abs=0.03)
    # A lone real term has the same power as a pair of real and imaginary part.
    assert power[0] == pytest.approx(power[1], rel=0.15)


def test_plans_and_dimensions_are_independent():
    x = np.asarray(coloured_noise(2.0, (5000, 2), 6, key=jax.random.key(0)))
    assert x.shape == (5000, 2, 6)
    assert abs(np.corrcoef(x[:, 0, 2], x[:, 1, 2])[0, 1]) < 0.06
    assert abs(np.corrcoef(x[:-1, 0, 2], x[1:, 0, 2])[0, 1]) < 0.06
