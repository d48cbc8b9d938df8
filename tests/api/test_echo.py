"""What is refused may be a secret: it is neither answered nor logged."""

import secrets

import pytest
from starlette.testclient import TestClient


@pytest.mark.parametrize(
    "member",
    [
        b'"agent_id":"CANARY!"',
        b'"agent_name":"CANARY\\n"',
        b'"host":"CANARY:80"',
        b'"port":"CANARY"',
        b'"ttl_seconds":"CANARY"',
        b'"metadata":"CANARY"',
        b'"metadata":{"k":"CANARY\\u0000"}',
        b'"metadata":{"CANARY\\ud800":1}',
        b'"metadata":{"%b":1}' % (b"CANARY" * 6),
        b'"metadata":{"k":"%b"}' % (b"CANARY" * 200),
        b'"metadata":{"k":[{"CANARY":1,"CANARY":2}]}',
        b'"metadata":{"k":CANARY}',
        b'"metadata":{"k":"\\CANARY"}',
        b'"metadata":{"k":"CANARY\xff"}',
        b'"password":"CANARY"',
        b'"CANARY secret":1',
        b'"%b":1' % (b"CANARY" * 3),
        b'"CANARY":1,"CANARY":2',
        b"CANARY" * 4_000,
    ],
)
def test_rejected_body_is_neither_echoed_nor_logged(
    client: TestClient, caplog: pytest.LogCaptureFixture, member: bytes
) -> None:
    """I14: a secret in a bad body stays where it came from."""
    caplog.set_level("DEBUG")
    canary = f"q{secrets.token_hex(16)}"
    sent = b"{%b}" % member.replace(b"CANARY", canary.encode())
    headers = {"Content-Type": "application/json"}

    refused = client.post("/agents/register", content=sent, headers=headers)

    assert refused.is_client_error
    assert canary not in refused.text + str(refused.headers) + caplog.text


@pytest.mark.parametrize(
    "url",
    [
        "/agents?CANARY=1",
        "/agents?limit=CANARY",
        "/agents?include_dead=CANARY",
        "/agents?cursor=CANARY%20",
        "/agents?name=CANARY%00",
        "/agents?metadata.k=CANARY&metadata.k=CANARY",
        "/agents/CANARY",
        "/CANARY",
    ],
)
def test_rejected_url_is_not_echoed(client: TestClient, url: str) -> None:
    """I14: nor does anything of a bad address come back."""
    canary = secrets.token_hex(33)

    refused = client.get(url.replace("CANARY", canary))

    assert refused.is_client_error
    assert canary not in refused.text + str(refused.headers)


@pytest.mark.parametrize(
    "name",
    [
        "areg_A1b2C3d4E5f6G7h8I9j0K1l2M3n4O5p6Q7r8S9t0UvW",
        "areg_short",
        "metadata.areg_short",
        "A1b2C3d4E5f6G7h8I9j0K1l2M3n4O5p6Q7r8S9t0UvW",
        "q" * 33,
    ],
)
def test_a_token_in_the_place_of_a_name_is_not_echoed(
    client: TestClient, name: str
) -> None:
    """Many look like a name, whole or cut off; names of ours are shorter."""
    as_parameter = client.get(f"/agents?{name}&{name}")
    as_field = client.post("/agents/register", json={name: 1})

    assert (as_parameter.status_code, as_field.status_code) == (422, 422)
    assert name not in as_parameter.text + as_field.text


def test_a_misspelt_name_is_echoed(client: TestClient) -> None:
    """Of up to 32 characters: whoever wrote it finds it by that."""
    name = "heartbeat_interval_seconds_wanted"[:32]

    refused = client.post("/agents/register", json={name: 1})

    assert name in [error["field"] for error in refused.json()["errors"]]
