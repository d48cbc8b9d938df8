"""TLS: handshakes, client certificates, and files that are read again."""

import contextlib
import http.client
import logging
import os
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography.hazmat.primitives import serialization
from fastapi import FastAPI, Request

from daemon.connections import Limits
from daemon.head import Trust
from daemon.listener import HttpListener, bind
from daemon.secret_files import SecretUnusable
from daemon.tls import ReloadableContext, TlsFiles, client_names

FILES = TlsFiles(Path("cert.pem"), Path("key.pem"))
ASKING = FILES._replace(client_ca=Path("clients.pem"))


Serve = Callable[[ssl.SSLContext], socket.socket]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Return a function that serves an application which tells who it talks to."""
    app = FastAPI()

    @app.get("/me")
    async def me(request: Request) -> dict[str, Any]:
        return {"scheme": request.url.scheme} | request.scope["extensions"]["tls"]

    with contextlib.ExitStack() as stack:

        def serve(tls: ssl.SSLContext) -> socket.socket:
            bound = stack.enter_context(bind("127.0.0.1", 0))
            listener = HttpListener(
                app,
                bound,
                limits=Limits(request_seconds=0.5, drain_seconds=1),
                trust=Trust(),
                tls=tls,
                closed=lambda _cause: None,
                on_death=lambda: None,
            )
            listener.start()
            stack.callback(listener.stop)
            return bound

        yield serve


@contextlib.contextmanager
def _connected(
    bound: socket.socket, client: ssl.SSLContext
) -> Iterator[http.client.HTTPSConnection]:
    connection = http.client.HTTPSConnection(
        *bound.getsockname(), timeout=10, context=client
    )
    try:
        connection.connect()
        yield connection
    finally:
        connection.close()


def _ask(connection: http.client.HTTPSConnection) -> bytes:
    connection.request("GET", "/me")
    answer = connection.getresponse()
    assert answer.headers["Strict-Transport-Security"] == "max-age=31536000"
    return answer.read()


def _certificate_of(bound: socket.socket, client: ssl.SSLContext) -> bytes | None:
    with _connected(bound, client) as connection:
        shown: bytes | None = connection.sock.getpeercert(binary_form=True)
        return shown


def test_a_request_comes_through(authorities: Any, serve: Serve) -> None:
    """It is told as https, of a client that proved no name."""
    bound = serve(ReloadableContext(FILES))

    with _connected(bound, authorities.client()) as connection:
        answer = _ask(connection)

    assert answer == b'{"scheme":"https","client_names":[]}'


@pytest.mark.parametrize(
    ("version", "taken"),
    [
        (ssl.TLSVersion.TLSv1_3, True),
        (ssl.TLSVersion.TLSv1_2, True),
        (ssl.TLSVersion.TLSv1_1, False),
    ],
)
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1:DeprecationWarning")
def test_versions_before_1_2_are_refused(
    authorities: Any, serve: Serve, version: ssl.TLSVersion, *, taken: bool
) -> None:
    """Whatever ciphers the client would take."""
    bound = serve(ReloadableContext(FILES))
    client = authorities.client()
    client.set_ciphers("ALL:@SECLEVEL=0")
    client.minimum_version = client.maximum_version = version

    refused = contextlib.nullcontext() if taken else pytest.raises(ssl.SSLError)
    with refused, _connected(bound, client) as connection:
        _ask(connection)


def test_a_client_certificate_tells_its_names(authorities: Any, serve: Serve) -> None:
    """On every request of the connection, each with its kind."""
    bound = serve(ReloadableContext(ASKING))
    client = authorities.client("billing.internal", "10.0.0.7", "ops@example.com")

    with _connected(bound, client) as connection:
        answers = [_ask(connection), _ask(connection)]

    names = b'"DNS:billing.internal","IP:10.0.0.7","email:ops@example.com"'
    assert answers == [b'{"scheme":"https","client_names":[' + names + b"]}"] * 2


def test_a_client_needs_no_certificate(authorities: Any, serve: Serve) -> None:
    """It may have a token instead."""
    bound = serve(ReloadableContext(ASKING))

    with _connected(bound, authorities.client()) as connection:
        answer = _ask(connection)

    assert answer == b'{"scheme":"https","client_names":[]}'


def test_a_certificate_by_somebody_else_is_refused(
    authorities: Any, serve: Serve
) -> None:
    """Also one by whoever vouches for the registry itself."""
    bound = serve(ReloadableContext(ASKING))
    stranger = authorities.client("billing.internal", by=authorities.servers)

    with pytest.raises((OSError, http.client.HTTPException)):  # noqa: SIM117
        with _connected(bound, stranger) as connection:
            _ask(connection)


def test_nobody_is_asked_for_a_certificate_without_a_client_ca(
    authorities: Any, serve: Serve
) -> None:
    """A name that nobody vouched for is none."""
    bound = serve(ReloadableContext(FILES))

    with _connected(bound, authorities.client("billing.internal")) as connection:
        answer = _ask(connection)

    assert b'"client_names":[]' in answer


@pytest.mark.parametrize(
    ("kind", "name"),
    [("URI", "URI:spiffe://prod/billing"), ("DNS", "DNS:spiffe://prod/billing")],
)
def test_names_have_their_kind(kind: str, name: str) -> None:
    """So that no DNS name passes for another's URI; the subject counts for nothing."""
    certificate = {
        "subject": ((("commonName", "root"),),),
        "subjectAltName": ((kind, "spiffe://prod/billing"), ("DirName", "root")),
    }

    assert list(client_names(certificate)) == [name]
    assert list(client_names({})) == list(client_names(None)) == []


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("FD00:0:0:0:0:0:0:7", "IP:fd00::7"),
        ("10.0.0.7", "IP:10.0.0.7"),
        ("<invalid>", "IP:<invalid>"),
    ],
)
def test_an_address_is_told_in_its_usual_form(address: str, name: str) -> None:
    """Python spells out every part of an IPv6 address."""
    certificate = {"subjectAltName": (("IP Address", address),)}

    assert list(client_names(certificate)) == [name]


