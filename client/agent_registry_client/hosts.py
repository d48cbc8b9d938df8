"""Whether others can reach a host. Nothing is guessed in its place."""

import ipaddress
import socket
from collections.abc import Iterable


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
