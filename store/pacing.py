"""How much work the writer does at once, so that nobody behind it waits long."""


class Pace:
    """Finds the number of rows whose work takes about so long.

    Args:
        seconds: what the work should take.
        first: how many rows to begin with.
        least: never fewer at once.
        most: never more at once.
    """

    def __init__(self, seconds: float, *, first: int, least: int, most: int) -> None:
        self.rows = first
        self._seconds = seconds
        self._least = least
        self._most = most

    def learn(self, rows: int, seconds: float) -> None:
        """Adapt to work on so many rows that took so long.

        At most twofold at a time: it may have waited for a slow disk once.
        """
        fitting = rows * self._seconds / max(seconds, 1e-6)
        bounded = min(max(fitting, self.rows / 2), self.rows * 2)
        self.rows = int(min(max(bounded, self._least), self._most))
