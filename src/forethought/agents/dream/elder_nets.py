"""The networks of PlaNet, Dreamer V1 and Dreamer V2, which differ in their latents and in the recurrent cell."""

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import jax
from jaxtyping import Array

from forethought.agents.dream.policies import Distribution, FeaturePolicy
from forethought.models.latent import LatentModel, Regression, n_action
from forethought.models.rssm import RSSM, DenseCore
from forethought.nets.autoencoder import ObsDecoder, ObsEncoder, Style, dense_layers, strided, transposed
from forethought.nets.latents import Latents
from forethought.nets.mlp import Activation, glorot_uniform
from forethought.nets.recurrent import GRU, KerasGRU, NormedGRU
from forethought.nets.sight import Looks
from forethought.types import Box, Discrete, EnvSpec, Key

Reading: TypeAlias = Callable[[Array], Distribution]  # of what a network says


class NetSizes(NamedTuple):
    """Of a latent model.

    Attributes:
        cell: the recurrent cell, made of the widths of its input and of h.
        latents: reads ``outputs`` numbers, of which come ``stoch`` that are drawn.
        deter, hidden: of h, and of the layers between it and z.
        units: of all other dense layers.
        depth: channels of the first convolution.
        layers: hidden layers of the reward, of what tells of ends (None without), and of what vectors become.
        image: the activation of convolutions; ``activation`` is that of all else.
    """

    cell: type[GRU] | type[KerasGRU] | type[NormedGRU]
    latents: Callable[..., Latents]
    stoch: int
    outputs: int
    deter: int
    hidden: int
    units: int
    depth: int
    reward_layers: int
    ends_layers: int | None
    vector_layers: int
    activation: Activation
    image: Activation


def world_model(sizes: NetSizes, spec: EnvSpec, discount: float, *, key: Key) -> LatentModel:
    """For an environment; raises `UsageError` for images that cannot be halved to a fitting size."""
    dense, conv = (Style(a, None, 1e-3, glorot_uniform) for a in (sizes.activation, sizes.image))
    looks, n, features = Looks.of(spec.obs), n_action(spec.action), sizes.deter + sizes.stoch
    keys = jax.random.split(key, 10)
    units = (sizes.units,) * sizes.vector_layers
    vector = dense_layers(looks.vector, units, dense, keys[1])
    encoder = ObsEncoder.of(looks, strided(looks, conv, sizes.depth, False, keys[0]), vector)
    told = dense.mlp((features, *units, looks.vector), keys[3]) if looks.vector else None
    decoder = ObsDecoder(transposed(looks, conv, sizes.depth, features, False, keys[2]), told, None)
    cell = sizes.cell(sizes.hidden, sizes.deter, key=keys[5], init=glorot_uniform)
    rssm = RSSM(
        DenseCore(dense.dense(sizes.stoch + n, sizes.hidden, keys[4]), cell),
        dense.mlp((sizes.deter, sizes.hidden, sizes.outputs), keys[6]),
        dense.mlp((sizes.deter + encoder.size, sizes.hidden, sizes.outputs), keys[7]),
        sizes.latents,
        sizes.deter,
        sizes.stoch,
    )
    reward = number(sizes, sizes.reward_layers, key=keys[8])
    ends = None if sizes.ends_layers is None else number(sizes, sizes.ends_layers, key=keys[9]).net
    return LatentModel(encoder, rssm, decoder, reward, ends, spec.obs, spec.action, discount)


def number(sizes: NetSizes, layers: int, *, key: Key) -> Regression:
    """Of the features."""
    dense = Style(sizes.activation, None, 1e-3, glorot_uniform)
    return Regression(dense.mlp((sizes.deter + sizes.stoch, *(sizes.units,) * layers, 1), key))


def feature_policy(
    sizes: NetSizes, action: Box | Discrete, choices: Reading, numbers: Reading, *, key: Key
) -> FeaturePolicy:
    """Of four hidden layers; its outputs are read as ``choices``, or as ``numbers`` where these are what is done."""
    discrete = isinstance(action, Discrete)
    widths = (sizes.deter + sizes.stoch, *(sizes.units,) * 4, n_action(action) * (1 if discrete else 2))
    net = Style(sizes.activation, None, 1e-3, glorot_uniform).mlp(widths, key)
    return FeaturePolicy(net, choices if discrete else numbers)
