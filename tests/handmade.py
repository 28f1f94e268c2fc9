"""Worlds and models whose every answer is known."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from forethought.models.ensemble import Ensemble
from forethought.models.termination import never
from forethought.types import Outcome


def constant(said, logvar=-40.0, members=3, end=-100.0, **options):
    """An ensemble that says the same whatever it sees: (reward, change) = said[m]. Log-variances are not bounded."""
    model = small_ensemble(members, **options)
    last = model.members.layers[-1]
    bias = jnp.concatenate([jnp.asarray(said), jnp.full((members, 2), logvar), jnp.full((members, 1), end)], axis=1)
    return eqx.tree_at(
        lambda e: (e.members.layers[-1].weight, e.members.layers[-1].bias, e.min_logvar, e.max_logvar),
        model,
        (0.0 * last.weight, bias, jnp.full(2, -60.0), jnp.full(2, 30.0)),
    )


def adding(members=3, **options):
    """Member i adds i + 1 to the observation and pays 10 (i + 1)."""
    return constant([[10.0 * (i + 1), i + 1.0] for i in range(members)], members=members, **options)


def small_ensemble(members=3, **options):
    """One number to see and one to do, four hidden units."""
    options = {"elites": members, "hidden": (4,), "termination": never} | options
    return Ensemble(1, 1, key=jax.random.key(0), members=members, **options)


class Place(NamedTuple):
    """Where one is on the track."""

    x: jax.Array


def places(*x):
    """A batch of beliefs."""
    return Place(jnp.array(x, jnp.float32)[:, None])


class Slope(eqx.Module):
    """A value that is ``factor`` times the observation."""

    factor: jax.Array

    def __init__(self, factor):
        self.factor = jnp.asarray(factor, jnp.float32)

    def __call__(self, features):
        return self.factor * features[:, 0]


class OnALine(eqx.Module):
    """What worlds on a line share: all is seen, and begins at 0."""

    def initial(self, n):
        return Place(jnp.zeros((n, 1)))

    def observe(self, belief, action, obs, first, *, key):
        return Place(obs)

    def features(self, belief):
        return belief.x


class Track(OnALine):
    """A world on a line: x moves by the action, and where it arrives is what it pays.

    The world ends at ``end``; from ``unseen`` on it shows NaN, which counts as an end where ``blind_end``; from
    ``unpaid`` on it pays NaN.
    """

    end: jax.Array
    unseen: jax.Array
    unpaid: jax.Array
    blind_end: jax.Array

    def __init__(self, end=jnp.inf, unseen=jnp.inf, unpaid=jnp.inf, blind_end=False):
        self.end, self.unseen, self.unpaid = (jnp.asarray(x, jnp.float32) for x in (end, unseen, unpaid))
        self.blind_end = jnp.asarray(blind_end)

    def step(self, belief, action, *, key):
        x = belief.x + action
        unseen = x >= self.unseen
        reward = jnp.where(x >= self.unpaid, jnp.nan, x)[:, 0]
        ended = (x >= self.end) | (unseen & self.blind_end)
        return Place(jnp.where(unseen, jnp.nan, x)), Outcome(reward, 1.0 - ended[:, 0])


class Fragile(OnALine):
    """Each step pays ``-(action - best)^2``; an action above ``breaks`` leads to where nothing can be seen.

    The observation is the best action; it stays.
    """

    breaks: jax.Array

    def __init__(self, breaks=jnp.inf):
        self.breaks = jnp.asarray(breaks, jnp.float32)

    def step(self, belief, action, *, key):
        reward = -jnp.sum((action - jnp.nan_to_num(belief.x)) ** 2, axis=-1)
        return Place(jnp.where(action > self.breaks, jnp.nan, belief.x)), Outcome(reward, jnp.ones_like(reward))


class Lock(OnALine):
    """Opens, and pays 1, once the signs of the actions have been those of the code; a wrong one begins it anew."""

    code: jax.Array

    def __init__(self, *code):
        self.code = jnp.array(code, jnp.float32)

    def step(self, belief, action, *, key):
        done = belief.x[:, 0].astype(jnp.int32)
        right = action[:, 0] * self.code[done] > 0
        done = jnp.where(right, done + 1, 0)
        opened = done == self.code.shape[0]
        return Place(jnp.float32(done)[:, None]), Outcome(1.0 * opened, 1.0 - opened)
