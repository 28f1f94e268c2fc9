"""How an ensemble learns: maximum likelihood on bootstraps, early stopping on transitions it has never seen."""

from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int

from forethought.errors import BadSetting, require_above, require_within
from forethought.models.calibrate import fitted_spread
from forethought.models.ensemble import Ensemble
from forethought.models.holdout import scramble, split_rows, training_rows
from forethought.models.normalizer import fit_normalizer
from forethought.nets.mlp import MLP
from forethought.replay.moments import Replay
from forethought.settings import Settings
from forethought.types import Info, Key, Transition

_CALIBRATION_ROWS = 2000  # held-out transitions on which the spread is set: coverage to 0.7 percentage points
_SCORED_ROWS = 2000  # transitions on which errors are told where none are held out
_EXACT = 1e-4  # share of the variance below which an error is as good as none
_BOUND_PENALTY = 0.01  # weight of (max_logvar - min_logvar) in the loss; official code of PETS


@dataclass(frozen=True)
class FitConfig(Settings):
    """How an ensemble is fitted. Defaults are those of MBPO's official code.

    Batch size and hold-out share stand there in ``mbpo/algorithms/mbpo.py``, step size and decay in
    ``mbpo/models/constructor.py``, the rule of stopping in ``mbpo/models/bnn.py``.
    """

    learning_rate: float = 1e-3
    """Adam step size."""
    batch_size: int = 256
    """Transitions per member and update."""
    weight_decay: tuple[float, ...] = (2.5e-5, 5e-5, 7.5e-5, 7.5e-5, 1e-4)
    """Weight of ``|W|^2 / 2`` for each layer, first to last; the last value serves any further layers."""
    max_gradient: float = 20.0
    """Norm to which the gradient of each member is cut (ours, the official code cuts nothing: after a long fit on few
    transitions those that a new policy brings lie hundreds of standard deviations off)."""
    holdout_ratio: float = 0.2
    """Share of the transitions that no member trains on; 0: every fit takes max_epochs and keeps the last weights, and
    all members are elites."""
    max_holdout: int = 5000
    """Transitions held out at most."""
    patience: int = 5
    """Epochs without a gain on any member that are forgiven; the next one ends the fit."""
    patience_updates: int = 0
    """Updates without such a gain that are forgiven as well (ours, the official code counts epochs alone: of a few
    hundred transitions an epoch is a handful of updates, which may not make up for statistics that have moved)."""
    min_gain: float = 0.01
    """Relative fall of a member's hold-out error that counts as a gain."""
    max_epochs: int = 1000
    """The fit ends here at the latest (the official code sets no limit; a fit takes 10 to 100)."""
    select: Literal["mean", "geometric"] = "mean"
    """How the hold-out errors of the outputs become the one number that stops a fit and chooses weights and elites: by
    their mean (official) or geometric mean (ours), in which outputs that cannot be learned do not drown the others."""
    beta: float = 0.0
    """Power of the variance that weighs errors (see `loss`); with 0.5, rare jumps such as impacts are learned too."""
    calibrate: bool = False
    """Whether the width of the predictions is set right on the hold-out after each fit (ours; `fitted_spread`)."""

    def check(self) -> None:
        """Counts, shares and bounds."""
        require_above("learning_rate", self.learning_rate, 0)
        require_above("max_gradient", self.max_gradient, 0)
        if not self.weight_decay:
            raise BadSetting("weight_decay", "is empty; give one number or more, 0 for none")
        for decay in self.weight_decay:
            require_within("weight_decay", decay, 0.0)
        require_within("holdout_ratio", self.holdout_ratio, 0.0, 0.9)
        if self.calibrate and self.holdout_ratio == 0.0:
            raise BadSetting("calibrate", "needs held-out transitions; set fit.holdout_ratio above 0, such as 0.2")
        require_within("min_gain", self.min_gain, 0.0, 0.99)
        require_within("beta", self.beta, 0.0, 1.0)
        for name in ("batch_size", "max_holdout", "patience", "max_epochs"):
            require_within(name, getattr(self, name), 1)
        require_within("patience_updates", self.patience_updates, 0)


