"""The networks of Dreamer V3 in their sizes: those of Nature 2025, and those of 2023 (arXiv 2301.04104v1)."""

from functools import partial
from typing import NamedTuple

import jax

from forethought.agents.dream.policies import FeaturePolicy, bounded_gaussian, mixed_categorical
from forethought.models.latent import Classification, LatentModel, n_action
from forethought.models.rssm import RSSM, DenseCore
from forethought.nets.autoencoder import (
    ObsDecoder,
    ObsEncoder,
    Squash,
    Style,
    dense_layers,
    pooled,
    strided,
    transposed,
    upsampled,
)
from forethought.nets.latents import OneHots
from forethought.nets.mlp import glorot_normal, glorot_uniform, lecun, silu
from forethought.nets.recurrent import BlockGRU, NormedGRU
from forethought.nets.sight import Looks
from forethought.nets.twohot import BINS
from forethought.types import Box, Discrete, EnvSpec, Key

STYLE = Style(silu, "rms", 1e-4, lecun())
ELDER = Style(silu, "layer", 1e-3, glorot_normal, glorot_uniform)
_CHOICES, _BLOCKS, _UNIMIX = 32, 8, 0.01


class Widths(NamedTuple):
    """Of h; of the layers around it; classes of each of 32 choices; of all other layers; channels, times 2 to 4."""

    deter: int
    hidden: int
    classes: int
    units: int
    depth: int


class ElderWidths(NamedTuple):
    """Of 2023: of h; of dense layers, and how many of these follow each other; channels of the first convolution."""

    deter: int
    units: int
    depth: int
    layers: int


SIZES: dict[str, Widths | ElderWidths] = {
    "1m": Widths(512, 64, 4, 64, 4),
    "12m": Widths(2048, 256, 16, 256, 16),
    "25m": Widths(3072, 384, 24, 384, 24),
    "50m": Widths(4096, 512, 32, 512, 32),
    "100m": Widths(6144, 768, 48, 768, 48),
    "200m": Widths(8192, 1024, 64, 1024, 64),
    "400m": Widths(12288, 1536, 96, 1536, 96),
    "xs": ElderWidths(256, 256, 24, 1),
    "s": ElderWidths(512, 512, 32, 2),
    "m": ElderWidths(1024, 640, 48, 3),
    "l": ElderWidths(2048, 768, 64, 4),
    "xl": ElderWidths(4096, 1024, 96, 5),
}


def world_model(w: Widths | ElderWidths, spec: EnvSpec, discount: float, *, key: Key) -> LatentModel:
    """For an environment; raises `UsageError` for images that cannot be halved to a fitting size."""
    return elder_model(w, spec, key=key) if isinstance(w, ElderWidths) else model(w, spec, discount, key=key)


def model(w: Widths, spec: EnvSpec, discount: float, *, key: Key) -> LatentModel:
    """Of 2025: what tells of ends has the discount in it."""
    looks, n = Looks.of(spec.obs), n_action(spec.action)
    keys = jax.random.split(key, 9)
    stoch = _CHOICES * w.classes
    features = w.deter + stoch
    vector, squash = dense_layers(looks.vector, (w.units,) * 3, STYLE, keys[1]), Squash(looks.choices)
    encoder = ObsEncoder.of(looks, pooled(looks, STYLE, w.depth, keys[0]), vector, squash)
    told = STYLE.mlp((features, *(w.units,) * 3, looks.vector), keys[3]) if looks.vector else None
    decoder = ObsDecoder(upsampled(looks, STYLE, w.depth, w.units, (w.deter, stoch), _BLOCKS, keys[2]), told, squash)
    rssm = RSSM(
        BlockGRU((stoch, n), w.deter, w.hidden, _BLOCKS, key=keys[4], init=STYLE.init),
        STYLE.mlp((w.deter, w.hidden, w.hidden, stoch), keys[5]),
        STYLE.mlp((w.deter + encoder.size, w.hidden, stoch), keys[6]),
        partial(OneHots.of, classes=w.classes, unimix=_UNIMIX),
        w.deter,
        stoch,
    )
    reward = classification(w, features, 1, key=keys[7])
    going_on = STYLE.mlp((features, w.units, 1), keys[8])
    return LatentModel(encoder, rssm, decoder, reward, going_on, spec.obs, spec.action, discount)


def elder_model(w: ElderWidths, spec: EnvSpec, *, key: Key) -> LatentModel:
    """Of 2023: strided convolutions, layer norms, one gated cell. Its first belief is zeros, and not learned."""
    looks, n = Looks.of(spec.obs), n_action(spec.action)
    keys = jax.random.split(key, 10)
    stoch, classes, units = _CHOICES * 32, 32, (w.units,) * w.layers
    features = w.deter + stoch
    vector, squash = dense_layers(looks.vector, units, ELDER, keys[1]), Squash(looks.choices)
    encoder = ObsEncoder.of(looks, strided(looks, ELDER, w.depth, True, keys[0]), vector, squash)
    told = ELDER.mlp((features, *units, looks.vector), keys[3]) if looks.vector else None
    decoder = ObsDecoder(transposed(looks, ELDER, w.depth, features, True, keys[2]), told, squash)
    rssm = RSSM(
        DenseCore(ELDER.dense(stoch + n, w.units, keys[4]), NormedGRU(w.units, w.deter, key=keys[5], init=ELDER.init)),
        ELDER.mlp((w.deter, w.units, stoch), keys[6]),
        ELDER.mlp((w.deter + encoder.size, w.units, stoch), keys[7]),
        partial(OneHots.of, classes=classes, unimix=_UNIMIX),
        w.deter,
        stoch,
    )
    reward = classification(w, features, w.layers, key=keys[8])
    going_on = ELDER.mlp((features, *units, 1), keys[9])
    return LatentModel(encoder, rssm, decoder, reward, going_on, spec.obs, spec.action, 1.0)


def critic(w: Widths | ElderWidths, features: int, *, key: Key) -> Classification:
    """Of what features are worth."""
    return classification(w, features, w.layers if isinstance(w, ElderWidths) else 3, key=key)


def classification(w: Widths | ElderWidths, features: int, layers: int, *, key: Key) -> Classification:
    """Of a number, which is 0 at first."""
    elder = isinstance(w, ElderWidths)
    style = ELDER if elder else STYLE
    return Classification(style.mlp((features, *(w.units,) * layers, BINS), key, lecun(0.0)), even=elder)


def actor(w: Widths | ElderWidths, features: int, action: Box | Discrete, *, key: Key) -> FeaturePolicy:
    """Which does nothing in particular at first."""
    elder, discrete = isinstance(w, ElderWidths), isinstance(action, Discrete)
    style, layers = (ELDER, w.layers) if isinstance(w, ElderWidths) else (STYLE, 3)
    outputs = n_action(action) * (1 if discrete else 2)
    net = style.mlp((features, *(w.units,) * layers, outputs), key, None if elder else lecun(0.01))
    return FeaturePolicy(net, mixed_categorical if discrete else bounded_gaussian)
