"""World Models (Ha & Schmidhuber 2018, arXiv 1803.10122).

Three stages follow random actions: V, an autoencoder, learns to see; M, a recurrent network, to foretell what V will
see; C, a linear policy on what both say, is evolved: in dreams of M, or in the world.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array

from forethought.agents.base import Agent, Phase, Pieces, Portable, random_action
from forethought.agents.dream import series
from forethought.agents.dream.base import gradient
from forethought.agents.dream.evolved import LinearPolicy, Trials, dreamt, judged
from forethought.agents.dream.policies import Held
from forethought.agents.dream.series import Encoding
from forethought.agents.dream.world_models_settings import WorldModelsConfig
from forethought.errors import UsageError
from forethought.imagine import Policy
from forethought.models.latent import n_action
from forethought.models.mdn_rnn import MDNRNN, Coded, MDNBelief, Memory
from forethought.nets.vae import VAE
from forethought.planning.cma_es import CMAES, Cloud
from forethought.replay.moments import Replay
from forethought.types import Box, EnvSpec, Info, Key, PyTree, TimeStep

_ONCE = 2**31 - 1  # environment steps between a stage and its next time, which never comes


class WorldModelsState(NamedTuple):
    """Everything that changes; ``trials`` is nothing where C is evolved in dreams."""

    vision: VAE
    vision_opt: optax.OptState
    memory: Memory
    memory_opt: optax.OptState
    cloud: Cloud
    trials: PyTree


class Carry(NamedTuple):
    """What is believed, and the random action that is held."""

    belief: MDNBelief
    held: Held


class WorldModels(Agent):
    """The agent; see `WorldModelsConfig` for its settings and `forethought.agents.base.Agent` for its methods."""

    has_memory = True

    def __init__(self, config: WorldModelsConfig, spec: EnvSpec):
        assert isinstance(spec.obs, Box)
        self.config, self.spec = config, spec
        self.replay_capacity, self.random_steps = config.replay_capacity, config.random_steps
        self.vision_optimizer = optax.adam(config.v.learning_rate)
        self.memory_optimizer = optax.chain(optax.clip(config.m.max_grad), optax.adam(config.m.learning_rate))
        n_features = config.v.latent + config.m.hidden * (1 + config.c.sees_cell)
        self.policy = LinearPolicy(n_features, spec.action, config.c.one_sided, config.c.order)
        self.search = CMAES(self.policy.size, config.c.population, config.c.initial_std)

    @property
    def in_world(self) -> bool:
        """Whether candidates are tried out in the world."""
        return self.config.c.where == "world"

    def check_setting(self) -> None:
        """Raises `UsageError` where candidates would have to share an environment, or no window of M finds room."""
        n, population = self.setting.num_envs, self.config.c.population
        if self.in_world and n % population:
            raise UsageError(
                f"each of the {population} candidates plays in environments of its own, and {n} cannot be shared out; "
                f"use --num-envs {population}, or change --agent.c.population"
            )

        capacity, steps = self.config.replay_capacity, self.config.random_steps
        series.require_room(capacity, n, self.window, "a replay of", "raise --agent.replay-capacity")
        if steps:
            series.require_room(steps, n, 2, "random steps, of which there are", "raise --agent.random-steps")

    def check_data(self, rows: int, pretrain: bool) -> None:
        """Raises `UsageError` where they make no window of M in each environment."""
        n, where = self.setting.num_envs, "the transitions given, of which there are"
        series.require_room(rows, n, self.window, where, "give more")

    @property
    def window(self) -> int:
        """Moments that M is shown, and the one that it foretells last."""
        lived = self.config.random_steps // self.setting.num_envs
        return 1 + (min(self.config.m.window, lived) if lived else self.config.m.window)

    def init(self, *, key: Key) -> WorldModelsState:
        """Fresh networks, and a cloud of candidates about 0."""
        key_vision, key_memory, key_trials = jax.random.split(key, 3)
        c, obs = self.config, self.spec.obs
        assert isinstance(obs, Box)
        vision = VAE(obs.shape, c.v.latent, c.v.channels, key=key_vision)
        sizes = c.v.latent, n_action(self.spec.action), c.m.hidden, c.m.mixtures
        memory = Memory(*sizes, reward=c.m.reward == "learned", key=key_memory)
        cloud = self.search.begin(jnp.zeros(self.policy.size))
        opts = self.vision_optimizer.init(vision), self.memory_optimizer.init(memory)
        return WorldModelsState(vision, opts[0], memory, opts[1], cloud, self._trials(cloud, key=key_trials))

    def _trials(self, cloud: Cloud, *, key: Key) -> PyTree:
        return Trials.begin(self.search.ask(cloud, key=key), self.setting.num_envs) if self.in_world else ()

    def notes(self) -> Coded:
        """What V makes of each moment, and what M needs to know of it."""
        return series.blank(self.config.v.latent, n_action(self.spec.action))

    def init_actor(self, n: int) -> Carry:
        """Nothing seen, nothing held."""
        z, h = self.config.v.latent, self.config.m.hidden
        belief = MDNBelief(jnp.zeros((n, z)), jnp.zeros((n, h)), jnp.zeros((n, h)))
        return Carry(belief, Held.none(random_action(self.spec.action, n, jax.random.key(0))))

    def observe(self, state: WorldModelsState, carry: Carry, time_step: TimeStep, *, key: Key) -> Carry:
        """V and M filter."""
        first = jnp.asarray(time_step.first)
        seen = self.world_model(state).observe(carry.belief, time_step.prev_action, time_step.obs, first, key=key)
        return carry._replace(belief=seen)

    def decide(self, state: WorldModelsState, carry: Carry, *, key: Key, explore: bool):
        """The middle of the cloud; where candidates are tried out in the world, one of them in each environment."""
        features = self.world_model(state).features(carry.belief)
        if not (explore and self.in_world):
            return jax.vmap(lambda x: self.policy(state.cloud.mean, x))(features), carry, ()
        candidates = state.trials.candidates
        mine = candidates[jnp.arange(features.shape[0]) % candidates.shape[0]]
        return jax.vmap(self.policy)(mine, features), carry, ()

    def act_at_random(self, state: WorldModelsState, carry: Carry, time_step: TimeStep, *, key: Key):
        """Actions that are held for a while. What is seen is left alone: V and M know nothing yet."""
        key_action, key_time = jax.random.split(key)
        first = jnp.asarray(time_step.first)
        drawn = random_action(self.spec.action, first.shape[0], key_action, time_step.legal)
        drawn = self.policy.of_numbers(drawn) if isinstance(self.spec.action, Box) else drawn
        held = carry.held.next(drawn, first, self.config.random_hold, key=key_time)
        return held.action, carry._replace(held=held), ()

    def policy_within(self, state: WorldModelsState) -> Policy:
        """C, of the features of a belief."""
        return lambda features, key: jax.vmap(lambda x: self.policy(state.cloud.mean, x))(features)

    def acts_with(self, state: WorldModelsState) -> PyTree:
        """V, M and C."""
        return state.vision, state.memory, state.cloud.mean

    def portable(self, state: WorldModelsState) -> Portable:
        """Raises `UsageError`."""
        raise UsageError("the policy reads what V and M say; write it as .stablehlo, which takes them along")

    def world_model(self, state: WorldModelsState, temperature: float = 1.0) -> MDNRNN:
        """V and M, as certain as M has learned to be."""
        return MDNRNN(state.vision, state.memory, jnp.array(temperature), self.spec.action, self.config.c.sees_cell)

    def dream(self, state: WorldModelsState) -> MDNRNN:
        """V and M, as C is tried out in them."""
        return self.world_model(state, self.config.c.temperature)

    def phases(self) -> tuple[Phase, ...]:
        """The stages, one after the other at the same step; in the world the last one is at every step from there."""
        c, n = self.config, self.setting.num_envs
        every, start = c.every or _ONCE, max(c.random_steps, 1)
        encode = Pieces(self.begin_encoding, series.proceed, self.finish_encoding, "encoding", "piece")
        stages = (
            Phase("vision", every, self.learn_vision, 1, start, "model", times=c.v.updates),
            Phase("encode", every, encode, start=start, kind="model"),
            Phase("memory", every, self.learn_memory, 1, start, "model", times=c.m.updates),
        )
        if self.in_world:
            return (*stages, Phase("evolve", n, self.try_out, start=start))
        return (*stages, Phase("evolve", every, self.evolve, 1, start, "model", times=c.c.generations))

    def learn_vision(
        self, state: WorldModelsState, replay: Replay, *, step: Array, key: Key
    ) -> tuple[WorldModelsState, Replay, Info]:
        """One update of V."""
        key_draw, key_loss = jax.random.split(key)
        c, images = self.config.v, replay.sample(self.config.v.batch_size, key=key_draw).obs

        def loss(vision: VAE) -> tuple[Array, Info]:
            said = vision.loss(images, key=key_loss, tolerance=c.kl_tolerance)
            return jnp.mean(said.total), {"reconstruction_error": jnp.mean(said.error), "latent_kl": jnp.mean(said.kl)}

        vision, opt, info = gradient(loss, self.vision_optimizer, state.vision, state.vision_opt)
        return state._replace(vision=vision, vision_opt=opt), replay, info

    def begin_encoding(self, state: WorldModelsState, replay: Replay, *, step: Array, key: Key) -> Encoding:
        """See `forethought.agents.dream.series`."""
        return series.begin(self.world_model(state), replay)

    def finish_encoding(
        self, state: WorldModelsState, work: Encoding, replay: Replay, *, step: Array, key: Key
    ) -> tuple[WorldModelsState, Replay, Info]:
        """Notes beside all rows. V sees otherwise than it did: the search begins anew, around where it was."""
        cloud = self.search.begin(state.cloud.mean)
        state, known = state._replace(cloud=cloud, trials=self._trials(cloud, key=key)), work.coded.known
        return state, replay.note(jnp.arange(known.size), work.coded), {"moments": 1.0 * jnp.sum(known)}

    def learn_memory(
        self, state: WorldModelsState, replay: Replay, *, step: Array, key: Key
    ) -> tuple[WorldModelsState, Replay, Info]:
        """One update of M."""
        key_draw, key_loss = jax.random.split(key)
        c = self.config.m
        window = series.windows(replay, c.batch_size, self.window, key=key_draw)

        def loss(memory: Memory) -> tuple[Array, Info]:
            said = memory.loss(window, key=key_loss, ending_weight=c.ending_weight)
            return said.total, {"latent_nll": said.nll, "reward_error": said.reward, "ending_loss": said.ending}

        memory, opt, info = gradient(loss, self.memory_optimizer, state.memory, state.memory_opt)
        return state._replace(memory=memory, memory_opt=opt), replay, info

    def evolve(
        self, state: WorldModelsState, replay: Replay, *, step: Array, key: Key
    ) -> tuple[WorldModelsState, Replay, Info]:
        """One generation of candidates, tried out in dreams that begin as episodes have begun."""
        c, (key_ask, key_begin, key_z, key_dream) = self.config.c, jax.random.split(key, 4)
        model = self.dream(state)
        begun = series.beginnings(replay, c.rollouts, key=key_begin)
        begin = model.initial(c.rollouts)._replace(z=begun.sample(key=key_z))
        candidates = self.search.ask(state.cloud, key=key_ask)
        earned, lived = dreamt(model, self.policy, candidates, begin, c.horizon, key=key_dream)
        value = judged(earned)
        cloud = self.search.tell(state.cloud, candidates, value)
        info = {
            "dream_return": jnp.mean(value),
            "dream_return_best": jnp.max(value),
            "dream_length": jnp.mean(lived.astype(jnp.float32)),
            "candidate_std": cloud.std,
        }
        return state._replace(cloud=cloud), replay, info

    def try_out(
        self, state: WorldModelsState, replay: Replay, *, step: Array, key: Key
    ) -> tuple[WorldModelsState, Replay, Info]:
        """One step of every environment, and a new generation where every candidate has had its episodes."""
        newest, c = replay.last(self.setting.num_envs), self.config.c
        over = newest.terminated | newest.truncated
        trials = state.trials.after(newest.reward, over, c.rollouts)
        cloud, trials = trials.next_generation(self.search, state.cloud, over, c.rollouts, key=key)
        info = {"trial_return": trials.value, "generation": 1.0 * cloud.generation, "candidate_std": cloud.std}
        return state._replace(cloud=cloud, trials=trials), replay, info