def test_new_connections_get_the_new_pair_and_old_ones_live_on(
    authorities: Any, serve: Serve
) -> None:
    """No connection is lost to a rotation."""
    tls = ReloadableContext(FILES)
    bound = serve(tls)
    client = authorities.client()
    with _connected(bound, client) as connection:
        _ask(connection)
        renewed = authorities.write_pair()
        before = _certificate_of(bound, client)

        tls.reload()

        assert before != renewed
        assert _certificate_of(bound, client) == renewed
        _ask(connection)


def test_a_client_ca_that_was_taken_out_vouches_for_nobody(
    authorities: Any, serve: Serve
) -> None:
    """Loaded into the context that serves, the new one would only be added."""
    tls = ReloadableContext(ASKING)
    bound = serve(tls)
    client = authorities.client("billing.internal")
    with _connected(bound, client) as connection:
        _ask(connection)
    trustme.CA().cert_pem.write_to_path("clients.pem")

    tls.reload()

    with pytest.raises((OSError, http.client.HTTPException)):  # noqa: SIM117
        with _connected(bound, client) as connection:
            _ask(connection)


def _mismatch() -> None:
    trustme.CA().issue_cert("a").private_key_pem.write_to_path("key.pem")


def _pipe(name: str) -> None:
    Path(name).unlink()
    os.mkfifo(name)


SPOILT = [
    (_mismatch, r"cert.pem and key.pem cannot be used: key values mismatch"),
    (Path("key.pem").unlink, r"key.pem cannot be read: No such file"),
    (Path("cert.pem").unlink, r"cert.pem cannot be read: No such file"),
    (Path("clients.pem").unlink, r"clients.pem cannot be read: No such file"),
    (lambda: Path("clients.pem").write_text("x"), r"clients.pem cannot be used: no "),
    (lambda: Path("cert.pem").write_text("x"), r"cert.pem and key.pem cannot be used"),
    (lambda: _pipe("cert.pem"), r"cert.pem is no file"),
    (lambda: _pipe("clients.pem"), r"clients.pem is no file"),
    (lambda: Path("key.pem").chmod(0o640), r"key.pem is open to others.*chmod 600"),
]


