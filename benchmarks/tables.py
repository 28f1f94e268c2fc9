"""Write ``docs/benchmarks.md`` from the results: ``python -m benchmarks.tables``."""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import results, scores
from benchmarks.earlier_loop import BEFORE
from benchmarks.formats import number, percent, seconds, table, with_unit
from benchmarks.scores import LEARNING, Found, gains_in_words, sample_gains

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
    parts = ["# Benchmarks\n", summary(found, on_gpu), _INTRODUCTION]
    parts += ["## Speed\n", targets(found, "speed", SPEED, on_gpu)]
    parts += [device_loop(found), speed_numbers(found), peers(found)]
    parts += ["## Learning\n", targets(found, "learning", LEARNING, on_gpu), *scores.page(found)]
    parts += [machines(found), *gpu(on_gpu or {})]
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
    return ["## On a GPU\n", _ON_GPU, recurrences(found), *rows, machines(found)] if rows else []


def recurrences(found: Found) -> str:
    """What a Dreamer's update waits for."""
    small, large = (found.get(("speed", f"dreamer_{name}"), {}).get("details") for name in ("v3_vector", "v2_pixels"))
    if not small or not large:
        return ""
    work, time = large["gflop"] / small["gflop"], large["seconds_best"] / small["seconds_best"]
    return (
        "A Dreamer's update waits for steps that follow each other: those of its windows, then 15 of a dream, forth "
        f"and back, by networks too small to fill the card. V2 on pictures, {work:.0f} times the arithmetic of V3 "
        f"on ten numbers, takes {time:.1f} times as long ({1000 * large['seconds_best']:.0f} and "
        f"{1000 * small['seconds_best']:.0f} ms).\n"
    )


def summary(found: Found, on_gpu: Found | None = None) -> str:
    """What is met, what falls short, and the commands, in about ten lines."""
    if not found:
        return ""
    checks = [check for result in found.values() for check in result["checks"]]
    reached = sum(check["met"] is True for check in checks)
    lines = [f"In short: {reached} of {len(checks)} numbers meet their targets.", ""]
    short: list[str] = []
    unknown: dict[str, list[str]] = {}  # a line to each kind, however much there is
    never = 0
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
                unknown.setdefault(_nothing(kind, name, on_gpu), []).append(f"`{name}`")
        if short_by:
            short.append(f"- Short in {kind}: {'; '.join(short_by)}.")
        if met_by:
            lines.append(f"- Met in {kind} (`python -m benchmarks.{kind} NAME`): {', '.join(met_by)}.")
    if gains := sample_gains(found):
        tasks = " ".join(name for _, name in found if name.startswith("samples_"))
        beside = f"; short: {never} times one needs more steps than SAC, or never gets there" if never else ""
        lines.append(f"- Steps to a return (`python -m benchmarks.learning {tasks}`): {gains_in_words(gains)}{beside}.")
    short += [f"- {nothing[0].upper()}{nothing[1:]}: {', '.join(names)}." for nothing, names in unknown.items()]
    return "\n".join([*lines, *short, ""])


def _nothing(kind: str, name: str, on_gpu: Found | None) -> str:
    """What stands in the place of a result."""
    return "measured on a GPU alone, see below" if (kind, name) in (on_gpu or {}) else "not measured yet"


def targets(found: Found, kind: str, names: Sequence[str], on_gpu: Found | None = None) -> str:
    """What was measured against what was aimed at, one row per number."""
    marks = machine_marks(found)
    rows = []
    for name in names:
        result = found.get((kind, name))
        if result is None:
            nothing, command = _nothing(kind, name, on_gpu), f"`python -m benchmarks.{kind} {name}`"
            rows.append([f"`{name}`", nothing, "", "", "", "", command])
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
