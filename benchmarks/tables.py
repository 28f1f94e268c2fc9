"""Write ``docs/benchmarks.md`` from the results: ``python -m benchmarks.tables``."""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import results
from benchmarks.earlier_loop import BEFORE
from benchmarks.formats import number, percent, seconds, table, with_unit

Found = Mapping[tuple[str, str], Mapping[str, Any]]

SPEED = (
    "sac_update",
    "train_sac",
    "ensemble_epoch",
    "branched_rollout",
    "mbpo_end_to_end",
    "plan_cem",
    "plan_small",
    "replay_add",
    "replay_images",
    "startup",
    "export",
    "device_loop",
    "train_rejax",
    "dreamer_v3_vector",
    "dreamer_v3_pixels",
    "dreamer_v3_xs_pixels",
    "dreamer_v1_pixels",
    "dreamer_v2_pixels",
    "world_models_vae",
    "convolution",
)
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
    "dreamer_v3_balance",
    "world_models_take_cover",
    "world_models_car_racing",
)

# Workload, what is done, where its details keep the other library, and that library.
_PEERS = (
    ("sac_update", "SAC update", "stable_baselines3", "stable-baselines3"),
    ("train_sac", "SAC on Pendulum-v1, one update per step", "stable_baselines3", "stable-baselines3"),
    ("ensemble_epoch", "ensemble epoch", "mbrl_lib", "mbrl"),
    ("mbpo_end_to_end", "MBPO on InvertedPendulum-v5", "mbrl_lib", "mbrl"),
    ("plan_cem", "a decision by CEM on an ensemble", "mbrl_lib", "mbrl"),
    ("dreamer_v3_vector", "Dreamer V3 update, vectors", "peer", "sheeprl"),
    ("dreamer_v3_pixels", "Dreamer V3 update, images", "peer", "sheeprl"),
    ("dreamer_v3_xs_pixels", "Dreamer V3 (2023) update, images", "peer", "sheeprl"),
    ("dreamer_v1_pixels", "Dreamer V1 update, images", "peer", "sheeprl"),
    ("dreamer_v2_pixels", "Dreamer V2 update, images", "peer", "sheeprl"),
    ("world_models_vae", "a step of the VAE of World Models", "peer", "torch"),
)

_INTRODUCTION = """This page is written by `python -m benchmarks.tables` from the files in `benchmarks/results/`, which
hold more than fits here: every repeat, every seed, the learning curves, versions and settings. Each row gives the
command that makes it.

Speed is told as a share of what the machine can do: the peak is the speed of one product of two 1024 x 1024 float32
matrices, measured between the repeats of the workload itself. The share compares the fastest repeat with the highest
peak. Learning is evaluated by the final policies, each on at least 50 episodes of its own, unless a row says otherwise;
scores are over seeds.
"""

