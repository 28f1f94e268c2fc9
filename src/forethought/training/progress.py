"""What a person sees while a run goes on: a live display on a terminal, plain lines anywhere else."""

import sys
import time
from dataclasses import dataclass, field
from typing import IO, Any, Protocol, runtime_checkable

_REDRAW_S = 0.25  # seconds between two frames of the live display
_LINE_S = 10.0  # seconds between two plain lines


@dataclass
class Snapshot:
    """The state of a run in numbers. Returns are means over seeds."""

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


@runtime_checkable  # for the type checks of the tests
class Progress(Protocol):
    """Where a run reports to."""

    def begin(self, title: str, notes: list[str]) -> None:
        """The run starts."""
        ...

    def compiling(self, name: str) -> None:
        """A program is about to be compiled."""
        ...

    def advance(self, now: Snapshot) -> None:
        """A step was made; called at every step, shown now and then."""
        ...

    def note(self, text: str) -> None:
        """Something that should stay on the screen."""
        ...

    def end(self) -> None:
        """The run is over, for whatever reason."""
        ...


class Silent:
    """Says nothing."""

    def begin(self, title: str, notes: list[str]) -> None:
        """Nothing."""

    def compiling(self, name: str) -> None:
        """Nothing."""

    def advance(self, now: Snapshot) -> None:
        """Nothing."""

    def note(self, text: str) -> None:
        """Nothing."""

    def end(self) -> None:
        """Nothing."""


class Plain:
    """One line now and then, for logs and pipes."""

    def __init__(self, out: IO[str] | None = None):
        self.out = out or sys.stdout
        self.last = -_LINE_S
        self.shown = -1

    def begin(self, title: str, notes: list[str]) -> None:
        """Print the heading."""
        for line in (title, *notes):
            self.note(line)

    def compiling(self, name: str) -> None:
        """Print what compiles."""
        self.note(f"compiling {name}")

    def advance(self, now: Snapshot) -> None:
        """Print a line when the last one is old, and at the end."""
        finished = now.env_steps >= now.steps and self.shown < now.env_steps
        if time.monotonic() - self.last < _LINE_S and not finished:
            return
        self.last, self.shown = time.monotonic(), now.env_steps
        self.note("  ".join(f"{name} {value}" for name, value in describe(now)))

    def note(self, text: str) -> None:
        """Print a line."""
        print(text, file=self.out, flush=True)

    def end(self) -> None:
        """Nothing is left open."""


class Live:
    """A bar and a table that are drawn in place; notes scroll above them."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.live import Live as RichLive

        self.console = Console()
        self.live = RichLive(console=self.console, auto_refresh=False, transient=True)
        self.last, self.now, self.activity = 0.0, Snapshot(), ""

    def begin(self, title: str, notes: list[str]) -> None:
        """Print the heading and start drawing."""
        self.console.print(f"[bold]{title}[/bold]", highlight=False)
        for line in notes:
            self.console.print(line, style="dim", highlight=False, markup=False)
        self.live.start()

    def compiling(self, name: str) -> None:
        """Show what compiles until the next step."""
        self.activity = f"compiling {name} ..."
        self._draw()

    def advance(self, now: Snapshot) -> None:
        """Draw a frame when the last one is old."""
        self.now, self.activity = now, ""
        if time.monotonic() - self.last >= _REDRAW_S:
            self._draw()

    def note(self, text: str) -> None:
        """Print above the display."""
        self.console.print(text, highlight=False, markup=False)

    def end(self) -> None:
        """Stop drawing, leaving the last numbers on the screen."""
        self.activity = ""
        self.live.stop()
        if self.now.env_steps:
            self.console.print(self._picture())

    def _draw(self) -> None:
        self.last = time.monotonic()
        self.live.update(self._picture(), refresh=True)

    def _picture(self) -> Any:
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        table = Table.grid(padding=(0, 2))
        cells = [Text.assemble((name, "dim"), " ", value) for name, value in describe(self.now)]
        for start in range(0, len(cells), 4):
            table.add_row(*cells[start : start + 4])
        bar = Table.grid()  # a bar alone does not end its line
        bar.add_row(ProgressBar(total=max(self.now.steps, 1), completed=self.now.env_steps, width=60))
        return Group(bar, table, Text(self.activity, style="yellow"))


def terminal() -> Progress:
    """The live display on a terminal, plain lines in a pipe or a file."""
    return Live() if sys.stdout.isatty() else Plain()


def describe(now: Snapshot) -> list[tuple[str, str]]:
    """The numbers that both displays show."""
    cells = [
        ("step", f"{now.env_steps:,}/{now.steps:,}"),
        ("episodes", f"{now.episodes:,}"),
        ("return", number(now.train_return)),
        ("evaluated", number(now.eval_return)),
        ("steps/s", number(now.steps_per_s or None)),
        ("elapsed", duration(now.wall_s)),
        ("left", duration(now.left_s)),
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
