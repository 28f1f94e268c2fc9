"""Dreams whose every number is known, and agents that dream them: moment m of dream i has a feature of its own."""

from functools import cache

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import small
from forethought.agents.base import Setting
from forethought.agents.dream import dreamer_v1, dreamer_v2, dreamer_v3, elder_nets
from forethought.agents.dream.base import Dreamt
from forethought.agents.dream.policies import FeaturePolicy
from forethought.models.latent import Classification, LatentModel, Regression
from forethought.models.rssm import LatentBelief
from forethought.nets.mlp import MLP
from forethought.nets.twohot import symexp_bins, two_hot
from forethought.types import Box, Discrete, EnvSpec, Outcome, TimeStep

H, N = 5, 3  # steps of a dream, and dreams
F = (H + 1) * N
ACTIONS = {"numbers": Box((1,)), "choices": Discrete(2)}
MODULES = {"dreamer-v1": dreamer_v1, "dreamer-v2": dreamer_v2, "dreamer-v3": dreamer_v3}
KEY = jax.random.key(0)


def an_agent(name, kind="numbers", **settings):
    agent = small.make_agent(name, EnvSpec("toy", Box((2,)), ACTIONS[kind]), **settings)
    agent.setting = Setting(1, 1000)
    return agent


@cache
def state_of(name, kind="numbers", **settings):
    """A fresh state, made as one program."""
    agent = an_agent(name, kind, **settings)
    return jax.jit(lambda: agent.init(key=KEY))()


def table(values, bias=0.0):
    """A network that says ``values`` [moments, n, outputs], by the feature of each."""
    values = np.asarray(values, np.float32).reshape(F, -1)
    net = MLP((F, values.shape[1]), jax.nn.relu, key=KEY)
    layer = net.layers[0]
    said = jnp.asarray(values), jnp.full(layer.bias.shape, bias)
    return eqx.tree_at(lambda net: (net.layers[0].weight, net.layers[0].bias), net, said)


def says(name, values):
    """What tells these numbers [moments, n]."""
    if name != "dreamer-v3":
        return Regression(table(values))
    weights = two_hot(jnp.asarray(values, jnp.float32), symexp_bins())
    return Classification(table(jnp.log(weights + 1e-12)))


def a_model(reward, continues, discount, kind="numbers", predicts=True):
    """Of which rewards and ends are known, and nothing else."""
    agent = dreamer_v1.DreamerV1(dreamer_v1.DreamerV1Config(deter=F - 2, stoch=2, units=2), an_agent("dreamer-v1").spec)
    model = elder_nets.world_model(agent.net_sizes, an_agent("dreamer-v1", kind).spec, discount, key=KEY)
    p = np.clip(discount * np.asarray(continues), 1e-9, 1 - 1e-9)
    ends = table(np.log(p / (1 - p))) if predicts else None
    return eqx.tree_at(lambda m: (m.reward, m.going_on), model, (reward, ends), is_leaf=lambda x: x is None)


def a_dream(reward, continues, action):
    """In which these are the rewards [H, N] of the moments after the first, and so on."""
    features = jnp.eye(F).reshape(H + 1, N, F)
    return Dreamt(features, jnp.asarray(action), *(jnp.asarray(x, jnp.float32) for x in (reward, continues)))


def a_policy(name, kind, outputs):
    """That reads these outputs [moments, n, width] as the agent's own does."""
    return FeaturePolicy(table(outputs), state_of(name, kind).nets.actor.read)


class Paying(LatentModel):
    """A model that pays for the action alone: ``-(a - 0.5)^2``, or 1 for the second choice."""

    def step(self, belief, action, *, key):
        belief, _ = self.rssm.imagine(belief, self.as_vectors(action), key=key)
        a = self.as_vectors(action)
        reward = a[:, 1] if isinstance(self.action, Discrete) else -((a[:, 0] - 0.5) ** 2)
        return belief, Outcome(reward, jnp.ones(reward.shape))


def paying(model):
    return Paying(**{name: getattr(model, name) for name in model.__dataclass_fields__})


def a_window(kind, t=4, n=3):
    """Moments at random; an episode ends, and another begins, in the middle of one of them."""
    no = jnp.zeros((t, n), bool)
    action = jax.random.uniform(KEY, (t, n, 1), minval=-1.0) if kind == "numbers" else jnp.ones((t, n), jnp.int32)
    first, ended = no.at[2, 0].set(True), no.at[1, 0].set(True)
    reward = jax.random.normal(jax.random.key(5), (t, n))
    return TimeStep(jax.random.normal(KEY, (t, n, 2)), action, reward, first, ended, no)


def stirred(nets):
    """Away from where all is 0, and where nothing depends on anything."""
    leaves, structure = jax.tree.flatten(nets)
    keys = jax.random.split(KEY, len(leaves))
    noisy = [x + 0.05 * jax.random.normal(k, x.shape) for x, k in zip(leaves, keys, strict=True)]
    return jax.tree.unflatten(structure, noisy)


def loss_of(agent, state, kind):
    """The total, and each part by name, of networks."""
    window = a_window(kind)
    if agent.__class__.__name__ == "DreamerV3":
        zeros = LatentBelief(*(jnp.zeros((3, n)) for n in agent.sizes))

        def losses(nets):
            total, (_, _, _, info) = agent.loss(state._replace(nets=nets), window, zeros, nets, key=KEY)
            return info | {"total": total}

    else:
        slow = [state.slow] if hasattr(state, "slow") else []

        def losses(nets):
            total, info = agent.loss(*slow, window, nets, key=KEY)
            return info | {"total": total}

    return losses
