"""Whether others can reach a host. Nothing is guessed in its place."""

import ipaddress
import logging
import socket
from collections.abc import Iterable
from functools import partial

from agent_registry_client.logs import say
from agent_registry_client.threads import SideJobs

#: How many hosts are remembered as looked at; who registers more is told again.
MAX_SEEN = 1024


class Doubts:
    """Warns of each host once, in the log."""

    def __init__(self, registry_hosts: Iterable[str]) -> None:
        self._registry_hosts = registry_hosts
        self._seen: set[str] = set()
        # A name may take seconds to resolve: not in anybody's way.
        self._looks = SideJobs()

    def look_at(self, agent_id: str, host: str) -> None:
        """Warn, soon, if others may not reach this host."""
        if host not in self._seen:
            if len(self._seen) >= MAX_SEEN:
                self._seen.clear()
            self._seen.add(host)
            self._looks.put(partial(self._look, agent_id, host))

    def wait(self, seconds: float) -> None:
        """Wait for what is looked at, but not longer."""
        self._looks.wait(seconds)

    def _look(self, agent_id: str, host: str) -> None:
        if reason := doubt(host, self._registry_hosts):
            say(
                logging.WARNING,
                "Agent %s registers the host %s, %s",
                agent_id,
                host,
                reason,
                action="doubtful_host",
                agent_ids=[agent_id],
            )


def doubt(host: str, registry_hosts: Iterable[str]) -> str | None:
    """Return why others may not reach `host`; None when nothing speaks against it.

    Loopback is no doubt when the registry is on loopback too: whoever asks it is on
    this machine. Blocks while a name is resolved.
    """
    addresses = _addresses(host)
    if not addresses:
        return "which does not resolve here: is it the right name?"
    if any(address.is_unspecified for address in addresses):
        return "which is no address: others cannot connect to it"
    if _is_loopback(addresses) and not all(
        _is_loopback(_addresses(registry)) for registry in registry_hosts
    ):
        return "which others can reach from this machine only"
    if any(address.is_link_local for address in addresses):
        return "which others can reach from this network segment only"
    return None


def _is_loopback(
    addresses: Iterable[ipaddress.IPv4Address | ipaddress.IPv6Address],
) -> bool:
    return all(address.is_loopback for address in addresses)


def _addresses(host: str) -> list[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return []
    return [ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in found]
