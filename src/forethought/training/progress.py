"""What a person sees while a run goes on: a live display on a terminal, plain lines anywhere else."""

import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from io import TextIOBase
from typing import Any, Protocol, runtime_checkable

from forethought.errors import UsageError, brief

_FRAMES_PER_S = 4  # of the live display
_LINE_S = 10.0  # seconds between two plain lines


@dataclass
class Snapshot:
    """The state of a run in numbers, at one moment. Returns are means over seeds; ``left_s`` is None before there is
    anything to estimate it from.
    """

    steps: int = 0
    env_steps: int = 0
    frames: int = 0
    updates: int = 0
    fits: int = 0
    episodes: int = 0
    wall_s: float = 0.0
    steps_per_s: float = 0.0
    left_s: float | None = None
    train_return: float | None = None
    eval_return: float | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    taken: float = field(default_factory=time.monotonic)


@runtime_checkable
class Progress(Protocol):
    """Where a run reports to."""

    def begin(self, title: str, notes: list[str]) -> None:
        """The run starts."""
        ...

    def compiling(self, name: str) -> None:
        """A program is about to be compiled, and then run for the first time."""
        ...

    def working(self, text: str) -> None:
        """How far a long piece of work is; called often while it goes on, shown now and then."""
        ...

    def advance(self, now: Snapshot) -> None:
        """A step was made; called at every step, shown now and then."""
        ...

    def note(self, text: str) -> None:
        """Something that should stay on the screen."""
        ...

    def end(self) -> None:
        """The run is over, for whatever reason; may be called again."""
        ...


class Silent:
    """Says nothing."""

    def begin(self, title: str, notes: list[str]) -> None:
        """Nothing."""

    def compiling(self, name: str) -> None:
        """Nothing."""

    def working(self, text: str) -> None:
        """Nothing."""

    def advance(self, now: Snapshot) -> None:
        """Nothing."""

    def note(self, text: str) -> None:
        """Nothing."""

    def end(self) -> None:
        """Nothing."""


class Plain:
    """One line now and then, for logs and pipes."""

    def __init__(self, out: TextIOBase | None = None):
        self.out: Any = out or sys.stdout
        self.now: Snapshot | None = None
        self.activity = ""
        self.last, self.shown = -_LINE_S, -1
        self._printing, self._over = threading.Lock(), threading.Event()

    def begin(self, title: str, notes: list[str]) -> None:
        """Print the heading; from now on a line is never older than ten seconds, whatever the main thread is in."""
        for line in (title, *notes):
            self.note(line)
        self.last = time.monotonic()
        threading.Thread(target=self._keep_talking, daemon=True).start()

    def compiling(self, name: str) -> None:
        """Print what compiles."""
        self.activity = f"compiling {name}"
        self.note(self.activity)

    def working(self, text: str) -> None:
        """Say so with the next line."""
        self.activity = text
        self._print_if_due()

    def advance(self, now: Snapshot) -> None:
        """Print a line when the last one is old, and at the end."""
        self.now, self.activity = now, ""
        self._print_if_due(finished=now.env_steps >= now.steps and self.shown < now.env_steps)

    def note(self, text: str) -> None:
        """Print a line; a run goes on where nobody takes it."""
        with self._printing, suppress(OSError):
            print(text, file=self.out, flush=True)

    def end(self) -> None:
        """Stop talking."""
        self._over.set()

    def _keep_talking(self) -> None:
        while not self._over.wait(1.0):
            self._print_if_due()

    def _print_if_due(self, finished: bool = False) -> None:
        if time.monotonic() - self.last < _LINE_S and not finished:
            return
        self.last, said = time.monotonic(), []
        if self.now is not None:
            self.shown = self.now.env_steps
            said = [f"{name} {value}" for name, value in describe(self.now)]
        self.note("  ".join(said + [self.activity] * bool(self.activity)))


