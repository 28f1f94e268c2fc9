"""Episodes and models to diagnose: some known in closed form, some broken on purpose."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from forethought import envs
from forethought.diagnostics import Episode, MeasureSettings, collect
from forethought.models.ensemble import Ensemble
from forethought.types import Outcome

KEY = jax.random.key(0)
SMALL = MeasureSettings(particles=30, starts=64, steps=512, long=50, lives=4, plan_particles=3)


def play(n, seed, act=None, env="forethought/Pendulum-v0", most_steps=200):
    """n episodes, with random actions unless ``act(obs)`` chooses them."""
    world = envs.make(env, seeds=[seed], envs_per_seed=n, stream="test")
    rng = np.random.default_rng(seed)

    def choose(now, carry, t):
        actions = rng.uniform(-1, 1, (n, 1)) if act is None else act(now.obs)
        return np.asarray(actions, np.float32), carry

    return collect(world, choose, (), most_steps=most_steps)


class Wrapped(eqx.Module):
    """A model that does as another one does."""

    model: object

    def initial(self, n):
        return self.model.initial(n)

    def observe(self, belief, action, obs, first, *, key):
        return self.model.observe(belief, action, obs, first, key=key)

    def features(self, belief):
        return self.model.features(belief)

    def step(self, belief, action, *, key):
        return self.model.step(belief, action, key=key)


class WrongSign(Wrapped):
    """Its reward has the wrong sign."""

    def step(self, belief, action, *, key):
        belief, outcome = self.model.step(belief, action, key=key)
        return belief, outcome._replace(reward=-outcome.reward)


class Constant(Wrapped):
    """Nothing ever changes."""

    def step(self, belief, action, *, key):
        return belief, self.model.step(belief, action, key=key)[1]


def too_sure(model: Ensemble) -> Ensemble:
    """Every variance divided by 100."""
    return eqx.tree_at(lambda e: e.spread, model, model.spread / 10.0)


class Walk(eqx.Module):
    """``obs' = obs + action + drift + noise * normal``, reward ``pay``; the world ends where obs reaches ``wall``."""

    drift: jax.Array
    noise: jax.Array
    pay: jax.Array
    wall: jax.Array

    def __init__(self, drift=0.0, noise=0.0, pay=1.0, wall=np.inf):
        self.drift, self.noise, self.pay, self.wall = (jnp.asarray(x, jnp.float32) for x in (drift, noise, pay, wall))

    def initial(self, n):
        return jnp.zeros((n, 1))

    def observe(self, belief, action, obs, first, *, key):
        return obs

    def features(self, belief):
        return belief

    def step(self, belief, action, *, key):
        belief = belief + action + self.drift + self.noise * jax.random.normal(key, belief.shape)
        pay = jnp.full(belief.shape[0], 1.0) * self.pay
        return belief, Outcome(pay, 1.0 - (belief[:, 0] >= self.wall))


class BesideStill(Walk):
    """`Walk` with two more dimensions that never move in the world, and by ``slip`` per step in the model."""

    slip: jax.Array

    def __init__(self, slip=0.0, **walk):
        super().__init__(**walk)
        self.slip = jnp.asarray(slip, jnp.float32)

    def initial(self, n):
        return jnp.zeros((n, 3))

    def step(self, belief, action, *, key):
        walked, outcome = super().step(belief[:, :1], action, key=key)
        return jnp.concatenate([walked, belief[:, 1:] + self.slip], axis=1), outcome


class ClockBesideNoise(Walk):
    """A clock that goes on by 1 for ever, beside a random walk with steps of 1."""

    def __init__(self):
        super().__init__(noise=1.0)

    def initial(self, n):
        return jnp.zeros((n, 2))

    def step(self, belief, action, *, key):
        walked, outcome = super().step(belief[:, 1:], jnp.zeros_like(belief[:, 1:]), key=key)
        return jnp.concatenate([belief[:, :1] + 1.0, walked], axis=1), outcome


def beside_still(episodes: list[Episode]) -> list[Episode]:
    """The same walks with the dimensions of `BesideStill`: one is always 7, one another number in every episode."""
    still = [np.broadcast_to(np.float32([7.0, i]), (e.length + 1, 2)) for i, e in enumerate(episodes)]
    return [e._replace(obs=np.concatenate([e.obs, s], axis=1)) for e, s in zip(episodes, still, strict=True)]


def walks(n=4, steps=12, noise=0.0, terminated=False, seed=0) -> list[Episode]:
    """Episodes of `Walk` without drift: each step adds the action, of 1 in size, and pays 1."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(n):
        action = rng.choice([-1.0, 1.0], (steps, 1)).astype(np.float32)
        steps_taken = action + noise * rng.normal(size=action.shape)
        obs = np.concatenate([np.zeros((1, 1)), np.cumsum(steps_taken, axis=0)]).astype(np.float32)
        found.append(Episode(obs, action, np.ones(steps, np.float32), terminated, not terminated))
    return found
