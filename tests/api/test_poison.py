"""Input that once broke a registry: refused, and the list stays what it was."""

import json
import math
from collections.abc import Callable
from typing import Any

import pytest
from httpx2 import Response
from starlette.testclient import TestClient

from api.body import MAX_BODY_BYTES
from api.models import RegistrationAnswer

Register = Callable[..., Response]
AGENT = {"agent_id": "a", "agent_name": "A", "host": "h", "port": 1}


def body(**over: Any) -> bytes:
    """Return a registration's JSON; NaN and surrogates pass as Python writes them."""
    return json.dumps(AGENT | over).encode()


def raw(member: str) -> bytes:
    """Return a registration's JSON with one more member, as written."""
    return f"{json.dumps(AGENT)[:-1]},{member}}}".encode()


def deep(levels: int) -> dict[str, Any]:
    """Return metadata nested in so many levels, arrays within the object."""
    nested: Any = "bottom"
    for _ in range(levels - 1):
        nested = [nested]
    return {"k": nested}


def sized(size: int, text: str = "x") -> dict[str, str]:
    """Return metadata of so many bytes as compact JSON."""
    left = size - len('{"k":""}')
    filled = text * (left // len(text.encode()))
    return {"k": filled + "x" * (left - len(filled.encode()))}


I1_NUMBERS = [
    *(body(port=n) for n in (math.nan, math.inf, -math.inf)),
    *(body(ttl_seconds=n) for n in (math.nan, math.inf)),
    *(body(metadata={"k": n}) for n in (math.nan, [{"k": -math.inf}])),
    body(agent_name=math.nan),
    *(raw(f'"metadata":{{"k":{n}}}') for n in ("1e999", "-1e999", "[1e309]")),
    raw('"ttl_seconds":1e999'),
    *(raw(f'"metadata":{{"k":{n}}}') for n in (2**63, -(2**63) - 1, "9" * 5000)),
    raw(f'"ttl_seconds":{10**400}'),
    *(raw(f'"metadata":{{"k":{n}}}') for n in ("01", "+1", "0x1", ".5", "1.", "1_0")),
]
I2_CONTROLS = [
    *(
        body(**{field: text})
        for field in ("agent_id", "agent_name", "host")
        for text in ("a\nb", "\r\n", "a\x1b[0m", "a\x7f", "a\x85b")
    ),
]
I2_TEXTS = [
    *(
        body(**{field: text})
        for field in ("agent_id", "agent_name", "host")
        for text in ("\ud800", "\udfff", "a\x00")
    ),
    *(body(metadata={"k": text}) for text in ("\ud800", "\x00", [{"k": ["\udc00"]}])),
    *(body(metadata={key: 1}) for key in ("\ud800", "\x00", "a\x00b")),
    body(metadata={"k": [{"\x00": 1}]}),
    body(metadata={"k": [{"\udbff": 1}]}),
    *(body().decode().encode(name) for name in ("utf-16", "utf-16-le", "utf-32-be")),
    b"\xef\xbb\xbf" + body(),
    *(
        raw('"metadata":{"k":"?"}').replace(b"?", bad)
        for bad in (b"\xff", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\n")
    ),
    raw('"metadata":{"k":"\\ud800\\u0041"}'),
    raw('"metadata":{"k":"\\x41"}'),
]
I3_DEPTHS = [
    b"[" * 60_000,
    b"[" * 30_000 + b"]" * 30_000,
    b'{"k":' * 10_000,
    body(metadata=deep(900)),
    body(metadata=deep(21)),
    body(host=deep(30)),
]
I5_DUPLICATES = [
    raw('"port":1'),
    raw('"ttl_seconds":5,"ttl_seconds":5'),
    raw('"p\\u006frt":2'),
    raw('"metadata":{"k":1,"k":2}'),
    raw('"metadata":{"k":[{"a":[{"x":1,"y":2,"x":1}]}]}'),
]
I6_TTLS = [
    body(ttl_seconds=n)
    for n in (0, -1, 86_401, 10**18, 60.5, 60.0, "60", "", True, None, [60], {})
]
I7_PORTS = [
    body(port=n) for n in (0, 65_536, -1, 80.0, 80.5, "80", True, None, [], 2**62)
]
I8_IDS = [
    body(agent_id=text)
    for text in (
        *("", ".", "..", "../x", "a/b", "%2e%2e", "a%2fb", "a\n", "a\nb", "-a", "_a"),
        *("~", ":a", "a b", "a?", "a#", "a;b", "a\\b", "a@b", "é", "a\u200b", "\u0661"),
        *("a" * 256, "a" * 60_000, 1, None, True, ["a"], {}),
    )
]
I10_HOSTS = [
    body(host=text)
    for text in (
        *("", "a\r\nX-Evil: 1", "a b", " a", "http://a", "a/b", "u:p@a", "a:80"),
        *("[::1]", "fe80::1%eth0", "::g", "10.0.0.300", "10.0.0", "1", "a..b", ".a"),
        *("a.", "-a", "a-", "a.-b", "*.a", "é", "\u0661", "${jndi}", "a" * 64),
        *(".".join(["a" * 63] * 4), ".".join(["a"] * 127) + "b", 1, None, True, []),
    )
]
I11_METADATA = [
    body(metadata=sized(4_001)),
    body(metadata=sized(4_001, "é")),
    body(metadata={str(n): n for n in range(65)}),
    body(metadata={"k" * 129: 1}),
    *(body(metadata=other) for other in ([], "{}", 1, True, None, [["k", 1]])),
]
I12_UNKNOWN = [
    *(
        body(**{name: "up"})
        for name in ("status", "lease_id", "owner", "created_at", "is_alive", "")
    ),
    body(expires_at="2099-01-01T00:00:00Z"),
    *(body(**{name: None}) for name in ("agent_name", "metadata")),
    *(json.dumps({k: AGENT[k] for k in AGENT if k != name}).encode() for name in AGENT),
]
NO_OBJECTS = [b"", b"null", b"[]", b'"a"', b"1", b"{}", b"[" + body() + b"]"]
NO_JSON = [b" ", b"{", b"}", b"{'a':1}", b"{,}", body() + b"x", body() * 2]
I16_PATHS = [
    *("%00", "%ff", "%0d%0a", "a%00", "a%0d%0aX:1", "a;x=1", "%c0%ae%c0%ae", "a%20"),
    *("/a", "a%2fb", "a%2f..%2fb", "%2e%2e", ".%2e", "%25%30%30", "a" * 5_000, "+"),
    *("%ed%a0%80", "a%", "a%zz", "%F0%9F%98%80", "a%5c..%5cb"),
]

MALFORMED = (400, "malformed_json")
INVALID = (422, "invalid_request")
TOO_LARGE = (413, "body_too_large")
POISON = {
    "I1": (I1_NUMBERS, {MALFORMED}),
    "I2-controls": (I2_CONTROLS, {INVALID}),
    "I2-texts": (I2_TEXTS, {MALFORMED}),
    "I3": (I3_DEPTHS, {MALFORMED}),
    "I3-too-large": ([b"[" * 100_000, b"[" * (MAX_BODY_BYTES + 1)], {TOO_LARGE}),
    "I5": (I5_DUPLICATES, {MALFORMED}),
    "I6": (I6_TTLS, {INVALID}),
    "I7": (I7_PORTS, {INVALID}),
    "I8": (I8_IDS, {INVALID}),
    "I10": (I10_HOSTS, {INVALID}),
    "I11": (I11_METADATA, {INVALID}),
    "I12": (I12_UNKNOWN, {INVALID}),
    "no-object": (NO_OBJECTS, {INVALID}),
    "no-json": (NO_JSON, {MALFORMED}),
}


@pytest.fixture
def unharmed(client: TestClient, register: Register, frozen: object) -> Any:
    """Return what asserts that the fleet is listed as it was."""
    assert frozen
    register("a", agent_name="Kept", metadata={"k": [1.5, "é", None]})
    register("b")
    before = client.get("/agents").json()

    def unharmed() -> bool:
        after = client.get("/agents")
        return (after.status_code, after.json()) == (200, before)

    return unharmed


@pytest.mark.parametrize("row", POISON)
def test_poison_is_refused_and_harms_nothing(
    client: TestClient,
    unharmed: Callable[[], bool],
    subtests: pytest.Subtests,
    row: str,
) -> None:
    """Bad input has its answer, and afterwards the list is equal to what it was."""
    bodies, required = POISON[row]
    headers = {"Content-Type": "application/json"}

    for sent in bodies:
        with subtests.test(sent=sent[:200]):
            refused = client.post("/agents/register", content=sent, headers=headers)

            assert (refused.status_code, refused.json()["code"]) in required
            assert unharmed()


@pytest.mark.parametrize(
    ("method", "rest"), [("GET", ""), ("DELETE", ""), ("POST", "/heartbeat")]
)
def test_poisoned_path_leads_nowhere(
    client: TestClient,
    unharmed: Callable[[], bool],
    subtests: pytest.Subtests,
    method: str,
    rest: str,
) -> None:
    """I16: no odd spelling reaches an agent, and none is an error of ours."""
    for path in I16_PATHS:
        with subtests.test(path=path[:200]):
            response = client.request(method, f"/agents/{path}{rest}")

            assert response.status_code in {404, 405}
            assert unharmed()


@pytest.mark.parametrize(
    "over",
    [
        *({"ttl_seconds": n} for n in (1, 86_400)),
        *({"port": n} for n in (1, 65_535)),
        *({"agent_name": text} for text in ("x" * 256, " ", "é\U0001f600\u2028", "\\")),
        *({"host": text} for text in ("a", "A-b.c_d.e", "1.a", "10.0.0.7", "::1")),
        {"host": "2001:db8::ffff:10.0.0.7"},
        {"host": ".".join(["a" * 63] * 3 + ["b" * 61])},
        {"metadata": deep(20)},
        *({"metadata": sized(4_000, text)} for text in ("x", "é", "\U0001f600")),
        {"metadata": {str(n): n for n in range(64)}},
        {"metadata": {"k" * 128: 1, "é" * 128: 2, "": 3}},
        {"metadata": {"__proto__": {"constructor": 1}, "k": "<script>alert(1)"}},
        {"metadata": {"k": [2**63 - 1, -(2**63), 1.7976931348623157e308, 5e-324]}},
        {"metadata": {"k": ["\x01\x1f\x7f\u2028\ufffe\uffff\ufeff", "\U0010ffff"]}},
        {"metadata": {"k": [True, None, -0.0, 1e22, 0.1]}},
    ],
)
def test_odd_but_good_input_comes_back_as_it_was(
    client: TestClient, register: Register, over: dict[str, Any]
) -> None:
    """What is just within the bounds is told, stored, listed, found and beaten for."""
    wanted = AGENT | {"ttl_seconds": 60, "metadata": {}} | over

    answer = register(**wanted)
    assert answer.status_code == 201
    told = RegistrationAnswer.model_validate_json(answer.content)
    assert told.model_dump_json() == answer.text
    (listed,) = client.get("/agents").json()
    assert {name: listed[name] for name in wanted} == wanted
    assert client.get("/agents/a").status_code == 200
    assert client.post("/agents/a/heartbeat").status_code == 200
    assert register(**wanted).json()["outcome"] == "unchanged"
    for key in wanted["metadata"]:
        assert client.get("/agents", params={f"metadata.{key}x": "1"}).json() == []
    assert client.get("/health").json()["agents"]["alive"] == 1
