"""The command line. Nothing heavy is imported before it is known what is asked for."""

import contextlib
import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from forethought.arguments import json_object, option, parse
from forethought.errors import ForethoughtError, Interrupted, UsageError, brief, nearest
from forethought.imports import leave_run_folder, use_current_folder
from forethought.options import Demo, Diagnose, Eval, Export, ExportData, List, Report, Resume, Train

_HELP = """usage: forethought COMMAND ...

Agents that learn a model of their world and think ahead in it.

  train ALGO ENV   train an algorithm on an environment       forethought train mbpo Pendulum-v1
  resume RUN       go on with a run that was stopped or killed
  eval RUN         evaluate what a run has learned
  diagnose RUN     how far the model of a run can be trusted
  report RUN...    write one HTML file about one or more runs
  export RUN       write its policy into it, for NumPy alone, or elsewhere (-o FILE.npz), or as StableHLO (.stablehlo)
  export-data RUN  write the transitions that it has seen into it, or elsewhere (-o FILE.npz)
  list             the algorithms, and which suit an environment (--env ENV)
  demo             MBPO on Pendulum-v1, two to four minutes on two cores

forethought COMMAND --help says more; --completion bash (or zsh, fish) prints a script for tab completion.
Exit codes: 0 done, 2 bad request, 3 the environment failed, 4 a run or checkpoint cannot be read or written,
5 training diverged, 130 interrupted (and saved)."""

_PIPED = 200  # columns of a table that goes to a file or another program
_MOST_DIGITS = 18  # of a number of steps; Python refuses to read one of thousands
_DEMO_AGENT = {"sac.hidden": (128, 128), "fit.max_epochs": 60}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code. Errors of the user's making are one line on standard error."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by whoever started this process
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115
    try:
        try:
            with _terminated_as_interrupted():
                return _run(list(sys.argv[1:] if argv is None else argv))
        finally:
            sys.stdout.flush()
    except Interrupted as stop:
        _complain(str(stop))
        return stop.exit_code
    except ForethoughtError as error:
        _complain(f"error: {error}")
        return error.exit_code
    except KeyboardInterrupt:
        _complain("interrupted")
        return 130
    except BrokenPipeError:
        _give_up_output()
        return 0
    except RuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):  # as JAX says it
            raise
        _complain(
            f"error: {str(error).splitlines()[0].partition('RESOURCE_EXHAUSTED: ')[2]}; use smaller batches, shorter "
            "windows, smaller networks, or fewer environments and seeds"
        )
        return 1
    except OSError as error:
        what = "write standard output" if error.filename is None else f"use {error.filename}"
        _complain(f"error: cannot {what}: {error.strerror or error}")
        if error.filename is None:
            _give_up_output()
        return 4


