"""What the page of benchmarks says of learning: returns, trials, samples, dreams, and how runs were set."""

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks import results
from benchmarks.formats import number, table

Found = Mapping[tuple[str, str], Mapping[str, Any]]

LEARNING = (
    "dyna_maze",
    "blocking_maze",
    "frozen_lake",
    "sac_pendulum",
    "ppo_cartpole",
    "ppo_pendulum",
    "dqn_cartpole",
    "ppo_breakout",
    "dqn_breakout",
    "mbpo_pendulum",
    "mbpo_inverted_pendulum",
    "warm_start",
    "impacts",
    "own_worlds",
    "calibration_pendulum",
    "cem_oracle",
    "pets_cartpole",
    "gym_cartpole",
    "samples_pendulum",
    "samples_inverted_pendulum",
    "samples_cartpole",
    "mbpo_hopper",
    "dreamer_v3_cartpole",
    "dreamer_v3_pendulum",
    "dreamer_v2_catch",
    "dreamer_v3_catch",
    "planet_swingup",
    "dreamer_v1_swingup",
    "dreamer_v3_balance",
    "world_models_take_cover",
    "world_models_car_racing",
)


def page(found: Found) -> list[str]:
    """All of it."""
    return [part(found) for part in (scores, trials, samples, temperatures, settings)]


def scores(found: Found) -> str:
    """Final returns over seeds, where a benchmark is evaluated by them."""
    rows = []
    for name in LEARNING:
        for label, run in found.get(("learning", name), {}).get("details", {}).items():
            if "final" not in run:
                continue
            final = run["final"]
            interval = " to ".join(number(x) for x in final["mean_interval"])
            per_seed = ", ".join(number(x) for x in final["per_seed"])
            work = f"{run['env_steps']:,} steps, {run['wall_s'] / 60:.0f} min"
            row = [f"`{name}`, {label}", number(final["mean"]), number(final["iqm"]), interval, per_seed]
            rows.append([*row, str(final["episodes"]), work])
    if not rows:
        return ""
    heads = ["run", "mean", "IQM", "95 % interval of the mean", "each seed", "episodes per seed", "training, all seeds"]
    return f"Final returns:\n\n{table(heads, rows)}"


def trials(found: Found) -> str:
    """The training episodes of agents that act alike when evaluated, seed by seed."""
    rows = []
    for name in LEARNING:
        for label, run in found.get(("learning", name), {}).get("details", {}).items():
            of_seeds = ["; ".join(number(x) for x in of_seed) for of_seed in run.get("trials", ())]
            if of_seeds:
                work = f"{run['env_steps']:,} steps, {run['wall_s'] / 60:.0f} min"
                rows.append([f"`{name}`, {label}", "<br>".join(of_seeds), work])
    if not rows:
        return ""
    heads = ["run", "returns of the trials after the random ones, one line per seed", "training, all seeds"]
    return f"Trials of agents that plan:\n\n{table(heads, rows)}"


def samples(found: Found) -> str:
    """Environment steps to a return, over seeds."""
    rows: list[list[str]] = []
    for (_, name), result in found.items():
        for label, run in result["details"].items() if name.startswith("samples_") else ():
            steps, sac = run["first_step"], result["details"]["sac"]["iqm"]
            interval = " to ".join("never" if end is None else number(end) for end in run["interval"])
            gain = results.times_fewer(sac, run["iqm"])
            fewer = "-" if gain is None else f"{gain:.2g}" if alike(result["details"]) else "not alike"
            reached = f"{sum(step is not None for step in steps)} of {len(steps)}"
            mean = "never" if run["iqm"] is None else number(run["iqm"])
            row = [f"{run['env']}, {run['goal']:g}", label, mean, interval, reached, fewer]
            rows.append([*row, f"{run['random_steps']:,}", f"{run['budget']:,}"])
    if not rows:
        return ""
    heads = ["environment, return", "algorithm", "steps (IQM)", "95 % interval", "seeds that reached it"]
    heads += ["times fewer than SAC", "random steps", "budget per seed"]
    return (
        "Environment steps to a return, by the first evaluation that reaches it; for PETS and POPLIN, which act alike "
        "when evaluated and learn in every trial, by the end of the first of two trials in a row whose mean does. "
        "Random steps count, and all have those of MBPO; SAC has its target entropy and evaluations as close together "
        "besides (where it has not, they are not alike, and no factor is told). A seed that never gets there counts as "
        "infinitely late.\n\n"
        f'{table(heads, rows)}\n"Ten times fewer samples", as the literature has it, is here: '
        f"{gains_in_words(sample_gains(found))}.\n"
    )


