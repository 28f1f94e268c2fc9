"""The return bound of MBPO and the length of rollouts that it favours (Janner et al. 2019, arXiv 1906.08253).

With the real return ``eta`` of a policy and the return ``eta_branch`` of rollouts of k steps in the model that branch
off real states, ``eta >= eta_branch - gap``. The discount is g, and rewards are at most ``r_max`` in size. Errors are
total variations: ``model_error`` between the model's next (state, reward) and the real one, expected, and
``policy_shift`` between the policy and the one that collected the data, the greatest over the states. A run keeps the
actions that its policies took and not those policies, so their shift is not known; lengths are given for several.
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


def on_policy_gap(length: Array, model_error: Array, policy_shift: Array, discount: float, r_max: float = 1.0) -> Array:
    """Theorem 4.3, with the error e_m' measured on the states of the current policy::

    gap = 2 r_max [g^(k+1) e_pi / (1 - g)^2 + g^k e_pi / (1 - g) + k e_m' / (1 - g)]
        = 2 r_max [g^k e_pi / (1 - g)^2 + k e_m' / (1 - g)]
    """
    rest = 1.0 - discount
    return 2.0 * r_max * (discount**length * policy_shift / rest**2 + length * model_error / rest)


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
