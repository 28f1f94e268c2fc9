"""Updates of agents that learn in dreams, against sheeprl's, and of the VAE of World Models, against eager PyTorch."""

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import psutil

from benchmarks.measure import peak
from benchmarks.peers import venv
from benchmarks.results import Check, Result
from benchmarks.workloads import dream_updates

WARM_UPS, REPEATS = 2, 8
_SHEEPRL, _TORCH = ("sheeprl", "sheeprl_dreams.py"), ("PyTorch", "torch_vae.py")

Builder = Callable[[], dream_updates.Ours]  # makes our side of a case


@dataclass(frozen=True)
class Case:
    """One update on both sides, with the same sizes, batch and observations."""

    title: str
    builder: str  # ours, in `OURS`
    arguments: tuple[str, ...]  # theirs: the name of the case in the script
    target: float  # how many times as fast as the peer
    peer: tuple[str, str] = _SHEEPRL  # its name, and its script


_NATURE = "Dreamer V3 update, Nature's 1M, 16 x 64"
_XS = "Dreamer V3 update, 2023's XS, 16 x 64, 64 x 64 x 3"
_V1, _V2 = (f"Dreamer V{i} update, 16 x 50, 64 x 64 x 3" for i in (1, 2))
_VAE = "World Models' VAE, one Adam step, batch 64 of 64 x 64 x 3"
CASES: dict[str, Case] = {
    "dreamer_v3_vector": Case(f"{_NATURE}, 10 numbers", "v3_vector", ("v3_vector",), 1.7),
    "dreamer_v3_pixels": Case(f"{_NATURE}, 64 x 64 x 3", "v3_pixels", ("v3_pixels",), 1.8),
    "dreamer_v3_xs_pixels": Case(_XS, "v3_xs_pixels", ("v3_xs_pixels",), 1.7),
    "dreamer_v1_pixels": Case(_V1, "v1_pixels", ("v1_pixels",), 1.7),
    "dreamer_v2_pixels": Case(_V2, "v2_pixels", ("v2_pixels",), 1.7),
    "world_models_vae": Case(_VAE, "vae", (), 0.9, _TORCH),
}

# Our sides, by the builder's name.
OURS: dict[str, Builder] = {
    "v3_vector": dream_updates.v3_vector,
    "v3_pixels": dream_updates.v3_pixels,
    "v3_xs_pixels": dream_updates.v3_xs_pixels,
    "v1_pixels": dream_updates.v1_pixels,
    "v2_pixels": dream_updates.v2_pixels,
    "vae": dream_updates.vae,
}


def run(name: str, quick: bool) -> Result:
    """Both sides on fixed batches, by turns: one of their updates, one of ours, and so on, after the warm-ups of both.

    The fastest update of each side counts: other work on the machine can only add to it. It adds far more to PyTorch,
    whose threads wait for each other in every operation, than to a program that is compiled whole, so a ratio found on
    a busy machine is worth nothing; how busy it was before is kept.
    """
    case, busy = CASES[name], psutil.cpu_percent(interval=1.0)
    mine = OURS[case.builder]()
    theirs, ours, found = timed_by_turns(case, mine.update, quick)
    highest, rate = max(peak() for _ in range(5)), mine.gflop / min(ours)
    ratio = min(theirs) / min(ours) if theirs else None
    medians = statistics.median(theirs) / statistics.median(ours) if theirs else None
    return Result(
        name=name,
        kind="speed",
        title=case.title,
        checks=(Check(f"speed against {case.peer[0]}", ratio, case.target, "times"),),
        details={
            "seconds_best": min(ours),
            "seconds_median": statistics.median(ours),
            "repeats": len(ours),
            "ratio_of_medians": medians,
            "gflop": mine.gflop,
            "gflop_per_s": rate,
            "peak_gflop_per_s": highest,
            "share_of_peak": rate / highest,
            "cpu_percent_before": busy,
            "peer": found,
        },
        command=f"python -m benchmarks.speed {name}",
        partial=quick,
    )


def timed_by_turns(
    case: Case, mine: Callable[[], float], quick: bool
) -> tuple[list[float], list[float], dict[str, Any]]:
    """Seconds of their updates and of ours, and what their script says; none of theirs where it fails."""
    warm_ups, repeats = (1, 1) if quick else (WARM_UPS, REPEATS)
    for _ in range(warm_ups):
        mine()
    theirs: list[float] = []
    ours: list[float] = []
    on_gpu = jax.default_backend() == "gpu"
    arguments = [*case.arguments, "--warm-ups", str(warm_ups), "--device", "cuda" if on_gpu else "cpu"]
    probe = None if quick or on_gpu else [*case.arguments, "--warm-ups", "1", "--repeats", "2"]
    try:
        with venv.by_turns("sheeprl", case.peer[1], arguments, probe=probe) as peer:
            for _ in range(repeats):
                theirs.append(peer())
                ours.append(mine())
    except venv.PeerFailed as error:
        return [], ours or [mine()], {"error": str(error)}
    found = {"seconds_best": min(theirs), "seconds_median": statistics.median(theirs), **peer.facts}
    return theirs, ours, found


WORKLOADS: dict[str, Callable[[bool], Result]] = {name: partial(run, name) for name in CASES}
