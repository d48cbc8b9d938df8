"""Sends calls to a registry, or to the next one when it does not answer."""

import os
from collections.abc import Iterable, Sequence
from ssl import SSLContext
from typing import TypeVar

from agent_registry_client import tls
from agent_registry_client.calls import Call
from agent_registry_client.connections import Server
from agent_registry_client.errors import RegistryError, RegistryProblem, Unreachable
from agent_registry_client.version import __version__

T = TypeVar("T")

DEFAULT_URL = "http://127.0.0.1:8790"

#: A day. Sockets and threads cannot wait for any number of seconds, and not for NaN.
MAX_TIMEOUT_SECONDS = 86_400


class Transport:
    """Sends calls to the registry, or to the next one when it does not answer."""

    def __init__(
        self,
        url: str | Sequence[str] | None = None,
        *,
        token: str | None = None,
        timeout_seconds: float = 5.0,
        ssl_context: SSLContext | None = None,
    ) -> None:
        if not 0 < (timeout_seconds or 0) <= MAX_TIMEOUT_SECONDS:  # None neither
            raise ValueError(
                f"timeout_seconds is more than 0, at most {MAX_TIMEOUT_SECONDS}"
            )
        headers = {"User-Agent": f"agent-registry-client/{__version__}"}
        token = (token or os.environ.get("AGENT_REGISTRY_TOKEN", "")).strip()
        if token:
            if not (token.isascii() and token.isprintable() and " " not in token):
                raise ValueError("the token has characters that no header can carry")
            headers["Authorization"] = f"Bearer {token}"
        url = url or os.environ.get("AGENT_REGISTRY_URL") or DEFAULT_URL
        urls = url.split(",") if isinstance(url, str) else url
        self._servers = [Server(one.strip(), headers, ssl_context) for one in urls]
        if ssl_context is None and any(server.secure for server in self._servers):
            ssl_context = tls.context_of()
            for server in self._servers:
                server.ssl_context = ssl_context
        self._first = 0
        self.timeout_seconds = timeout_seconds

    @property
    def urls(self) -> tuple[str, ...]:
        """The base URLs, in the order they were given."""
        return tuple(server.url for server in self._servers)

    @property
    def hosts(self) -> tuple[str, ...]:
        """The hosts of the base URLs."""
        return tuple(server.host for server in self._servers)

    def send(self, call: Call[T], timeout_seconds: float | None = None) -> T:
        """Return what the first registry that is well answers, from any thread.

        Begins with the one that answered last; each has `timeout_seconds`.

        Raises:
            RegistryError: none answered, or the answer is an error.
        """
        seconds = timeout_seconds or self.timeout_seconds
        failed: list[RegistryError] = []
        begin = self._first
        for turn in range(len(self._servers)):
            number = (begin + turn) % len(self._servers)
            server = self._servers[number]
            try:
                told = call.read(server.ask(call, seconds))
            except RegistryError as error:
                if error.temporary:
                    failed.append(error)
                    continue
                self._first = number
                raise
            self._first = number
            return told
        raise _summary(failed)

    def forget_connections(self) -> None:
        """Close idle connections; calls that come later open new ones."""
        for server in self._servers:
            server.forget_connections()


def _summary(failed: Iterable[RegistryError]) -> RegistryError:
    errors = list(failed)
    # A registry that says why it cannot is worth more than one that says nothing.
    for error in errors:
        if len(errors) == 1 or isinstance(error, RegistryProblem):
            return error
    return Unreachable("no registry answered: " + "; ".join(map(str, errors)))
