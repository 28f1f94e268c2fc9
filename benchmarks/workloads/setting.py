"""What the workloads have in common: sizes, random data, and the count of multiply-adds."""

from collections.abc import Sequence
from itertools import pairwise

import jax
import jax.numpy as jnp

from forethought.replay.moments import Replay, holding, spread
from forethought.types import Box, EnvSpec, Transition

# The sizes of HalfCheetah-v5.
N_OBS, N_ACTION = 17, 6
SPEC = EnvSpec("HalfCheetah-v5", Box((N_OBS,)), Box((N_ACTION,)), 1000)
MEMBERS, MODEL_HIDDEN = 7, (200, 200, 200, 200)
MODEL_SIZES = (N_OBS + N_ACTION, *MODEL_HIDDEN, 2 * (N_OBS + 1) + 1)
POLICY_SIZES = (N_OBS, 256, 256, 2 * N_ACTION)


def multiply_adds(sizes: Sequence[int]) -> int:
    """Multiply-adds of the matrix products of a dense network for one example."""
    return sum(i * o for i, o in pairwise(sizes))


def random_transitions(n: int) -> Transition:
    """n rows of noise."""
    key_obs, key_action, key_reward, key_next = jax.random.split(jax.random.key(1), 4)
    obs = jax.random.normal(key_obs, (n, N_OBS))
    action = jax.random.uniform(key_action, (n, N_ACTION), minval=-1.0, maxval=1.0)
    next_obs = obs + 0.1 * jax.random.normal(key_next, (n, N_OBS))
    no = jnp.zeros(n, bool)
    return Transition(obs, action, jax.random.normal(key_reward, (n,)), next_obs, no, no)


def full_replay(n: int) -> Replay:
    """A replay of one seed, full of noise, as the training loop holds it: its rows have a leading axis of seeds."""
    return spread(holding(random_transitions(n), n), 1)
