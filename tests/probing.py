"""Lives of agents that dream in probes, and what they believe on the way."""

from functools import cache

import equinox as eqx
import jax
import numpy as np

import small
from forethought.envs.probes import Probe

NAMES = ("Constant", "Observation", "Discount", "Action", "Policy", "Truncation", "Termination")
GAMMA = 0.9
NUM_ENVS = 4
DREAM = {
    "batch_size": 8,
    "batch_length": 8,
    "train_every": NUM_ENVS,
    "updates": 1,
    "pretrain": 0,
    "random_steps": 64,
    "replay_capacity": 10_000,
    "horizon": 5,
}


def learner(algorithm, kind, settings, steps):
    """For `values_and_actions`, of probes with this kind of actions."""
    agent = small.make_agent(algorithm, Probe("Constant", action=kind).spec, **settings)
    return small.Learner(agent, [0], NUM_ENVS, steps)


def values_and_actions(learner, name, kind, steps, *, on_arrival=False, ahead=False, narrower=0.0):
    """Live anew in a probe, and see whether values are those that are known, and actions the best.

    ``on_arrival``: values count what is earned on arrival at a moment too. ``ahead``: they do, and are asked of the
    moment that an action leads to, as the model dreams it: a critic that knows dreams alone is never taught the moment
    in which one begins. ``narrower``: taken off what the policy's standard deviation is read from, before the first
    step. Where it is so wide that actions are cut off at both bounds, a bound is the best mean there is, and where the
    gradient of a tanh has gone it stays the mean, in some seeds.
    """
    kinds = {"action": kind}
    world = small.envs.make(f"forethought/Probe{name}-v0", seeds=[0], envs_per_seed=NUM_ENVS, env_kwargs=kinds)
    small.restart(learner)
    if narrower:
        learner.state = eqx.tree_at(_last_bias, learner.state, replace_fn=lambda bias: _taken_off(bias, narrower))
    small.live(learner, world, steps)
    fresh = small.envs.make(f"forethought/Probe{name}-v0", seeds=[1], envs_per_seed=16, env_kwargs=kinds)
    probe = Probe(name, **kinds)
    seen, earned, values, actions = _walked(learner, fresh, ahead)
    expected, best = probe.optimal_values(GAMMA), probe.optimal_actions()
    # A policy of numbers goes on exploring, which costs what it strays by, squared.
    tolerance = 0.15 + 0.08 * np.abs(expected).max() + (0.15 if best is not None and kind == "box" else 0.0)
    for i, shown in enumerate(probe.observations()[:, 0]):
        here = np.isclose(seen, shown)
        assert here.any()
        worth = earned[here] + GAMMA * expected[i] if on_arrival else expected[i]
        # What is believed is drawn: now and then it is wrong.
        assert abs(np.median(values[here] - worth)) <= tolerance
        if best is not None:
            wanted = np.asarray(best).reshape(-1)[i]
            assert np.median(np.abs(actions[here] - wanted)) <= (0.3 if kind == "box" else 0.0)


def _last_bias(state):
    return state.nets.actor.net.layers[-1].bias


def _taken_off(bias, narrower):
    """Standard deviations are read from the second half of the outputs."""
    return bias.at[..., bias.shape[-1] // 2 :].add(-narrower)


@cache
def _acting(agent, ahead):
    """Compiled once for all probes of an agent."""

    @jax.jit
    def act(state, carry, now, key):
        carry = agent.observe(state, carry, now, key=key)
        action, carry, _ = agent.decide(state, carry, key=key, explore=False)
        belief = state.model.step(carry, action, key=key)[0] if ahead else carry
        return action, carry, state.nets.critic(belief.features).mean()

    return act


def _walked(learner, world, ahead, steps=12):
    """What is seen, earned, believed to be worth and done on the way, by a policy that does not explore."""
    agent, state = learner.agent, jax.tree.map(lambda x: x[0], learner.state)
    act = _acting(agent, ahead)
    now, carry, found = world.reset(), agent.init_actor(world.num_slots), []
    for t in range(steps):
        action, carry, value = act(state, carry, now, jax.random.key(t))
        found.append([now.obs[:, 0], now.reward, np.asarray(value), np.asarray(action).reshape(world.num_slots)])
        now = world.step(np.asarray(action)).now
    return np.array(found).transpose(1, 0, 2).reshape(4, -1)
