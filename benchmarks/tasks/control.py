"""Learning benchmarks of agents that plan, and of planners on the true dynamics."""

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.results import Check, Result
from benchmarks.tasks.common import Request, Summary, Training, described, trained
from forethought.envs.control import Pendulum
from forethought.models.oracle import Oracle
from forethought.planning.cem import CEM
from forethought.planning.guides import Actions
from forethought.planning.planner import Planner
from forethought.report.read import Run
from forethought.statistics import bootstrap_interval, mean

_TRIALS = 6
_SOLVED = 195.0
# No evaluations: these agents act alike while learning and when judged, and every action is dear.
_ONCE = {"eval_every": 1_000_000, "eval_episodes": 1, "log_every": 50}
_PAPER = {"poplin-p": 200.8, "poplin-a": 200.6, "pets": 199.6, "random-shooting": 200.0}


def pets_cartpole(asked: Request) -> Result:
    """PETS on the continuous cart-pole of mbrl-lib: returns of the trials after 200 random steps."""
    training = Training("pets", "pets", "forethought/CartPoleContinuous-v0", asked.steps, asked.seeds, _ONCE)
    run = trained(training, asked.runs)
    trials = [of_seed[:_TRIALS] for of_seed in planned_episodes(run, asked.seeds)]
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
    checks, details = [], {}
    for name, published in _PAPER.items():
        training = Training(name, name, "forethought/GymCartPole-v0", asked.steps, asked.seeds, _ONCE)
        run = trained(training, asked.runs)
        last = np.array([of_seed[-1] for of_seed in planned_episodes(run, asked.seeds)])
        details[name] = {
            **described(run, training),
            "last_trial": last,
            "last_trial_interval": bootstrap_interval(last, mean),
            "published": published,
        }
        target = 199.0 if name != "random-shooting" else 38.4  # a random policy, by the paper's table
        checks.append(Check(f"{name}: mean return of the last trial", float(last.mean()), target, ""))
    title = f"MBBL's gym_cartpole, {asked.steps:,} steps, {asked.seeds} seeds"
    return Result("gym_cartpole", "learning", title, tuple(checks), details)


def cem_oracle(asked: Request) -> Result:
    """CEM on the true dynamics of Pendulum-v1, every episode planned at once."""
    env, episodes = Pendulum(), 20
    returns = np.concatenate([_played(env, episodes, seed) for seed in range(asked.seeds)])
    check = Check(f"mean return over {len(returns)} episodes", float(returns.mean()), -150.0, "")
    details = {"cem": {"returns": returns, "planner": str(_PLANNER)}}
    return Result("cem_oracle", "learning", "CEM on the true dynamics of Pendulum-v1", (check,), details)


_PLANNER: Planner = Planner(CEM(population=300, elites=30, iterations=5), horizon=30)


def _played(env: Pendulum, episodes: int, seed: int) -> np.ndarray:
    """Returns of whole episodes with the first action of a new plan at each step."""
    model, guide = Oracle(env), Actions(1)

    @jax.jit
    def play(key: jax.Array) -> jax.Array:
        key_begin, key_steps = jax.random.split(key)
        belief = model.begin(episodes, key=key_begin)

        def step(state: tuple, at: tuple) -> tuple[tuple, jax.Array]:
            belief, carry = state
            t, key = at
            key_plan, key_world = jax.random.split(key)
            first = jnp.full(episodes, t == 0)
            plan, carry = _PLANNER.plan(model, guide, belief, carry, first, key=key_plan)
            belief, outcome = model.step(belief, plan.action, key=key_world)
            return (belief, carry), outcome.reward

        steps = env.spec.max_episode_steps or 200
        start = belief, _PLANNER.init(guide, episodes)
        _, rewards = jax.lax.scan(step, start, (jnp.arange(steps), jax.random.split(key_steps, steps)))
        return jnp.sum(rewards, axis=0)

    return np.asarray(play(jax.random.key(seed)))


def planned_episodes(run: Run, seeds: int) -> list[list[float]]:
    """Returns of each seed's training episodes that began after the random steps, in order."""
    first: Summary = run.config["agent"]
    returns: list[list[float]] = [[] for _ in range(seeds)]
    for record in run.of("episode"):
        if record["env_steps"] - record["length"] >= first["random_steps"]:
            returns[record["seed"]].append(record["return"])
    return returns
