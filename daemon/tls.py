"""TLS: the registry's certificate, read again without a restart, and its clients'."""

import ipaddress
import logging
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, Self

from daemon.secret_files import SecretUnusable, open_file, open_secret

log = logging.getLogger(__name__)

#: A year, as browsers and RFC 6797 (6.1.1) count it.
HSTS = ("strict-transport-security", "max-age=31536000")

#: Python's words for the kinds of subject alternative names, and ours.
_KINDS = {"DNS": "DNS", "URI": "URI", "IP Address": "IP", "email": "email"}


class TlsFiles(NamedTuple):
    """The files that TLS takes, all PEM."""

    certificate: Path
    key: Path
    #: Who vouches for client certificates; None: no client is asked for one.
    client_ca: Path | None = None


class _Side(ssl.SSLObject):
    """Our side of a connection, which says farewell and waits for none.

    Nobody has to answer (RFC 8446, 6.1), and few at rest do: each of them would hold up
    a stop, until the time is over that all have to read what was answered.
    """

    def unwrap(self) -> None:
        with suppress(ssl.SSLWantReadError):
            super().unwrap()


class ReloadableContext(ssl.SSLContext):
    """A server's TLS, whose files can be read again while it serves.

    A reload makes a whole new context, which new handshakes get once it is complete.
    Loading into the one that serves would leave it broken by a bad pair, and would
    go on trusting a client CA that was taken out of its file.

    Args:
        files: what to serve with.
        refused: told each time that the files cannot be used.

    Raises:
        SecretUnusable: a file is missing, or they do not fit together.
    """

    _files: TlsFiles
    _refused: Callable[[], None]
    _newest: ssl.SSLContext

    def __new__(
        cls, files: TlsFiles, refused: Callable[[], None] = lambda: None
    ) -> Self:
        """Return one that serves with these files."""
        context = super().__new__(cls, ssl.PROTOCOL_TLS_SERVER)
        context._files = files
        context._refused = refused
        context._newest = _load(files)
        return context

    def reload(self) -> None:
        """Read the files again. A bad pair is told, and changes nothing."""
        try:
            self._newest = _load(self._files)
        except SecretUnusable as error:
            self._refused()
            log.error(  # noqa: TRY400 - the sentence is enough
                "TLS goes on as it was: %s", error, extra={"action": "tls_refused"}
            )
        else:
            log.info(
                "TLS takes %s for new connections",
                self._files.certificate,
                extra={"action": "tls_read"},
            )

    def wrap_bio(self, *args: Any, **options: Any) -> ssl.SSLObject:  # noqa: ANN401
        """Begin a handshake, by the files that were read last."""
        return self._newest.wrap_bio(*args, **options)


def _load(files: TlsFiles) -> ssl.SSLContext:
    """Return a context of TLS 1.2 or later, with Python's choice of ciphers."""
    for path in (files.certificate, files.client_ca):
        if path is not None:
            open_file(path).close()
    open_secret(files.key).close()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    context.sslobject_class = _Side
    try:
        context.load_cert_chain(files.certificate, files.key, _no_password)
    except (ssl.SSLError, OSError) as error:
        raise SecretUnusable(
            f"{files.certificate} and {files.key} cannot be used: {_reason(error)}"
        ) from error
    if files.client_ca is not None:
        _ask_clients(context, files.client_ca)
    return context


def _ask_clients(context: ssl.SSLContext, client_ca: Path) -> None:
    try:
        context.load_verify_locations(client_ca)
    except (ssl.SSLError, OSError) as error:
        raise SecretUnusable(f"{client_ca} cannot be used: {_reason(error)}") from error
    context.verify_mode = ssl.CERT_OPTIONAL


def _no_password() -> str:
    # Without it, OpenSSL would ask on the terminal, and wait.
    raise SecretUnusable("the key is encrypted with a password; it must not be")


def _reason(error: OSError) -> str:
    named = isinstance(error, ssl.SSLError) and error.reason
    return named.replace("_", " ").lower() if named else str(error)


def client_names(certificate: Mapping[str, Any] | None) -> Iterator[str]:
    """Yield the alternative names of a client's certificate, such as `DNS:a.internal`.

    Args:
        certificate: as `SSLSocket.getpeercert` tells it; None or empty without one.
    """
    for kind, name in (certificate or {}).get("subjectAltName", ()):
        if kind in _KINDS:
            yield canonical_name(f"{_KINDS[kind]}:{name}")


def canonical_name(name: str) -> str:
    """Return an alternative name with its address, if it is one, in the usual form.

    Python tells `FD00:0:0:0:0:0:0:7`, and people write `fd00::7`.
    """
    kind, _, address = name.partition(":")
    if kind != "IP":
        return name
    try:
        return f"IP:{ipaddress.ip_address(address)}"
    except ValueError:
        return name
