"""A daemon that asks who calls: its settings, calls to it, and its certificates."""

import http.client
import json
import ssl
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import trustme

ROOT = Path(__file__).parents[3]
TOKENS = {
    "AGENT_REGISTRY_AUTH__MODE": "tokens",
    "AGENT_REGISTRY_AUTH__FILE": "credentials.toml",
}
TLS = {
    "AGENT_REGISTRY_TLS__CERTIFICATE": "cert.pem",
    "AGENT_REGISTRY_TLS__KEY": "key.pem",
    "AGENT_REGISTRY_TLS__CLIENT_CA": "ca.pem",
}
EVERYWHERE = {"AGENT_REGISTRY_SERVER__HOST": "0.0.0.0"}  # noqa: S104 - what is judged
AGENT = ("--principal", "billing", "--role", "agent", "--agents", "billing-*")
BODY = {
    "agent_id": "billing-1",
    "agent_name": "Billing",
    "host": "10.0.0.7",
    "port": 80,
}

Answer = tuple[int, Any]
Issue = Callable[..., str]
Run = Callable[..., "subprocess.CompletedProcess[str]"]


class Pair(NamedTuple):
    """Who vouches for everybody, and how clients trust it."""

    authority: trustme.CA
    folder: Path

    def renew(self, *, key: bool = True) -> bytes:
        """Put a new certificate in the place, and its key; return the certificate."""
        issued = self.authority.issue_cert("127.0.0.1")
        (pem,) = issued.cert_chain_pems
        pem.write_to_path(str(self.folder / "cert.pem"))
        if key:
            issued.private_key_pem.write_to_path(str(self.folder / "key.pem"))
            (self.folder / "key.pem").chmod(0o600)
        return ssl.PEM_cert_to_DER_cert(pem.bytes().decode())

    def client(self, *names: str) -> ssl.SSLContext:
        """Return a client that trusts the registry, and has these names, if any."""
        context = ssl.create_default_context()
        self.authority.configure_trust(context)
        if names:
            self.authority.issue_cert(*names).configure_cert(context)
        return context


def ask(
    daemon: Any,
    method: str,
    path: str,
    token: str = "",
    body: object = None,
    tls: ssl.SSLContext | None = None,
) -> Answer:
    """Return the status and the decoded answer of a call, whatever it is."""
    address = ("127.0.0.1", daemon.port)
    connection = (
        http.client.HTTPConnection(*address, timeout=10)
        if tls is None
        else http.client.HTTPSConnection(*address, timeout=10, context=tls)
    )
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    if body is not None:
        headers["Content-Type"] = "application/json"
    try:
        content = None if body is None else json.dumps(body)
        connection.request(method, path, content, headers)
        answer = connection.getresponse()
        told = answer.read().decode()
    finally:
        connection.close()
    return answer.status, json.loads(told) if told[:1] in ("{", "[") else told


def seconds_until(status: int, *arguments: Any) -> float:
    """Return how long it took until a call was answered with this status."""
    began = time.monotonic()
    while (answered := ask(*arguments)[0]) != status:
        assert time.monotonic() < began + 10, answered
        time.sleep(0.02)
    return time.monotonic() - began


def certificate_of(daemon: Any, client: ssl.SSLContext) -> bytes:
    """Return the certificate that a new connection gets."""
    connection = http.client.HTTPSConnection(
        "127.0.0.1", daemon.port, timeout=10, context=client
    )
    connection.connect()
    shown: bytes = connection.sock.getpeercert(binary_form=True)
    connection.close()
    return shown
