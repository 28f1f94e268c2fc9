import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from forethought.agents.base import Seen
from forethought.agents.free.sac import SAC, ActorCritic, ActorCriticConfig, SACConfig, soft_target
from forethought.errors import UsageError
from forethought.nets.heads import tanh_gaussian_sample
from forethought.replay.moments import holding
from forethought.types import Box, EnvSpec, Transition

SPEC = EnvSpec("toy", Box((2,)), Box((1,)))
LR, TAU, DISCOUNT, N = 0.1, 0.2, 0.9, 6
KEY = jax.random.key(7)


def test_the_soft_target_by_hand():
    reward = jnp.array([1.0, 1.0, -2.0])
    terminated = jnp.array([False, True, False])
    q_next = jnp.array([[3.0, 3.0, 5.0], [2.0, 2.0, 7.0]])
    log_prob = jnp.array([-1.0, -1.0, 4.0])
    y = soft_target(reward, terminated, q_next, log_prob, jnp.array(0.5), 0.9)
    # 1 + 0.9 (2 + 0.5); 1; -2 + 0.9 (5 - 2)
    np.testing.assert_allclose(y, [3.25, 1.0, 0.7], rtol=1e-6)


def test_no_gradient_flows_through_the_target():
    ones = jnp.ones(3)

    def total(q_next, log_prob, alpha):
        return soft_target(ones, ones < 0, q_next, log_prob, alpha, 0.9).sum()

    grads = jax.grad(total, argnums=(0, 1, 2))(jnp.ones((2, 3)), ones, jnp.array(1.0))
    assert not any(np.any(g) for g in grads)


def learner(**config):
    """SAC by plain gradient descent, so that a step shows the gradient."""
    made = ActorCritic(ActorCriticConfig(hidden=(4,), discount=DISCOUNT, tau=TAU, batch_size=N, **config), SPEC)
    made.optimizer = optax.sgd(LR)
    return made


def start(made):
    """A state whose targets differ from its critics, with a temperature that is not 1 unless it is fixed."""
    state = made.init(key=jax.random.key(0))
    nudged = jax.tree.map(lambda p: p + 0.05, state.targets)
    fixed = made.config.temperature is not None
    return state._replace(targets=nudged, log_alpha=state.log_alpha if fixed else jnp.array(-0.7))


def make_batch(terminated=(0, 1, 0, 0, 1, 0), truncated=(0, 0, 1, 0, 0, 0)):
    keys = jax.random.split(jax.random.key(1), 4)
    obs, next_obs = jax.random.normal(keys[0], (N, 2)), jax.random.normal(keys[1], (N, 2))
    action = jax.random.uniform(keys[2], (N, 1), minval=-1.0, maxval=1.0)
    reward = jax.random.normal(keys[3], (N,))
    return Transition(obs, action, reward, next_obs, jnp.array(terminated, bool), jnp.array(truncated, bool))


class ByHand:
    """The same losses in plain numpy and float64; only the noise is taken from JAX."""

    def __init__(self, state, batch):
        self.state = jax.tree.map(lambda x: np.asarray(x, np.float64), state._replace(actor_opt=0, critic_opt=0))
        self.batch = Transition(*(np.asarray(x) for x in batch))
        self.alpha = float(np.exp(self.state.log_alpha))
        key_target, key_actor = jax.random.split(KEY)
        self.noise_target, self.noise_actor = (
            np.asarray(jax.random.normal(key, (N, 1))) for key in (key_target, key_actor)
        )

    @staticmethod
    def network(net, x):
        first, last = net.layers
        return np.maximum(x @ first.weight + first.bias, 0.0) @ last.weight + last.bias

    def q(self, critics, obs, action):
        x = np.concatenate([obs, action], axis=1)
        return np.stack([self.network(critic.net, x)[:, 0] for critic in critics])

    def act(self, actor, obs, noise):
        mean, log_std = np.split(self.network(actor.net, obs), 2, axis=1)
        u = mean + np.exp(log_std) * noise
        log_normal = -0.5 * noise**2 - log_std - 0.5 * np.log(2 * np.pi)
        return np.tanh(u), (log_normal - np.log(1.0 - np.tanh(u) ** 2))[:, 0]

    def target(self):
        action, log_prob = self.act(self.state.actor, self.batch.next_obs, self.noise_target)
        value = self.q(self.state.targets, self.batch.next_obs, action).min(axis=0) - self.alpha * log_prob
        return self.batch.reward + DISCOUNT * (1.0 - self.batch.terminated) * value

    def critic_loss(self):
        error = self.q(self.state.critics, self.batch.obs, self.batch.action) - self.target()
        return 0.5 * np.sum(np.mean(error**2, axis=1)), error

    def actor_loss(self, critics, nudge=0.0):
        """With the bias of the mean moved by ``nudge``."""
        actor = jax.tree.map(np.copy, self.state.actor)
        actor.net.layers[-1].bias[0] += nudge
        action, log_prob = self.act(actor, self.batch.obs, self.noise_actor)
        return np.mean(self.alpha * log_prob - self.q(critics, self.batch.obs, action).min(axis=0)), log_prob