_ON_GPU = """The same workloads, held against the same targets, from `benchmarks/results/gpu/`. One environment leaves
a GPU waiting: a step takes about a tenth of a millisecond there, however little it does, and a fifth with 256
environments. What pays is width: many environments, and seeds side by side, which are nearly free. rejax is up to four
times faster there with small networks; it neither checks numbers nor hears of Ctrl-C on the way.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Write the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tables", description=__doc__)
    parser.add_argument("--results", type=Path, default=results.FOLDER, help="the folder of results")
    parser.add_argument("--output", type=Path, default=results.ROOT / "docs" / "benchmarks.md")
    asked = parser.parse_args(argv)
    found, on_gpu = (results.read_folder(folder) for folder in (asked.results, asked.results / "gpu"))
    asked.output.write_text(page(found, on_gpu))
    print(asked.output)
    return 0


def page(found: Found, on_gpu: Found | None = None) -> str:
    """The page as Markdown; ``on_gpu`` are the results of an accelerator."""
    parts = ["# Benchmarks\n", summary(found), _INTRODUCTION]
    parts += ["## Speed\n", targets(found, "speed", SPEED)]
    parts += [device_loop(found), speed_numbers(found), peers(found)]
    parts += ["## Learning\n", targets(found, "learning", LEARNING), scores(found), trials(found)]
    parts += [samples(found), settings(found), machines(found), *gpu(on_gpu or {})]
    return "\n".join(part for part in parts if part)


def device_loop(found: Found) -> str:
    """What `device_loop` is held against, and why it cannot be much faster with many environments."""
    details = found.get(("speed", "device_loop"), {}).get("details", {})
    if "policy_share_256" not in details:
        return ""
    return (
        f"The first loop, which `device_loop` is held against, is that of commit {BEFORE}, in the same run. With 256 "
        f"environments the policy alone takes {100 * details['policy_share_256']:.0f} % of a turn. Tables of 100 seeds "
        "are written to by scatters, which XLA makes loops of on a CPU.\n"
    )


def gpu(found: Found) -> list[str]:
    """What was measured on accelerators, whose targets are those of the processor."""
    rows = [
        targets(found, kind, names)
        for kind, every in (("speed", SPEED), ("learning", LEARNING))
        if (names := [name for name in every if (kind, name) in found])
    ]
    return ["## On a GPU\n", _ON_GPU, *rows, machines(found)] if rows else []


def summary(found: Found) -> str:
    """What is met, what falls short, and the commands, in about ten lines."""
    if not found:
        return ""
    checks = [check for result in found.values() for check in result["checks"]]
    reached = sum(check["met"] is True for check in checks)
    lines = [f"In short: {reached} of {len(checks)} numbers meet their targets.", ""]
    short, unknown, never = [], [], 0  # a line to each kind, however much there is
    for kind, names in (("speed", SPEED), ("learning", LEARNING)):
        met_by, short_by = [], []
        for name in names:
            missed = [check for check in found.get((kind, name), {}).get("checks", ()) if check["met"] is not True]
            if missed:
                first, *others = missed
                what = f"{first['what']}: {measured(first)} ({target(first)})"
                more = f", and {len(others)} more" if others else ""
                if name.startswith("samples_"):
                    never += len(missed)  # they share a line
                else:
                    short_by.append(f"{what}{more} (`{found[kind, name]['command']}`)")
            elif (kind, name) in found:
                head = found[kind, name]["checks"][0]
                met_by.append(f"`{name}` {measured(head)} ({target(head)})")
            else:
                unknown.append(f"`{name}`")
        if short_by:
            short.append(f"- Short in {kind}: {'; '.join(short_by)}.")
        if met_by:
            lines.append(f"- Met in {kind} (`python -m benchmarks.{kind} NAME`): {', '.join(met_by)}.")
    if gains := sample_gains(found):
        tasks = " ".join(name for _, name in found if name.startswith("samples_"))
        beside = f"; short: {never} times one needs more steps than SAC, or never gets there" if never else ""
        lines.append(f"- Steps to a return (`python -m benchmarks.learning {tasks}`): {_gains(gains)}{beside}.")
    if unknown:
        short.append(f"- Not measured yet: {', '.join(unknown)}.")
    return "\n".join([*lines, *short, ""])


def targets(found: Found, kind: str, names: Sequence[str]) -> str:
    """What was measured against what was aimed at, one row per number."""
    marks = machine_marks(found)
    rows = []
    for name in names:
        result = found.get((kind, name))
        if result is None:
            rows.append([f"`{name}`", "not measured yet", "", "", "", "", f"`python -m benchmarks.{kind} {name}`"])
            continue
        mark, date, command = marks[_machine(result)], result["date"][:10], f"`{result['command']}`"
        for check in result["checks"]:
            workload = f"{result['title']}: {check['what']}"
            verdict = "shortened run" if result["partial"] else met(check)
            rows.append([workload, measured(check), target(check), verdict, mark, date, command])
    return table(["workload", "measured", "target", "met?", "machine", "date", "command"], rows)


def measured(check: Mapping[str, Any]) -> str:
    """The measured number with its unit."""
    return "not measured" if check["value"] is None else with_unit(check["value"], check["unit"])


def target(check: Mapping[str, Any]) -> str:
    """What was aimed at."""
    return f"{check['sense']} {with_unit(check['target'], check['unit'])}"


def met(check: Mapping[str, Any]) -> str:
    """Whether the target is met, and else by how much it is missed."""
    if check["met"] is None:
        return "not measured"
    if check["met"]:
        return "met"
    if check["value"] is None:
        return "missed: not a number"
    gap = abs(check["value"] - check["target"])
    unit = "percentage points" if check["unit"] == "%" else check["unit"]
    return f"{'over' if check['sense'] == 'at most' else 'short'} by {with_unit(gap, unit)}"


def sentences(result: Mapping[str, Any]) -> list[str]:
    """A result in a few lines for the terminal."""
    lines = [result["title"]]
    for check in result["checks"]:
        verdict = "shortened run" if result["partial"] else met(check)
        lines.append(f"{check['what']}: {measured(check)} (target: {target(check)}; {verdict})")
    return lines


def speed_numbers(found: Found) -> str:
    """Seconds and GFLOP/s of the workloads that have them."""
    rows = []
    for name in SPEED:
        details = found.get(("speed", name), {}).get("details", {})
        parts = {f"`{name}`": details} | {f"`{name}`, {part}": of for part, of in details.items()}
        for label, timed in parts.items():
            if isinstance(timed, dict) and "seconds_median" in timed and "thread_setting" not in timed:
                times = [seconds(timed["seconds_best"]), seconds(timed["seconds_median"])]
                shares = [percent(timed.get(key)) for key in ("share_of_peak", "share_of_peak_paired_median")]
                flops = [number(timed.get(key)) for key in ("gflop", "gflop_per_s", "peak_gflop_per_s")]
                rows.append([label, *times, *flops, *shares])
    if not rows:
        return ""
    heads = ["workload", "best", "median", "GFLOP", "GFLOP/s", "peak GFLOP/s", "share", "share, median of pairs"]
    return f"In numbers, per unit of work (an update, an epoch, a call, a decision, an add):\n\n{table(heads, rows)}"


def peers(found: Found) -> str:
    """What other libraries need for the same work on the same machine."""
    rows = []
    for name, work, key, package in _PEERS:
        details = found.get(("speed", name), {}).get("details", {})
        runs = details.get(key, ())
        runs = [run for run in ([runs] if isinstance(runs, dict) else runs) if "error" not in run]
        if not runs:
            continue
        theirs = min(runs, key=lambda run: run.get("seconds_best", 0.0))
        library = f"{package} {theirs['versions'][package]}, {theirs['thread_setting']}"
        rows.append([work, *(_speed(run) for run in (details, theirs)), library])
    if not rows:
        return ""
    note = "Each library runs with the setting of threads that is fastest for it on the machine."
    return f"Beside other libraries:\n\n{table(['work', 'forethought', 'the other', 'library'], rows)}\n{note}\n"


def _speed(details: Mapping[str, Any]) -> str:
    if "steps_per_s" in details:
        return f"{number(details['steps_per_s'])} steps/s"
    return seconds(details["seconds_best"])


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
        f"{_gains(sample_gains(found))}.\n"
    )


def sample_gains(found: Found) -> dict[str, list[float | None]]:
    """How many times fewer steps than SAC each algorithm needs, on each of the environments."""
    gains: dict[str, list[float | None]] = {}
    for (_, name), result in found.items():
        for label, run in result["details"].items() if name.startswith("samples_") else ():
            sac = result["details"]["sac"]["iqm"] if alike(result["details"]) else None
            gains.setdefault(label, []).append(results.times_fewer(sac, run["iqm"]))
    return gains


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


def _gains(gains: Mapping[str, Sequence[float | None]]) -> str:
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


def machine_marks(found: Found) -> dict[str, str]:
    """A letter for each machine that results come from."""
    described = dict.fromkeys(_machine(result) for result in found.values())
    return {words: chr(ord("A") + i) for i, words in enumerate(described)}


def machines(found: Found) -> str:
    """The machines behind the letters."""
    marks = machine_marks(found)
    if not marks:
        return ""
    return "Machines:\n\n" + "\n".join(f"- {mark}: {words}" for words, mark in marks.items()) + "\n"


def _machine(result: Mapping[str, Any]) -> str:
    machine, versions = result["machine"], result["versions"]
    device = "" if machine["device"] == "cpu" else f", {machine['device_kind']}"
    names = [f"{name} {versions[name]}" for name in ("python", "jax", "forethought") if name in versions]
    return f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gib']} GiB{device}; {', '.join(names)}"


if __name__ == "__main__":
    raise SystemExit(main())
