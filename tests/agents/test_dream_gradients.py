"""Whom each loss of Dreamer V1, V2 and V3 moves, and whither."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from forethought.agents.dream.base import dream
from forethought.errors import UsageError
from forethought.models.rssm import LatentBelief
from tests.agents.dreamt import KEY, MODULES, a_window, an_agent, loss_of, paying, state_of, stirred


def moved(tree):
    return bool(any(np.any(np.asarray(x) != 0.0) for x in jax.tree.leaves(tree)))


def stirred_state(name):
    state = state_of(name)
    return state._replace(nets=stirred(state.nets))


# Of each loss those that it moves, of model, actor and critic.
MOVES = {
    "dreamer-v1": {"actor_loss": "actor", "critic_loss": "critic", "reward_loss": "model", "divergence": "model"},
    "dreamer-v2": {"actor_loss": "actor", "critic_loss": "critic", "reward_loss": "model", "divergence": "model"},
    "dreamer-v3": {
        "actor_loss": "actor",
        "critic_loss": "critic",
        "replay_value_loss": "model critic",
        "reward_loss": "model",
        "dynamics_loss": "model",
        "representation_loss": "model",
        "going_on_loss": "model",
    },
}
CASES = [
    ("dreamer-v1", "numbers"),
    *(
        pytest.param(name, kind, marks=pytest.mark.slow)
        for name, kind in (("dreamer-v2", "numbers"), ("dreamer-v2", "choices"), ("dreamer-v3", "numbers"))
    ),
]


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_each_loss_moves_those_that_it_is_of_and_no_others(name, kind):
    """Without a bonus for entropy V1's actor, and V2's of numbers, is moved through the model alone."""
    more = {} if name == "dreamer-v1" else {"entropy_weight": 0.0}
    agent = an_agent(name, kind, free_nats=0.0, **more)
    state = state_of(name, kind)
    nets, losses = stirred(state.nets), loss_of(agent, state, kind)
    grads = jax.jit(jax.jacrev(lambda nets: {k: losses(nets)[k] for k in MOVES[name]}))(nets)
    found = {k: " ".join(part for part in nets._fields if moved(getattr(grads[k], part))) for k in MOVES[name]}
    assert found == MOVES[name]


@pytest.mark.slow
def test_as_in_2023_numbers_are_decided_by_the_gradient_through_the_dream():
    """Which reaches the actor alone: not the model, through what the dream begins with, nor the critic."""
    agent, state = an_agent("dreamer-v3", elder=True, entropy_weight=0.0), state_of("dreamer-v3")
    nets, losses = stirred(state.nets), loss_of(agent, state, "numbers")
    grads = jax.jit(jax.grad(lambda nets: losses(nets)["actor_loss"]))(nets)
    assert [moved(part) for part in grads] == [False, True, False]
    grads = jax.jit(jax.grad(lambda nets: losses(nets)["critic_loss"]))(nets)
    assert [moved(part) for part in grads] == [False, False, True]
    assert not an_agent("dreamer-v3", "choices", elder=True).climbs


def test_as_in_2023_windows_begin_as_episodes_do():
    """Whatever was believed before."""
    state, window = stirred_state("dreamer-v3"), a_window("numbers")
    for elder in (False, True):
        agent = an_agent("dreamer-v3", elder=elder)
        beliefs = [LatentBelief(*(jnp.full((3, n), x) for n in agent.sizes)) for x in (0.0, 0.7)]
        loss = jax.jit(lambda before, agent=agent: agent.loss(state, window, before, state.nets, key=KEY)[0])
        one, other = map(loss, beliefs)
        assert (float(one) == float(other)) == elder


def test_as_in_2023_a_dream_goes_on_or_ends():
    """By what is likelier; here an end always is, with 0.73, so that a return is one reward."""
    state = state_of("dreamer-v3")
    of_reward, of_end = (net.layers[-1].bias for net in (state.nets.model.reward.net, state.nets.model.going_on))
    likely = of_reward.at[150].set(50.0), of_end.at[0].set(-1.0)
    model = eqx.tree_at(lambda m: (m.reward.net.layers[-1].bias, m.going_on.layers[-1].bias), state.nets.model, likely)
    nets = state.nets._replace(model=model)
    for elder in (False, True):
        agent = an_agent("dreamer-v3", elder=elder)
        paid = float(model.reward(jnp.zeros(sum(agent.sizes))).mean())
        found = float(loss_of(agent, state, "numbers")(nets)["return"])
        assert (found < 1.001 * paid) == elder
        assert found > 0.999 * paid > 0.5


def test_the_divergences_of_v3_teach_one_side_each():
    """The prior learns what is seen; the posterior, and what leads to it, that it be foreseen. h belongs to both."""
    agent, state = an_agent("dreamer-v3", free_nats=0.0), state_of("dreamer-v3")
    nets, losses = stirred(state.nets), loss_of(agent, state, "numbers")
    names = "dynamics_loss", "representation_loss"
    grads = jax.jit(jax.jacrev(lambda nets: {k: losses(nets)[k] for k in names}))(nets)
    dynamics, representation = (grads[k].model.rssm for k in names)
    assert [moved(x.prior) for x in (dynamics, representation)] == [True, False]
    assert [moved(x.posterior.layers[-1]) for x in (dynamics, representation)] == [True, True]
    last = [grads[k].model.rssm.posterior.layers[-1].bias for k in names]
    assert not np.allclose(*last)


@pytest.mark.parametrize(
    ("name", "kind"),
    [*CASES, *(pytest.param(n, "choices", marks=pytest.mark.slow) for n in ("dreamer-v1", "dreamer-v3"))],
)
def test_a_step_of_the_actor_leads_to_what_pays(name, kind):
    """The model pays -(a - 0.5)^2, or 1 for the second choice; values are 0. All else is the agent's own."""
    more = {"entropy_weight": 0.0} if name != "dreamer-v1" else {}
    agent, state = an_agent(name, kind, horizon=4, **more), state_of(name, kind)
    start = LatentBelief(*(jax.random.normal(KEY, (400, n)) for n in agent.sizes))
    model = eqx.tree_at(
        lambda m: m.reward, paying(state.nets.model), jax.tree.map(jnp.zeros_like, state.nets.model.reward)
    )
    zero = state.nets.critic if name == "dreamer-v3" else jax.tree.map(jnp.zeros_like, state.nets.critic)
    ended = jnp.zeros(400, bool)

    def loss(actor, key):
        nets = state.nets._replace(model=model, actor=actor, critic=zero)
        lived = dream(model, lambda features, key: actor(features).sample(key=key), start, 4, key=key)
        if name == "dreamer-v1":
            return agent.dream_losses(zero, nets, lived, ended)[0]
        if name == "dreamer-v2":
            return agent.dream_losses(nets, model, zero, lived, ended)[0]
        held = jax.lax.stop_gradient(lived)
        return jnp.mean(agent.dream_losses(state._replace(nets=nets, slow=zero), nets, held, 1.0 - ended)[0]["actor"])

    def liking(actor):
        """The mean action, or the probability of the second choice."""
        says = actor(start.features)
        if kind == "numbers":
            return jnp.mean(says.mode())
        return jnp.mean(jax.nn.softmax(says.logits.reshape(400, 2))[:, 1])

    @jax.jit
    def both(actor):
        # A narrow policy: draws of V1's are at the bounds at first, where the model pays for nothing in between.
        grads = jax.grad(lambda a: jnp.mean(jax.vmap(lambda k: loss(a, k))(jax.random.split(KEY, 8))))(actor)
        length = jnp.sqrt(sum(jnp.sum(x**2) for x in jax.tree.leaves(grads)))
        after = jax.tree.map(lambda x, g: x - 0.05 * g / length, actor, grads)
        return liking(actor), liking(after), length

    actor = state.nets.actor
    if kind == "numbers" and name == "dreamer-v1":
        actor = eqx.tree_at(lambda a: a.net.layers[-1].bias, actor, jnp.array([0.0, -5.0]))
    was, is_now, length = both(actor)
    assert float(length) > 1e-4
    assert float(is_now) > float(was) + 1e-3
    assert kind == "choices" or float(was) < 0.4


