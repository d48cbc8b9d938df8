"""What the daemon's tests share."""

import logging
import os
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from daemon.config import PREFIX, Config
from daemon.logs import _TALKATIVE


@pytest.fixture(autouse=True)
def _bare_surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run each test in an empty folder, with no variable of ours or systemd's."""
    monkeypatch.chdir(tmp_path)
    for variable in os.environ:
        if variable.startswith((PREFIX, "NOTIFY_", "WATCHDOG_", "JOURNAL_", "LISTEN_")):
            monkeypatch.delenv(variable)


@pytest.fixture
def restored_logging() -> Iterator[None]:
    """Put back the handlers and levels that a test sets."""
    root = logging.getLogger()
    levels = {name: logging.getLogger(name).level for name in (*_TALKATIVE, None)}
    handlers = root.handlers[:]
    yield
    root.handlers[:] = handlers
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


@pytest.fixture
def make_config(tmp_path: Path) -> Callable[..., Config]:
    """Return a function that builds a configuration: a free port, a file of its own."""

    def make(**sections: dict[str, Any]) -> Config:
        server = {"port": 0} | sections.pop("server", {})
        store = {"url": f"sqlite:///{tmp_path}/registry.db"} | sections.pop("store", {})
        return Config(server=server, store=store, **sections)

    return make


@pytest.fixture
def new_threads() -> Callable[[], set[str]]:
    """Return a function that names the threads started since the test began."""
    before = set(threading.enumerate())
    return lambda: {thread.name for thread in set(threading.enumerate()) - before}


@pytest.fixture(params=["file", "abstract"])
def systemd(
    request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[tuple[str, socket.socket]]:
    """Listen as systemd does: the value of NOTIFY_SOCKET, and the socket."""
    name = f"{tmp_path}/notify" if request.param == "file" else f"@{tmp_path}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(name.replace("@", "\0"))
        listening.settimeout(5)
        yield name, listening


@pytest.fixture
def wait_until() -> Callable[..., None]:
    """Return a function that waits for something to become true."""

    def wait(happened: Callable[[], object], seconds: float = 10) -> None:
        give_up = time.monotonic() + seconds
        while not happened():
            assert time.monotonic() < give_up, f"not within {seconds} s"
            time.sleep(0.01)

    return wait


class Authorities:
    """Who vouches for the registry, and for its clients."""

    def __init__(self) -> None:
        self.servers = trustme.CA()
        self.clients = trustme.CA()
        self.clients.cert_pem.write_to_path("clients.pem")

    def write_pair(self) -> bytes:
        """Put a new certificate and its key in the place; return the certificate."""
        issued = self.servers.issue_cert("127.0.0.1")
        issued.cert_chain_pems[0].write_to_path("cert.pem")
        issued.private_key_pem.write_to_path("key.pem")
        Path("key.pem").chmod(0o600)
        return ssl.PEM_cert_to_DER_cert(issued.cert_chain_pems[0].bytes().decode())

    def client(self, *names: str, by: trustme.CA | None = None) -> ssl.SSLContext:
        """Return a client that trusts the registry, and has these names, if any."""
        context = ssl.create_default_context()
        self.servers.configure_trust(context)
        if names:
            (by or self.clients).issue_cert(*names).configure_cert(context)
        return context


@pytest.fixture
def authorities() -> Authorities:
    """Return new ones; their pair is in the place."""
    authorities = Authorities()
    authorities.write_pair()
    return authorities
