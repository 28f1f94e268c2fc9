"""How much of something long to do at a time."""

_HUNDRED = 100  # lines at most of a stage of many updates


class Portion:
    """A size that is found by doing: what is asked of the device at once takes about so many seconds.

    For so long Ctrl-C and the display wait. Where work is cut must change no bit of what comes of it.
    """

    def __init__(self, seconds: float, first: int = 1):
        self.seconds, self.size = seconds, first

    def took(self, size: int, seconds: float) -> None:
        """So much took so long; one that compiles is no measure, but the next ones are."""
        self.size = max(1, min(2 * self.size, int(size * self.seconds / seconds)))


def next_mark(done: int, of: int) -> int:
    """The first number above ``done`` at which another hundredth of so many is full; where there are fewer than a
    hundred, the next number.
    """
    hundredth = _HUNDRED * done // of + 1
    return -(-hundredth * of // _HUNDRED)  # rounded up


def is_mark(done: int, of: int) -> bool:
    """Whether a hundredth is full there, which does not depend on how the work was cut."""
    return next_mark(done - 1, of) == done
