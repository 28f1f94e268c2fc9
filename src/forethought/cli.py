"""The command line. Nothing heavy is imported before it is known what is asked for."""

import contextlib
import io
import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from tyro.conf import Positional

from forethought.errors import ForethoughtError, UsageError, nearest

C = TypeVar("C")

_HELP = """usage: forethought COMMAND ...

Agents that learn a model of their world and think ahead in it.

  train ALGO ENV   train an algorithm on an environment       forethought train mbpo Pendulum-v1
  resume RUN       go on with a run that was stopped or killed
  eval RUN         judge what a run has learned
  report RUN...    write one HTML file about one or more runs
  list             the algorithms, and which suit an environment (--env ENV)
  demo             MBPO on Pendulum-v1, about two minutes on two cores

forethought COMMAND --help says more. Exit codes: 0 done, 2 bad request, 3 the environment failed, 4 a run or checkpoint
cannot be read or written, 5 training diverged, 130 interrupted (and saved)."""

_DEMO_AGENT = {"sac.hidden": (128, 128), "fit.max_epochs": 60}
_DEMO_STEPS = 2500


@dataclass(frozen=True)
class Train(Generic[C]):
    """Train an algorithm on an environment; everything about the run is kept in its directory."""

    agent: C
    """Settings of the agent."""
    steps: int = 10_000
    """Environment steps per seed."""
    seed: int = 0
    """The first seed."""
    seeds: int = 1
    """How many seeds to train side by side, as one program."""
    num_envs: int = 1
    """Environments per seed."""
    run: Path | None = None
    """The run directory; it must not exist. Default: runs/ALGO-ENV-TIME."""
    preset: str | None = None
    """Settings by name; default: those made for this environment; "none": the plain defaults."""
    action_repeat: int = 1
    """How often each action is repeated; frames are counted apart from steps."""
    env_kwargs: str = "{}"
    """Arguments of the environment, as JSON."""
    eval_every: int | None = None
    """Steps between evaluations. Default: a twentieth of the run."""
    eval_episodes: int = 10
    """Episodes per seed and evaluation."""
    log_every: int | None = None
    """Steps between two lines of training metrics. Default: a hundredth of the run, at most 1000."""
    checkpoint_every: int | None = None
    """Steps between checkpoints. Default: about once a minute."""
    keep: int = 2
    """Checkpoints to keep."""
    mirror: tuple[str, ...] = ()
    """Send the metrics elsewhere too: tensorboard, wandb (extras of the same names)."""


@dataclass(frozen=True)
class Resume:
    """Go on with a run from its newest whole checkpoint, exactly where it stood."""

    run: Positional[Path]
    """The run directory."""
    steps: int | None = None
    """Extend the run to this many steps."""


@dataclass(frozen=True)
class Eval:
    """Judge what a run has learned: whole episodes without exploration."""

    run: Positional[Path]
    """The run directory."""
    episodes: int = 100
    """Episodes per seed."""
    seed: int = 0
    """Chooses the episodes."""
    json: bool = False
    """Print JSON."""
    video: Path | None = None
    """Write one episode to this file (.mp4 or .gif)."""


@dataclass(frozen=True)
class Report:
    """Write one self-contained HTML file that opens offline."""

    runs: Positional[tuple[Path, ...]]
    """Run directories."""
    output: Path | None = None
    """The file. Default: report.html in the (first) run directory."""


@dataclass(frozen=True)
class List:
    """The algorithms: what each uses its model for, and which suit an environment."""

    env: str | None = None
    """An environment id: say which algorithms can learn it, and why the others cannot."""


