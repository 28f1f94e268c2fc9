"""All measures of one world model on held-out episodes."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from forethought.diagnostics.bounds import favoured
from forethought.diagnostics.calibration import (
    COARSE,
    RESOLUTION,
    Calibration,
    calibration,
    is_inexact,
    is_point,
    negative_log_density,
    total_variation,
)
from forethought.diagnostics.decoded import Decoded, View, look, rows
from forethought.diagnostics.diagnosis import Diagnosis
from forethought.diagnostics.dreams import Dream, live, reenact, signed_errors, within
from forethought.diagnostics.episodes import (
    Episode,
    EpisodeBatch,
    Windows,
    at_starts,
    beliefs_along,
    collect,
    cut,
    draw_starts,
    moves,
    require_enough,
    side_by_side,
    spread_of,
)
from forethought.diagnostics.exploitation import exploitation, ladder
from forethought.diagnostics.long_run import LongRun, long_run
from forethought.diagnostics.open_loop import foretold, open_loop_error
from forethought.diagnostics.outcomes import outcomes, reward_scale
from forethought.diagnostics.ranking import rank_correlation
from forethought.diagnostics.recall import recall
from forethought.diagnostics.sizes import MeasureSettings, sizes_for
from forethought.diagnostics.states import wrong_states
from forethought.diagnostics.traces import Trace, trace
from forethought.diagnostics.value_gap import ValueGap, imagined_return, real_return
from forethought.envs.contract import VectorEnv
from forethought.errors import UsageError
from forethought.imagine import Policy
from forethought.models.base import Disagrees, GivesDensity, WorldModel
from forethought.models.latent import Decodes
from forethought.types import Key, PyTree
from forethought.unroll import Actor
from forethought.wording import plural


class _Comparison(NamedTuple):
    """Where a comparison with the data begins, what really followed, and what the model makes of it."""

    starts: Int[Array, "s 2"]
    real: Windows
    dream: Dream


class _Case(NamedTuple):
    """What all measures share: the model, the data, and what the model believes along it."""

    model: Decoded
    held: EpisodeBatch  # observations as rows, or as numbers
    own: int  # the first so many episodes are the policy's own
    beliefs: PyTree
    std: Float[Array, " d"]
    settings: MeasureSettings
    tell: Callable[[str], None]

    @property
    def latent(self) -> bool:
        """Whether beliefs are decoded to be compared."""
        return isinstance(self.model.model, Decodes)

    @property
    def groups(self) -> Int[np.ndarray, " d"] | None:
        """See `View.together`."""
        return self.model.view.together

    def look(self, starts: Int[Array, "s 2"], steps: int, particles: int, *, key: Key) -> _Comparison:
        """The windows of so many steps that begin there, and their reenactment."""
        self.tell(f"imagining {plural(steps, 'step')} from {plural(len(starts), 'start')}")
        real, belief = cut(self.held, starts, steps), at_starts(self.beliefs, starts)
        return _Comparison(starts, real, reenact(self.model, belief, real, particles=particles, key=key))

    def beginnings(self, episodes: int) -> Int[Array, "s 2"]:
        """The beginnings of the first so many episodes."""
        return jnp.asarray(np.stack([np.zeros(episodes), np.arange(episodes)], axis=1), jnp.int32)


def measure(
    model: WorldModel,
    episodes: Sequence[Episode],
    *,
    horizon: int,
    policy: Policy | None = None,
    others: Sequence[Episode] = (),
    world: VectorEnv | None = None,
    actor: tuple[Actor, Any] | None = None,
    settings: MeasureSettings | None = None,
    tell: Callable[[str], None] = lambda text: None,
    key: Key,
) -> Diagnosis:
    """Find out how far a world model can be trusted.

    Args:
        model: what is evaluated, a module of arrays. Its `features` are the observations, or it `Decodes` them.
        episodes: held-out episodes that no model was trained on; those of ``policy`` where one is given.
        horizon: imagined steps to look at.
        policy: acts in imagination, (features of the model [n, ...], key) -> actions [n, ...], traceable by JAX;
            without one, the real actions are carried out in the model instead.
        others: further held-out episodes, such as ones with random actions, that errors are evaluated on, too.
        world: environments to try plans in, one start per slot; without it, exploitation is not measured.
        actor: what acts there as ``policy`` does, and its first carry: it is evaluated from the same starts.
        settings: how much is imagined. Default: less for latent models, and less again for pictures, which are many
            numbers (`forethought.diagnostics.sizes`).
        tell: called with a line of text before each part that takes time.
        key: of all random numbers.

    Raises:
        UsageError: the horizon is below 1, fewer than two of ``episodes`` are as long as the horizon, or observations
            are no vectors, pictures or numbered states, or the features of the model are something else.
    """
    require_enough(episodes, horizon)
    view = View.of([*episodes, *others])
    s, keys = settings or sizes_for(model, view), iter(jax.random.split(key, 9))
    case = _case(Decoded(model, view), [*episodes, *others], len(episodes), s, tell, key=next(keys))
    near = case.look(draw_starts(case.held, 1, s.steps, key=next(keys)), 1, s.particles, key=next(keys))
    far = case.look(draw_starts(case.held, horizon, s.starts, key=next(keys)), horizon, s.particles, key=next(keys))
    acting = None if policy is None else _hashable(policy)
    evaluated = outcomes(near.dream, near.real)
    of_states = _numbered(far) if view.numbered else _vectors(case, near, far, evaluated.reward_std, key=next(keys))
    return Diagnosis(
        horizon=horizon,
        episodes=len(episodes) + len(others),
        steps=int(jnp.sum(case.held.length)),
        outcomes=evaluated,
        value_gap=_value_gap(case, acting, far, key=next(keys)),
        **_in_the_world(case, world, actor, acting, horizon, key=next(keys)),
        long_run=_long_run(case, acting, key=next(keys)),
        obs_names=view.names,
        latent=case.latent,
        **of_states,
    )


def _case(
    model: Decoded,
    episodes: Sequence[Episode],
    own: int,
    settings: MeasureSettings,
    tell: Callable[[str], None],
    *,
    key: Key,
) -> _Case:
    seen = side_by_side(episodes)
    held = seen._replace(obs=jax.jit(lambda obs: jax.lax.map(model.view, obs))(seen.obs))
    looks = jax.eval_shape(lambda: look(model.model, model.initial(held.length.shape[0])))
    if _shapes(looks) != _shapes(jax.tree.map(lambda x: x[0], seen.obs)):
        raise UsageError("the features of this model are no observations, so its dreams cannot be laid beside reality")
    std = spread_of(held, model.view.together)
    return _Case(model, held, own, beliefs_along(model, seen, key=key), std, settings, tell)


def _shapes(obs: PyTree) -> Any:
    return jax.tree.structure(obs), [x.shape for x in jax.tree.leaves(obs)]


def _hashable(policy: Policy) -> Policy:
    """The policy as a plain function: a module of arrays cannot be a static argument."""
    return lambda features, key: policy(features, key)


def _numbered(far: _Comparison) -> dict[str, Any]:
    """What applies to numbered states."""
    nothing = dict.fromkeys(("open_loop", "calibration", "nll", "disagreement_rank", "favoured", "foretold"))
    return {**nothing, "wrong_states": wrong_states(far.dream, far.real), "traces": []}


def _vectors(
    case: _Case, near: _Comparison, far: _Comparison, reward_std: Float[Array, ""], *, key: Key
) -> dict[str, Any]:
    """What applies to observations that are vectors."""
    error, errors = (signed_errors(at.dream, at.real, case.std) for at in (near, far))
    error, moving, (*keys, key_traces) = error[0], moves(case.held), jax.random.split(key, 3)
    least = COARSE if case.latent else RESOLUTION
    return {
        "wrong_states": None,
        "open_loop": open_loop_error(
            errors, far.dream, far.real, case.std, reward_std, moving | is_inexact(errors, least)
        ),
        "disagreement_rank": _disagreement_rank(case, near, error),
        "traces": _traces(case, key=key_traces),
        **(_decoded(case, near, moving) if case.latent else _claimed(case, near, error, errors, moving, keys)),
    }


def _decoded(case: _Case, near: _Comparison, moving: Bool[Array, " d"]) -> dict[str, Any]:
    """What applies where beliefs are decoded. Such a model claims no distribution of what is seen: what its particles
    draw differs by what latents leave open, and not by what the decoder does.
    """
    drawn = rows(case.model, at_starts(case.beliefs, near.starts))
    found = recall(drawn, near.real.obs[0], case.std, moving, case.model.view.groups)
    return {**dict.fromkeys(("foretold", "calibration", "nll", "favoured")), "recall": found}


def _claimed(
    case: _Case,
    near: _Comparison,
    error: Float[Array, "p s d"],
    errors: Float[Array, "h p q d"],
    moving: Bool[Array, " d"],
    keys: Sequence[Key],
) -> dict[str, Any]:
    """What applies where particles are what the model takes the next observations for."""
    key_ranks, key_variation = keys
    own = np.flatnonzero(np.asarray(near.starts)[:, 1] < case.own)  # under the policy, as theorem 4.3 asks
    actions = near.real.action[0].reshape(len(near.starts), -1).astype(jnp.float32)
    context = jnp.concatenate([near.real.obs[0] / case.std, actions], axis=1)[own]
    variation = total_variation(error[:, own], context, near.starts[own, 1], key=key_variation)
    return {
        "foretold": foretold(error, near.real, case.std, case.groups),
        "calibration": None if is_point(error) else _calibration(error, errors, key=key_ranks),
        "nll": _nll(case, near, moving),
        "favoured": favoured(variation, case.settings.discount),
    }


def _calibration(near: Float[Array, "p s d"], far: Float[Array, "h p q d"], *, key: Key) -> Calibration:
    """After one step, after all, and after as many times more as there are times less."""
    horizon, found = far.shape[0], []
    for steps in sorted({1, round(horizon**0.5), horizon}):
        e = near if steps == 1 else far[steps - 1]
        found.append(calibration(e, jnp.float32(steps), key=jax.random.fold_in(key, steps)))
    return jax.tree.map(lambda *x: np.stack(x), *found)


def _nll(case: _Case, near: _Comparison, moving: Bool[Array, " d"]) -> Float[Array, ""] | None:
    model = case.model.model
    if not isinstance(model, GivesDensity):
        return None
    belief = at_starts(case.beliefs, near.starts)
    return negative_log_density(model, belief, near.real.action[0], near.real.obs[1], case.std, moving)


def _disagreement_rank(case: _Case, near: _Comparison, error: Float[Array, "p s d"]) -> Float[Array, ""] | None:
    model = case.model.model
    if not isinstance(model, Disagrees):
        return None
    return rank_correlation(model, at_starts(case.beliefs, near.starts), near.real.action[0], error)


def _value_gap(case: _Case, policy: Policy | None, far: _Comparison, *, key: Key) -> ValueGap:
    """On the policy's own episodes."""
    steps, paid = far.dream.reward.shape[0], real_return(far.real)
    own = np.flatnonzero(np.asarray(far.starts)[:, 1] < case.own)
    if policy is None:
        imagined = imagined_return(within(far.dream, far.real))[own]
    else:
        case.tell(f"imagining what the policy does in {plural(steps, 'step')}")
        belief, particles = at_starts(case.beliefs, far.starts[own]), case.settings.particles
        imagined = imagined_return(live(case.model, belief, policy, steps=steps, particles=particles, key=key))
    return ValueGap(imagined, paid[own], reward_scale(paid), steps, policy is not None)