@pytest.fixture(scope="module")
def step():
    made = learner()
    state, batch = start(made), make_batch()
    after, info = jax.jit(made.learn)(state, batch, key=KEY)
    return made, ByHand(state, batch), state, jax.tree.map(np.asarray, after), info


def test_the_losses_of_a_step(step):
    _, by_hand, _, after, info = step
    loss, error = by_hand.critic_loss()
    assert float(info["critic_loss"]) == pytest.approx(loss, rel=1e-4)
    assert float(info["q"]) == pytest.approx(np.mean(error + by_hand.target()), rel=1e-4)
    loss, log_prob = by_hand.actor_loss(after.critics)
    assert float(info["actor_loss"]) == pytest.approx(loss, rel=1e-4)
    assert float(info["entropy"]) == pytest.approx(-log_prob.mean(), rel=1e-4)
    assert float(info["alpha"]) == pytest.approx(np.exp(-0.7))


def test_the_critics_descend_their_semi_gradient(step):
    """dL/db of the last bias is the mean error: nothing more comes through the target."""
    _, by_hand, state, after, _ = step
    _, error = by_hand.critic_loss()
    biases = [[float(critic.net.layers[-1].bias[0]) for critic in s.critics] for s in (state, after)]
    np.testing.assert_allclose(np.subtract(biases[1], biases[0]), -LR * error.mean(axis=1), rtol=1e-3)


def test_the_actor_descends_its_loss_under_the_new_critics(step):
    _, by_hand, state, after, _ = step
    nudge = 1e-6
    slope = (by_hand.actor_loss(after.critics, nudge)[0] - by_hand.actor_loss(after.critics, -nudge)[0]) / (2 * nudge)
    moved = after.actor.net.layers[-1].bias[0] - float(state.actor.net.layers[-1].bias[0])
    assert moved == pytest.approx(-LR * slope, rel=1e-3)


def test_the_temperature_descends_the_surplus_of_entropy(step):
    made, _, _, after, info = step
    surplus = float(info["entropy"]) - made.target_entropy
    assert made.target_entropy == -1.0
    assert float(after.log_alpha) == pytest.approx(-0.7 - LR * surplus, rel=1e-5)


def test_the_targets_are_the_polyak_mean(step):
    _, _, state, after, _ = step
    expected = jax.tree.map(lambda new, old: TAU * new + (1 - TAU) * np.asarray(old), after.critics, state.targets)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7), after.targets, expected)


@pytest.mark.parametrize(("target_entropy", "rises"), [(5.0, True), (-5.0, False)])
def test_the_temperature_rises_while_entropy_is_below_its_target(target_entropy, rises):
    made = learner(target_entropy=target_entropy)
    after, info = jax.jit(made.learn)(start(made), make_batch(), key=KEY)
    assert (float(info["entropy"]) < target_entropy) == rises
    assert (float(after.log_alpha) > -0.7) == rises


@pytest.mark.parametrize("temperature", [0.0, -1.0])
def test_a_temperature_has_a_logarithm(temperature):
    with pytest.raises(UsageError, match="temperature is"):
        SACConfig(temperature=temperature)


def test_a_fixed_temperature_stays():
    made = learner(temperature=0.3)
    after, info = jax.jit(made.learn)(start(made), make_batch(), key=KEY)
    assert float(info["alpha"]) == pytest.approx(0.3)
    assert float(jnp.exp(after.log_alpha)) == pytest.approx(0.3)


