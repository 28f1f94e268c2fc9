"""The probabilistic ensemble of PETS (Chua et al. 2018, arXiv 1805.12114) and MBPO: a model of vector observations.

Each member maps a normalised (obs, action) to the mean and log-variance of the normalised (reward, obs change), and to
the logit of termination where no termination function is given. Particles are grouped by member, so that a step is one
batched matrix product per layer and no weights are gathered per particle.
"""

from collections.abc import Callable
from typing import Literal, NamedTuple, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from forethought.models.normalizer import Normalizer, identity
from forethought.models.rewards import Reward
from forethought.models.termination import Termination
from forethought.nets.mlp import MLP, Precision, silu, truncated_normal
from forethought.types import Key, Outcome

# Initial soft bounds of the log-variance (official code of PETS); both are learned.
MAX_LOGVAR, MIN_LOGVAR = 0.5, -10.0


class EnsembleBelief(NamedTuple):
    """A fully observed world: the belief is the observation. The member of a particle is its place in the batch."""

    obs: Float[Array, "n o"]


class Prediction(NamedTuple):
    """What one member (or a stack of them) says of (reward, obs change), in normalised units."""

    mean: Float[Array, "*b y"]
    logvar: Float[Array, "*b y"]
    end_logit: Float[Array, "*b"]


class Regrouping(NamedTuple):
    """Which group hands its particle to which member, per column of the grouped batch."""

    to_members: Int[Array, "m g"]
    back: Int[Array, "m g"]


Propagation: TypeAlias = Literal["ts1", "ts_inf", "expectation"]


def ts1(n_members: int, n_group: int, key: Key) -> Regrouping:
    """TS1: every particle meets a member drawn afresh at each step.

    Particle (m, g) goes to member (m + r_g) mod M with r_g uniform: uniform and independent over time for each
    particle, stratified over the particles of a column, and always the same number of particles per member.
    """
    turn = jax.random.randint(key, (n_group,), 0, n_members)
    rows = jnp.arange(n_members)[:, None]
    return Regrouping((rows - turn) % n_members, (rows + turn) % n_members)


def ts_inf(n_members: int, n_group: int, key: Key) -> Regrouping:
    """TS-infinity: a particle keeps its member for good."""
    rows = jnp.broadcast_to(jnp.arange(n_members)[:, None], (n_members, n_group))
    return Regrouping(rows, rows)


_TURNS: dict[str, Callable[[int, int, Key], Regrouping]] = {"ts1": ts1, "ts_inf": ts_inf}


