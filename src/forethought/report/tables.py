"""The tables of a report: how runs compare, what they were configured with, and where they ran."""

from collections.abc import Mapping, Sequence
from typing import Any

from forethought.report import figures, glossary, series
from forethought.report.read import RunLog
from forethought.report.style import css_line, pen
from forethought.report.words import duration, interval, number, setting

_MISSING = object()

# What config.json holds besides the agent's fields, in the order to print it.
_SETTINGS = (
    ("algorithm", "algorithm"),
    ("env", "environment"),
    ("env_kwargs", "environment options"),
    ("preset", "preset"),
    ("seed", "first seed"),
    ("seeds", "seeds"),
    ("num_envs", "environments per seed"),
    ("action_repeat", "action repeat"),
    ("steps", "environment steps per seed"),
    ("eval_every", "steps between evaluations"),
    ("eval_episodes", "episodes per evaluation"),
    ("created", "started"),
)
_AROUND = {"memory_gib": "memory (GiB)", "cpu": "CPU", "gpu": "GPU"}  # what to call it where that is not its key


def standings(run: RunLog) -> list[tuple[str, ...]]:
    """Return what the run earns, one row for each thing to compare; nothing where it has no evaluation."""
    first, newest = series.evaluation(run, 0), series.final(run)
    if first is None or newest is None:
        return []
    found = [("First evaluation", first)] if first.env_steps < newest.env_steps else []
    found.append(("Newest evaluation", newest))
    if (best := series.best(run)) and best.mean > newest.mean:
        found.append(("Best evaluation of each seed, chosen for its return", best))
    rows: list[tuple[str, ...]] = [
        (
            what,
            "" if evaluated is best else number(evaluated.env_steps),
            interval(evaluated.mean, evaluated.low, evaluated.high),
            f"{len(evaluated.per_seed)} × {evaluated.episodes}",
        )
        for what, evaluated in found
    ]
    for name, played in series.baselines(run).items():
        mean, half = played["mean"], 1.96 * played.get("error", 0.0)
        rows.append((name, "", interval(mean, mean - half, mean + half), ""))
    return rows


def comparison(runs: Sequence[RunLog]) -> list[tuple[str, ...]]:
    """Return one row per run: how it is drawn, what it is, how well it did, what it cost."""
    rows = []
    for index, run in enumerate(runs):
        end, progress = series.final(run), series.progress(run)
        what = [setting(run.config.get(key)) for key in ("algorithm", "env", "seeds")]
        well = [interval(end.mean, end.low, end.high), number(end.iqm)] if end else ["none", "none"]
        cost = [number(progress.env_steps), duration(progress.wall_s)]
        rows.append((css_line(pen(index)), run.name, *what, *well, *cost, progress.status))
    return rows


def times(runs: Sequence[RunLog]) -> list[tuple[str, ...]]:
    """Return the wall time by phase: what it is called, one column per run, and what it is."""
    spent = [figures.phases(run) for run in runs]
    rows = []
    for name in dict.fromkeys(phase for seconds in spent for phase in seconds):
        label, meaning = glossary.phase(name)
        each = [
            f"{duration(seconds[name])} ({100 * seconds[name] / (sum(seconds.values()) or 1.0):.1f} %)"
            if name in seconds
            else "none"
            for seconds in spent
        ]
        rows.append((label, *each, meaning))
    return rows


def configuration(run: RunLog) -> dict[str, list]:
    """Return the settings of a run and of its agent, the commands that made it, and what it ran on."""
    values = flatten(run.config.get("agent"))
    defaults = flatten(run.config.get("agent_defaults"))
    changed = changed_fields(values, defaults)
    command, later = run.config.get("command"), run.config.get("extended_by")
    around = {**flatten(run.config.get("versions")), **flatten(run.config.get("hardware"))}
    return {
        "settings": [(label, setting(run.config[key])) for key, label in _SETTINGS if key in run.config],
        "changed": [
            (field, setting(values[field]), setting(defaults[field]) if field in defaults else None)
            for field in changed
        ],
        "unchanged": [(field, setting(value)) for field, value in values.items() if field not in changed],
        "commands": [str(said) for said in [command, *(later if isinstance(later, list) else [])]] if command else [],
        "surroundings": [(_AROUND.get(name, name), setting(value)) for name, value in around.items()],
    }


def changed_fields(values: Mapping[str, Any], defaults: Mapping[str, Any]) -> list[str]:
    """Return the fields whose value is not the default, those without a default included."""

    def differs(value: Any, default: Any) -> bool:
        # Python holds True and 1 equal; in a configuration they are two things.
        return value != default or isinstance(value, bool) != isinstance(default, bool)

    return [field for field, value in values.items() if differs(value, defaults.get(field, _MISSING))]


def flatten(fields: Any, prefix: str = "") -> dict[str, Any]:
    """Return nested settings as one level, with dotted names; an empty mapping stays a value."""
    if not isinstance(fields, Mapping):
        return {}
    flat: dict[str, Any] = {}
    for name, value in fields.items():
        if isinstance(value, Mapping) and value:
            flat.update(flatten(value, f"{prefix}{name}."))
        else:
            flat[f"{prefix}{name}"] = value
    return flat
