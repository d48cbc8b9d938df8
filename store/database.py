"""What every database of a registry can do, as a file that is kept."""

import abc
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import NamedTuple


class Manifest(NamedTuple):
    """What a backup says of itself."""

    taken_at: datetime
    agents: int
    schema_version: int


class Restored(NamedTuple):
    """What a restore did."""

    manifest: Manifest
    #: Where what stood in the place is now; None: nothing did.
    put_aside: Path | None


class RegistryDatabase(abc.ABC):
    """The resource behind a repository: what opens, checkpoints and closes.

    Opening is optional: the first call of the repository opens it too. A daemon
    opens it, to learn at start what is wrong.
    """

    #: Where it is, for people: a path or an address, never a secret.
    location: str
    #: A file beside the database. Whoever locks it is its one daemon.
    lock_path: Path

    @abc.abstractmethod
    def check(self) -> None:
        """Return when the database can be opened or made; touch nothing.

        Raises:
            StoreUnusable: it is unreadable, foreign, or of a newer program.
        """

    @abc.abstractmethod
    def open(self) -> None:
        """Open the database, making what is missing. Opening twice is opening once.

        Raises:
            StoreUnusable: it is unreadable, foreign, or of a newer program.
            StoreUnavailable: another program has it locked.
        """

    def caution(self) -> str | None:
        """Return what an operator should know of the database's software."""
        return None

    @abc.abstractmethod
    def checkpoint(self) -> None:
        """Move what is committed from the log into the database proper.

        Raises:
            StoreUnavailable: it could not be done now; nothing is lost.
        """

    @abc.abstractmethod
    def backup(
        self, target: Path, keep_on: Callable[[], bool] = lambda: True
    ) -> Manifest:
        """Copy the database to a file, whole or not at all, while it is in use.

        Whatever was committed before the call is in it. Opens nothing, and holds
        up nobody.

        Args:
            target: the file; an older backup there is replaced.
            keep_on: asked between two steps; ends the backup when false.

        Raises:
            StoreUnusable: the database is damaged, or not there; or `target` is a
                database that is served.
            StoreUnavailable: it cannot be read, or the file not be written, now; or
                it was ended.
        """

    @abc.abstractmethod
    def restore(self, source: Path) -> Restored:
        """Put a backup in the place of the database, which is put aside.

        For a database that nobody has open.

        Raises:
            StoreUnusable: the file is no whole backup.
            StoreUnavailable: a file cannot be read or written now.
        """

    @abc.abstractmethod
    def close(self) -> None:
        """Finish what was accepted, then let go of threads and files.

        Closing twice is closing once; a closed database opens again by `open`.
        """
