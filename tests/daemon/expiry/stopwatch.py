"""The clock that a sweep goes by, and how often it is due."""

INTERVAL = 60.0


class Stopwatch:
    """A monotonic clock that stands still until it is told to move."""

    seconds = 1_000.0

    def __call__(self) -> float:
        """Return the seconds passed."""
        return self.seconds
