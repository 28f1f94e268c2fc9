"""What may mend numbers that became infinite."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from forethought.replay.moments import Replay
from forethought.training.config import flatten, to_dict

_RATES = "learning_rate", "model_rate", "actor_rate", "critic_rate"
_HUGE = 1e6  # of an observation or a reward: networks and squared errors are made for numbers around 1


def remedy(config: Any, replay: Replay) -> str:
    """The environment's scale where that is huge, else smaller steps of an agent with these settings."""
    rows = replay.rows
    of_obs = [("observations", seen) for seen in jax.tree.leaves(rows.obs)]
    for name, seen in [*of_obs, ("rewards", rows.reward)]:
        if np.dtype(seen.dtype).kind != "f":  # images are at most 255, and large
            continue
        largest = float(jnp.max(jnp.abs(seen), initial=0.0))
        if largest > _HUGE:
            return f"the environment's {name} reach {largest:.3g}: scale them to about 1 there, then train anew"
    rates = {name: value for name, value in flatten(to_dict(config)).items() if name.endswith(_RATES)}
    lower = ", ".join(f"--agent.{name.replace('_', '-')} (now {value:g})" for name, value in rates.items())
    return f"a run keeps its settings, so train anew with a lower learning rate: {lower}" if lower else "train anew"
