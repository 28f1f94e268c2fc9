"""What every algorithm of the catalogue promises."""

import ast
import dataclasses
import inspect
import textwrap

import equinox as eqx
import jax
import numpy as np
import pytest

import small
from forethought.agents.base import Agent, empty_items
from forethought.agents.catalog import ALGORITHMS, require_fit
from forethought.types import Box

EVERY = pytest.mark.parametrize("name", ALGORITHMS)
EVERY_IN_TIME = pytest.mark.parametrize("name", small.quick(list(ALGORITHMS), "sac", "dyna-q", "icem"))


def test_every_algorithm_is_in_these_tests():
    assert set(small.SETTINGS) == set(ALGORITHMS) == set(small.WORLDS)


def new_agent(name):
    spec = small.envs.env_spec(small.WORLDS[name])
    require_fit(name, spec)
    return small.make_agent(name, spec)


@EVERY
def test_an_agent_has_the_methods_of_agents(name):
    agent = new_agent(name)
    assert isinstance(agent, Agent)
    assert agent.replay_capacity >= 1
    assert agent.random_steps >= 0
    assert len({phase.name for phase in agent.phases()}) == len(agent.phases())
    assert agent.warnings({}) == []


@EVERY
def test_every_leaf_of_the_state_is_an_array(name):
    leaves = jax.tree.leaves(new_agent(name).init(key=jax.random.key(0)))
    assert len(leaves) > 2
    assert all(isinstance(leaf, jax.Array) for leaf in leaves)
    assert all(leaf.dtype in (np.float32, np.int32, bool) for leaf in leaves)
    pointers = [leaf.unsafe_buffer_pointer() for leaf in leaves if leaf.size]
    assert len(set(pointers)) == len(pointers)  # else the state could not be donated


@EVERY
def test_modules_hold_nothing_but_arrays(name):
    """No floats or functions as leaves: then plain jit, grad, vmap and scan work on them."""
    state = new_agent(name).init(key=jax.random.key(0))
    modules = jax.tree.leaves(state, is_leaf=lambda x: isinstance(x, eqx.Module))
    modules = [m for m in modules if isinstance(m, eqx.Module)]
    assert modules
    for module in modules:
        assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(module))


def documented_fields(config_class):
    """Fields that are followed by a string, in the class and those it inherits from."""
    found = set()
    for owner in config_class.__mro__:
        if not dataclasses.is_dataclass(owner):
            continue
        (tree,) = ast.parse(textwrap.dedent(inspect.getsource(owner))).body
        for field, after in zip(tree.body, tree.body[1:], strict=False):
            explained = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
            if isinstance(field, ast.AnnAssign) and explained:
                found.add(field.target.id)
    return found


def nested_configs(config_class):
    yield config_class
    for field in dataclasses.fields(config_class):
        if dataclasses.is_dataclass(field.type):
            yield from nested_configs(field.type)


@EVERY
def test_every_setting_is_explained(name):
    for config_class in nested_configs(ALGORITHMS[name].load()[1]):
        names = {field.name for field in dataclasses.fields(config_class)}
        assert names - documented_fields(config_class) == set()
        assert config_class.__doc__


@EVERY_IN_TIME
@pytest.mark.parametrize("explore", [True, False])
def test_actions_lie_in_their_space(name, explore):
    agent = new_agent(name)
    state, n = agent.init(key=jax.random.key(0)), 50
    now, carry = small.seen(agent.spec, empty_items(agent.spec.obs, n)), agent.init_actor(n)
    decide = jax.jit(agent.decide, static_argnames="explore")
    seen = jax.jit(agent.observe)(state, carry, now, key=jax.random.key(0))
    action, after, extras = decide(state, seen, key=jax.random.key(0), explore=explore)
    like = lambda x: (x.shape, x.dtype)  # noqa: E731
    assert jax.tree.map(like, seen) == jax.tree.map(like, after) == jax.tree.map(like, carry)
    assert all(len(x) == n for x in jax.tree.leaves(extras))
    if isinstance(agent.spec.action, Box):
        assert action.shape == (n, *agent.spec.action.shape)
        assert float(abs(action).max()) <= 1.0
    else:
        assert action.shape == (n,)
        assert action.dtype == np.int32
        assert set(action.tolist()) <= set(range(agent.spec.action.n))
