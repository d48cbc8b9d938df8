"""A daemon with tokens and TLS, as a process: who is let in, and for how long."""

import http.client
import json
import os
import re
import signal
import ssl
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import trustme
from agent_registry_client import AgentRegistryClient, NotAllowed
from typer.testing import CliRunner

from daemon.cli import main

ROOT = Path(__file__).parents[2]
SERVE = (sys.executable, "-m", "daemon")
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


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Return a function that runs a Python module where the daemon runs."""

    def run(
        module: str, *arguments: str, **environ: str
    ) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", module, *arguments],
            cwd=tmp_path,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)} | environ,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    return run


@pytest.fixture
def token(tmp_path: Path) -> Issue:
    """Return a function that calls `agent-registryd token`, and returns its output."""
    file = str(tmp_path / "credentials.toml")

    def token(*arguments: str) -> str:
        # In this process: one of its own takes a second to import what it does.
        done = CliRunner().invoke(main, ["token", *arguments, "--file", file])
        assert done.exit_code == 0, done.stderr
        return done.stdout.strip()

    return token


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


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    """Return an authority whose pair is in the place."""
    pair = Pair(trustme.CA(), tmp_path)
    pair.authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    pair.renew()
    return pair


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


def test_callers_may_do_what_their_tokens_say(
    start_daemon: Callable[..., Any], token: Issue
) -> None:
    """An agent's life by one token, its readers by another, nothing without."""
    agent = token("create", *AGENT)
    reader = token("create", "--principal", "portal", "--role", "read")
    daemon = start_daemon(**TOKENS)
    foreign = BODY | {"agent_id": "search-1"}
    register, beat = (
        ("POST", "/agents/register"),
        ("POST", "/agents/billing-1/heartbeat"),
    )

    statuses = [
        ask(daemon, *call)[0]
        for call in (
            (*register, "", BODY),
            (*register, "areg_wrong", BODY),
            (*register, reader, BODY),
            (*register, agent, foreign),
            (*register, agent, BODY),
            (*beat, agent),
            (*beat, reader),
            ("GET", "/agents", agent),
            ("GET", "/agents", reader),
            ("DELETE", "/agents/billing-1", reader),
            ("GET", "/metrics", reader),
        )
    ]
    health = ask(daemon, "GET", "/health")

    assert statuses == [401, 401, 403, 403, 201, 200, 403, 403, 200, 403, 403]
    assert health == (200, {"status": "ok"})


def test_who_is_added_or_revoked_counts_within_a_second(
    start_daemon: Callable[..., Any], token: Issue
) -> None:
    """Nobody has to tell the daemon; the other tokens go on."""
    first = token("create", "--principal", "a", "--role", "read")
    daemon = start_daemon(**TOKENS)
    (listed,) = json.loads(token("list", "--json"))
    listing = (daemon, "GET", "/agents")

    second = token("create", "--principal", "b", "--role", "read")
    added = seconds_until(200, *listing, second)
    before = ask(*listing, first)[0]
    token("revoke", listed["id"])
    revoked = seconds_until(401, *listing, first)

    assert added < 1
    assert before == 200
    assert revoked < 1
    assert ask(*listing, second)[0] == 200


def test_a_token_ends_by_itself(start_daemon: Callable[..., Any], token: Issue) -> None:
    """At its instant, without a change of the file."""
    token("create", *AGENT)
    daemon = start_daemon(**TOKENS)
    expiring = token(
        "create", "--principal", "a", "--role", "read", "--expires-in", "5s"
    )
    seconds_until(200, daemon, "GET", "/agents", expiring)

    assert seconds_until(401, daemon, "GET", "/agents", expiring) < 6


@pytest.mark.torture
def test_a_refusal_takes_as_long_whatever_its_reason(
    start_daemon: Callable[..., Any],
    token: Issue,
    record_property: Callable[[str, object], None],
) -> None:
    """No token is seen in it to be unknown, nearly right or expired."""
    right = token("create", *AGENT)
    issued = ("create", "--principal", "a", "--role", "read", "--expires-in", "1s")
    refused = {
        "unknown": "areg_" + "x" * (len(right) - len("areg_")),
        "nearly right": right[:-1] + ("A" if right[-1] != "A" else "B"),
        "expired": token(*issued),
    }
    daemon = start_daemon(**TOKENS)
    seconds_until(401, daemon, "GET", "/agents", refused["expired"])
    took: dict[str, list[float]] = {name: [] for name in refused}

    with closing(http.client.HTTPConnection("127.0.0.1", daemon.port)) as connection:
        for _ in range(4_000):
            for name, given in refused.items():
                began = time.perf_counter()
                connection.request(
                    "GET", "/agents", headers={"Authorization": f"Bearer {given}"}
                )
                answer = connection.getresponse()
                answer.read()
                took[name].append((time.perf_counter() - began) * 1_000_000)
                assert answer.status == 401

    quartiles = {name: statistics.quantiles(found, n=4) for name, found in took.items()}
    noise = max(most - least for least, _, most in quartiles.values())
    medians = {name: median for name, (_, median, _) in quartiles.items()}
    apart = max(medians.values()) - min(medians.values())
    record_property("medians apart, in us", f"{apart:.1f} within noise of {noise:.1f}")
    assert apart <= noise


