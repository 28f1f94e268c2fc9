"""What a run shows at its end: its report, and a table of what came out."""

from typing import Any

from rich.console import Console

from forethought.errors import Interrupted
from forethought.runs import baselines, model_errors, report_run, standing_warnings
from forethought.training.baselines import Baseline, earned, of_action
from forethought.training.progress import learned


def finish(run: Any, trust: bool = False) -> int:
    """Write the report of a finished run and print what came out.

    Raises `Interrupted` where the user does not wait for the report; the run itself is saved by then.
    """
    try:
        made = report_run(run.path, trust=trust)
    except KeyboardInterrupt:
        raise Interrupted(
            f"stopped while the report was written; the run is finished and saved, "
            f"forethought report {run.path} writes the report"
        ) from None
    lines = {
        "return before": f"{made.before:.4g}",
        "return after": f"{made.after:.4g}",
        **_best(run.summary["best"]),
        **{name: _earned(played) for name, played in baselines(run.summary).items()},
        **model_errors(run.path),
        "environment steps": f"{run.summary['env_steps']:,} per seed",
        **{name: f"{count} per seed" for name, count in learned(run.summary["updates"], run.summary["fits"])},
        "wall time": f"{run.summary['wall_s']:.0f} s",
        "run": run.path,
        "report": made.file,
        **({"no video": made.no_video} if made.no_video else {}),
    }
    console = Console(soft_wrap=True, highlight=False, markup=False)  # a path is never cut
    for name, value in lines.items():
        console.print(f"{name:<22}{value}", style="bold" if name == "return after" else None)
    for text in standing_warnings(run.path):
        console.print(f"{'warning':<22}{text}; what helps stands in the report")
    return 0


def _earned(played: Baseline) -> str:
    action = of_action(played)
    return earned(played) + (f", action {action}" if action else "")


def _best(best: dict[str, Any] | None) -> dict[str, str]:
    """The evaluation that was the best so far, of each seed its own; nothing where there was none."""
    if best is None:
        return {}
    first, last = min(best["step"]), max(best["step"])
    steps = f"step {first:,}" if first == last else f"steps {first:,} to {last:,}"
    mean = sum(best["return"]) / len(best["return"])
    return {"best return": f"{mean:.4g} at {steps}, chosen for it, so too high: eval --which best plays anew"}
