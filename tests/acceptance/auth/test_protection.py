"""What protects a daemon that other machines may call: TLS, and files that are safe."""

import http.client
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from .guarded import (
    AGENT,
    BODY,
    EVERYWHERE,
    TLS,
    TOKENS,
    Issue,
    Pair,
    Run,
    ask,
    certificate_of,
)


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