@pytest.mark.parametrize("name", ["credentials.toml", "key.pem"])
@pytest.mark.usefixtures("pair")
def test_a_file_of_secrets_that_others_can_read_is_refused(
    run: Run, token: Issue, tmp_path: Path, name: str
) -> None:
    """Status 78; one line says which, and what to run."""
    token("create", *AGENT)
    (tmp_path / name).chmod(0o644)

    done = run("daemon", **TOKENS, **TLS)

    assert (done.returncode, done.stdout) == (78, "")
    line = rf"^agent-registryd: {name} is open to .*: chmod 600 {name} \(.+\)$"
    assert re.search(line, done.stderr, re.MULTILINE)


def test_a_file_that_is_spoilt_while_it_serves_changes_nothing(
    start_daemon: Callable[..., Any],
    token: Issue,
    tmp_path: Path,
    wait_until: Callable[..., Any],
) -> None:
    """Who was known is known; the log says why, and the metric counts it."""
    admin = token("create", "--principal", "root", "--role", "admin")
    daemon = start_daemon(**TOKENS)
    file = tmp_path / "credentials.toml"

    file.chmod(0o640)
    wait_until(lambda: "chmod 600 credentials.toml" in daemon.log())
    unsafe = ask(daemon, "GET", "/agents", admin)[0]
    file.unlink()
    wait_until(lambda: "No such file" in daemon.log())
    missing, metrics = ask(daemon, "GET", "/metrics", admin)

    assert (unsafe, missing) == (200, 200)
    count = re.search(r'reload_failures_total{files="credentials"} (\d+)', metrics)
    assert count is not None
    assert int(count[1]) > 0


@pytest.mark.parametrize(
    "given", [{}, TOKENS, TLS], ids=["neither", "no TLS", "no tokens"]
)
@pytest.mark.usefixtures("pair")
def test_other_machines_are_not_listened_to_unprotected(
    run: Run, token: Issue, given: dict[str, str]
) -> None:
    """Status 78, with the keys to set; nothing was made."""
    token("create", *AGENT)

    done = run("daemon", AGENT_REGISTRY_SERVER__PORT="0", **EVERYWHERE, **given)

    assert done.returncode == 78
    (line,) = (one for one in done.stderr.splitlines() if "agent-registryd:" in one)
    for key in ("auth.mode", "tls.certificate", "auth.allow_insecure", "server.host"):
        assert key in line


def test_other_machines_are_listened_to_where_that_is_allowed(
    start_daemon: Callable[..., Any],
) -> None:
    """It is told at the start, and to whoever asks."""
    daemon = start_daemon(**EVERYWHERE, AGENT_REGISTRY_AUTH__ALLOW_INSECURE="true")

    _, health = ask(daemon, "GET", "/health")

    assert health["insecure"] is True
    assert "without authentication, as auth.allow_insecure says" in daemon.log()
    assert ask(daemon, "GET", "/docs")[0] == 404


def test_other_machines_are_listened_to_with_tokens_and_tls(
    start_daemon: Callable[..., Any], token: Issue, pair: Pair, tmp_path: Path
) -> None:
    """By token, or by a certificate whose name the file knows; not in the clear."""
    reader = token("create", "--principal", "portal", "--role", "read")
    with (tmp_path / "credentials.toml").open("a") as file:
        file.write(
            '\n[[certificates]]\nname = "DNS:billing.internal"\n'
            'principal = "billing"\nroles = ["agent"]\nagents = ["billing-*"]\n'
        )
    daemon = start_daemon(**EVERYWHERE, **TOKENS, **TLS)
    stranger, agent = pair.client("x.internal"), pair.client("billing.internal")

    by_token, health = ask(daemon, "GET", "/health", reader, tls=pair.client())
    statuses = [
        ask(daemon, "POST", "/agents/register", body=body, tls=client)[0]
        for client, body in (
            (pair.client(), BODY),
            (stranger, BODY),
            (agent, BODY | {"agent_id": "search-1"}),
            (agent, BODY),
        )
    ]
    # A token is judged alone: the certificate beside it adds nothing.
    both = ask(daemon, "POST", "/agents/register", reader, BODY, agent)[0]

    assert by_token == 200
    assert "insecure" not in health
    assert statuses == [401, 401, 403, 201]
    assert both == 403
    assert "agent_id" in ask(daemon, "GET", "/agents/billing-1", reader, tls=agent)[1]
    with pytest.raises((OSError, http.client.HTTPException)):
        ask(daemon, "GET", "/health")