@contextlib.contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """SIGTERM ends a command as Ctrl-C does, and nothing half written stays; a run that trains saves itself first."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _run(args: list[str]) -> int:
    if not args or args[0] in ("-h", "--help"):
        print(_HELP)
        return 0
    if args[0] == "--version":
        from forethought import __version__

        print(__version__)
        return 0
    leave_run_folder()
    if args[0] == "--completion":
        from forethought.completion import script

        print(script(args[1] if len(args) > 1 else ""))
        return 0
    if args[0] not in COMMANDS:
        raise UsageError(f"there is no command {brief(args[0])}; {nearest(args[0], COMMANDS)}")
    return COMMANDS[args[0]](args[1:])


def _complain(line: str) -> None:
    with contextlib.suppress(OSError):
        print(line, file=sys.stderr)


def _give_up_output() -> None:
    """Nobody takes the output: what is left of it goes nowhere, or Python would complain at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _train(args: list[str]) -> int:
    from forethought.agents import catalog

    words = [a for a in args[:2] if not a.startswith("-")]
    if len(words) < 2:
        if "-h" in args or "--help" in args:
            print(f"algorithms: {', '.join(catalog.ALGORITHMS)}; what follows is for {words[0] if words else 'mbpo'}\n")
            words = [*(words or ["mbpo"]), "ENV"]
            args = [*words, "--help"]
        else:
            raise UsageError("train takes an algorithm and an environment first: forethought train mbpo Pendulum-v1")
    algorithm, env = words
    use_current_folder()
    _, config_class = catalog.find(algorithm).load()
    from forethought.api import start_run
    from forethought.configure import configure, settings_for, whose_defaults
    from forethought.ending import finish
    from forethought.envs import source_of
    from forethought.training.config import flatten, from_dict, to_dict
    from forethought.training.progress import terminal

    env = source_of(env).id
    asked_preset, with_data = option(args, "--preset"), option(args, "--data") is not None
    budget = _count(args, "--steps", Train.steps) + _count(args, "--pretrain", 0)
    beginning = catalog.find(algorithm).with_data() if with_data else {}
    preset, settings = settings_for(algorithm, asked_preset, env, budget, beginning)
    settings = {**settings, **beginning}
    default: Any = Train(agent=from_dict(config_class, settings))
    about = f"{Train.__doc__}{whose_defaults(algorithm, preset, budget, fitted=asked_preset != 'none')}"
    train: Any = Train[config_class]  # type: ignore[valid-type]
    asked = parse(train, args[2:], f"forethought train {algorithm} {env}", default, about)
    options = {f.name: getattr(asked, f.name) for f in fields(asked) if getattr(asked, f.name) is not None}
    data = options.pop("data", None)
    names, controller = (options.pop("obs_names"), options.pop("action_names")), options.pop("controller", None)
    options.pop("run", None)
    named = {arg.split("=")[0].removeprefix("--agent.").replace("-", "_") for arg in args if arg.startswith("--agent.")}
    shown, settings = flatten(to_dict(default.agent)), flatten(to_dict(asked.agent))
    agent = {name: value for name, value in settings.items() if name in named or value != shown[name]}
    options.update(agent=agent, env_kwargs=json_object(asked.env_kwargs, "--env-kwargs"))
    config = configure(algorithm, env, with_data=with_data, **options)
    return finish(start_run(config, asked.run, terminal(), data=data, names=names, controller=controller))


def _count(args: list[str], flag: str, default: int) -> int:
    """The number that an option holds, before the others can be parsed."""
    said = option(args, flag) or ""
    return int(said) if said.isdecimal() and len(said) <= _MOST_DIGITS else default


def _resume(args: list[str]) -> int:
    asked = parse(Resume, args, "forethought resume")
    _find_code(asked.run, asked.trust)
    from forethought.api import resume
    from forethought.ending import finish
    from forethought.training.progress import terminal

    return finish(resume(asked.run, steps=asked.steps, progress=terminal(), trust=asked.trust), asked.trust)


def _eval(args: list[str]) -> int:
    asked = parse(Eval, args, "forethought eval")
    if asked.video:
        from forethought.report.video import require_suffix

        require_suffix(asked.video)
    _find_code(asked.run, asked.trust, asked.env)
    from forethought.api import evaluate
    from forethought.policy import film
    from forethought.runs import beside_baselines
    from forethought.statistics import bootstrap_interval

    where = {"seed": asked.seed, "which": asked.which, "env": asked.env, "trust": asked.trust}
    if asked.video:  # before the episodes are played: it may not be possible
        print(f"video: {film(asked.run, asked.video, **where)}", file=sys.stderr)
    found = evaluate(asked.run, episodes=asked.episodes, **where)
    per_seed = found.returns.mean(axis=1)
    if asked.json:
        said = {
            "return": found.returns.tolist(),
            "length": found.lengths.tolist(),
            "explored": found.explored,
        }
        print(json.dumps(said))
    else:
        line = "best by " if asked.which == "best" else ""
        line += f"step {found.env_steps:,}: return {per_seed.mean():.4g} over {found.returns.shape[1]} episodes"
        if found.explored:
            line += " (the last of the training, with exploration; --env ID plays others without)"
        low, high = bootstrap_interval(per_seed if len(per_seed) > 1 else found.returns[0])
        over = f"of each of {len(per_seed)} seeds, 95 % interval over seeds"
        if len(per_seed) == 1:
            over = "of one seed, 95 % interval over episodes"
        if found.returns.size > 1:
            line += f" {over} [{low:.4g}, {high:.4g}]"
        print(f"{line}; episode length {found.lengths.mean():.4g}")
        for text in beside_baselines(asked.run, found.returns):
            print(text)
    return 0


