"""A daemon with tokens, as a process: who may do what, and for how long."""

import http.client
import json
import re
import signal
import statistics
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from agent_registry_client import AgentRegistryClient, NotAllowed

from .guarded import AGENT, BODY, ROOT, TOKENS, Issue, Run, ask, seconds_until


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
