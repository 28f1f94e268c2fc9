"""What a planner searches for, and what it knows before it searches.

A planner chooses *decisions* ``x_t``, numbers per step of the plan. A guide says what they mean: actions, corrections
of a policy's actions, or changes of a policy's parameters; and what the state at the end of the plan is worth.
"""

from collections.abc import Callable
from typing import Protocol, TypeAlias, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Num

from forethought.errors import UsageError
from forethought.imagine import imagine
from forethought.models.base import Belief, WorldModel
from forethought.models.normalizer import Normalizer
from forethought.types import Box, Discrete, Key, PyTree

LeafValue: TypeAlias = Callable[[PyTree], Array]  # features [n, ...] -> values [n]
Actor: TypeAlias = Callable[[Array], Array]  # a module; features of one state -> an action in [-1, 1]


@runtime_checkable  # for the type checks of the tests
class Guide(Protocol):
    """See the module. Decisions have the shape ``(steps, d)`` that `shape` gives; all methods are pure.

    A search begins at decisions of 0, or goes on from the last plan, moved on by a step.
    """

    low: float
    high: float

    def shape(self, horizon: int) -> tuple[int, ...]:
        """Shape of the decisions of one plan; a first axis of 1 means one decision for all steps."""
        ...

    def prepare(self, model: WorldModel[Belief], belief: Belief, horizon: int, *, key: Key) -> "Guide":
        """The guide of a search from these n states."""
        ...

    def draw(self, shape: tuple[int, ...], *, key: Key) -> Array:
        """Uniformly random decisions."""
        ...

    def place(self, x: Num[Array, "n p s *d"]) -> Num[Array, "n p s *d"]:
        """What `act` is given for p plans from each of the n states that the guide was prepared for."""
        ...

    def act(self, features: PyTree, x: Array) -> PyTree:
        """The actions [n, ...] that placed decisions [n, d] mean in states with these features."""
        ...

    def value(self, features: PyTree) -> Float[Array, " n"]:
        """What the rest is worth, beyond the end of the plan."""
        ...


class Actions(eqx.Module):
    """Decisions are the actions themselves; ``leaf`` is the value of the last state (0 where None)."""

    n_action: int = eqx.field(static=True)
    leaf: LeafValue | None = None
    low: float = eqx.field(static=True, default=-1.0)
    high: float = eqx.field(static=True, default=1.0)

    def shape(self, horizon: int) -> tuple[int, ...]:
        """One action per step."""
        return horizon, self.n_action

    def prepare(self, model: WorldModel[Belief], belief: Belief, horizon: int, *, key: Key) -> "Actions":
        """Nothing to prepare."""
        return self

    def draw(self, shape: tuple[int, ...], *, key: Key) -> Array:
        """Uniform within the bounds."""
        return jax.random.uniform(key, shape, minval=self.low, maxval=self.high)

    def place(self, x: Num[Array, "n p s *d"]) -> Num[Array, "n p s *d"]:
        """As decided."""
        return x

    def act(self, features: PyTree, x: Array) -> PyTree:
        """As decided."""
        return x

    def value(self, features: PyTree) -> Float[Array, " n"]:
        """By the leaf."""
        return jnp.zeros(jax.tree.leaves(features)[0].shape[0]) if self.leaf is None else self.leaf(features)


class Choices(Actions):
    """Decisions are Discrete actions, int32 of shape ``(steps,)``. Only random shooting can search them."""

    def shape(self, horizon: int) -> tuple[int, ...]:
        """One choice per step."""
        return (horizon,)

    def draw(self, shape: tuple[int, ...], *, key: Key) -> Array:
        """Uniform."""
        return jax.random.randint(key, shape, 0, self.n_action)


class _OfPolicy(Actions):
    """What goes out from a policy: ``actor`` of the features, normalised by ``seen`` where that is given."""

    actor: Actor | None = None
    seen: Normalizer | None = None

    def see(self, features: Float[Array, "n f"]) -> Float[Array, "n f"]:
        """What the policy is shown."""
        return features if self.seen is None else self.seen.normalize(features)

    def propose(self, features: Float[Array, "n f"]) -> Float[Array, "n a"]:
        """What the policy would do."""
        assert self.actor is not None
        return jax.vmap(self.actor)(self.see(features))


class Proposals(_OfPolicy):
    """POPLIN-A-Init (Wang & Ba 2019, arXiv 1906.08649, section 4.1): plans go out from the actions of a policy.

    ``a_t = clip(a'_t + x_t)``, with a'_0, a'_1, ... what the policy would do by the model from the state of the search
    on: a sequence, which is not thought over in the states that x leads to. The paper does not bound x; beyond the
    bounds here it would change nothing, since actions are cut (`CEM` narrows its samples near them).
    """

    low: float = eqx.field(static=True, default=-2.0)  # from one end of the action's range to the other
    high: float = eqx.field(static=True, default=2.0)
    proposed: Float[Array, "n s a"] | None = None

    def prepare(self, model: WorldModel[Belief], belief: Belief, horizon: int, *, key: Key) -> "Proposals":
        """Imagine what the policy would do."""
        _, imagined = imagine(model, lambda features, _: self.propose(features), belief, horizon, key=key)
        proposed = jnp.moveaxis(imagined.transition.action, 0, 1)
        return eqx.tree_at(lambda guide: guide.proposed, self, proposed, is_leaf=lambda x: x is None)

    def place(self, x: Num[Array, "n p s *d"]) -> Num[Array, "n p s *d"]:
        """``clip(a' + x)``."""
        assert self.proposed is not None
        return jnp.clip(self.proposed[:, None] + x, -1.0, 1.0)


class Corrections(_OfPolicy):
    """POPLIN-A-Replan: decisions are added to the actions of a policy that sees the imagined states.

    They are bounded as in `Proposals`.
    """

    low: float = eqx.field(static=True, default=-2.0)
    high: float = eqx.field(static=True, default=2.0)

    def act(self, features: PyTree, x: Array) -> PyTree:
        """``clip(policy(s) + x)``."""
        return jnp.clip(self.propose(features) + x, -1.0, 1.0)


class Parameters(_OfPolicy):
    """POPLIN-P (section 4.2): decisions are added to the parameters of a policy.

    ``shared``: one change for the whole plan ("Uni"), else one for each step ("Sep").
    """

    shared: bool = eqx.field(static=True, default=False)
    low: float = eqx.field(static=True, default=-jnp.inf)
    high: float = eqx.field(static=True, default=jnp.inf)

    def shape(self, horizon: int) -> tuple[int, ...]:
        """A change of all parameters."""
        return (1 if self.shared else horizon), sum(leaf.size for leaf in jax.tree.leaves(self.actor))

    def draw(self, shape: tuple[int, ...], *, key: Key) -> Array:
        """Raises `UsageError`: there are no bounds to draw within."""
        raise UsageError("changes of parameters have no bounds that random shooting could draw within; use cem")

    def act(self, features: PyTree, x: Array) -> PyTree:
        """``policy_{theta + x}(s)``."""
        flat, unravel = ravel_pytree(self.actor)
        return jax.vmap(lambda f, change: unravel(flat + change)(f))(self.see(features), x)


def free(space: Box | Discrete, leaf: LeafValue | None = None) -> Actions:
    """The guide that knows nothing of the actions, for a space of actions."""
    return Actions(space.shape[0], leaf) if isinstance(space, Box) else Choices(space.n, leaf)