def sample_gains(found: Found) -> dict[str, list[float | None]]:
    """How many times fewer steps than SAC each algorithm needs, on each of the environments."""
    gains: dict[str, list[float | None]] = {}
    for (_, name), result in found.items():
        for label, run in result["details"].items() if name.startswith("samples_") else ():
            sac = result["details"]["sac"]["iqm"] if alike(result["details"]) else None
            gains.setdefault(label, []).append(results.times_fewer(sac, run["iqm"]))
    return gains


def temperatures(found: Found) -> str:
    """Of controllers evolved in dreams: what they earn there and in the world, beside what was published."""
    run = found.get(("learning", "world_models_take_cover"), {}).get("details", {}).get("world-models")
    if run is None:
        return ""
    rows = []
    for temperature, evolved in run["temperatures"].items():
        real, published = f"{evolved['real']:.0f} +- {evolved['real_deviation']:.0f}", run["published"][temperature]
        rows.append([temperature, f"{evolved['dream']:.0f}", real, str(published["dream"]), str(published["real"])])
    heads = ["temperature of the dreams", "earned in dreams", "in reality", "published, in dreams", "in reality"]
    return (
        "Controllers that have known dreams alone, of VizdoomTakeCover-v1, mean over 100 episodes (random actions earn "
        f"210); the published ones learned from 10,000 random episodes:\n\n{table(heads, rows)}"
    )


def alike(runs: Mapping[str, Any]) -> bool:
    """Whether all began with as many random steps, and SAC had the target entropy and the evaluations that MBPO had."""
    if len({run.get("random_steps") for run in runs.values()}) > 1:
        return False
    sac, mbpo = runs.get("sac"), runs.get("mbpo")
    if sac is None or mbpo is None:
        return True
    entropies = sac["settings"].get("agent.target_entropy"), mbpo["settings"].get("agent.sac.target_entropy")
    intervals = (run["settings"]["eval_every"] for run in (sac, mbpo))
    return len({*intervals}) == 1 and entropies[0] == entropies[1]


def gains_in_words(gains: Mapping[str, Sequence[float | None]]) -> str:
    """Each algorithm's range over the environments."""
    words = []
    for label, of_label in gains.items():
        there = sorted(gain for gain in of_label if gain is not None)
        times = " to ".join(f"{gain:.2g}" for gain in dict.fromkeys((there[0], there[-1]))) if there else "no"
        if label != "sac":
            words.append(f"{label} {times} times fewer than SAC ({len(there)} of {len(of_label)} environments)")
    return ", ".join(words)


def settings(found: Found) -> str:
    """The settings of each run that are not the defaults."""
    rows = []
    for name in LEARNING:
        for label, run in found.get(("learning", name), {}).get("details", {}).items():
            if "settings" not in run:  # no run of an agent
                continue
            words = ", ".join(f"{key} = {value}" for key, value in run["settings"].items())
            rows.append([f"`{name}`, {label}", f"`{run['algorithm']}` on `{run['env']}`", words])
    if not rows:
        return ""
    return f"Settings that differ from the defaults:\n\n{table(['run', 'what', 'settings'], rows)}"
