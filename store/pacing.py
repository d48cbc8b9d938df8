"""How much work the writer does at once, so that nobody behind it waits long."""

from collections.abc import Iterator

#: How long one chunk's statement may take. With its commit, and a checkpoint behind
#: every few of them, it holds the writer for 5 to 8 ms: so long a beat waits.
_CHUNK_SECONDS = 0.002
_SMALLEST, _FIRST, _LARGEST = 20, 200, 5_000


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


class ChunkSize(Pace):
    """Finds the number of rows that takes `_CHUNK_SECONDS` to remove or to re-arm."""

    def __init__(self) -> None:
        super().__init__(_CHUNK_SECONDS, first=_FIRST, least=_SMALLEST, most=_LARGEST)

    def cut(self, rows: list[int]) -> Iterator[list[int]]:
        """Cut `rows` into chunks, each as long as the size learnt until then."""
        start = 0
        while start < len(rows):
            chunk = rows[start : start + self.rows]
            start += len(chunk)
            yield chunk
