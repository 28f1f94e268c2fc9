"""Environments: one contract for all of them, Gymnasium's on one side, our own in pure JAX on the other.

Importing this package makes our own known to Gymnasium too: ``gymnasium.make("forethought/DynaMaze-v0")``.
"""

from forethought.envs.catalog import register
from forethought.envs.codec import SpaceCodec
from forethought.envs.contract import EnvState, Step, VectorEnv
from forethought.envs.functional import FunctionalEnv, FunctionalGym, JaxVector
from forethought.envs.given import Source, source_of
from forethought.envs.gym import GymVector
from forethought.envs.vector import env_spec, make

__all__ = [
    "EnvState",
    "FunctionalEnv",
    "FunctionalGym",
    "GymVector",
    "JaxVector",
    "Source",
    "SpaceCodec",
    "Step",
    "VectorEnv",
    "env_spec",
    "make",
    "register",
    "source_of",
]

register()
