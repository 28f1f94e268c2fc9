"""Measure how fast forethought runs: ``python -m benchmarks.speed [NAME ...] --json FILE``."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from benchmarks import results
from benchmarks.tables import sentences
from benchmarks.workloads import WORKLOADS


def main(argv: Sequence[str] | None = None) -> int:
    """Run workloads one after the other and keep each result as soon as it is there."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"any of: {', '.join(WORKLOADS)} (default: all)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="one file for all results (default: results/ here)")
    parser.add_argument("--quick", action="store_true", help="see whether it works; the numbers mean nothing")
    asked = parser.parse_args(argv)
    names = asked.names or list(WORKLOADS)
    for name in names:
        if name not in WORKLOADS:
            parser.error(f"there is no workload {name!r}; choose from {', '.join(WORKLOADS)}")
    if asked.quick and not asked.json:
        parser.error("--quick needs --json FILE: its numbers must not replace measured ones")
    found = []
    for name in names:
        print(f"{name} ...", flush=True)
        found.append(results.stamped(WORKLOADS[name](asked.quick)))
        results.write(asked.json or results.default_path("speed", name), found if asked.json else found[-1:])
        print("\n".join(f"  {line}" for line in sentences(found[-1])), flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
