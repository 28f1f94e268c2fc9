"""Seconds of an update for the scripts of this folder: many in a row, or one for each line that is read.

The second is for `benchmarks.peers.venv.Turns`, which times the updates of a peer and ours by turns.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """How often, and whether by turns."""
    parser.add_argument("--warm-ups", type=int, default=2, help="updates before the first that is timed")
    parser.add_argument("--repeats", type=int, default=5, help="updates to time")
    parser.add_argument("--by-turns", action="store_true", help="time one update for each line on standard input")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"), help="what makes the updates")


def report(update: Callable[[], None], facts: dict[str, Any], asked: argparse.Namespace) -> None:
    """Print the facts with the seconds, or first the facts and then the seconds of each update that is asked for."""
    update = _whole(update, asked.device)
    for _ in range(asked.warm_ups):
        update()
    if asked.by_turns:
        print(json.dumps(facts), flush=True)
        for _ in sys.stdin:
            print(json.dumps({"seconds": _seconds(update)}), flush=True)
        return
    seconds = [_seconds(update) for _ in range(asked.repeats)]
    found = {"seconds_best": min(seconds), "seconds_median": statistics.median(seconds), "repeats": asked.repeats}
    print(json.dumps({**found, **facts}))


def _whole(update: Callable[[], None], device: str) -> Callable[[], None]:
    """It ends when the device has done what was asked of it."""
    if device == "cpu":
        return update
    import torch

    def call() -> None:
        update()
        torch.cuda.synchronize()

    return call


def _seconds(update: Callable[[], None]) -> float:
    start = time.perf_counter()
    update()
    return time.perf_counter() - start