class Ensemble(eqx.Module):
    """Stacked members with what is needed to use them as a world model.

    Attributes:
        members: MLPs, stacked: a leading axis of members on every leaf. In a `predictor`, a tuple of single ones.
        max_logvar, min_logvar: learned soft bounds, shared by the members.
        inputs, outputs: statistics of the training data.
        elites: indices of the members that `predictor` keeps, best first.
        varies: 0 for outputs that were the same in all training rows (a reward of 1 for each step): they are foretold
            exactly, because a planner follows the smallest slope in what is flat. 1 for the others.
        spread: factor on the members' standard deviations, per output; 1 but where a fit has found another
            (`FitConfig.calibrate`).
        termination: known function (obs, action, next_obs) -> terminated, or None where it is learned.
        reward: known function (obs, action, next_obs) -> reward, or None where the learned one counts.
        propagation: how particles meet members: "ts1" and "ts_inf" (see the functions of these names), or
            "expectation", where each moves by the mean of all members, without noise.
        precision: of the products between hidden layers in a `predictor`; learning is always in float32.
    """

    members: MLP | tuple[MLP, ...]
    max_logvar: Float[Array, " y"]
    min_logvar: Float[Array, " y"]
    inputs: Normalizer
    outputs: Normalizer
    elites: Int[Array, " e"]
    varies: Float[Array, " y"]
    spread: Float[Array, " y"]
    termination: Termination | None = eqx.field(static=True)
    reward: Reward | None = eqx.field(static=True)
    propagation: Propagation = eqx.field(static=True)
    precision: Precision = eqx.field(static=True)

    def __init__(
        self,
        n_obs: int,
        n_action: int,
        *,
        key: Key,
        members: int = 7,
        elites: int = 5,
        hidden: tuple[int, ...] = (200, 200, 200, 200),
        termination: Termination | None = None,
        reward: Reward | None = None,
        propagation: Propagation = "ts1",
        precision: Precision = "float32",
    ):
        n_y = n_obs + 1
        sizes = (n_obs + n_action, *hidden, 2 * n_y + 1)
        keys = jax.random.split(key, members)
        self.members = jax.vmap(lambda k: MLP(sizes, silu, key=k, init=truncated_normal))(keys)
        self.max_logvar, self.min_logvar = jnp.full(n_y, MAX_LOGVAR), jnp.full(n_y, MIN_LOGVAR)
        self.inputs, self.outputs = identity(n_obs + n_action), identity(n_y)
        self.elites, self.varies, self.spread = jnp.arange(elites), jnp.ones(n_y), jnp.ones(n_y)
        self.termination, self.reward = termination, reward
        self.propagation, self.precision = propagation, precision

    @property
    def n_members(self) -> int:
        """Members that `step` uses."""
        return len(self.members) if isinstance(self.members, tuple) else self.members.layers[0].bias.shape[0]

    def predictor(self) -> "Ensemble":
        """The ensemble of the elites alone, apart from each other: what imagination should use.

        Stacked members are for learning; on a CPU several products share the cores better than one batched product.
        """
        if isinstance(self.members, tuple):
            return self
        stacked, kept = self.members, jnp.arange(self.elites.shape[0])
        members = tuple(_rounded(jax.tree.map(lambda x, i=i: x[i], stacked), self.precision) for i in self.elites)
        return eqx.tree_at(lambda e: (e.members, e.elites), self, (members, kept))

    def predict(self, x: Float[Array, "m g i"]) -> Prediction:
        """Each member on its own group of normalised inputs.

        The log-variance is bounded softly, ``max - softplus(max - l)`` and then ``min + softplus(l - min)``
        (PETS, appendix A.1).
        """
        if isinstance(self.members, tuple):
            out = jnp.stack([jax.vmap(member)(rows) for member, rows in zip(self.members, x, strict=True)])
        else:
            out = jax.vmap(lambda member, rows: jax.vmap(member)(rows))(self.members, x)
        n_y = self.max_logvar.shape[0]
        logvar = self.max_logvar - jax.nn.softplus(self.max_logvar - out[..., n_y : 2 * n_y])
        logvar = self.min_logvar + jax.nn.softplus(logvar - self.min_logvar)
        return Prediction(out[..., :n_y], logvar, out[..., -1])

    def initial(self, n: int) -> EnsembleBelief:
        """Nothing is known before the first observation."""
        return EnsembleBelief(jnp.zeros((n, self.max_logvar.shape[0] - 1)))

    def observe(
        self, belief: EnsembleBelief, action: Array, obs: Float[Array, "n o"], first: Bool[Array, " n"], *, key: Key
    ) -> EnsembleBelief:
        """The observation is the state."""
        return EnsembleBelief(obs)

    def features(self, belief: EnsembleBelief) -> Float[Array, "n o"]:
        """The observation."""
        return belief.obs

    def step(self, belief: EnsembleBelief, action: Float[Array, "n a"], *, key: Key) -> tuple[EnsembleBelief, Outcome]:
        """Sample (reward, next obs, continues) from one member per particle, or take the mean of all."""
        key_turn, key_noise, key_end = jax.random.split(key, 3)
        x = self.inputs.normalize(jnp.concatenate([belief.obs, action], axis=-1))
        expected = self.propagation == "expectation"
        reward, change, logit = self._mean(x) if expected else self._sample(x, key_turn, key_noise)
        next_obs = belief.obs + change
        if self.termination is not None:
            ended = self.termination(belief.obs, action, next_obs)
        elif expected:
            ended = logit > 0.0
        else:
            ended = jax.random.bernoulli(key_end, jax.nn.sigmoid(logit))
        if self.reward is not None:
            reward = self.reward(belief.obs, action, next_obs)
        return EnsembleBelief(next_obs), Outcome(reward, 1.0 - ended)

    def _sample(
        self, x: Float[Array, "n i"], key_turn: Key, key_noise: Key
    ) -> tuple[Float[Array, " n"], Float[Array, "n o"], Float[Array, " n"]]:
        """Reward, change and logit of termination by the member that each particle meets, with its noise."""
        groups = _group(x, self.n_members)
        turn = _TURNS[self.propagation](self.n_members, groups.shape[1], key_turn)
        said = self.predict(jnp.take_along_axis(groups, turn.to_members[..., None], axis=0))
        noise = jax.random.normal(key_noise, said.mean.shape)
        y = self.outputs.restore(self.varies * (said.mean + self.spread * jnp.exp(0.5 * said.logvar) * noise))

        def back(of_members: Array) -> Array:
            rows = turn.back.reshape(*turn.back.shape, *[1] * (of_members.ndim - 2))
            return jnp.take_along_axis(of_members, rows, axis=0).reshape(-1, *of_members.shape[2:])[: x.shape[0]]

        # In two parts: XLA computes what two gathers read beforehand and in parallel, but would draw the noise within a
        # single one, element by element.
        return back(y[..., 0]), back(y[..., 1:]), back(said.end_logit)

    def _mean(self, x: Float[Array, "n i"]) -> tuple[Float[Array, " n"], Float[Array, "n o"], Float[Array, " n"]]:
        """Means over the members."""
        said = self.predict(jnp.broadcast_to(x, (self.n_members, *x.shape)))
        y = self.outputs.restore(self.varies * jnp.mean(said.mean, axis=0))
        return y[:, 0], y[:, 1:], jnp.mean(said.end_logit, axis=0)

    def disagreement(self, belief: EnsembleBelief, action: Float[Array, "n a"]) -> Float[Array, " n"]:
        """Root mean square, over outputs, of the standard deviation of the members' means; normalised units."""
        x = self.inputs.normalize(jnp.concatenate([belief.obs, action], axis=-1))
        mean = self.varies * self.predict(jnp.broadcast_to(x, (self.n_members, *x.shape))).mean
        return jnp.sqrt(jnp.mean(jnp.var(mean, axis=0), axis=-1))

    def log_density(
        self, belief: EnsembleBelief, action: Float[Array, "n a"], obs: Float[Array, "n o"]
    ) -> Float[Array, " n"]:
        """Log density of the mixture of the members' Gaussians, ``ln 1/M sum_m prod_i N(obs_i; mean_mi, var_mi)``.

        What never changed in the training data is foretold exactly, so that it has none: the product leaves it out.
        """
        x = self.inputs.normalize(jnp.concatenate([belief.obs, action], axis=-1))
        said = self.predict(jnp.broadcast_to(x, (self.n_members, *x.shape)))
        mean, logvar = said.mean[..., 1:], (said.logvar + 2.0 * jnp.log(self.spread))[..., 1:]
        change = (obs - belief.obs - self.outputs.mean[1:]) / self.outputs.std[1:]
        terms = (change - mean) ** 2 * jnp.exp(-logvar) + logvar + jnp.log(2.0 * jnp.pi)
        terms = (terms + 2.0 * jnp.log(self.outputs.std[1:])) * self.varies[1:]
        return jax.nn.logsumexp(-0.5 * jnp.sum(terms, axis=-1), axis=0) - jnp.log(self.n_members)


def _rounded(net: MLP, precision: Precision) -> MLP:
    """The same network with products between hidden layers in another precision.

    What goes in and comes out is told exactly: the first and the last layer, a tenth of the work, stay as they are.
    """
    layers = list(net.layers)
    for i in range(1, len(layers) - 1):
        layers[i] = eqx.tree_at(lambda layer: layer.weight, layers[i], layers[i].weight.astype(precision))
    return eqx.tree_at(lambda n: n.layers, net, tuple(layers))


def _group(x: Float[Array, "n i"], m: int) -> Float[Array, "m g i"]:
    """Deal n particles to m groups in order, repeating the first ones where n is no multiple of m."""
    missing = -x.shape[0] % m
    if missing:
        x = jnp.concatenate([x, jnp.resize(x, (missing, x.shape[1]))])
    return x.reshape(m, -1, x.shape[1])
