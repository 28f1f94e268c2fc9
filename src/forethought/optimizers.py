"""What optax does not have: how Dreamer V3 takes its steps, and the decay of weights of Dreamer V2."""

import jax
import jax.numpy as jnp
import optax

_LEAST_NORM = 1e-3


def clip_by_tensor(share: float) -> optax.GradientTransformation:
    """Shorten the gradient of each array to ``share`` of the length of the array itself, 0.001 at least (adaptive
    gradient clipping, Brock et al. 2021, by whole tensors as in the published code of Dreamer V3).
    """

    def update(updates, state, params=None):
        def clip(gradient, parameter):
            most = share * jnp.maximum(_LEAST_NORM, jnp.linalg.norm(parameter.ravel()))
            return gradient / jnp.maximum(1.0, jnp.linalg.norm(gradient.ravel()) / most)

        return jax.tree.map(clip, updates, params), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)


def laprop(learning_rate: float, warmup: int, clip: float) -> optax.GradientTransformation:
    """`clip_by_tensor`, then gradients divided by their root mean square, then momentum (Ziyin et al. 2020, arXiv
    2002.04839), both without bias; the step size rises from 0 over ``warmup`` updates.
    """
    rate = optax.linear_schedule(0.0, learning_rate, warmup) if warmup else learning_rate
    return optax.chain(
        clip_by_tensor(clip),
        optax.scale_by_rms(0.999, 1e-20, eps_in_sqrt=False, bias_correction=True),
        optax.ema(0.9),
        optax.scale_by_learning_rate(rate),
    )


def clipped_adam(learning_rate: float, most: float, eps: float, decay: float = 0.0) -> optax.GradientTransformation:
    """Adam on gradients no longer than ``most``; all weights shrink by the share ``decay`` in each step."""
    steps = [optax.clip_by_global_norm(most), optax.adam(learning_rate, eps=eps)]
    return optax.chain(*steps, *([optax.add_decayed_weights(-decay)] if decay else []))
