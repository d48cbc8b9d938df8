"""Who is let in, as the configuration says; and whether that may be."""

import ipaddress
import logging
import socket
from collections.abc import Callable
from pathlib import Path

from api.access import Authority
from api.server import Security
from api.throttle import Throttle
from daemon.authentication import FileCredentials
from daemon.config import Config, TlsConfig
from daemon.secret_files import SecretUnusable
from daemon.tls import ReloadableContext, TlsFiles
from store import Quota
from store.clock import Clock

log = logging.getLogger(__name__)


class NotSecure(Exception):
    """Nobody can be let in safely as it is configured; the text names the keys."""


class SecurityFiles:
    """The files that callers, and the registry itself, are known by.

    Args:
        config: names them.
        clock: tells which tokens have expired.
        refused: told of each that cannot be used at a reload: credentials or tls.
    """

    def __init__(
        self, config: Config, clock: Clock, refused: Callable[[str], None]
    ) -> None:
        self._config = config
        self._refused = refused
        #: Who is known; None where nobody has to be.
        self.credentials: FileCredentials | None = None
        if config.auth.mode == "tokens":
            self.credentials = FileCredentials(
                Path(config.auth.file), clock, lambda: refused("credentials")
            )
        #: What to serve with, once loaded; None without TLS.
        self.tls: ReloadableContext | None = None

    def load(self) -> None:
        """Read them.

        Raises:
            NotSecure: one cannot be used.
        """
        self.load_credentials()
        tls = self._config.tls
        try:
            if tls.certificate:
                self.tls = ReloadableContext(_files(tls), lambda: self._refused("tls"))
        except SecretUnusable as error:
            raise NotSecure(
                f"{error} (tls.certificate, tls.key, tls.client_ca)"
            ) from error

    def load_credentials(self) -> None:
        """Read the credentials, if anybody has to be known.

        Raises:
            NotSecure: they cannot be used.
        """
        try:
            if self.credentials is not None:
                self.credentials.load()
        except SecretUnusable as error:
            raise NotSecure(f"{error} (auth.file)") from error

    def reload(self) -> None:
        """Read all of them again; what cannot be used is told, and changes nothing."""
        if self.credentials is not None:
            self.credentials.reload()
        if self.tls is not None:
            self.tls.reload()

    def security(self, *, loopback: bool, insecure: bool = False) -> Security:
        """Return who is let in, and what is shown.

        Args:
            loopback: only this machine is known to be listened to.
            insecure: others are, and are not known or not encrypted.
        """
        config = self._config
        throttle = None
        if self.credentials is not None:
            throttle = Throttle(
                config.quota.registrations_per_second, config.quota.registrations_burst
            )
        docs = config.server.docs
        return Security(
            Authority(self.credentials),
            throttle,
            insecure=insecure,
            docs=docs == "on" or (docs == "auto" and loopback),
        )


def _files(tls: TlsConfig) -> TlsFiles:
    client_ca = Path(tls.client_ca) if tls.client_ca else None
    return TlsFiles(Path(tls.certificate), Path(tls.key), client_ca)


def quota_of(config: Config) -> Quota:
    """Return how many agents there may be; without tokens, nobody has a share."""
    if config.auth.mode == "tokens":
        return Quota(config.quota.agents, config.quota.agents_per_principal)
    return Quota(config.quota.agents)


def listens_to_loopback(bound: socket.socket) -> bool:
    """Tell whether only this machine can reach a listening socket, by its address."""
    if bound.family == socket.AF_UNIX:
        return True
    return ipaddress.ip_address(bound.getsockname()[0]).is_loopback


def find_insecure(config: Config, *, loopback: bool) -> bool:
    """Tell whether other machines are listened to without tokens or without TLS.

    Where that is allowed, it is told at each start.

    Raises:
        NotSecure: it is so, and nobody said that it may be.
    """
    protected = config.auth.mode == "tokens" and config.tls.certificate
    if loopback or protected:
        return False
    if not config.auth.allow_insecure:
        raise NotSecure(
            'to listen to other machines takes auth.mode = "tokens", tls.certificate '
            "and tls.key, or else auth.allow_insecure = true (server.host)"
        )
    log.warning(
        "Other machines are listened to without %s, as auth.allow_insecure says",
        "TLS" if config.auth.mode == "tokens" else "authentication",
        extra={"action": "insecure"},
    )
    return True
