"""How many parameters the published networks have, counted from their layers; and the widths of these."""

import itertools

import jax
import jax.numpy as jnp
import pytest

import small
from forethought.agents.dream import v3_nets
from forethought.nets.mlp import fans, silu
from forethought.types import Box, Discrete, EnvSpec

PICTURE = Box((64, 64, 3), "uint8")


def dense(n_in, n_out):
    return n_in * n_out + n_out


def normed(n_in, n_out):
    """With the scale of an RMS norm."""
    return dense(n_in, n_out) + n_out


def conv(side, n_in, n_out):
    return side * side * n_in * n_out + n_out


def stack(layer, *widths):
    return sum(layer(*pair) for pair in itertools.pairwise(widths))


def count(tree):
    return sum(x.size for x in jax.tree.leaves(tree))


def built(name, obs, action, **settings):
    """The shapes of a state with the published settings and these."""
    agent_class, config_class = small.catalog.find(name).load()
    agent = agent_class(config_class(**settings), EnvSpec("toy", obs, action))
    return jax.eval_shape(lambda: agent.init(key=jax.random.key(0)))


# dreamerv3/configs.yaml: deter, hidden, classes, units, depth
V3 = {"1m": (512, 64, 4, 64, 4), "12m": (2048, 256, 16, 256, 16), "200m": (8192, 1024, 64, 1024, 64)}


