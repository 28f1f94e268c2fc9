"""Measure how well forethought learns: ``python -m benchmarks.learning [NAME ...] --json FILE``.

A benchmark whose result is there already is skipped; one that was stopped goes on from its last checkpoint.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks import results
from benchmarks.tables import sentences
from benchmarks.tasks import TASKS
from benchmarks.tasks.common import Request
from forethought.errors import ForethoughtError


def main(argv: Sequence[str] | None = None) -> int:
    """Run benchmarks one after the other and keep each result as soon as it is there."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.learning", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"any of: {', '.join(TASKS)} (default: all)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="one file for all results (default: results/ here)")
    parser.add_argument("--seeds", type=int, metavar="K", help="seeds side by side (default: what the target asks for)")
    parser.add_argument("--steps", type=int, metavar="N", help="environment steps per seed (default: likewise)")
    parser.add_argument("--runs", type=Path, default=Path("runs/benchmarks"), help="where run directories are kept")
    parser.add_argument("--again", action="store_true", help="also where a result is there already")
    parser.add_argument(
        "--only", nargs="+", metavar="LABEL", default=[], help="make these runs of it alone, keep the others"
    )
    asked = parser.parse_args(argv)
    names = asked.names or list(TASKS)
    for name in names:
        if name not in TASKS:
            parser.error(f"there is no benchmark {name!r}; choose from {', '.join(TASKS)}")
        if is_partial(name, asked.seeds, asked.steps) and not asked.json:
            parser.error(f"{name} with fewer steps or seeds than its target asks for needs --json FILE")
    found = results.read(asked.json) if asked.json and asked.json.exists() and not asked.again else []
    for name in names:
        path = asked.json or results.default_path("learning", name)
        if not (asked.again or asked.only) and path.exists() and any(r["name"] == name for r in results.read(path)):
            print(f"{name}: its result is in {path}; --again makes it anew")
            continue
        print(f"{name} ...", flush=True)
        try:
            kept = _kept(path, name, asked.only, command(name, asked.seeds, asked.steps))
        except (OSError, LookupError) as error:
            parser.error(str(error.args[-1]))
        try:
            result = run(name, asked.runs, asked.seeds, asked.steps, kept)
        except ForethoughtError as error:
            parser.exit(1, f"{error}\n")
        found = [r for r in found if r["name"] != name] + [result]
        results.write(path, found if asked.json else [result])
        print("\n".join(f"  {line}" for line in sentences(result)), flush=True)
    return 0


def _kept(path: Path, name: str, only: Sequence[str], asked: str) -> dict[str, Any]:
    """What the result that is there says of the runs that are not made again.

    `LookupError` where it knows nothing of one of ``only``, or was made by another command than is ``asked`` for.
    """
    if not only:
        return {}
    nothing: dict[str, Any] = {"command": asked, "details": {}}
    held = next((r for r in results.read(path) if r["name"] == name), nothing)
    details: dict[str, Any] = held["details"]
    if held["command"] != asked:
        raise LookupError(
            f"the result of {name} was made by `{held['command']}`; --only needs the same seeds and steps"
        )
    unknown = [label for label in only if label not in details]
    if unknown:
        raise KeyError(f"the result of {name} has no run {unknown[0]!r}; it has {', '.join(details)}")
    return {label: run for label, run in details.items() if label not in only}


def run(
    name: str, runs: Path, seeds: int | None = None, steps: int | None = None, kept: Mapping[str, Any] | None = None
) -> dict:
    """One benchmark, as JSON values; ``kept`` runs are not made anew."""
    task = TASKS[name]
    request = Request(
        runs / f"{name}-{seeds or task.seeds}-seeds", seeds or task.seeds, steps or task.steps, kept or {}
    )
    made = replace(task.run(request), partial=is_partial(name, seeds, steps), command=command(name, seeds, steps))
    return results.stamped(made)


def command(name: str, seeds: int | None, steps: int | None) -> str:
    """The command that makes a result."""
    flags = [f" --{flag} {value}" for flag, value in (("seeds", seeds), ("steps", steps)) if value]
    return f"python -m benchmarks.learning {name}{''.join(flags)}"


def is_partial(name: str, seeds: int | None, steps: int | None) -> bool:
    """Whether these seeds and steps are fewer than the target is about."""
    task = TASKS[name]
    return (seeds or task.seeds) < task.seeds or ((steps or task.steps) < task.steps and not task.any_length)


if __name__ == "__main__":
    raise SystemExit(main())