class InPlace:
    """A bar and a table that are drawn in place, by a thread of their own; notes scroll above them."""

    def __init__(self, out: TextIOBase | None = None):
        from rich.console import Console
        from rich.live import Live as RichLive

        self.now: Snapshot | None = None
        self.activity = "starting"
        self.since: float | None = time.monotonic()  # where the activity says nothing of how far it is
        self.console = Console(file=out)  # type: ignore[arg-type]
        self.live = RichLive(get_renderable=self._picture, console=self.console, refresh_per_second=_FRAMES_PER_S)

    def begin(self, title: str, notes: list[str]) -> None:
        """Print the heading and start drawing."""
        self.console.print(f"[bold]{title}[/bold]", highlight=False)
        for line in notes:
            self.console.print(line, style="dim", highlight=False, markup=False)
        self.live.start()

    def compiling(self, name: str) -> None:
        """Show what compiles, and for how long, until something else is done."""
        self.activity, self.since = f"compiling {name}", time.monotonic()

    def working(self, text: str) -> None:
        """Show it until something else is done."""
        self.activity, self.since = text, None

    def advance(self, now: Snapshot) -> None:
        """Show it with the next frame."""
        self.now, self.activity, self.since = now, "", None

    def note(self, text: str) -> None:
        """Print above the display."""
        self.console.print(text, highlight=False, markup=False)

    def end(self) -> None:
        """Stop drawing, leaving the last numbers on the screen."""
        self.activity = ""
        now = self.now
        self.live.transient = now is None or not (now.env_steps or now.updates or now.fits)  # there is nothing to leave
        self.live.stop()

    def _picture(self) -> Any:
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        now, since = self.now, self.since
        waited = "" if since is None else f" {duration(time.monotonic() - since)}"
        activity = [Text(f"{self.activity} ...{waited}", style="yellow")] if self.activity else []
        if now is None:
            return Group(*activity)
        table = Table.grid(padding=(0, 2))
        cells = [Text.assemble((name, "dim"), " ", value) for name, value in describe(now)]
        for start in range(0, len(cells), 4):
            table.add_row(*cells[start : start + 4])
        bar = Table.grid()  # a bar alone does not end its line
        bar.add_row(ProgressBar(total=now.steps, completed=max(now.env_steps, 0), width=60))
        return Group(*[bar] * bool(now.steps), table, *activity)


def terminal() -> Progress:
    """The live display on a terminal, plain lines in a pipe or a file."""
    return InPlace() if sys.stdout.isatty() else Plain()


def asked_for(progress: Any) -> Progress:
    """What a caller means: True is `terminal`, None and False are `Silent`. Raises `UsageError` for anything else that
    is no `Progress`.
    """
    if isinstance(progress, bool | None):
        return terminal() if progress else Silent()
    if not isinstance(progress, Progress):
        raise UsageError(f"progress is {brief(progress)}; give True, or a forethought.training.progress.Progress")
    return progress


def describe(now: Snapshot) -> list[tuple[str, str]]:
    """The numbers that both displays show; the clocks go on after the snapshot."""
    since = time.monotonic() - now.taken
    left = None if now.left_s is None else max(0.0, now.left_s - since)
    cells = [
        ("step", f"{now.env_steps:,}/{now.steps:,}")
        if now.steps and now.env_steps >= 0
        else ("pretraining left", f"{-now.env_steps:,}"),
        ("episodes", f"{now.episodes:,}"),
        ("return", number(now.train_return)),
        ("evaluated", number(now.eval_return)),
        ("steps/s", number(now.steps_per_s or None)),
        ("elapsed", duration(now.wall_s + since)),
        ("left", duration(left)),
        *learned(now.updates, now.fits),
    ]
    return cells + [(name, number(value)) for name, value in now.metrics.items()]


def learned(updates: int, fits: int) -> list[tuple[str, str]]:
    """How much was learned; what an agent does not do (a planner makes no updates) is left out once it has learned."""
    counts = [("updates", updates), ("fits of the model", fits)]
    return [(name, f"{count:,}") for name, count in counts if count] or [("updates", "0")]


def number(value: float | None) -> str:
    """Four digits that matter; a dash for nothing."""
    return "-" if value is None else f"{value:.4g}"


def duration(seconds: float | None) -> str:
    """Hours, minutes and seconds for people."""
    if seconds is None:
        return "-"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
