"""Mixtures against scipy, and what a temperature does to them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from forethought.nets.mixture import Mixture

OUT = jnp.asarray(np.random.default_rng(0).normal(size=(4, 3 * 2 * 5)), jnp.float32)


def test_the_density_is_that_of_each_component_by_its_weight():
    says, x = Mixture.of(OUT, 5), jnp.asarray(np.random.default_rng(1).normal(size=(4, 2)), jnp.float32)
    assert says.mean.shape == (4, 2, 5)
    weight = np.asarray(jax.nn.softmax(says.logits))
    of_each = stats.norm(np.asarray(says.mean), np.exp(says.log_std)).pdf(np.asarray(x)[..., None])
    np.testing.assert_allclose(says.log_prob(x), np.log((weight * of_each).sum(axis=-1)), rtol=1e-4)
    one = Mixture(jnp.zeros((3, 1)), jnp.ones((3, 1)), jnp.full((3, 1), 0.5))
    expected = stats.norm(1.0, np.exp(0.5)).logpdf(0.3)
    np.testing.assert_allclose(one.log_prob(jnp.full(3, 0.3)), expected, rtol=1e-5)


@pytest.mark.learned
@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_a_temperature_widens_what_is_drawn(temperature):
    """Two components 20 apart: shares are those of the divided logits, variances are multiplied."""
    n, logits = 20_000, np.log([0.8, 0.2])
    says = Mixture(*(jnp.broadcast_to(jnp.asarray(x), (n, 1, 2)) for x in (logits, [0.0, 20.0], [0.0, np.log(0.5)])))
    drawn = np.asarray(says.sample(key=jax.random.key(0), temperature=temperature))[:, 0]
    share = np.exp(logits / temperature) / np.exp(logits / temperature).sum()
    assert np.mean(drawn > 10.0) == pytest.approx(share[1], abs=0.015)
    assert drawn[drawn < 10.0].std() == pytest.approx(np.sqrt(temperature), rel=0.03)
    assert drawn[drawn > 10.0].std() == pytest.approx(0.5 * np.sqrt(temperature), rel=0.06)
