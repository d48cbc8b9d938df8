"""Who a caller is: what counts as a credential, and where none is needed."""

from collections.abc import Callable
from typing import Any

import pytest
from starlette.testclient import TestClient

from api import AgentRegistryServer
from api.access import Authority
from store import AgentRecord, AgentRegistryRepository


@pytest.mark.parametrize(
    "given",
    [
        ["billing"],
        ["Basic billing"],
        ["Bearer"],
        ["Bearer "],
        ["Bearer wrong"],
        ["Bearer billing billing"],
        ["Bearer billing", "Bearer billing"],
        ["Bearer \xff\xfe"],
        ["Bearer " + "x" * 8_000],
    ],
)
def test_a_credential_that_is_none_lets_nobody_in(
    client: TestClient, given: list[str]
) -> None:
    """Wrong schemes, unknown tokens, two tokens: all are strangers."""
    headers = [("authorization", one.encode("latin-1")) for one in given]

    response = client.post("/agents/billing-1/heartbeat", headers=headers)

    assert response.status_code == 401
    assert response.json()["code"] == "unauthenticated"
    assert response.headers["www-authenticate"] == "Bearer"


def test_nothing_but_a_credential_makes_a_caller(client: TestClient) -> None:
    """No header, agent or address looks internal."""
    pretended = {
        "User-Agent": "agent-registry-internal",
        "X-Forwarded-For": "127.0.0.1",
        "X-Real-IP": "127.0.0.1",
        "Forwarded": "for=127.0.0.1",
        "Cookie": "Authorization=Bearer root",
        "X-Principal": "root",
    }

    responses = [
        client.get("/agents", headers=pretended),
        client.get("/agents?token=root&access_token=root", headers=pretended),
    ]

    assert [response.status_code for response in responses] == [401, 401]


def test_who_is_refused_is_not_read(client: TestClient) -> None:
    """A stranger's broken body is answered with 401, not with what is wrong with it."""
    broken = {"content": "{", "headers": {"Content-Type": "application/json"}}

    answered = [
        client.post(path, **broken).status_code  # type: ignore[arg-type]
        for path in ("/agents/register", "/agents/heartbeats")
    ]

    assert answered == [401, 401]


def test_a_certificate_names_a_principal(authority: Authority) -> None:
    """Where no token comes with the request; a token is not helped by one."""
    scope: dict[str, Any] = {
        "headers": [],
        "client": ("10.0.0.7", 5),
        "extensions": {"tls": {"client_names": ("nobody", "search")}},
    }
    with_token = scope | {"headers": [(b"authorization", b"Bearer wrong")]}

    assert authority.authorize(scope, "heartbeat").principal.name == "search"
    with pytest.raises(Exception, match="No valid credential"):
        authority.authorize(with_token, "heartbeat")


@pytest.mark.parametrize(
    ("client", "told"),
    [
        (None, ""),
        (("", 0), ""),
        (("203.0.113.9", 443), "203.0.113.9"),
        (("fe80::1%eth0", 443), "fe80::1%eth0"),
        (("unknown", 0), "unknown"),
        (("9.9.9.9 by root", 0), "?"),
        (("9.9.9.9\n", 0), "?"),
        (("[::1", 0), "?"),
        (("A" * 254, 0), "?"),
    ],
)
def test_an_address_is_told_if_it_looks_like_one(
    client: tuple[str, int] | None, told: str
) -> None:
    """A proxy that is believed may pass on what a caller wrote: 14 kB of a sentence."""
    scope: dict[str, Any] = {"headers": [], "client": client}

    assert Authority().authorize(scope, "heartbeat").address == told


def test_where_nobody_has_to_be_known_everybody_may_do_everything(
    repo: AgentRegistryRepository, make_body: Callable[..., dict[str, Any]]
) -> None:
    """Also to agents that have an owner, from when callers were known; it stays."""
    client = TestClient(AgentRegistryServer("unused:", repo).create_app())
    repo.register(AgentRecord(**make_body("billing-1"), owner="billing"))

    answered = [
        client.post("/agents/register", json=make_body("billing-1", port=1)),
        client.post("/agents/billing-1/heartbeat"),
        client.post("/agents/heartbeats", json={"agent_ids": ["billing-1"]}),
    ]

    assert [answer.status_code for answer in answered] == [200, 200, 200]
    kept = repo.get("billing-1")
    assert kept is not None
    assert (kept.owner, kept.port) == ("billing", 1)