def _export(args: list[str]) -> int:
    args = ["--output" if a == "-o" else a for a in args]
    asked = parse(Export, args, "forethought export")
    use_current_folder()  # for the functions that a planner was given
    from forethought.exporting import export

    for path in export(asked.run, asked.output, seed=asked.seed, which=asked.which, trust=asked.trust):
        print(path)
    return 0


def _export_data(args: list[str]) -> int:
    args = ["--output" if a == "-o" else a for a in args]
    asked = parse(ExportData, args, "forethought export-data")
    from forethought.data import transitions

    data = transitions(asked.run, seed=asked.seed)
    print(f"{data.save(asked.output or asked.run / 'data.npz')}: {len(data):,} transitions")
    return 0


def _report(args: list[str]) -> int:
    args = ["--output" if a == "-o" else a for a in args]
    asked = parse(Report, args, "forethought report")
    if not asked.runs:
        raise UsageError("report takes one or more run directories")
    from forethought.report.html import write_report

    print(write_report(asked.runs, asked.output or asked.runs[0] / "report.html"))
    return 0


def _diagnose(args: list[str]) -> int:
    args = ["--output" if a == "-o" else a for a in args]
    asked = parse(Diagnose, args, "forethought diagnose")
    if asked.episodes_from is None:  # logged episodes need no environment
        _find_code(asked.run, asked.trust, asked.env)
    from forethought.examine import diagnose, show, telling
    from forethought.report.html import write_report

    options = {f.name: getattr(asked, f.name) for f in fields(asked) if f.name not in ("run", "episodes_from")}
    if asked.episodes_from is not None:
        if asked.episodes is not None:
            raise UsageError("--episodes plays episodes, --episodes-from takes logged ones; give one of them")
        options["episodes"] = asked.episodes_from
    with telling() as tell:
        found = diagnose(asked.run, **options, tell=tell)
    show(found)
    if asked.output is None:
        print(f"{'report':<30}{write_report([asked.run], asked.run / 'report.html')}")
    return 0


def _list(args: list[str]) -> int:
    asked = parse(List, args, "forethought list")
    from rich.console import Console
    from rich.table import Table

    from forethought.agents.catalog import ALGORITHMS

    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("algorithm", no_wrap=True)
    if asked.env:
        use_current_folder()
        from forethought.envs import env_spec

        spec = env_spec(asked.env)
        table.add_column(f"learns {asked.env}?")
        for name, entry in ALGORITHMS.items():
            misfit = entry.misfit(spec)
            pictures = "; from pictures (train --pixels) it may" if misfit and entry.seen_otherwise(spec) else ""
            table.add_row(name, f"no: {misfit}{pictures}" if misfit else "[green]yes[/green]")
    else:
        table.add_column("uses its model as")
        table.add_column("what it is")
        for name, entry in ALGORITHMS.items():
            table.add_row(name, entry.use, f"{entry.summary} ({entry.paper})")
    Console(width=None if sys.stdout.isatty() else _PIPED).print(table)
    return 0


def _demo(args: list[str]) -> int:
    asked = parse(Demo, args, "forethought demo")
    import time

    from forethought.api import start_run
    from forethought.configure import configure
    from forethought.ending import finish
    from forethought.training.progress import terminal

    config = configure("mbpo", "Pendulum-v1", steps=asked.steps, seed=asked.seed, agent=_DEMO_AGENT)
    path = asked.run or Path("runs") / f"demo-{time.strftime('%Y%m%d-%H%M%S')}"
    return finish(start_run(config, path, terminal()))


COMMANDS: dict[str, Callable[[list[str]], int]] = {
    "train": _train,
    "resume": _resume,
    "eval": _eval,
    "diagnose": _diagnose,
    "export": _export,
    "export-data": _export_data,
    "report": _report,
    "list": _list,
    "demo": _demo,
}


def _find_code(run: Path, trust: bool, env: str | None = None) -> None:
    """Let the code that a run or ``env`` names be found in the current folder; raises where it may not be imported."""
    from forethought.training.config import to_dict
    from forethought.training.origin import code_named
    from forethought.training.rundir import RunDir

    opened = RunDir.open(run)
    if env is None and opened.read().live:
        return  # nothing is imported
    if code_named(to_dict(opened.require_world(trust=trust, env=env).config)):
        use_current_folder()
