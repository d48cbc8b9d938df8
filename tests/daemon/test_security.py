"""Who is let in, as the configuration says; and whether that may be."""

import logging
import math
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from api.access import Principal, Role
from api.server import Security
from daemon.config import Config
from daemon.listener import bind
from daemon.security import (
    NotSecure,
    SecurityFiles,
    find_insecure,
    listens_to_loopback,
    quota_of,
)
from store import Quota
from store.clock import utcnow

MakeConfig = Callable[..., Config]
TOKENS = {"mode": "tokens", "file": "credentials.toml"}
TLS = {"certificate": "cert.pem", "key": "key.pem"}
CREDENTIALS = """
[[certificates]]
name = "DNS:portal"
principal = "portal"
roles = ["read"]
"""
PORTAL = Principal("portal", frozenset({Role.READ}))


@pytest.fixture
def _files() -> None:
    """Put credentials and a pair in the place."""
    Path("credentials.toml").write_text(CREDENTIALS)
    Path("credentials.toml").chmod(0o600)
    _write_pair()


def _write_pair() -> None:
    issued = trustme.CA().issue_cert("127.0.0.1")
    issued.cert_chain_pems[0].write_to_path("cert.pem")
    issued.private_key_pem.write_to_path("key.pem")
    Path("key.pem").chmod(0o600)


@pytest.fixture
def make_files(make_config: MakeConfig) -> Callable[..., SecurityFiles]:
    """Return a function that builds what a configuration names; nothing is read."""

    def make(**sections: Any) -> SecurityFiles:
        return SecurityFiles(make_config(**sections), utcnow, lambda _files: None)

    return make


def _bound(family: socket.AddressFamily, address: Any) -> socket.socket:
    bound = socket.socket(family)
    try:
        bound.bind(address)
    except OSError as error:
        bound.close()
        pytest.skip(f"not here: {error}")
    return bound


@pytest.fixture
def listening() -> Iterator[list[socket.socket]]:
    """Return a list of sockets that are closed afterwards."""
    listening: list[socket.socket] = []
    yield listening
    for bound in listening:
        bound.close()


@pytest.mark.parametrize(
    ("family", "address", "loopback"),
    [
        (socket.AF_INET, ("127.0.0.1", 0), True),
        (socket.AF_INET, ("127.8.9.1", 0), True),
        (socket.AF_INET, ("0.0.0.0", 0), False),  # noqa: S104 - what is judged
        (socket.AF_INET6, ("::1", 0), True),
        (socket.AF_INET6, ("::", 0), False),
        (socket.AF_UNIX, "registry.sock", True),
    ],
)
def test_a_socket_is_judged_by_its_own_address(
    listening: list[socket.socket],
    family: socket.AddressFamily,
    address: Any,
    *,
    loopback: bool,
) -> None:
    """Whoever made it; a wildcard is every address of the machine."""
    listening.append(_bound(family, address))

    assert listens_to_loopback(listening[0]) is loopback


def test_a_name_is_judged_by_what_it_resolves_to() -> None:
    """`localhost` may be anything; the socket knows."""
    with bind("localhost", 0) as bound:
        assert listens_to_loopback(bound)