def _in_the_world(
    case: _Case,
    world: VectorEnv | None,
    actor: tuple[Actor, Any] | None,
    policy: Policy | None,
    horizon: int,
    *,
    key: Key,
) -> dict[str, Any]:
    """What plans promise and earn, and the policy from the same starts."""
    if world is None:
        return {"exploitation": None}
    planners = ladder(world.spec.action, horizon, case.settings.plan_particles)
    found = exploitation(case.model.model, world, planners, particles=case.settings.particles, tell=case.tell, key=key)
    if actor is None:
        return {"exploitation": found}
    case.tell("playing the policy from where the plans begin")
    key_see, key_look, key_live = jax.random.split(jax.random.fold_in(key, len(planners)), 3)
    played = collect(world, *actor, most_steps=horizon)
    there = _case(case.model, played, len(played), case.settings, case.tell, key=key_see)
    far = there.look(there.beginnings(len(played)), horizon, case.settings.particles, key=key_look)
    return {"exploitation": found, "beside_plans": _value_gap(there, policy, far, key=key_live)}


def _long_run(case: _Case, policy: Policy | None, *, key: Key) -> LongRun:
    """From the beginnings of the policy's own episodes."""
    s, starts = case.settings, case.beginnings(case.own)
    steps = min(s.long, int(jnp.max(case.held.length[: case.own])))
    if policy is None:
        _, real, dream = case.look(starts, steps, s.lives, key=key)
        dream = within(dream, real)
    else:
        case.tell(f"imagining what the policy does in {plural(steps, 'step')}")
        real, belief = cut(case.held, starts, steps), at_starts(case.beliefs, starts)
        dream = live(case.model, belief, policy, steps=steps, particles=s.lives, key=key)
    return long_run(dream, real, case.std, closed_loop=policy is not None, groups=case.groups)


def _traces(case: _Case, *, key: Key) -> list[Trace]:
    """Of the numbers of vectors: pictures are shown as such."""
    n, vector = min(case.settings.traces, case.own), case.model.view.vector
    if n == 0 or vector == 0:
        return []
    steps = min(case.settings.long, int(jnp.max(case.held.length[:n])))
    _, real, dream = case.look(case.beginnings(n), steps, case.settings.particles, key=key)
    real, dream = real._replace(obs=real.obs[..., :vector]), dream._replace(obs=dream.obs[..., :vector])
    return [trace(dream, real, i) for i in range(n)]
