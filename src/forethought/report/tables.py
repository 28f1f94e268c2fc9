"""The tables of a report: how runs compare, what they were configured with, and where they ran."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from forethought.report import figures, glossary, series
from forethought.report.read import RunLog
from forethought.report.style import Pen, css_colour, pen
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


def standings(run: RunLog) -> str:
    """Return what the run earns, one row for each thing to compare; nothing where it has no evaluation."""
    first, newest = series.evaluation(run, 0), series.final(run)
    if first is None or newest is None:
        return ""
    found = [("First evaluation", first)] if first.env_steps < newest.env_steps else []
    found.append(("Newest evaluation", newest))
    if (best := series.best(run)) and best.mean > newest.mean:
        found.append(("Best evaluation of each seed, chosen for its return", best))
    cells = [
        (
            what,
            "" if evaluated is best else number(evaluated.env_steps),
            (evaluated.mean, evaluated.low, evaluated.high),
            f"{len(evaluated.per_seed)} × {evaluated.episodes}",
        )
        for what, evaluated in found
    ]
    for name, played in series.baselines(run).items():
        mean, half = played["mean"], 1.96 * played.get("error", 0.0)
        cells.append((name, "", (mean, mean - half, mean + half), ""))
    rows = [
        f"<td>{escape(what)}</td>{_numbers(at)}{_numbers(interval(*returns))}{_numbers(over)}"
        for what, at, returns, over in cells
    ]
    return table(("", "At step", "Return [95 %]", "Seeds × episodes"), rows, right=(1, 2, 3))


def comparison(runs: Sequence[RunLog]) -> str:
    """Return one row per run: what it is, how well it did, what it cost."""
    head = ("Run", "Algorithm", "Environment", "Seeds", "Final return [95 %]", "IQM", "Steps", "Wall time", "Status")
    rows = []
    for index, run in enumerate(runs):
        end, progress = series.final(run), series.progress(run)
        cells = [
            f"<td>{swatch(pen(index))}{escape(run.name)}</td>",
            _cell(run.config.get("algorithm")),
            _cell(run.config.get("env")),
            _numbers(setting(run.config.get("seeds"))),
            _numbers(interval(end.mean, end.low, end.high) if end else "none"),
            _numbers(number(end.iqm) if end else "none"),
            _numbers(number(progress.env_steps)),
            _numbers(duration(progress.wall_s)),
            _cell(progress.status),
        ]
        rows.append("".join(cells))
    return table(head, rows, right=(3, 4, 5, 6, 7))


def times(runs: Sequence[RunLog]) -> str:
    """Return the wall time by phase, one column per run."""
    spent = [figures.phases(run) for run in runs]
    names = list(dict.fromkeys(phase for seconds in spent for phase in seconds))
    if not names:
        return ""
    rows = []
    for name in names:
        label, meaning = glossary.phase(name)
        row = [f"<td>{escape(label)}</td>"]
        for seconds in spent:
            share = seconds.get(name, 0.0) / max(sum(seconds.values()), 1e-9)
            row.append(_numbers(f"{duration(seconds[name])} ({100 * share:.1f} %)" if name in seconds else "none"))
        rows.append("".join([*row, _cell(meaning)]))
    titles = [run.name for run in runs] if len(runs) > 1 else ["Wall time"]
    return table(["Phase", *titles, "What it is"], rows, right=range(1, len(runs) + 1))


def configuration(run: RunLog) -> str:
    """Return the run's settings, the agent's fields that differ from their defaults, and the others folded away."""
    known = [(label, run.config[key]) for key, label in _SETTINGS if key in run.config]
    parts = [table((), [f"<td>{escape(label)}</td>{_cell(value)}" for label, value in known])]
    values = flatten(run.config.get("agent"))
    defaults = flatten(run.config.get("agent_defaults"))
    changed = changed_fields(values, defaults)
    if changed:
        rows = [
            f"<td><code>{escape(field)}</code></td>{_cell(values[field])}"
            + (_cell(defaults[field]) if field in defaults else "<td>no default</td>")
            for field in changed
        ]
        parts.append("<h3>Agent: fields that differ from the default</h3>")
        parts.append(table(("Field", "This run", "Default"), rows, row_class="changed"))
    elif values:
        parts.append("<p>Every field of the agent has its default.</p>")
    same = [field for field in values if field not in changed]
    if same:
        rows = [f"<td><code>{escape(field)}</code></td>{_cell(values[field])}" for field in same]
        shown = f"{len(same)} agent field{'s' if len(same) > 1 else ''} at the default"
        parts.append(f"<details><summary>{shown}</summary>{table(('Field', 'Value'), rows)}</details>")
    return "\n".join(parts)


def surroundings(run: RunLog) -> str:
    """Return the versions and the hardware of a run."""
    labels = {"memory_gib": "memory (GiB)", "cpu": "CPU", "gpu": "GPU"}
    rows = [
        f"<td>{escape(labels.get(name, name))}</td>{_cell(value)}"
        for name, value in {**flatten(run.config.get("versions")), **flatten(run.config.get("hardware"))}.items()
    ]
    return table((), rows) if rows else ""


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


def swatch(drawn_with: Pen) -> str:
    """Return a short line in the colour and dash of a run."""
    style = {"solid": "solid", "dash": "dashed", "dot": "dotted", "dashdot": "double"}[drawn_with.dash]
    return f'<span class="swatch" style="border-top:3px {style} {css_colour(drawn_with)}"></span>'


def table(head: Sequence[str], rows: Sequence[str], right: Sequence[int] = (), row_class: str = "") -> str:
    """Return a table; ``head`` is plain text, each row its cells as HTML, ``right`` the columns set to the right."""
    cells = [f"<th{' class=number' if i in right else ''}>{escape(title)}</th>" for i, title in enumerate(head)]
    top = f"<thead><tr>{''.join(cells)}</tr></thead>" if head else ""
    opening = f'<tr class="{row_class}">' if row_class else "<tr>"
    body = "\n".join(f"{opening}{row}</tr>" for row in rows)
    return f'<div class="scroll"><table>{top}<tbody>{body}</tbody></table></div>'


def _cell(value: Any) -> str:
    return f'<td class="value">{escape(setting(value))}</td>'


def _numbers(text: str) -> str:
    return f'<td class="number">{escape(text)}</td>'