@pytest.mark.parametrize(
    ("sections", "loopback", "verdict"),
    [
        ({}, True, "secure"),
        ({}, False, "refused"),
        ({"auth": TOKENS}, False, "refused"),
        ({"tls": TLS}, False, "refused"),
        ({"auth": TOKENS, "tls": TLS}, False, "secure"),
        ({"auth": {"allow_insecure": True}}, True, "secure"),
        ({"auth": {"allow_insecure": True}}, False, "without authentication"),
        ({"auth": {"allow_insecure": True}, "tls": TLS}, False, "without authentic"),
        ({"auth": TOKENS | {"allow_insecure": True}}, False, "without TLS"),
        (
            {"auth": TOKENS | {"allow_insecure": True}, "tls": TLS},
            False,
            "secure",
        ),
    ],
)
def test_other_machines_take_tokens_and_tls(
    make_config: MakeConfig,
    caplog: pytest.LogCaptureFixture,
    sections: dict[str, Any],
    verdict: str,
    *,
    loopback: bool,
) -> None:
    """Or a word that neither is needed, which is told at each start."""
    config = make_config(**sections)

    if verdict == "refused":
        with pytest.raises(NotSecure) as refused:
            find_insecure(config, loopback=loopback)
        for key in ("auth.mode", "tls.certificate", "tls.key", "auth.allow_insecure"):
            assert key in str(refused.value)
        return
    insecure = find_insecure(config, loopback=loopback)

    assert insecure is (verdict != "secure")
    assert [record.levelno for record in caplog.records] == [logging.WARNING] * insecure
    assert not insecure or verdict in caplog.text


@pytest.mark.parametrize(
    ("docs", "loopback", "shown"),
    [
        ("auto", True, True),
        ("auto", False, False),
        ("on", False, True),
        ("off", True, False),
    ],
)
def test_docs_are_shown_to_this_machine_only(
    make_files: Callable[..., SecurityFiles], docs: str, *, loopback: bool, shown: bool
) -> None:
    """Unless the configuration says otherwise."""
    files = make_files(server={"docs": docs})

    assert files.security(loopback=loopback).docs is shown


def test_without_tokens_everybody_is_let_in(
    make_files: Callable[..., SecurityFiles],
) -> None:
    """Nobody is known, so nobody is throttled; that it is insecure is passed on."""
    files = make_files()
    files.load()

    security = files.security(loopback=False, insecure=True)

    assert security.authority.open
    assert security.throttle is None
    assert security.insecure
    assert Security().insecure is False


@pytest.mark.usefixtures("_files")
def test_with_tokens_callers_are_known_by_the_file(
    make_files: Callable[..., SecurityFiles],
) -> None:
    """From the load on; who registers too often is throttled."""
    files = make_files(auth=TOKENS)
    assert files.credentials is not None
    before = files.credentials.of_certificate(["DNS:portal"])

    files.load()

    security = files.security(loopback=True)
    assert before is None
    assert files.credentials.of_certificate(["DNS:portal"]) == PORTAL
    assert not security.authority.open
    assert security.throttle is not None


@pytest.mark.usefixtures("_files")
def test_a_reload_reads_all_of_them(make_files: Callable[..., SecurityFiles]) -> None:
    """Credentials, and the pair."""
    files = make_files(auth=TOKENS, tls=TLS)
    files.load()
    assert files.credentials is not None
    assert files.tls is not None
    served = files.tls._newest
    Path("credentials.toml").write_text("# nobody\n")
    _write_pair()

    files.reload()

    assert files.credentials.of_certificate(["DNS:portal"]) is None
    assert files.tls._newest is not served


@pytest.mark.usefixtures("_files")
@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("credentials.toml", r"\(auth\.file\)$"),
        ("key.pem", r"\(tls\.certificate, tls\.key, tls\.client_ca\)$"),
    ],
)
def test_a_file_that_cannot_be_used_is_told_with_its_key(
    make_files: Callable[..., SecurityFiles], name: str, keys: str
) -> None:
    """For whoever has to mend it."""
    Path(name).chmod(0o644)

    with pytest.raises(NotSecure, match=rf"chmod 600 {name} {keys}"):
        make_files(auth=TOKENS, tls=TLS).load()


def test_quotas_of_principals_take_tokens(make_config: MakeConfig) -> None:
    """Without, there are none; how many there may be in all always counts."""
    quota = {"agents": 9, "agents_per_principal": 3}

    assert quota_of(make_config(quota=quota)) == Quota(9, math.inf)
    assert quota_of(make_config(quota=quota, auth=TOKENS)) == Quota(9, 3)