def test_actions_of_v3_count_as_they_were_drawn_and_are_carried_out_within_the_bounds():
    agent, state = an_agent("dreamer-v3"), state_of("dreamer-v3")
    wide = eqx.tree_at(lambda a: a.net.layers[-1].bias, state.nets.actor, jnp.array([3.0, 9.0]))  # N(1, 1)
    state = state._replace(nets=state.nets._replace(actor=wide))
    belief = agent.unseen(200)
    action, carry, noted = agent.decide(state, belief, key=KEY, explore=True)
    assert float(action.max()) == 1.0
    assert (np.asarray(action) == 1.0).mean() > 0.3
    assert carry is belief
    assert noted.notes is belief
    lived = dream(state.nets.model, lambda f, key: wide(f).sample(key=key), belief, 2, key=KEY)
    assert float(jnp.max(lived.action)) > 1.5
    beyond = jax.tree.map(lambda x: x[:3], belief), jnp.array([[1.0], [2.0], [-7.0]])
    after = state.nets.model.step(*beyond, key=KEY)[0].deter
    np.testing.assert_array_equal(after[0], after[1])
    assert not np.allclose(after[0], after[2])


@pytest.mark.parametrize("name", MODULES)
def test_in_a_dream_the_actor_learns_from_what_it_does_and_not_through_what_it_sees(name, monkeypatch):
    """Else an action would be held to account for how the next ones look upon it."""
    agent, state, kept = an_agent(name), state_of(name), []

    class Enough(Exception):
        pass

    def dream(model, policy, *args, key):
        kept.append(policy)
        raise Enough

    monkeypatch.setattr(MODULES[name], "dream", dream)
    features = jax.random.normal(KEY, (3, sum(agent.sizes)))

    def slope(nets):
        with pytest.raises(Enough):
            loss_of(agent, state, "numbers")(nets)
        act = jax.grad(lambda features: jnp.sum(kept.pop()(features, KEY)))
        return act(features)

    assert not np.any(jax.jit(slope)(stirred(state.nets)))