Kept = TypeVar("Kept", "MLP", "Score")


class Weights(NamedTuple):
    """What the gradient moves."""

    members: MLP
    max_logvar: Float[Array, " y"]
    min_logvar: Float[Array, " y"]


class FitState(NamedTuple):
    """The model and its optimizer, which goes on from fit to fit."""

    model: Ensemble
    opt_state: optax.OptState


class Batch(NamedTuple):
    """Normalised inputs and targets, one group per member."""

    x: Float[Array, "m b i"]
    y: Float[Array, "m b y"]
    ended: Bool[Array, "m b"]


class Score(NamedTuple):
    """Hold-out error of each member, in normalised units.

    ``error``, by which weights and elites are chosen (`FitConfig.select`), counts ``mse``, the mean squared error of
    each output, and where termination is learned ``ending``, the cross-entropy of its logit: the dynamics may be as
    good as they get long before the endings are. ``nll`` is the mean over the outputs.
    """

    error: Float[Array, " m"]
    mse: Float[Array, "m y"]
    ending: Float[Array, " m"]
    nll: Float[Array, " m"]


class Fitting(NamedTuple):
    """A fit under way, between two epochs."""

    model: Ensemble  # with the statistics of this fit and the best weights so far
    weights: Weights
    opt_state: optax.OptState
    score: Score  # of the best weights
    epoch: Int[Array, ""]
    stale: Int[Array, ""]  # epochs since any member gained
    train_nll: Float[Array, ""]


def init(model: Ensemble, config: FitConfig) -> FitState:
    """Before the first fit."""
    return FitState(model, _optimizer(config).init(_weights(model)))


def gaussian_nll(
    y: Float[Array, "*b y"], mean: Float[Array, "*b y"], logvar: Float[Array, "*b y"]
) -> Float[Array, "*b y"]:
    """``(y - mean)^2 / var + log var`` per output: twice the negative log-likelihood without its constant."""
    return (y - mean) ** 2 * jnp.exp(-logvar) + logvar


def loss(weights: Weights, model: Ensemble, batch: Batch, config: FitConfig) -> tuple[Array, Array]:
    """Sum over members of the mean ``var^beta gaussian_nll``, with decay and the penalty that keeps the bounds close.

    The factor is held constant (beta-NLL, Seitzer et al. 2022, arXiv 2203.09168). With beta = 0 the gradient of an
    error is divided by the variance, so that a member which has once called a rare jump noise hardly learns it any
    more; with beta = 1 it is that of the squared error. Where termination is learned, the cross-entropy of its logit is
    added. Returns the loss and the mean NLL.
    """
    said = _with_weights(model, weights).predict(batch.x)
    nll = gaussian_nll(batch.y, said.mean, said.logvar)
    weight = jax.lax.stop_gradient(jnp.exp(config.beta * said.logvar)) if config.beta else 1.0
    total = jnp.sum(jnp.mean(weight * nll, axis=(1, 2)))
    total += _BOUND_PENALTY * jnp.sum(weights.max_logvar - weights.min_logvar)
    for i, layer in enumerate(weights.members.layers):
        decay = config.weight_decay[min(i, len(config.weight_decay) - 1)]
        total += decay * 0.5 * jnp.sum(layer.weight**2)
    if model.termination is None:
        total += jnp.sum(jnp.mean(_ending_loss(said.end_logit, batch.ended), axis=1))
    return total, jnp.mean(nll)


def fit(state: FitState, replay: Replay, config: FitConfig, *, key: Key) -> tuple[FitState, Info]:
    """Train every member on its own bootstrap of the replay until the hold-out error stops falling.

    Bootstrap: draw j of member m stands for one fixed random transition of this fit; each minibatch takes random
    draws, so an epoch covers every member's resample once on average. Each member ends with its best weights.

    `begin`, `proceed` and `finish` are the same in pieces.
    """
    fitting, _ = proceed(begin(state, replay, config), replay, config, config.max_epochs, key=key)
    return finish(fitting, replay, config)


