"""What a run does when it is asked to stop, whatever the main thread is in."""

import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

_ONE_WISH_S = 1.0  # signals within this time are one: a terminal and a wrapper may both pass on the same Ctrl-C


class SecondSignal(KeyboardInterrupt):
    """The user asked again: stop at once."""


class Signals:
    """The first Ctrl-C or SIGTERM is kept in ``by`` instead of tearing the run apart; a second one raises.

    Python notices it between two instructions of the main thread, which may be inside a compiled program, or in the
    compiler, for a minute; ``answer`` is called at once, from another thread.
    """

    def __init__(self) -> None:
        self.by: str | None = None
        self.answer: Callable[[], None] = lambda: None
        self.previous: dict[int, Any] = {}
        self.asked: float | None = None
        self.hearing = ExitStack()

    def __enter__(self) -> "Signals":
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self.previous[number] = signal.signal(number, self._heard)
            self.hearing.enter_context(_overheard(tuple(self.previous), lambda: self.answer()))
        return self

    def __exit__(self, *_: object) -> None:
        self.hearing.close()
        for number, handler in self.previous.items():
            signal.signal(number, handler)

    def _heard(self, number: int, frame: object) -> None:
        now = time.monotonic()
        if self.asked is None:
            self.asked = now
            self.by = "Ctrl-C" if number == signal.SIGINT else "SIGTERM"
        elif now - self.asked >= _ONE_WISH_S:
            raise SecondSignal


@contextmanager
def _overheard(numbers: tuple[int, ...], answer: Callable[[], None]) -> Iterator[None]:
    """Call ``answer`` from a thread of its own when the first of these signals arrives; the main thread only."""
    reader, writer = socket.socketpair()
    writer.setblocking(False)

    def listen() -> None:
        answered = False
        while number := reader.recv(1):
            if number[0] in numbers and not answered:
                answered = True
                answer()

    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    before = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        writer.close()  # ends the thread
        thread.join()
        reader.close()
