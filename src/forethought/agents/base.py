"""What every agent is to the training loop, the ask/tell loop and a loaded policy."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
from jaxtyping import Array

from forethought.envs.views import empty_items
from forethought.errors import UsageError
from forethought.imagine import Policy
from forethought.models.base import WorldModel
from forethought.models.normalizer import Normalizer, identity
from forethought.nets.distributions import of_legal
from forethought.nets.encoder import Encoder
from forethought.nets.mlp import MLP
from forethought.types import Box, Discrete, EnvSpec, Info, Key, PyTree, TimeStep, is_vector

MOST_UNITS = 2**31 - 1  # they are counted in int32
Output: TypeAlias = Literal["tanh", "clip", "argmax"]  # how the last layer of a policy becomes an action
_OBSERVING = 1  # what is folded into the key of an action for the key of its observation


@dataclass(frozen=True)
class Pieces:
    """What a phase that may take minutes runs, in pieces: between two of them the display moves, and a stop is heard.

    Where it is cut must change nothing. All three are pure and vmapped over seeds; ``step`` and ``key`` are those of
    `Phase.run`. The work is a pytree of arrays. Whatever depends on the replay's size alone is better found anew in
    each piece than carried in it, where it would get an axis of seeds.

    Attributes:
        begin: ``(state, replay, *, step, key) -> work``.
        proceed: ``(work, replay, *, step, key, units) -> (work, left)``: at most ``units`` (an array) more, such as
            epochs; ``left`` says whether there are any more to come.
        finish: ``(state, work, replay, *, step, key) -> (state, replay, info)``.
        doing: what the progress display says meanwhile.
        unit: what it counts.
    """

    begin: Callable[..., PyTree]
    proceed: Callable[..., tuple[PyTree, Array]]
    finish: Callable[..., tuple[PyTree, PyTree, Info]]
    doing: str
    unit: str

    def __call__(self, state: PyTree, replay: PyTree, *, step: Array, key: Key) -> tuple[PyTree, PyTree, Info]:
        """All of it in one piece."""
        work = self.begin(state, replay, step=step, key=key)
        work, _ = self.proceed(work, replay, step=step, key=key, units=MOST_UNITS)
        return self.finish(state, work, replay, step=step, key=key)


@dataclass(frozen=True)
class Phase:
    """One way in which an agent learns, and how often.

    Attributes:
        name: what the progress display and the timings call it.
        every: environment steps between two times at which it is due.
        run: ``(state, replay, *, step, key) -> (state, replay, info)``: pure; it is compiled alone, scanned where it
            is due several times at one step, and vmapped over seeds. ``step`` (environment steps so far) is the same
            for all seeds, so a ``lax.cond`` on it stays a branch. Of the replay it may change the notes, and nothing
            else. `Pieces` where it may take longer than a second.
        updates: gradient steps (or table updates) that one run makes, for the accounts.
        start: environment steps before it is due first.
        kind: "model" for phases that are logged at each run, "train" for those logged now and then.
        times: runs at each time that it is due. Many are a stage of training, such as the 10,000 updates of an
            autoencoder: between two parts of it the run shows how far it is, can be stopped, and is saved.
        clock: what ``every`` and ``start`` count: environment "steps", or the "updates" that the phases with that
            other clock have made.
        check: ``(replay) -> info``, pure and vmapped as ``run`` is: what the first transitions contradict, told before
            the first run. None where nothing is known that they could.
    """

    name: str
    every: int
    run: Callable[..., tuple[PyTree, PyTree, Info]]
    updates: int = 0
    start: int = 0
    kind: Literal["train", "model"] = "train"
    times: int = 1
    clock: Literal["steps", "updates"] = "steps"
    check: Callable[[PyTree], Info] | None = None

    @property
    def counted(self) -> bool:
        """Whether its runs are told apart by their number, because there may be several at one environment step."""
        return self.times > 1 or self.clock == "updates"


@dataclass(frozen=True)
class Portable:
    """A policy as plain arrays, for `forethought.export`; see ``numpy_policy.py`` for how they are used.

    ``kind`` "mlp" has ``mean``, ``std``, ``limit``, ``weight0``, ``bias0``, ...: a network, with the activation of that
    name, of normalised observations that are cut off at ``limit``. Its ``output`` says the action: by its "tanh",
    "clip"ped to [-1, 1], or by the place of the greatest ("argmax"). "table" has ``q``, whose greatest entry says it.
    """

    kind: Literal["mlp", "table"]
    arrays: dict[str, Array]
    activation: str = ""
    output: Output = "argmax"

    @classmethod
    def network(
        cls,
        net: MLP,
        n_action: int | None,
        seen: Normalizer | None = None,
        *,
        output: Output = "tanh",
        limit: float = math.inf,
        encoder: Encoder | None = None,
    ) -> "Portable":
        """The first ``n_action`` outputs of a network, or all of them. Raises `UsageError` where no vector is seen."""
        if encoder is not None and not is_vector(encoder.space):
            raise UsageError("numpy_policy.py sees vectors only; write a .stablehlo instead, which any policy can be")
        if net.activation.__name__ not in ("relu", "tanh"):
            raise UsageError(f"numpy_policy.py knows relu and tanh, not {net.activation.__name__}; add it there")
        seen = identity(net.layers[0].weight.shape[0]) if seen is None else seen
        arrays = {"mean": seen.mean, "std": seen.std, "limit": jnp.asarray(limit)}
        for i, layer in enumerate(net.layers):
            n = n_action if i == len(net.layers) - 1 else None
            arrays |= {f"weight{i}": layer.weight[:, :n], f"bias{i}": layer.bias[:n]}
        return cls("mlp", arrays, net.activation.__name__, output)


@dataclass(frozen=True)
class Setting:
    """What an agent may know of the run that it is made for: environments per seed, and steps of each seed."""

    num_envs: int = 1
    steps: int = 1


class Seen(NamedTuple):
    """What acting without memory reads of n environments: what is seen now, and which actions are legal, if not all."""

    obs: PyTree
    legal: PyTree = ()


class Agent(ABC):
    """An agent is static configuration; ``State`` is everything that changes while it learns.

    State and replay are pytrees of arrays, so that they can be vmapped over seeds, donated, and saved as they are.
    An agent acts by filtering, then deciding: `observe` takes every time step into the carry, also those that another
    acted in, and `decide` reads nothing else. By default the carry is what is `Seen` now: a policy without memory.

    Attributes:
        spec: the environment it was made for.
        config: its settings.
        setting: the run it was made for; `forethought.training.program.Program` says so, before anything else is asked.
        has_memory: whether the carry holds more than what is seen now.
        replay_capacity: transitions to keep for `Phase.run`.
        random_steps: environment steps with uniformly random actions before the policy acts.
    """

    spec: EnvSpec
    config: Any
    setting: Setting = Setting()
    has_memory: bool = False
    replay_capacity: int
    random_steps: int

    def check_setting(self) -> None:
        """Raise `UsageError` where nothing could be learned in this setting."""
        return

    def check_data(self, rows: int, pretrain: bool) -> None:
        """Raise `UsageError` where so many transitions, given before the first step, are too few to ``pretrain`` with,
        or to begin with.
        """
        return

    @abstractmethod
    def init(self, *, key: Key) -> PyTree:
        """State before the first step."""

    def notes(self) -> PyTree:
        """What phases keep beside each row of the replay, as one example; ``()`` for nothing. It begins with zeros."""
        return ()

    def init_actor(self, n: int) -> PyTree:
        """What acting carries from step to step, for n environments, before the first time step."""
        obs, action = jax.tree.map(jnp.asarray, empty_items(self.spec.obs, n)), self.spec.action
        if not self.spec.game:
            return Seen(obs)
        assert isinstance(action, Discrete)
        return Seen(obs, jnp.zeros((n, action.n), bool))

    def observe(self, state: PyTree, carry: PyTree, time_step: TimeStep, *, key: Key) -> PyTree:
        """The carry after a batch of n time steps; ``first`` forgets what came before."""
        return Seen(time_step.obs, time_step.legal)

    @abstractmethod
    def decide(self, state: PyTree, carry: PyTree, *, key: Key, explore: bool) -> tuple[PyTree, PyTree, PyTree]:
        """Actions for a batch of n carries, the carries after them, and extras that are kept beside the transitions.

        ``explore`` is static: True while learning, False when the policy is evaluated or used. Extras have the same
        shapes in both, ``()`` for none; those of random actions are zeros.
        """

    def act(
        self, state: PyTree, carry: PyTree, time_step: TimeStep, *, key: Key, explore: bool
    ) -> tuple[PyTree, PyTree, PyTree]:
        """`observe`, then `decide`."""
        carry = self.observe(state, carry, time_step, key=jax.random.fold_in(key, _OBSERVING))
        return self.decide(state, carry, key=key, explore=explore)

    def act_at_random(
        self, state: PyTree, carry: PyTree, time_step: TimeStep, *, key: Key
    ) -> tuple[PyTree, PyTree, PyTree]:
        """As `act`, with uniformly random actions, and zeros in the place of extras."""
        carry = self.observe(state, carry, time_step, key=jax.random.fold_in(key, _OBSERVING))
        extras = jax.eval_shape(lambda: self.decide(state, carry, key=key, explore=True))[2]
        nothing = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), extras)
        return random_action(self.spec.action, time_step.first.shape[0], key, time_step.legal), carry, nothing

    @abstractmethod
    def acts_with(self, state: PyTree) -> PyTree:
        """The parts of the state (the very arrays) that acting reads; what is kept of the best policy so far."""

    def portable(self, state: PyTree) -> Portable:
        """The policy as plain arrays, of one seed. Raises `UsageError` in agents without one."""
        raise UsageError(
            "a planner has no policy to export as arrays; write it as .stablehlo, which takes the search along"
        )

    @abstractmethod
    def phases(self) -> tuple[Phase, ...]:
        """How the agent learns, in the order of one environment step."""

    def warnings(self, metrics: dict[str, list[Any]], obs_names: Sequence[str] = ()) -> list[str]:
        """What a person should be warned of, given what the phases of kind "model" reported (per seed).

        Up to the first colon and blank a text is the same after every fit that gives cause for it; figures come later.
        ``obs_names``: what to call the numbers of an observation, where they have names.
        """
        return []

    def world_model(self, state: PyTree) -> WorldModel | None:
        """The model as imagination uses it; None in agents without one."""
        return None

    def policy_within(self, state: PyTree) -> Policy | None:
        """The policy without exploration as it lives in `world_model`: what the features of a belief make it do.

        None where it needs more than these, as planners do, which go on from their last plan.
        """
        if self.has_memory:
            return None
        return lambda features, key: self.decide(state, Seen(features), key=key, explore=False)[0]


def random_action(space: Box | Discrete, n: int, key: Key, legal: PyTree = ()) -> Array:
    """n uniform actions, in the agent's units; of the legal ones [n, actions] where a game says which are."""
    if not isinstance(legal, tuple):
        return jax.random.categorical(key, of_legal(jnp.zeros(legal.shape), legal)).astype(jnp.int32)
    if isinstance(space, Box):
        return jax.random.uniform(key, (n, *space.shape), minval=-1.0, maxval=1.0)
    return jax.random.randint(key, (n,), 0, space.n)
