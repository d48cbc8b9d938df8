"""The scheduled backup: takes one, and keeps the newest few."""

import logging
import threading
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from store import RegistryDatabase, StoreError
from store.clock import FILE_STAMP, utcnow

log = logging.getLogger(__name__)

_PREFIX, _SUFFIX = "agent-registry-", ".db"


class BackupJob:
    """Backs `database` up into a folder, which no other registry's are in.

    Args:
        database: copied by a connection of its own, beside those that serve.
        directory: where backups go; other files in it are left alone.
        keep: how many backups are kept.
    """

    def __init__(self, database: RegistryDatabase, directory: Path, keep: int) -> None:
        self._database = database
        self._directory = directory
        self._keep = keep
        self._over = threading.Event()

    def first_at(self, interval_seconds: float) -> datetime:
        """Return when the first backup is due: by the newest there is, not by a start.

        A daemon that is started every night would take none otherwise.
        """
        now = utcnow()
        interval = timedelta(seconds=interval_seconds)
        # None of the future, by a clock that was wrong then: until it is past, a daemon
        # that is started every night would take none.
        taken = [at for path in self._taken() if (at := _taken_at(path)) <= now]
        return max(now, max(taken) + interval) if taken else now

    def run(self) -> None:
        """Take a backup. A failure is logged; the next run tries again."""
        target = self._directory / f"{_PREFIX}{utcnow():{FILE_STAMP}}{_SUFFIX}"
        try:
            self._clear()
            manifest = self._database.backup(target, lambda: not self._over.is_set())
        except (StoreError, OSError) as error:
            log.error(  # noqa: TRY400 - the sentence is enough
                "The backup failed: %s", error, extra={"action": "backup_failed"}
            )
            return
        log.info(
            "Agents backed up to %s: %d",
            target,
            manifest.agents,
            extra={"action": "backed_up", "agents": manifest.agents},
        )
        self._prune(target)

    def stop(self) -> None:
        """End a backup that is being taken: nobody waits for it at a stop."""
        self._over.set()

    def _taken(self) -> list[Path]:
        """Return the backups there are, the newest last."""
        return sorted(self._directory.glob(f"{_PREFIX}*Z{_SUFFIX}"))

    def _clear(self) -> None:
        """Remove what a kill left of others."""
        for left in self._directory.glob(f"{_PREFIX}*{_SUFFIX}.partial*"):
            left.unlink()

    def _prune(self, taken: Path) -> None:
        """Remove all but the newest, of which this is one, whatever the clock said."""
        others = [path for path in self._taken() if path != taken]
        for old in others[: max(0, len(others) + 1 - self._keep)]:
            try:
                old.unlink()
            except OSError as error:
                log.warning(
                    "An old backup was not removed: %s",
                    error,
                    extra={"action": "backup_kept"},
                )


def _taken_at(path: Path) -> datetime:
    """Return when a backup was taken, by its name; of another's name, long ago."""
    stamp = path.name.removeprefix(_PREFIX).removesuffix(_SUFFIX)
    with suppress(ValueError):
        return datetime.strptime(stamp, FILE_STAMP).replace(tzinfo=UTC)
    return datetime.fromtimestamp(0, UTC)