@dataclass(frozen=True)
class Demo:
    """MBPO on Pendulum-v1 on this machine: return before and after, and a report."""

    run: Path | None = None
    """The run directory. Default: runs/demo-TIME."""
    steps: int = _DEMO_STEPS
    """Environment steps."""
    seed: int = 0
    """The seed."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code. Errors of the user's making are one line on standard error."""
    args = list(sys.argv[1:] if argv is None else argv)
    try:
        if not args or args[0] in ("-h", "--help"):
            print(_HELP)
            return 0
        if args[0] == "--version":
            from forethought import __version__

            print(__version__)
            return 0
        if args[0] not in COMMANDS:
            raise UsageError(f"there is no command {args[0]!r}; {nearest(args[0], COMMANDS)}")
        return COMMANDS[args[0]](args[1:])
    except ForethoughtError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _train(args: list[str]) -> int:
    from forethought.agents import catalog

    words = [a for a in args[:2] if not a.startswith("-")]
    if len(words) < 2:
        if "-h" in args or "--help" in args:
            words = [*(words or ["mbpo"]), "ENV"]
            args = [*words, "--help"]
        else:
            raise UsageError("train takes an algorithm and an environment, such as: forethought train mbpo Pendulum-v1")
    algorithm, env = words
    _, config_class = catalog.find(algorithm).load()
    prepare_jax()
    from forethought.api import configure, start_run
    from forethought.training.config import from_dict, to_dict
    from forethought.training.progress import terminal

    preset, settings, _ = catalog.find_preset(algorithm, _option(args, "--preset"), env)
    default: Any = Train(agent=from_dict(config_class, settings))
    asked = _parse(Train[config_class], args[2:], f"forethought train {algorithm} {env}", default)  # type: ignore[valid-type]
    options = {f.name: getattr(asked, f.name) for f in fields(asked) if getattr(asked, f.name) is not None}
    options.pop("run", None)
    options.update(agent=to_dict(asked.agent), env_kwargs=_json_object(asked.env_kwargs, "--env-kwargs"))
    config = configure(algorithm, env, **{**options, "preset": preset or "none"})
    return _finish(start_run(config, asked.run, terminal()))


def _resume(args: list[str]) -> int:
    asked = _parse(Resume, args, "forethought resume")
    prepare_jax()
    from forethought.api import resume
    from forethought.training.progress import terminal

    return _finish(resume(asked.run, steps=asked.steps, progress=terminal()))


def _eval(args: list[str]) -> int:
    asked = _parse(Eval, args, "forethought eval")
    prepare_jax()
    from forethought.api import evaluate, film
    from forethought.statistics import bootstrap_interval

    judged = evaluate(asked.run, episodes=asked.episodes, seed=asked.seed)
    per_seed = judged.returns.mean(axis=1)
    if asked.json:
        print(json.dumps({"return": judged.returns.tolist(), "length": judged.lengths.tolist()}))
    else:
        line = f"return {per_seed.mean():.4g} over {asked.episodes} episodes"
        if len(per_seed) > 1:
            low, high = bootstrap_interval(per_seed)
            line += f" of each of {len(per_seed)} seeds, 95 % interval [{low:.4g}, {high:.4g}]"
        print(f"{line}; episode length {judged.lengths.mean():.4g}")
    if asked.video:
        print(f"video: {film(asked.run, asked.video, seed=asked.seed)}", file=sys.stderr)
    return 0


def _report(args: list[str]) -> int:
    args = ["--output" if a == "-o" else a for a in args]
    asked = _parse(Report, args, "forethought report")
    if not asked.runs:
        raise UsageError("report takes one or more run directories")
    from forethought.report.html import write_report

    print(write_report(asked.runs, asked.output or asked.runs[0] / "report.html"))
    return 0


def _list(args: list[str]) -> int:
    asked = _parse(List, args, "forethought list")
    from rich.console import Console
    from rich.table import Table

    from forethought.agents.catalog import ALGORITHMS

    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("algorithm", no_wrap=True)
    if asked.env:
        prepare_jax()
        from forethought.envs import env_spec

        spec = env_spec(asked.env)
        table.add_column(f"learns {asked.env}?")
        for name, entry in ALGORITHMS.items():
            misfit = entry.misfit(spec)
            table.add_row(name, f"no: {misfit}" if misfit else "[green]yes[/green]")
    else:
        table.add_column("uses its model as")
        table.add_column("what it is")
        for name, entry in ALGORITHMS.items():
            table.add_row(name, entry.use, f"{entry.summary} ({entry.paper})")
    Console().print(table)
    return 0