@pytest.mark.parametrize("n_action", [6])
@pytest.mark.parametrize("size", V3)
@pytest.mark.parametrize("of", ["vector", "image"])
def test_dreamer_v3_is_as_large_as_published(of, size, n_action):
    """dreamerv3/rssm.py: 8 blocks, 32 choices; layers of the encoder, the decoder and the actor-critic: 3."""
    deter, hidden, classes, units, depth = V3[size]
    stoch, d, blocks = 32 * classes, 24, 8
    features = deter + stoch
    if of == "vector":
        embedding, obs = units, Box((d,))
        encoder = stack(normed, d, units, units, units)
        decoder = stack(normed, features, units, units, units) + dense(units, d)
    else:
        obs, widths = PICTURE, [depth * m for m in (2, 3, 4, 4)]
        embedding = 4 * 4 * widths[-1]
        encoder = sum(conv(5, i, o) + o for i, o in zip([3, *widths], widths, strict=False))
        space = 4 * 4 * widths[-1]
        decoder = deter * space // blocks + space  # a block layer of h
        decoder += normed(stoch, 2 * units) + dense(2 * units, space) + widths[-1]
        decoder += sum(conv(5, i, o) + o for i, o in zip([widths[3], widths[2], widths[1]], widths[2::-1], strict=True))
        decoder += conv(5, widths[0], 3)
    inner = deter // blocks + 3 * hidden  # of a block
    core = normed(deter, hidden) + normed(stoch, hidden) + normed(n_action, hidden)
    core += blocks * inner * (deter // blocks) + 2 * deter  # with bias and norm
    core += blocks * (deter // blocks) * (3 * deter // blocks) + 3 * deter
    parts = {
        "encoder": encoder,
        "rssm": core
        + stack(normed, deter, hidden, hidden)
        + dense(hidden, stoch)
        + normed(deter + embedding, hidden)
        + dense(hidden, stoch),
        "decoder": decoder,
        "reward": normed(features, units) + dense(units, 255),
        "going_on": normed(features, units) + dense(units, 1),
    }
    state = built("dreamer-v3", obs, Box((n_action,)), size=size)
    assert {name: count(getattr(state.nets.model, name)) for name in parts} == parts
    body = stack(normed, features, units, units, units)
    assert count(state.nets.actor) == body + 2 * dense(units, n_action)
    assert count(state.nets.critic) == count(state.slow) == body + dense(units, 255)
    total = count(state.nets)
    low, high = {"1m": (0.5e6, 1.2e6), "12m": (8e6, 13e6), "200m": (130e6, 210e6)}[size]
    assert low < total < high


def test_weights_of_2023_begin_as_published():
    """Uniform in layers without an activation, else normal, cut at two deviations, which reaches farther."""
    spec, w = EnvSpec("toy", PICTURE, Box((2,))), v3_nets.SIZES["xs"]
    model = jax.jit(lambda: v3_nets.elder_model(w, spec, key=jax.random.key(0)))()
    actor = jax.jit(lambda: v3_nets.actor(w, 1280, spec.action, key=jax.random.key(0)))()
    prior, image = model.rssm.prior.layers, model.decoder.image
    within = [prior[0].weight, actor.net.layers[0].weight, model.encoder.image.layers[0][0].weight]
    plain = [prior[-1].weight, actor.net.layers[-1].weight, image.enter.linear.weight, image.layers[-1][0].kernel]
    for weight, low, high in (*((x, 1.2, 1.4) for x in within), *((x, 0.95, 1.0) for x in plain)):
        assert low < weight.max() / (6.0 / sum(fans(weight.shape))) ** 0.5 < high


ELDER = {  # deter, stoch, outputs of the prior, units, depth
    "planet": (200, 30, 60, 300, 32),
    "dreamer-v1": (200, 30, 60, 400, 32),
    "dreamer-v2": (1024, 1024, 1024, 400, 48),
}


@pytest.mark.parametrize("name", ELDER)
def test_the_elder_ones_are_as_large_as_published(name):
    """planet/models/rssm.py, dreamer/models.py, dreamerv2/common/nets.py."""
    deter, stoch, outputs, units, depth = ELDER[name]
    n, features = 6, deter + stoch
    gru = {
        "planet": dense(2 * deter, 2 * deter) + dense(2 * deter, deter),  # of TensorFlow 1
        "dreamer-v1": 2 * dense(deter, 3 * deter),  # of Keras, which resets after the product: two biases
        "dreamer-v2": dense(2 * deter, 3 * deter) + 2 * 3 * deter,  # with a layer norm
    }[name]
    parts = {
        "encoder": stack(lambda i, o: conv(4, i, o), 3, depth, 2 * depth, 4 * depth, 8 * depth),
        "rssm": dense(stoch + n, deter)
        + gru
        + stack(dense, deter, deter, outputs)
        + stack(dense, deter + 32 * depth, deter, outputs),
        "decoder": dense(features, 32 * depth)
        + conv(5, 32 * depth, 4 * depth)
        + conv(5, 4 * depth, 2 * depth)
        + conv(6, 2 * depth, depth)
        + conv(6, depth, 3),
    }
    layers = {"planet": 3, "dreamer-v1": 2, "dreamer-v2": 4}[name]
    parts["reward"] = stack(dense, features, *[units] * layers, 1)
    if name == "dreamer-v2":
        parts["going_on"] = stack(dense, features, *[units] * 4, 1)
    state = built(name, PICTURE, Box((n,)))
    assert {part: count(getattr(state.model, part)) for part in parts} == parts
    if name != "planet":
        assert count(state.nets.actor) == stack(dense, features, *[units] * 4, 2 * n)
        layers = {"dreamer-v1": 3, "dreamer-v2": 4}[name]
        assert count(state.nets.critic) == stack(dense, features, *[units] * layers, 1)


@pytest.mark.parametrize(("name", "outputs"), [("dreamer-v1", 5), ("dreamer-v2", 5), ("dreamer-v3", 5)])
def test_of_choices_an_actor_says_one_number_each(name, outputs):
    actor = built(name, Box((3,)), Discrete(5)).nets.actor
    assert actor.net.layers[-1].bias.shape == (outputs,)


# Of dense layers and of convolutions.
ACTIVATIONS = {
    ("planet", ""): (jax.nn.relu, jax.nn.relu),
    ("dreamer-v1", ""): (jax.nn.elu, jax.nn.relu),
    ("dreamer-v2", ""): (jax.nn.elu, jax.nn.elu),
    ("dreamer-v3", "1m"): (silu, silu),
    ("dreamer-v3", "xs"): (silu, silu),
}


@pytest.mark.parametrize(("name", "size"), ACTIVATIONS)
def test_layers_are_activated_and_normalised_as_published(name, size):
    state = built(name, PICTURE, Box((2,)), **({"size": size} if size else {}))
    model, (dense, conv) = state.model, ACTIVATIONS[name, size]
    nets = [model.rssm.prior, model.rssm.posterior, model.reward.net]
    nets += [] if name == "planet" else [state.nets.actor.net, state.nets.critic.net]
    assert {net.activation for net in nets} == {dense}
    assert {model.encoder.image.activation, model.decoder.image.activation} == {conv}
    assert {norm.eps for net in nets for norm in net.norms} == ({1e-4 if size == "1m" else 1e-3} if size else set())


@pytest.mark.parametrize(
    ("name", "settings", "share"),
    [("dreamer-v2", {}, 0.0), ("dreamer-v3", {"size": "1m"}, 0.01), ("dreamer-v3", {"size": "xs"}, 0.01)],
)
def test_of_v3_a_hundredth_of_each_choice_is_left_to_chance(name, settings, share):
    """Of latents and of actions."""
    state = built(name, Box((3,)), Discrete(5), **settings)
    drawn = state.model.rssm.latents(jnp.zeros(state.model.rssm.n_stoch).at[0].set(100.0)).logits[0]
    for logits in (drawn, state.nets.actor.read(jnp.zeros(5).at[0].set(100.0)).logits):
        p = jax.nn.softmax(logits)
        assert float(p[1]) == pytest.approx(share / len(p), rel=1e-3, abs=1e-12)
