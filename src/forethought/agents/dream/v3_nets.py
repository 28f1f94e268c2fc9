"""The networks of Dreamer V3 (Nature 2025) in their sizes."""

from functools import partial
from typing import NamedTuple

import jax

from forethought.agents.dream.policies import FeaturePolicy, bounded_gaussian, mixed_categorical
from forethought.models.latent import Classification, LatentModel, n_action
from forethought.models.rssm import RSSM
from forethought.nets.autoencoder import ObsDecoder, ObsEncoder, Style, dense_layers, pooled, upsampled
from forethought.nets.latents import OneHots
from forethought.nets.mlp import lecun, silu
from forethought.nets.recurrent import BlockGRU
from forethought.nets.sight import Looks
from forethought.nets.twohot import BINS
from forethought.types import Box, Discrete, EnvSpec, Key

STYLE = Style(silu, "rms", 1e-4, lecun())
_CHOICES, _BLOCKS, _UNIMIX = 32, 8, 0.01


class Widths(NamedTuple):
    """Of h; of the layers around it; classes of each of 32 choices; of all other layers; channels, times 2 to 4."""

    deter: int
    hidden: int
    classes: int
    units: int
    depth: int


SIZES: dict[str, Widths] = {
    "1m": Widths(512, 64, 4, 64, 4),
    "12m": Widths(2048, 256, 16, 256, 16),
    "25m": Widths(3072, 384, 24, 384, 24),
    "50m": Widths(4096, 512, 32, 512, 32),
    "100m": Widths(6144, 768, 48, 768, 48),
    "200m": Widths(8192, 1024, 64, 1024, 64),
    "400m": Widths(12288, 1536, 96, 1536, 96),
}


def world_model(w: Widths, spec: EnvSpec, discount: float, *, key: Key) -> LatentModel:
    """For an environment; raises `UsageError` for images that cannot be halved to a fitting size."""
    looks, n = Looks.of(spec.obs), n_action(spec.action)
    keys = jax.random.split(key, 9)
    stoch = _CHOICES * w.classes
    features = w.deter + stoch
    vector = dense_layers(looks.vector, (w.units,) * 3, STYLE, keys[1])
    encoder = ObsEncoder.of(looks, pooled(looks, STYLE, w.depth, keys[0]), vector, squash=True)
    told = STYLE.mlp((features, *(w.units,) * 3, looks.vector), keys[3]) if looks.vector else None
    decoder = ObsDecoder(upsampled(looks, STYLE, w.depth, w.units, (w.deter, stoch), _BLOCKS, keys[2]), told, True)
    rssm = RSSM(
        BlockGRU((stoch, n), w.deter, w.hidden, _BLOCKS, key=keys[4], init=STYLE.init),
        STYLE.mlp((w.deter, w.hidden, w.hidden, stoch), keys[5]),
        STYLE.mlp((w.deter + encoder.size, w.hidden, stoch), keys[6]),
        partial(OneHots.of, classes=w.classes, unimix=_UNIMIX),
        w.deter,
        stoch,
    )
    reward = classification(features, w.units, 1, key=keys[7])
    going_on = STYLE.mlp((features, w.units, 1), keys[8])
    return LatentModel(encoder, rssm, decoder, reward, going_on, spec.obs, spec.action, discount)


def classification(features: int, units: int, layers: int, *, key: Key) -> Classification:
    """Of a number, which is 0 at first."""
    return Classification(STYLE.mlp((features, *(units,) * layers, BINS), key, lecun(0.0)))


def actor(features: int, units: int, action: Box | Discrete, *, key: Key) -> FeaturePolicy:
    """Which does nothing in particular at first."""
    discrete = isinstance(action, Discrete)
    net = STYLE.mlp((features, *(units,) * 3, n_action(action) * (1 if discrete else 2)), key, lecun(0.01))
    return FeaturePolicy(net, mixed_categorical if discrete else bounded_gaussian)
