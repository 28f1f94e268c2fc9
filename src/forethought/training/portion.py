"""How much of something long to do at a time."""


class Portion:
    """A size that is found by doing: what is asked of the device at once takes about so many seconds.

    For so long Ctrl-C and the display wait. Where work is cut must change no bit of what comes of it.
    """

    def __init__(self, seconds: float, first: int = 1):
        self.seconds, self.size = seconds, first

    def took(self, size: int, seconds: float) -> None:
        """So much took so long; one that compiles is no measure, but the next ones are."""
        self.size = max(1, min(2 * self.size, int(size * self.seconds / seconds)))
