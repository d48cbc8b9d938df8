"""https with an authority of one's own, and with a certificate of the client's."""

import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import trustme
from agent_registry_client import (
    AgentRegistryClient,
    BulkRenewal,
    InvalidRequest,
    Unreachable,
)
from agent_registry_client.tls import context_of
from cryptography.hazmat.primitives import serialization


class Nobody(BaseHTTPRequestHandler):
    """A registry that knows nobody."""

    def do_GET(self) -> None:
        """Answer."""
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"[]")

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Secure(ThreadingHTTPServer):
    """It, with TLS."""

    def handle_error(self, *_: object) -> None:
        """Say nothing of callers that were refused."""


def test_the_environment_names_whom_to_trust(
    serve: Callable[..., str], files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An authority of one's own; without it the registry is not spoken to."""
    url = serve()
    with pytest.raises(Unreachable, match="certificate"):
        AgentRegistryClient(url).agents()
    monkeypatch.setenv("AGENT_REGISTRY_CA_FILE", str(files / "ca.pem"))

    assert AgentRegistryClient(url).agents() == ()


def test_the_environment_names_as_whom_to_come(
    serve: Callable[..., str], files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A certificate and its key; without them the registry refuses."""
    url = serve(ask_for_certificate=True)
    monkeypatch.setenv("AGENT_REGISTRY_CA_FILE", str(files / "ca.pem"))
    with pytest.raises(Unreachable):
        AgentRegistryClient(url).agents()
    monkeypatch.setenv("AGENT_REGISTRY_CERT_FILE", str(files / "client.pem"))
    monkeypatch.setenv("AGENT_REGISTRY_KEY_FILE", str(files / "client.key"))

    assert AgentRegistryClient(url).agents() == ()


def test_a_context_that_is_given_is_used_alone(
    serve: Callable[..., str], files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The environment is not even read."""
    monkeypatch.setenv("AGENT_REGISTRY_CA_FILE", "/nowhere")
    trusting = ssl.create_default_context(cafile=str(files / "ca.pem"))

    assert AgentRegistryClient(serve(), ssl_context=trusting).agents() == ()


def test_another_host_than_the_certificates_is_not_spoken_to(
    serve: Callable[..., str], files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever signed it."""
    monkeypatch.setenv("AGENT_REGISTRY_CA_FILE", str(files / "ca.pem"))
    url = serve().replace("127.0.0.1", "localhost")

    with pytest.raises(Unreachable, match="certificate"):
        AgentRegistryClient(url).agents()


def test_files_that_are_none_are_refused_at_once(
    files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the name of their variable; for http they are of no matter."""
    monkeypatch.setenv("AGENT_REGISTRY_CA_FILE", str(files / "missing.pem"))

    with pytest.raises(ValueError, match=r"CA_FILE: .*missing.pem: No such file"):
        AgentRegistryClient("https://127.0.0.1")
    assert AgentRegistryClient("http://127.0.0.1").urls


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({"CA_FILE": "client.key"}, "CA_FILE"),
        ({"CERT_FILE": "missing.pem"}, "CERT_FILE"),
        ({"CERT_FILE": "client.pem", "KEY_FILE": "ca.key"}, "CERT_FILE"),
        ({"CERT_FILE": "client.pem", "KEY_FILE": "locked.key"}, "CERT_FILE"),
        ({"KEY_FILE": "client.key"}, "KEY_FILE"),
    ],
)
def test_files_that_do_not_fit_are_told_apart(
    files: Path, environ: dict[str, str], said: str
) -> None:
    """Before anybody is asked; nobody is asked for a password either."""
    named = {f"AGENT_REGISTRY_{k}": str(files / file) for k, file in environ.items()}

    with pytest.raises(ValueError, match=f"AGENT_REGISTRY_{said}"):
        context_of(named)


def test_without_them_the_system_is_trusted() -> None:
    """Empty variables are none."""
    assert context_of({"AGENT_REGISTRY_CA_FILE": ""}) is None


@pytest.mark.parametrize("goodbye", ["said", "not said"])
def test_a_connection_that_was_closed_meanwhile_is_no_failure(
    listening: ssl.SSLSocket, files: Path, goodbye: str
) -> None:
    """Nor where a call has a body: its sending fails, and in words of TLS's own."""
    heard: list[bytes] = []
    closed = threading.Event()

    def serve() -> None:
        with _accept(listening) as first:
            _hear(first, b"\r\n\r\n")
            first.sendall(_said(200, []))
            if goodbye == "said":
                first.settimeout(0)
                with pytest.raises(ssl.SSLWantReadError):
                    first.unwrap()
        closed.set()
        with _accept(listening) as second:
            heard.append(_hear(second, b"}"))
            second.sendall(_said(200, {"renewed": 1, "unknown": []}))

    serving = threading.Thread(target=serve)
    serving.start()
    client = _client(listening, files)
    client.agents()
    closed.wait(5)

    assert client.heartbeat_all(["a"]) == BulkRenewal(renewed=1, unknown=())
    serving.join()
    assert heard[0].endswith(b'\r\n\r\n{"agent_ids":["a"]}')


def test_what_a_server_hung_up_on_is_asked_once_where_the_connection_was_new(
    listening: ssl.SSLSocket, files: Path
) -> None:
    """It may have been heard; the caller is to decide."""
    asked: list[bytes] = []

    def serve() -> None:
        with _accept(listening) as first:
            asked.append(first.recv(100))
        listening.settimeout(0.5)
        with pytest.raises(TimeoutError):
            listening.accept()

    serving = threading.Thread(target=serve)
    serving.start()

    with pytest.raises(Unreachable):
        _register_at_length(_client(listening, files))
    serving.join()
    assert len(asked) == 1


def test_an_answer_that_comes_before_all_is_sent_is_heard(
    listening: ssl.SSLSocket, files: Path
) -> None:
    """A body that is too large is answered unread, and its connection closed."""

    def serve() -> None:
        with _accept(listening) as first:
            first.recv(100)
            problem = {"status": 413, "code": "body_too_large", "detail": "No more."}
            first.sendall(_said(413, problem))

    serving = threading.Thread(target=serve)
    serving.start()

    with pytest.raises(InvalidRequest, match="No more"):
        _register_at_length(_client(listening, files))
    serving.join()


def _client(listening: ssl.SSLSocket, files: Path) -> AgentRegistryClient:
    trusting = ssl.create_default_context(cafile=str(files / "ca.pem"))
    url = f"https://127.0.0.1:{listening.getsockname()[1]}"
    return AgentRegistryClient(url, ssl_context=trusting)


def _accept(listening: ssl.SSLSocket) -> ssl.SSLSocket:
    connection, _ = listening.accept()
    connection.settimeout(5)
    # As the daemon does: what waits for an acknowledgement is lost at a reset.
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def _hear(connection: ssl.SSLSocket, end: bytes) -> bytes:
    heard = b""
    while not heard.endswith(end):
        heard += connection.recv(65_536)
    return heard


def _said(status: int, told: object) -> bytes:
    content = json.dumps(told).encode()
    return b"HTTP/1.1 %d So\r\nContent-Length: %d\r\n\r\n%b" % (
        status,
        len(content),
        content,
    )


def _register_at_length(client: AgentRegistryClient) -> None:
    client.register(
        "a",
        agent_name="A",
        host="10.0.0.7",
        port=80,
        metadata={"long": "x" * (20 << 20)},
    )


@pytest.fixture
def listening(files: Path) -> Iterator[ssl.SSLSocket]:
    """Return a socket that takes connections with TLS."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(files / "server.pem", files / "server.key")
    with (
        socket.create_server(("127.0.0.1", 0)) as plain,
        context.wrap_socket(plain, server_side=True) as listening,
    ):
        yield listening


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with an authority, and what it signed for both sides."""
    folder = tmp_path_factory.mktemp("tls")

    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    for side in ("server", "client"):
        issued = authority.issue_cert("127.0.0.1")
        issued.cert_chain_pems[0].write_to_path(str(folder / f"{side}.pem"))
        issued.private_key_pem.write_to_path(str(folder / f"{side}.key"))
    locked = serialization.load_pem_private_key(
        (folder / "client.key").read_bytes(), password=None
    ).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"secret"),
    )
    (folder / "locked.key").write_bytes(locked)
    return folder


@pytest.fixture
def serve(files: Path) -> Iterator[Callable[..., str]]:
    """Return a function that serves such a registry, and returns its URL."""
    started: list[Secure] = []

    def serve(*, ask_for_certificate: bool = False) -> str:
        context = ssl.create_default_context(
            ssl.Purpose.CLIENT_AUTH, cafile=str(files / "ca.pem")
        )
        context.load_cert_chain(files / "server.pem", files / "server.key")
        if ask_for_certificate:
            context.verify_mode = ssl.CERT_REQUIRED
        server = Secure(("127.0.0.1", 0), Nobody)
        server.socket = context.wrap_socket(
            server.socket, server_side=True, do_handshake_on_connect=False
        )
        started.append(server)
        threading.Thread(target=server.serve_forever, args=(0.02,)).start()
        return f"https://127.0.0.1:{server.server_port}"

    yield serve
    for server in started:
        server.shutdown()
        server.server_close()
