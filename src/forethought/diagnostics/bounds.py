"""The return bounds of MBPO and the length of rollouts that they favour (Janner et al. 2019, arXiv 1906.08253).

``eta`` is the real return of a policy with discount g, rewards are at most ``r_max`` in size. Errors are expected
total variations: ``model_error`` between the model's next (state, reward) and the real one, ``policy_shift`` between
the policy and the one that collected the data, the greatest over the states.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from forethought.errors import require_within

SHIFTS = (0.05, 0.1, 0.2, 0.5, 1.0)
LONGEST = 1000


class Favoured(NamedTuple):
    """The lengths of rollouts that theorem 4.3 favours, for several shifts of the policy.

    Attributes:
        model_error: the error of the model on states of the current policy; see `calibration.total_variation` for what
            `measure` puts here, which is a lower bound, and so makes ``length`` an upper one.
        discount: g.
        policy_shift: the shifts; 1 is a policy that has nothing in common with the one that collected the data.
        length: `favoured_length` for each of them.
    """

    model_error: Float[Array, ""]
    discount: float
    policy_shift: Float[Array, " s"]
    length: Float[Array, " s"]


def full_rollout_gap(model_error: Array, policy_shift: Array, discount: float, r_max: float = 1.0) -> Array:
    """Theorem 4.1, rollouts in the model from the first state to the end; ``eta >= eta_model - gap``::

    gap = 2 g r_max (e_m + 2 e_pi) / (1 - g)^2 + 4 r_max e_pi / (1 - g)
    """
    rest = 1.0 - discount
    return 2.0 * r_max * (discount * (model_error + 2.0 * policy_shift) / rest**2 + 2.0 * policy_shift / rest)


def branched_gap(length: Array, model_error: Array, policy_shift: Array, discount: float, r_max: float = 1.0) -> Array:
    """Theorem 4.2, rollouts of k steps from states of the data, with the error e_m measured on the data::

        gap = 2 r_max [g^(k+1) e_pi / (1 - g)^2 + (g^k + 2) e_pi / (1 - g) + k (e_m + 2 e_pi) / (1 - g)]

    It is least at k = 0: a model that is only known to be right on old data is never worth using.
    """
    rest, power = 1.0 - discount, discount**length
    shift = discount * power / rest**2 + (power + 2.0) / rest
    return 2.0 * r_max * (shift * policy_shift + length * (model_error + 2.0 * policy_shift) / rest)


def on_policy_gap(length: Array, model_error: Array, policy_shift: Array, discount: float, r_max: float = 1.0) -> Array:
    """Theorem 4.3, as theorem 4.2 with the error e_m' measured on the states of the current policy::

    gap = 2 r_max [g^(k+1) e_pi / (1 - g)^2 + g^k e_pi / (1 - g) + k e_m' / (1 - g)]
        = 2 r_max [g^k e_pi / (1 - g)^2 + k e_m' / (1 - g)]
    """
    rest = 1.0 - discount
    return 2.0 * r_max * (discount**length * policy_shift / rest**2 + length * model_error / rest)


def shifted_error(model_error: Array, slope: Array, policy_shift: Array) -> Array:
    """The linear model of section 4.2, ``e_m'(e_pi) = e_m + e_pi (d e_m' / d e_pi)``, the slope taken at the data."""
    return model_error + policy_shift * slope


def error_slope(policy_shift: Float[Array, " n"], model_error: Float[Array, " n"]) -> Float[Array, ""]:
    """``d e_m' / d e_pi`` by least squares, from errors that were measured under n policies of known shift."""
    dx = policy_shift - jnp.mean(policy_shift)
    return jnp.sum(dx * (model_error - jnp.mean(model_error))) / jnp.sum(dx**2)


def favoured_length(model_error: Array, policy_shift: Array, discount: float) -> Array:
    """The whole k in 0 .. `LONGEST` for which `on_policy_gap` is least.

    The gap is convex in k and least where ``g^k = e_m' (1 - g) / (-ln(g) e_pi)``, near ``ln(e_pi / e_m') / (1 - g)``
    steps: above 0 as soon as the model is further right than the policy is off. Raises `UsageError` unless g is in
    (0, 1).
    """
    require_within("discount", discount, 1e-6, 1.0 - 1e-6)
    k = jnp.arange(LONGEST + 1.0)
    return jnp.argmin(on_policy_gap(k, model_error[..., None], policy_shift[..., None], discount), axis=-1)


def favoured(model_error: Float[Array, ""], discount: float) -> Favoured:
    """See `Favoured`."""
    shifts = jnp.array(SHIFTS)
    return Favoured(model_error, discount, shifts, favoured_length(model_error, shifts, discount).astype(jnp.float32))