@pytest.mark.parametrize("spoil", [spoil for spoil, _ in SPOILT])
def test_files_that_cannot_be_used_change_nothing(
    authorities: Any,
    serve: Serve,
    caplog: pytest.LogCaptureFixture,
    spoil: Callable[[], object],
) -> None:
    """Handshakes go on as before, with clients of before; it is told and counted."""
    caplog.set_level(logging.INFO)
    refusals: list[str] = []
    tls = ReloadableContext(ASKING, lambda: refusals.append("refused"))
    bound = serve(tls)
    client = authorities.client("billing.internal")
    before = _certificate_of(bound, client)
    spoil()

    tls.reload()

    assert _certificate_of(bound, client) == before
    with _connected(bound, client) as connection:
        assert b"DNS:billing.internal" in _ask(connection)
    assert refusals == ["refused"]
    (record,) = (one for one in caplog.records if one.name == "daemon.tls")
    assert (record.levelname, record.action) == ("ERROR", "tls_refused")  # type: ignore[attr-defined]


@pytest.mark.usefixtures("authorities")
@pytest.mark.parametrize(("spoil", "reason"), SPOILT)
def test_files_that_cannot_be_used_are_told_at_the_start(
    spoil: Callable[[], object], reason: str
) -> None:
    """By name and cause."""
    spoil()

    with pytest.raises(SecretUnusable, match=reason):
        ReloadableContext(ASKING)


@pytest.mark.usefixtures("authorities")
def test_a_key_with_a_password_is_refused() -> None:
    """OpenSSL would ask for it on the terminal, and wait."""
    key = serialization.load_pem_private_key(Path("key.pem").read_bytes(), None)
    encrypted = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"password"),
    )
    Path("key.pem").write_bytes(encrypted)

    with pytest.raises(SecretUnusable, match="encrypted with a password"):
        ReloadableContext(FILES)


def test_a_farewell_is_said_and_not_waited_for(authorities: Any) -> None:
    """Nobody has to answer it; and whoever is at rest does not even read it."""
    asked, answered = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = ReloadableContext(FILES).wrap_bio(asked, answered, server_side=True)
    client = authorities.client().wrap_bio(answered, asked, server_hostname="127.0.0.1")
    for side in (client, server, client, server):
        with contextlib.suppress(ssl.SSLWantReadError):
            side.do_handshake()
    server.write(b"the end")

    server.unwrap()
    server.unwrap()

    assert [client.read(), client.read()] == [b"the end", b""]


def test_a_handshake_that_is_not_finished_ends(authorities: Any, serve: Serve) -> None:
    """In the time that it may take; whoever shakes hands meanwhile is served."""
    bound = serve(ReloadableContext(FILES))
    with socket.create_connection(bound.getsockname(), timeout=10) as half:
        began = time.monotonic()
        half.sendall(b"\x16\x03\x01\x02\x00\x01")
        with _connected(bound, authorities.client()) as connection:
            _ask(connection)

        end_of_stream = half.recv(1)

    assert end_of_stream == b""
    assert 0.4 < time.monotonic() - began < 5


@pytest.mark.usefixtures("authorities")
def test_plain_http_is_hung_up_on(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    """And no word of it: whoever can connect could fill the log."""
    caplog.set_level(logging.WARNING)
    bound = serve(ReloadableContext(FILES))
    with socket.create_connection(bound.getsockname(), timeout=10) as plain:
        plain.sendall(b"GET /me HTTP/1.1\r\nHost: r\r\n\r\n")

        with contextlib.suppress(ConnectionResetError):
            assert plain.recv(1) == b""

    assert caplog.messages == []