def _demo(args: list[str]) -> int:
    asked = _parse(Demo, args, "forethought demo")
    prepare_jax()
    import time

    from forethought.api import configure, start_run
    from forethought.training.progress import terminal

    config = configure("mbpo", "Pendulum-v1", steps=asked.steps, seed=asked.seed, agent=_DEMO_AGENT)
    path = asked.run or Path("runs") / f"demo-{time.strftime('%Y%m%d-%H%M%S')}"
    return _finish(start_run(config, path, terminal()))


COMMANDS: dict[str, Callable[[list[str]], int]] = {
    "train": _train,
    "resume": _resume,
    "eval": _eval,
    "report": _report,
    "list": _list,
    "demo": _demo,
}


def _finish(run: Any) -> int:
    """Write the report and print what came out."""
    from rich.console import Console
    from rich.table import Table

    from forethought.api import report_run

    before, after, report = report_run(run.path)
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_row("return before", f"{before:.4g}")
    table.add_row("return after", f"[bold]{after:.4g}[/bold]")
    table.add_row("environment steps", f"{run.summary['env_steps']:,} per seed")
    table.add_row("updates", f"{run.summary['updates']:,} per seed")
    table.add_row("wall time", f"{run.summary['wall_s']:.0f} s")
    table.add_row("run", str(run.path))
    table.add_row("report", str(report))
    Console(soft_wrap=True).print(table)
    return 0


def prepare_jax() -> None:
    """Keep compiled programs between processes, unless the user has said where (or that none be kept)."""
    if "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return
    import jax

    home = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    jax.config.update("jax_compilation_cache_dir", str(home / "forethought" / "jax"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)


def _parse(cls: Any, args: list[str], prog: str, default: Any = None) -> Any:
    """Parse arguments into a dataclass whose docstrings are the help; raises `UsageError` in one line."""
    import tyro

    said = io.StringIO()
    kwargs = {} if default is None else {"default": default}
    try:
        with contextlib.redirect_stderr(said):
            asked, unknown = tyro.cli(cls, args=args, prog=prog, return_unknown_args=True, **kwargs)
    except SystemExit as stop:
        if stop.code in (0, None):
            raise
        raise UsageError(f"{_first_sentence(said.getvalue())}; see {prog} --help") from None
    if unknown:
        flag = unknown[0].split("=")[0]
        if not flag.startswith("-"):
            raise UsageError(f"{prog} does not know what to do with {flag!r}; see {prog} --help")
        raise UsageError(f"{prog} has no option {flag}; {nearest(flag, _flags(asked))}")
    return asked


def _first_sentence(boxed: str) -> str:
    """What tyro says in the first part of its box, without the box."""
    lines = [line.strip("│ ").strip() for line in boxed.splitlines()[1:]]
    end = next((i for i, line in enumerate(lines) if not line or set(line) <= set("─╰╯")), len(lines))
    return " ".join(lines[:end]).rstrip(".")


def _flags(asked: Any, prefix: str = "--") -> list[str]:
    names: list[str] = []
    for f in fields(asked):
        value, name = getattr(asked, f.name), prefix + f.name.replace("_", "-")
        names += _flags(value, f"{name}.") if is_dataclass(value) else [name]
    return names


def _option(args: list[str], flag: str) -> str | None:
    """The value of one option, needed before the others can be parsed."""
    for i, arg in enumerate(args):
        if arg == flag and i + 1 < len(args):
            return args[i + 1]
        if arg.startswith(f"{flag}="):
            return arg.split("=", 1)[1]
    return None


def _json_object(text: str, flag: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise UsageError(f"{flag} takes a JSON object such as '{{\"is_slippery\": false}}', not {text!r}")
    return value
