"""The scheduled backup: takes one, and keeps the newest few."""

import logging
from pathlib import Path

from store import RegistryDatabase, StoreError
from store.clock import utcnow

log = logging.getLogger(__name__)

_PREFIX, _SUFFIX = "agent-registry-", ".db"


class BackupJob:
    """Backs `database` up into a folder.

    Args:
        database: copied by a connection of its own, beside those that serve.
        directory: where backups go; other files in it are left alone.
        keep: how many backups are kept.
    """

    def __init__(self, database: RegistryDatabase, directory: Path, keep: int) -> None:
        self._database = database
        self._directory = directory
        self._keep = keep

    def run(self) -> None:
        """Take a backup. A failure is logged; the next run tries again."""
        stamp = f"{utcnow():%Y%m%dT%H%M%S.%fZ}"
        target = self._directory / f"{_PREFIX}{stamp}{_SUFFIX}"
        try:
            manifest = self._database.backup(target)
            self._prune()
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

    def _prune(self) -> None:
        """Remove all but the newest; their names sort by time."""
        taken = sorted(self._directory.glob(f"{_PREFIX}*Z{_SUFFIX}"))
        for old in taken[: -self._keep]:
            old.unlink()
