"""Who is known, by the credentials file as it stands: read again when it changes."""

import hashlib
import hmac
import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from api.access import Principal
from daemon.credentials import Document, parse
from daemon.secret_files import SecretUnusable, open_secret
from daemon.tls import canonical_name
from store.clock import Clock, utcnow
from store.telling import Telling

log = logging.getLogger(__name__)

_NEVER = datetime.max.replace(tzinfo=UTC)


class _Version(NamedTuple):
    """What changes with a file: also its mode and owner, by the last of them."""

    device: int
    inode: int
    size: int
    modified_ns: int
    changed_ns: int


def _version(about: os.stat_result) -> _Version:
    return _Version(
        about.st_dev, about.st_ino, about.st_size, about.st_mtime_ns, about.st_ctime_ns
    )


@dataclass(frozen=True, repr=False, slots=True)
class _Token:
    digest: bytes
    expires_at: datetime
    principal: Principal | None


#: Stands in for a token that is not known: finding that out takes as long.
_UNKNOWN = _Token(bytes(hashlib.sha256().digest_size), _NEVER, None)


@dataclass(frozen=True, repr=False, slots=True)
class _Known:
    """What one version of the file says, as it is looked up."""

    tokens: dict[bytes, _Token] = field(default_factory=dict)
    certificates: dict[str, Principal] = field(default_factory=dict)


class FileCredentials:
    """Knows whom the credentials file names; nobody, before it was read.

    The event loop asks; other threads read the file. What is known changes in one
    assignment, all at once.

    Args:
        path: the file.
        clock: tells which tokens have expired.
        refused: told each time that a changed file cannot be used.
        monotonic: seconds that nobody steps.
    """

    def __init__(
        self,
        path: Path,
        clock: Clock = utcnow,
        refused: Callable[[], None] = lambda: None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._path = path
        self._clock = clock
        self._refused = refused
        self._known = _Known()
        #: The version that is known; None before the first.
        self._read: _Version | None = None
        self._reading = threading.Lock()
        self._telling = Telling(log, monotonic, logging.ERROR)

    def of_token(self, token: bytes) -> Principal | None:
        """Return whose token it is; None for all that are not valid now."""
        digest = hashlib.sha256(token).digest()
        found = self._known.tokens.get(digest, _UNKNOWN)
        # No step is left out for a token that fails an earlier one: how long the
        # answer takes does not tell why it is no.
        same = hmac.compare_digest(digest, found.digest)
        lasts = self._clock() < found.expires_at
        return found.principal if same and lasts else None

    def of_certificate(self, names: Sequence[str]) -> Principal | None:
        """Return whom the first known one of a certificate's names belongs to."""
        known = self._known.certificates
        return next((known[name] for name in names if name in known), None)

    def load(self) -> None:
        """Read the file.

        Raises:
            SecretUnusable: it cannot be used; what was known before stays known.
        """
        with self._reading:
            with open_secret(self._path) as file:
                version = _version(os.fstat(file.fileno()))
                document = parse(file.read(), self._path)
            self._known = _look_up_table(document, self._path)
            self._read = version
        log.info(
            "Credentials read from %s: %d tokens, %d certificates",
            self._path,
            len(document.tokens),
            len(document.certificates),
            extra={"action": "credentials_read"},
        )

    def reload(self) -> None:
        """Read the file again. One that cannot be used is told, and changes nothing."""
        try:
            self.load()
        except SecretUnusable as error:
            self._refused()
            self._telling.failed(
                "The credentials stay as they were",
                error,
                {"action": "credentials_refused"},
            )
        else:
            self._telling.over()

    def look(self) -> None:
        """Reload if the file is not the one that was read."""
        try:
            version = _version(self._path.stat())
        except OSError:
            version = None
        if version is None or version != self._read:
            self.reload()
        else:
            self._telling.over()


def _look_up_table(document: Document, source: Path) -> _Known:
    tokens = {
        entry.digest: _Token(
            entry.digest, entry.expires_at or _NEVER, entry.as_principal()
        )
        for entry in document.tokens
    }
    certificates = {
        canonical_name(entry.name): entry.as_principal()
        for entry in document.certificates
    }
    if len(certificates) < len(document.certificates):
        raise SecretUnusable(
            f"{source} has one address as the name of two certificates: remove one"
        )
    return _Known(tokens, certificates)
