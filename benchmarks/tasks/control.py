"""Learning benchmarks of agents that plan, and of planners on the true dynamics."""

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.results import Check, Result
from benchmarks.tasks import swing_up
from benchmarks.tasks.common import Request, Summary, Training, described, trained
from forethought.envs.cartpole import CartPoleContinuous
from forethought.envs.control import Pendulum
from forethought.models.oracle import Oracle, OracleBelief
from forethought.planning.cem import CEM, ICEM
from forethought.planning.guides import Actions
from forethought.planning.planner import Planner
from forethought.report.read import RunLog
from forethought.statistics import bootstrap_interval, mean

_TRIALS = 6
_SOLVED = 195.0
# No evaluations: these agents act alike while learning and when evaluated, and every action is expensive.
ONCE = {"eval_every": 1_000_000, "eval_episodes": 1, "log_every": 50}
# Fewer candidates than the presets', in bfloat16, so that two cores can do it; random shooting looks at as many plans
# at once as CEM in its five iterations.
_NARROW = {"precision": "bfloat16"}
_FEWER = {"search.population": 100, "search.elites": 10, **_NARROW}
_MANY = {"search.population": 500, **_NARROW}
_CANDIDATES = {"poplin-p": _FEWER, "poplin-a": _FEWER, "pets": _FEWER, "random-shooting": _MANY}
# Where particles are drawn, fewer of them too. POPLIN-A draws none, and has as many rollouts per plan without fewer
# candidates; it needs them, since it goes on from no plan.
LIGHT: dict[str, Summary] = {"pets": {**_FEWER, "particles": 5}, "poplin-a": _NARROW}
# Where PETS draws none either, and both search in twice the iterations.
LIGHT_BY_MEANS: dict[str, Summary] = {"pets": _FEWER, "poplin-a": _FEWER}
_PAPER = {"poplin-p": 200.8, "poplin-a": 200.6, "pets": 199.6, "random-shooting": 200.0}


def pets_cartpole(asked: Request) -> Result:
    """PETS on the continuous cart-pole of mbrl-lib: returns of the trials after 200 random steps."""
    options = {**ONCE, "agent": _FEWER}
    training = Training("pets", "pets", "forethought/CartPoleContinuous-v0", asked.steps, asked.seeds, options)
    run = trained(training, asked.runs)
    trials = [[trial["return"] for trial in of_seed[:_TRIALS]] for of_seed in planned_trials(run, asked.seeds)]
    solved = sum(max(of_seed, default=0.0) >= _SOLVED for of_seed in trials)
    check = Check(
        f"seeds with a trial of {_SOLVED:.0f} among the first {_TRIALS}", solved, asked.seeds, f"of {asked.seeds}"
    )
    title = f"PETS on continuous CartPole, trials of 200 steps, {asked.seeds} seeds"
    return Result(
        "pets_cartpole", "learning", title, (check,), {"pets": {**described(run, training), "trials": trials}}
    )


def gym_cartpole(asked: Request) -> Result:
    """The four planning agents of the POPLIN paper on MBBL's gym_cartpole, as far as 2,000 steps."""
    checks: list[Check] = []
    details: dict[str, Summary] = {}
    for name, published in _PAPER.items():
        details[name] = asked.kept.get(name) or {**_last_trials(name, asked), "published": published}
        target = 199.0 if name != "random-shooting" else 38.4  # a random policy, by the paper's table
        reached = float(np.mean(details[name]["last_trial"]))
        checks.append(Check(f"{name}: mean return of the last trial", reached, target, ""))
    title = f"MBBL's gym_cartpole, {asked.steps:,} steps, {asked.seeds} seeds"
    return Result("gym_cartpole", "learning", title, tuple(checks), details)


def _last_trials(name: str, asked: Request) -> Summary:
    options = {**ONCE, "agent": _CANDIDATES[name]}
    training = Training(name, name, "forethought/GymCartPole-v0", asked.steps, asked.seeds, options)
    run = trained(training, asked.runs)
    trials = [[trial["return"] for trial in of_seed] for of_seed in planned_trials(run, asked.seeds)]
    last = np.array([of_seed[-1] for of_seed in trials])
    interval = bootstrap_interval(last, mean)
    return {**described(run, training), "trials": trials, "last_trial": last, "last_trial_interval": interval}


