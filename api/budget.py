"""A budget of memory, for what waits or is on its way."""

from collections.abc import Iterator
from contextlib import contextmanager

from api.errors import unavailable


class Budget:
    """Counts bytes that are taken, and refuses what would be too many.

    Lives on the event loop: it takes no lock.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._taken_bytes = 0

    def take(self, size: int) -> None:
        """Take so many bytes, which are to be given back.

        Raises:
            ProblemError: 503 `overloaded` when they are too many beside those that are
                taken. Where none are, anything is granted, however large.
        """
        if self._taken_bytes and self._taken_bytes + size > self._most_bytes:
            raise unavailable("overloaded")
        self._taken_bytes += size

    def give_back(self, size: int) -> None:
        """Give back so many bytes."""
        self._taken_bytes -= size

    @contextmanager
    def taken(self, size: int) -> Iterator[None]:
        """Take so many bytes for the block.

        Raises:
            ProblemError: as `take` does.
        """
        self.take(size)
        try:
            yield
        finally:
            self.give_back(size)