@pytest.fixture
def kept_open() -> Iterator[list[http.client.HTTPSConnection]]:
    """Return a list of connections that are closed afterwards."""
    kept_open: list[http.client.HTTPSConnection] = []
    yield kept_open
    for connection in kept_open:
        connection.close()


def test_certificates_are_rotated_by_a_hangup(
    start_daemon: Callable[..., Any],
    pair: Pair,
    kept_open: list[http.client.HTTPSConnection],
    wait_until: Callable[..., Any],
) -> None:
    """A pair that does not fit is refused, and nobody notices; then the right one."""
    daemon = start_daemon(**TLS)
    client = pair.client()
    address = ("127.0.0.1", daemon.port)
    old = http.client.HTTPSConnection(*address, timeout=10, context=client)
    kept_open.append(old)
    old.request("GET", "/health")
    old.getresponse().read()
    first = certificate_of(daemon, client)

    pair.renew(key=False)
    daemon.process.send_signal(signal.SIGHUP)
    wait_until(lambda: "key values mismatch" in daemon.log())
    mismatched = [certificate_of(daemon, client) for _ in range(3)]
    second = pair.renew()
    daemon.process.send_signal(signal.SIGHUP)
    wait_until(lambda: "TLS takes cert.pem" in daemon.log())
    rotated = certificate_of(daemon, client)
    old.request("GET", "/health")

    assert mismatched == [first] * 3
    assert rotated == second != first
    assert old.getresponse().status == 200


def test_no_output_tells_a_token(
    start_daemon: Callable[..., Any], run: Run, token: Issue, tmp_path: Path
) -> None:
    """Wherever a caller puts it: not the log, no answer, no list of processes."""
    secret = token("create", "--principal", "root", "--role", "admin")
    digest = re.search(r"sha256:(\w+)", (tmp_path / "credentials.toml").read_text())
    assert digest is not None
    daemon = start_daemon(
        **TOKENS, AGENT_REGISTRY_LOG__LEVEL="debug", AGENT_REGISTRY_SERVER__DOCS="on"
    )
    wrong = secret + "x"
    said = [
        ask(daemon, method, path, given, body)
        for given in (secret, wrong)
        for method, path, body in (
            ("GET", "/agents", None),
            ("GET", "/health", None),
            ("GET", "/metrics", None),
            ("GET", "/openapi.json", None),
            ("GET", f"/agents?token={secret}", None),
            ("GET", f"/agents?limit={secret}", None),
            ("GET", f"/{secret}", None),
            ("PATCH", "/agents", None),
            ("POST", "/agents/register", BODY | {"agent_id": f"{secret} "}),
            ("POST", "/agents/register", BODY | {"port": secret}),
            ("POST", "/agents/register", BODY),
            ("POST", "/agents/billing-1/heartbeat", {"token": secret}),
        )
    ]
    said += [token("list"), token("list", "--json")]
    said += [run("daemon", "--check-config", **TOKENS).stdout]
    processes = [
        file.read_bytes()
        for file in Path(f"/proc/{daemon.process.pid}").glob("cmdline")
    ]
    daemon.process.send_signal(signal.SIGHUP)
    daemon.stop()

    told = repr(said) + daemon.log() + repr(processes)
    assert "Agent billing-1 registered" in told
    assert secret not in told
    assert digest[1] not in told


def test_the_client_and_its_command_are_known_by_their_token(
    start_daemon: Callable[..., Any],
    run: Run,
    token: Issue,
    monkeypatch: pytest.MonkeyPatch,
    wait_until: Callable[..., Any],
) -> None:
    """From the environment: register, beat, and be refused what is not theirs."""
    agent = token("create", *AGENT, "--role", "read")
    daemon = start_daemon(**TOKENS)
    url = f"http://127.0.0.1:{daemon.port}"
    monkeypatch.setenv("AGENT_REGISTRY_TOKEN", agent)
    client = AgentRegistryClient(url)
    described = {"agent_name": "Billing", "host": "10.0.0.7", "port": 80}

    with client.registered("billing-1", **described, ttl_seconds=1):
        wait_until(client.agents)
        registered = client.get("billing-1").last_heartbeat
        wait_until(lambda: client.get("billing-1").last_heartbeat > registered)
        listed = run(
            "agent_registry_client.cli", "list", "--json", "--url", url,
            AGENT_REGISTRY_TOKEN=agent, PYTHONPATH=f"{ROOT}/client",
        )  # fmt: skip
        with pytest.raises(NotAllowed):
            client.register("search-1", **described)
        refused = run(
            "agent_registry_client.cli", "list", "--url", url,
            PYTHONPATH=f"{ROOT}/client",
        )  # fmt: skip

    assert [one["agent_id"] for one in json.loads(listed.stdout)] == ["billing-1"]
    assert refused.returncode != 0
    assert "Set AGENT_REGISTRY_TOKEN" in refused.stderr
    assert client.agents() == ()