def cem_oracle(asked: Request) -> Result:
    """Planning with the true dynamics, 20 episodes per seed: what is left to lose is the planner's."""
    # Horizons were chosen on the starts of the seeds from 0 on: what came out is evaluated on others.
    pendulum, cart, seeds = Pendulum(), CartPoleContinuous(), range(asked.seeds, 2 * asked.seeds)
    best = np.concatenate([swing_up.best_returns(pendulum, _begun(pendulum, seed).state) for seed in seeds])
    checks, details = [], {"the best": {"returns": best, "mean": float(best.mean())}}
    cases: dict[str, tuple[Pendulum | CartPoleContinuous, Planner, float | None]] = {
        "CEM, Pendulum-v1, 30 steps ahead": (pendulum, Planner(CEM(300, 30), horizon=30), None),
        "CEM, Pendulum-v1, 35 steps ahead": (pendulum, Planner(CEM(300, 30), horizon=35), -150.0),
        "CEM, Pendulum-v1, 40 steps ahead": (pendulum, Planner(CEM(300, 30), horizon=40), None),
        "iCEM, Pendulum-v1, 40 steps ahead": (pendulum, Planner(ICEM(200, 10, 5, noise_beta=2.5), horizon=40), -150.0),
        "CEM, continuous CartPole, 15 steps ahead": (cart, Planner(CEM(350, 35), horizon=15), None),
        "CEM, continuous CartPole, 20 steps ahead": (cart, Planner(CEM(350, 35), horizon=20), _SOLVED),
    }
    for name, (env, planner, target) in cases.items():
        returns = np.concatenate([_played(env, planner, seed) for seed in seeds])
        if target is not None:
            what = f"{name}: mean return over {len(returns)} episodes"
            checks.append(Check(what, float(returns.mean()), target, ""))
        details[name] = {
            "planner": str(planner),
            "returns": returns,
            "mean": float(returns.mean()),
            "interval": bootstrap_interval(returns, mean),
        }
    return Result("cem_oracle", "learning", "Planning with the true dynamics", tuple(checks), details)


_EPISODES = 20


def _played(env: Pendulum | CartPoleContinuous, planner: Planner, seed: int) -> np.ndarray:
    """Returns of whole episodes with the first action of a new plan at each step."""
    model, guide = Oracle(env), Actions(1)

    @jax.jit
    def play(belief: OracleBelief, key: jax.Array) -> jax.Array:
        def step(state: tuple, at: tuple) -> tuple[tuple, jax.Array]:
            belief, carry, alive = state
            t, key = at
            key_plan, key_world = jax.random.split(key)
            first = jnp.full(_EPISODES, t == 0)
            plan, carry = planner.plan(model, guide, belief, carry, first, key=key_plan)
            belief, outcome = model.step(belief, plan.action, key=key_world)
            return (belief, carry, alive * outcome.continues), alive * outcome.reward

        steps = env.spec.max_episode_steps or 200
        start = belief, planner.init(guide, _EPISODES), jnp.ones(_EPISODES)
        _, rewards = jax.lax.scan(step, start, (jnp.arange(steps), jax.random.split(key, steps)))
        return jnp.sum(rewards, axis=0)

    return np.asarray(play(_begun(env, seed), jax.random.fold_in(jax.random.key(seed), 1)))


def _begun(env: Pendulum | CartPoleContinuous, seed: int) -> OracleBelief:
    """The beginnings of the episodes of a seed, the same for every planner."""
    return Oracle(env).begin(_EPISODES, key=jax.random.fold_in(jax.random.key(seed), 0))


def planned_trials(run: RunLog, seeds: int) -> list[list[Summary]]:
    """Each seed's training episodes that began after the random steps, in order."""
    random_steps = run.config["agent"]["random_steps"]
    trials: list[list[Summary]] = [[] for _ in range(seeds)]
    for record in run.of("episode"):
        if record["env_steps"] - record["length"] >= random_steps:
            trials[record["seed"]].append(record)
    return trials