def begin(state: FitState, replay: Replay, config: FitConfig) -> Fitting:
    """Before the first epoch."""
    model = _with_statistics(state.model, replay.all(), training_rows(replay, config.holdout_ratio, config.max_holdout))
    none, start = jnp.full(model.n_members, jnp.inf), _weights(state.model)
    score = Score(none, jnp.full((model.n_members, model.max_logvar.shape[0]), jnp.inf), none, none)
    return Fitting(model, start, state.opt_state, score, jnp.array(0), jnp.array(0), jnp.array(0.0))


def proceed(
    fitting: Fitting, replay: Replay, config: FitConfig, epochs: Int[Array, ""] | int, *, key: Key
) -> tuple[Fitting, Bool[Array, ""]]:
    """Go on for at most ``epochs`` epochs; says, too, whether any are left.

    Where a fit is cut changes nothing: an epoch draws by the key of the fit and its own number.
    """
    split = split_rows(replay, config.holdout_ratio, config.max_holdout)
    key_boot, key_epochs = jax.random.split(key)
    salt = jax.random.bits(key_boot, (fitting.model.n_members, 1))
    n_batches = jnp.maximum(1, (split.n_trained + config.batch_size - 1) // config.batch_size)

    def draw(key: Key) -> Batch:
        n = jnp.maximum(split.n_trained, 1).astype(jnp.uint32)  # of two transitions both may be held out
        j = jax.random.bits(key, (fitting.model.n_members, config.batch_size)) % n
        return make_batch(fitting.model, replay.in_slots(split.trained[scramble(j ^ salt) % n]))

    def step(i: Array, carry: tuple[Weights, optax.OptState, Array, Key]):
        weights, opt_state, _, key = carry
        batch = draw(jax.random.fold_in(key, i))
        return *update(weights, opt_state, fitting.model, batch, config), key

    def epoch(f: Fitting) -> Fitting:
        carry = (f.weights, f.opt_state, f.train_nll, jax.random.fold_in(key_epochs, f.epoch))
        weights, opt_state, nll, _ = jax.lax.fori_loop(0, n_batches, step, carry)
        new = _score(_with_weights(fitting.model, weights), replay, split.held, split.n_held, config.select)
        gained = (new.error < f.score.error * (1.0 - config.min_gain)) | (split.n_held == 0)
        kept = _keep_gains(gained, weights.members, _weights(f.model).members)
        best = _with_weights(f.model, weights._replace(members=kept))  # the bounds are shared
        stale = jnp.where(jnp.any(gained), 0, f.stale + 1)
        return Fitting(best, weights, opt_state, _keep_gains(gained, new, f.score), f.epoch + 1, stale, nll)

    def going(f: Fitting) -> Array:
        patient = (f.stale <= config.patience) | (f.stale * n_batches <= config.patience_updates)
        return patient & (f.epoch < config.max_epochs)

    last = fitting.epoch + epochs
    fitting = jax.lax.while_loop(lambda f: going(f) & (f.epoch < last), epoch, fitting)
    return fitting, going(fitting)


def finish(fitting: Fitting, replay: Replay, config: FitConfig) -> tuple[FitState, Info]:
    """After the last epoch: elites, the width of the predictions, and what is to be told."""
    elites = jnp.argsort(fitting.score.error)[: fitting.model.elites.shape[0]]
    model = eqx.tree_at(lambda e: e.elites, fitting.model, elites)
    if config.calibrate:
        _, _, held, n_held = split_rows(replay, config.holdout_ratio, config.max_holdout)
        # Evenly over the hold-out, which is in the order of collection; all of it where it is small.
        places = jnp.arange(_CALIBRATION_ROWS)
        places = jnp.where(n_held > places.shape[0], places * (n_held / places.shape[0]), places).astype(jnp.int32)
        places = jnp.minimum(places, held.shape[0] - 1)
        model = _calibrated(model, replay, held[places], n_held)
    info = {"train_nll": fitting.train_nll, "epochs": fitting.epoch}
    if config.holdout_ratio > 0.0:
        score, named = fitting.score, "holdout"
        info |= {"holdout_mse": jnp.mean(score.mse[elites]), "holdout_nll": jnp.mean(score.nll[elites])}
    else:  # better than nothing: what it cannot even repeat it has not learned
        split = split_rows(replay, config.holdout_ratio, config.max_holdout)
        n = jnp.minimum(split.n_trained, _SCORED_ROWS)
        score, named = _score(fitting.model, replay, split.trained[:_SCORED_ROWS], n, config.select), "train"
    info[f"{named}_mse_outputs"] = model.varies * jnp.mean(score.mse[elites], axis=0)
    if model.termination is None:
        info[f"{named}_termination"] = jnp.mean(score.ending[elites]) / _entropy_of_endings(replay)
    return FitState(model, fitting.opt_state), info


def update(
    weights: Weights, opt_state: optax.OptState, model: Ensemble, batch: Batch, config: FitConfig
) -> tuple[Weights, optax.OptState, Float[Array, ""]]:
    """One Adam step of all members on their own batches; returns the mean NLL too."""
    (_, nll), grads = jax.value_and_grad(loss, has_aux=True)(weights, model, batch, config)
    grads = clip_per_member(grads, config.max_gradient)
    updates, opt_state = _optimizer(config).update(grads, opt_state, weights)
    return optax.apply_updates(weights, updates), opt_state, nll


def clip_per_member(grads: Weights, limit: float) -> Weights:
    """Scale the gradient of each member, and that of the bounds, down to the norm ``limit``.

    After a long fit the members are very sure of themselves. New data from elsewhere then give errors of hundreds of
    standard deviations and gradients to match; the second moment of Adam remembers them for thousands of updates, in
    which the fit stands still.
    """

    def scale(leaves: list[Array], axis: int) -> Array:
        square = sum(jnp.sum(x.reshape(*x.shape[:axis], -1) ** 2, axis=-1) for x in leaves)
        return jnp.minimum(1.0, limit / jnp.sqrt(jnp.maximum(square, 1e-12)))

    of_members = scale(jax.tree.leaves(grads.members), 1)
    of_bounds = scale([grads.max_logvar, grads.min_logvar], 0)
    members = jax.tree.map(lambda x: x * of_members.reshape(-1, *(1,) * (x.ndim - 1)), grads.members)
    return Weights(members, grads.max_logvar * of_bounds, grads.min_logvar * of_bounds)


def make_batch(model: Ensemble, rows: Transition) -> Batch:
    """Inputs (obs, action) and targets (reward, next_obs - obs), normalised; rows have axes [members, batch]."""
    x = jnp.concatenate([rows.obs, rows.action], axis=-1)
    y = jnp.concatenate([rows.reward[..., None], rows.next_obs - rows.obs], axis=-1)
    return Batch(model.inputs.normalize(x), model.outputs.normalize(y), rows.terminated)


def _with_statistics(model: Ensemble, data: Transition, keep: Bool[Array, " n"]) -> Ensemble:
    x = jnp.concatenate([data.obs, data.action], axis=-1)
    y = jnp.concatenate([data.reward[:, None], data.next_obs - data.obs], axis=-1)
    statistics = fit_normalizer(x, keep), fit_normalizer(y, keep), _varies(y, keep)
    return eqx.tree_at(lambda e: (e.inputs, e.outputs, e.varies), model, statistics)


def _varies(y: Float[Array, "n y"], keep: Bool[Array, " n"]) -> Float[Array, " y"]:
    """1 for the columns that are not the same in all rows that are kept, else 0."""
    lowest = jnp.min(jnp.where(keep[:, None], y, jnp.inf), axis=0)
    highest = jnp.max(jnp.where(keep[:, None], y, -jnp.inf), axis=0)
    return (highest > lowest).astype(jnp.float32)


def _score(
    model: Ensemble,
    replay: Replay,
    slots: Int[Array, " s"],
    n_held: Int[Array, ""],
    select: Literal["mean", "geometric"],
) -> Score:
    """Mean error over the held-out rows, in chunks, so that the cost follows their number and not the allocation."""
    chunk = 512  # whatever room there is: sums of other lengths would round otherwise
    m, n_y = model.n_members, model.max_logvar.shape[0]

    def add(i: Array, total: Score) -> Score:
        place = i * chunk + jnp.arange(chunk)
        counts = (place < n_held)[None, :, None]
        inside = jnp.minimum(place, slots.shape[0] - 1)
        rows = jax.tree.map(lambda d: jnp.broadcast_to(d, (m, *d.shape)), replay.in_slots(slots[inside]))
        batch = make_batch(model, rows)
        said = model.predict(batch.x)
        mse = jnp.where(counts, (said.mean - batch.y) ** 2, 0.0)
        nll = jnp.where(counts, gaussian_nll(batch.y, said.mean, said.logvar), 0.0)
        endings = jnp.where(counts[..., 0], _ending_loss(said.end_logit, batch.ended), 0.0)
        return Score(
            total.error,
            total.mse + jnp.sum(mse, axis=1),
            total.ending + jnp.sum(endings, axis=1),
            total.nll + jnp.sum(nll, axis=(1, 2)) / n_y,
        )

    zeros = jnp.zeros(m)
    none = Score(zeros, jnp.zeros((m, n_y)), zeros, zeros)
    total = jax.lax.fori_loop(0, (n_held + chunk - 1) // chunk, add, none)
    _, mse, ending, nll = jax.tree.map(lambda x: x / jnp.maximum(n_held, 1), total)
    return Score(_error(mse, ending, model, select), mse, ending, nll)


def _error(
    mse: Float[Array, "m y"], ending: Float[Array, " m"], model: Ensemble, select: Literal["mean", "geometric"]
) -> Float[Array, " m"]:
    """The one number of each member. Outputs that never vary are no part of the geometric mean."""
    learned = model.termination is None
    if select == "mean":
        return jnp.mean(mse, axis=1) + (ending if learned else 0.0)
    errors = jnp.concatenate([mse, ending[:, None]], axis=1) if learned else mse
    counts = jnp.append(model.varies, 1.0) if learned else model.varies
    return jnp.exp(jnp.sum(counts * jnp.log(errors + _EXACT), axis=1) / jnp.maximum(jnp.sum(counts), 1.0))


def _entropy_of_endings(replay: Replay) -> Float[Array, ""]:
    """Cross-entropy of a termination that is foretold by its frequency alone; infinite where none was seen."""
    ended = replay.all().terminated & replay.used
    p = jnp.sum(ended) / jnp.maximum(replay.size, 1)
    entropy = -jax.scipy.special.xlogy(p, p) - jax.scipy.special.xlog1py(1.0 - p, -p)
    return jnp.where(entropy > 0.0, entropy, jnp.inf)


def _calibrated(model: Ensemble, replay: Replay, slots: Int[Array, " s"], n_held: Int[Array, ""]) -> Ensemble:
    """With the spread that is right on the held-out rows, for the mixture of the elites."""
    elites = model.predictor()
    rows = replay.in_slots(slots)
    batch = make_batch(model, jax.tree.map(lambda d: jnp.broadcast_to(d, (elites.n_members, *d.shape)), rows))
    spread = fitted_spread(elites.predict(batch.x), batch.y[0], jnp.arange(slots.shape[0]) < n_held)
    return eqx.tree_at(lambda e: e.spread, model, spread)


def _ending_loss(logit: Float[Array, "m b"], ended: Bool[Array, "m b"]) -> Float[Array, "m b"]:
    """Cross-entropy of the learned termination."""
    return optax.sigmoid_binary_cross_entropy(logit, ended.astype(jnp.float32))


def _keep_gains(gained: Bool[Array, " m"], new: Kept, old: Kept) -> Kept:
    """The new leaves [m, ...] of members that gained, the old ones of the others."""
    return jax.tree.map(lambda a, b: jnp.where(gained.reshape(-1, *(1,) * (a.ndim - 1)), a, b), new, old)


def _weights(model: Ensemble) -> Weights:
    assert not isinstance(model.members, tuple)  # a predictor is no longer fitted
    return Weights(model.members, model.max_logvar, model.min_logvar)


def _with_weights(model: Ensemble, weights: Weights) -> Ensemble:
    return eqx.tree_at(lambda e: (e.members, e.max_logvar, e.min_logvar), model, tuple(weights))


def _optimizer(config: FitConfig) -> optax.GradientTransformation:
    return optax.adam(config.learning_rate)