@pytest.mark.parametrize("name", MODULES)
def test_a_policy_that_reads_beliefs_is_not_exported_as_arrays(name):
    with pytest.raises(UsageError, match=r"reads what the model believes; write it as \.stablehlo"):
        an_agent(name).portable(())


@pytest.mark.parametrize("name", MODULES)
def test_actions_are_drawn_while_learning_and_else_the_likeliest(name):
    agent, state = an_agent(name), stirred_state(name)
    belief, keys = agent.unseen(300), jax.random.split(KEY)
    drawn, *likeliest = (
        agent.decide(state, belief, key=key, explore=explore)[0]
        for key, explore in ((keys[0], True), (keys[0], False), (keys[1], False))
    )
    assert np.asarray(drawn).std() > 0.2
    for action in likeliest:
        np.testing.assert_allclose(action, state.nets.actor(belief.features).mode(), rtol=1e-5)


def test_v1_adds_noise_to_what_it_has_drawn():
    agent, state = an_agent("dreamer-v1", noise=0.2), state_of("dreamer-v1")
    sure = eqx.tree_at(lambda a: a.net.layers[-1].bias, state.nets.actor, jnp.array([0.0, -50.0]))
    state = state._replace(nets=state.nets._replace(actor=sure))
    action = agent.decide(state, agent.unseen(2000), key=KEY, explore=True)[0]
    assert np.asarray(action).std() == pytest.approx(0.2, rel=0.06)