def test_termination_stops_the_bootstrap_and_truncation_does_not():
    made = learner()
    state, none = start(made), (0,) * N
    learn = jax.jit(made.learn)
    plain, _ = learn(state, make_batch(none, none), key=KEY)
    truncated, _ = learn(state, make_batch(none, (1,) * N), key=KEY)
    jax.tree.map(np.testing.assert_array_equal, plain, truncated)
    terminal = make_batch((1,) * N, none)
    _, info = learn(state, terminal, key=KEY)
    q = ByHand(state, terminal).q(ByHand(state, terminal).state.critics, *map(np.asarray, terminal[:2]))
    expected = 0.5 * np.sum(np.mean((q - np.asarray(terminal.reward)) ** 2, axis=1))
    assert float(info["critic_loss"]) == pytest.approx(expected, rel=1e-4)


def test_target_critics_begin_as_copies_of_their_own():
    state = learner().init(key=jax.random.key(0))
    for online, target in zip(jax.tree.leaves(state.critics), jax.tree.leaves(state.targets), strict=True):
        np.testing.assert_array_equal(online, target)
        assert online.unsafe_buffer_pointer() != target.unsafe_buffer_pointer()
    first, second = (critic.net.layers[0].weight for critic in state.critics)
    assert not np.array_equal(first, second)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("asked", "log_std", "slope"), [(-100.0, -20.0, 0.0), (-19.5, -19.5, 1.0), (1.5, 1.5, 1.0), (100.0, 2.0, 0.0)]
)
def test_the_spread_of_the_policy_is_bounded(asked, log_std, slope):
    """The authors' bounds; beyond them nothing is learned, and log-densities and their gradients stay finite."""
    actor = learner().init(key=jax.random.key(0)).actor
    pushed = eqx.tree_at(lambda a: a.net.layers[-1].bias, actor, jnp.array([0.0, asked]))
    pushed = eqx.tree_at(lambda a: a.net.layers[-1].weight, pushed, jnp.zeros((4, 2)))
    said, grad = jax.value_and_grad(lambda a: a(jnp.zeros(2))[1][0])(pushed)
    assert (float(said), float(grad.net.layers[-1].bias[1])) == (log_std, slope)

    def log_density(actor):
        return tanh_gaussian_sample(*jax.vmap(actor)(jnp.zeros((8, 2))), key=KEY)[1].sum()

    density, grads = jax.value_and_grad(log_density)(pushed)
    assert np.isfinite(density)
    assert all(np.all(np.isfinite(g)) for g in jax.tree.leaves(grads))


def test_acting_explores_around_what_it_does_when_judged():
    agent = SAC(SACConfig(hidden=(4,)), SPEC)
    state, obs = agent.init(key=jax.random.key(0)), jnp.ones((400, 2))
    evaluated, explored = (agent.decide(state, Seen(obs), key=KEY, explore=explore)[0] for explore in (False, True))
    mean, log_std = state.actor(jnp.ones(2))
    np.testing.assert_allclose(evaluated, np.full((400, 1), np.tanh(mean)), rtol=1e-5)
    u = np.arctanh(np.asarray(explored, np.float64))
    assert u.std() == pytest.approx(float(np.exp(log_std[0])), rel=0.15)
    assert u.mean() == pytest.approx(float(mean[0]), abs=4 * float(np.exp(log_std[0])) / 20)


@pytest.mark.slow
def test_an_update_is_so_many_steps_on_batches_from_the_replay():
    agent = SAC(SACConfig(hidden=(4,), batch_size=N, updates_per_step=2), SPEC)
    batch = make_batch()
    replay = holding(batch, 20)
    state, learn = agent.init(key=jax.random.key(0)), jax.jit(agent.learner.learn)
    after, _, info = jax.jit(agent.update)(state, replay, step=jnp.array(0), key=KEY)
    for key in jax.random.split(KEY, 2):
        key_batch, key_learn = jax.random.split(key)
        state, last = learn(state, replay.sample(N, key=key_batch), key=key_learn)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-4, atol=1e-6), after, state)
    assert float(info["critic_loss"]) == pytest.approx(float(last["critic_loss"]), rel=1e-4)
    assert int(after.critic_opt[0].count) == 2
