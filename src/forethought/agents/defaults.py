"""Defaults for environments without a preset: the papers' are for tasks of 100,000 steps at unit scale.

A preset and what the user has set are never changed, and ``preset="none"`` keeps the papers' own numbers.
"""

from collections.abc import Mapping
from typing import Any

# What an environment in units of its own, few transitions, jumps and noise ask for, whatever it is
# (`python -m benchmarks.learning own_worlds`; docs/decisions/0006).
OWN: dict[str, Any] = {
    "normalize": True,
    "sac.normalize": True,
    "fit.batch_size": 64,  # of 256 a few hundred transitions are one: five epochs without a gain are five updates
    "fit.patience_updates": 200,
    "fit.beta": 0.5,
    "fit.select": "geometric",
}

# Setting -> at most this share of the budget. The sixth that is random teaches the model first; of the fits that follow
# ten at least come before the end.
_SHARES = {"random_steps": 6, "model_every": 12, "epoch_steps": 12, "epsilon_steps": 2}
_GOING_BEFORE = (
    ("random_steps", "model_every", "schedule.first", "schedule.last"),
    ("epoch_steps",),
    ("epsilon_steps",),
    ("schedule.start",),
    ("schedule.end",),
)
_RAMP = 20_000 / 150_000  # of the rollouts' schedule: where they begin to grow, of where they have grown


def fitted(plain: Mapping[str, Any], steps: int, given: Mapping[str, Any]) -> dict[str, Any]:
    """Settings that replace an algorithm's ``plain`` defaults in a run of ``steps``; all by dotted name.

    ``given`` are the user's own: they are left alone, and the others go with them.
    """
    own = {name: value for name, value in OWN.items() if name in plain}
    chosen = {
        name: min(plain[name], _round(steps // share))
        for name, share in _SHARES.items()
        if name in plain and name not in given
    }
    # What cannot be right is refused by name later on.
    counts = {name: _whole(value) for name, value in given.items() if name in plain}
    now = {**plain, **chosen, **{name: value for name, value in counts.items() if value is not None}}
    if "epoch_steps" in chosen:  # what is imagined after a fit is kept until the next one
        chosen["epoch_steps"] = max(chosen["epoch_steps"], now["model_every"])
    if "schedule.last" in plain and now["schedule.first"] != now["schedule.last"]:
        # They are counted from the end of the random steps, and the last epoch shall have the last length.
        learning = max(1, steps - now["random_steps"])
        whole = max(1, learning - chosen.get("epoch_steps", now["epoch_steps"]))
        start = min(now["schedule.start"], int(_RAMP * learning))
        end = max(start, min(now["schedule.end"], whole))
        if "schedule.start" in given:
            end = max(end, now["schedule.start"])
        if "schedule.end" in given:
            start = min(start, now["schedule.end"])
        chosen |= {"schedule.start": start, "schedule.end": end}
    return {name: value for name, value in (own | chosen).items() if name not in given and value != plain[name]}


def follow_the_budget(plain: Mapping[str, Any]) -> bool:
    """Whether any of an algorithm's ``plain`` defaults is fitted to the number of steps."""
    return any(name in plain for name in _SHARES)


def words(plain: Mapping[str, Any], steps: int, held: Mapping[str, Any]) -> list[str]:
    """What to tell of a run whose agent has these settings, where some of them were fitted to its budget."""
    given: dict[str, Any] = {}
    for names in _GOING_BEFORE:  # what the user says of these decides about those that come after them
        now = {**plain, **fitted(plain, steps, given)}
        given |= {name: held[name] for name in names if name in plain and held[name] != now[name]}
    told = {name: value for name, value in fitted(plain, steps, given).items() if held[name] == value}
    said = [
        f"{name} {value:,} (default {plain[name]:,})"
        for name, value in told.items()
        if name != "random_steps" and name not in OWN
    ]
    if "random_steps" in told:
        default = plain["random_steps"]
        why = (
            f"the default {default:,} would leave nothing to learn from" if default >= steps else f"default {default:,}"
        )
        said.insert(0, f"{told['random_steps']:,} random steps of {steps:,} ({why})")
    return [f"fitted to the budget: {', '.join(said)}"] if said else []


def _whole(value: Any) -> int | None:
    """A whole number, also one of NumPy's or as a float; None for anything else, which is refused by name later on."""
    try:
        return int(value) if not isinstance(value, bool | str) and int(value) == value else None
    except (TypeError, ValueError, OverflowError):
        return None


def _round(steps: int) -> int:
    """Down to one digit and a half: 416 is 400, 83 is 80, 250 stays; 1 at least."""
    unit = max(1, 10 ** (len(str(steps)) - 1) // 2)
    return max(1, steps // unit * unit)
