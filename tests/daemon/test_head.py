"""What the head of a request must be."""

from typing import Any

import pytest

from api.errors import ProblemError
from daemon.head import HeadCheck

OURS = ("registry.internal", "Registry-2", "192.0.2.1")


@pytest.fixture
def check() -> HeadCheck:
    """Return what knows two names of ours."""
    return HeadCheck(OURS)


def _judge(
    check: HeadCheck, *headers: tuple[str, str], target: str = "/agents", **over: str
) -> int | None:
    """Return the status with which a head is refused, if it is."""
    scope: Any = {"method": "POST", "http_version": "1.1"} | over
    scope["headers"] = [(name.encode(), value.encode()) for name, value in headers]
    try:
        check.judge(scope, target.encode())
    except ProblemError as refusal:
        return refusal.status_code
    return None


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LOCALHOST:8790",
        "127.0.0.1",
        "10.0.0.7:8790",
        "[::1]",
        "[2001:db8::7]:8790",
        "[::ffff:10.0.0.7]:1",
        "registry.internal",
        "Registry.Internal:443",
        "registry-2",
        "localhost:",
    ],
)
def test_an_address_or_a_name_of_ours_is_good(check: HeadCheck, host: str) -> None:
    """With any port, in any case of letters, the first time and the next."""
    answers = [_judge(check, ("host", host)) for _ in range(2)]

    assert answers == [None, None]


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "registry",
        "localhost.",
        "127.1",
        "0x7f000001",
        "2130706433",
        "999.0.0.1",
    ],
)
def test_any_other_name_is_misdirected(check: HeadCheck, host: str) -> None:
    """A page can have a name of its own mean this machine, but not our name."""
    answers = [_judge(check, ("host", host)) for _ in range(2)]

    assert answers == [421, 421]


@pytest.mark.parametrize(
    "host",
    [
        "",
        " ",
        "user@localhost",
        "localhost/x",
        "localhost:8790:1",
        "localhost:port",
        "localhost:123456",
        "[::1",
        "[localhost]",
        "[:::]",
        "::1",
        "a b",
        "b\u00fccher.example",
        "x" * 254,
    ],
)
def test_what_is_no_host_is_refused(check: HeadCheck, host: str) -> None:
    """400, as for anything that has no one meaning."""
    assert _judge(check, ("host", host)) == 400


HOST = ("host", "localhost")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([], 400),
        ([HOST, HOST], 400),
        ([HOST, ("host", "evil.example")], 400),
        ([HOST, ("transfer-encoding", "chunked")], None),
        ([HOST, ("transfer-encoding", "Chunked")], None),
        ([HOST, ("transfer-encoding", "gzip, chunked")], 400),
        ([HOST, ("transfer-encoding", "chunked ")], 400),
        ([HOST, ("transfer-encoding", "chunked"), ("transfer-encoding", "x")], 400),
        ([HOST, ("upgrade", "h2c")], None),
        ([HOST, ("upgrade", "websocket")], 400),
        ([HOST, ("upgrade", "h2c, websocket")], 400),
        ([HOST, ("accept", "a"), ("accept", "b")], None),
    ],
)
def test_what_decides_how_a_request_is_read_stands_once(
    check: HeadCheck, headers: list[tuple[str, str]], status: int | None
) -> None:
    """And says what can be understood in one way only."""
    assert _judge(check, *headers) == status


@pytest.mark.parametrize(
    ("version", "headers", "status"),
    [
        ("1.0", [], None),
        ("1.0", [("host", "evil.example")], 421),
        ("1.0", [HOST, ("transfer-encoding", "chunked")], 400),
        ("0.9", [HOST], 400),
        ("2.0", [HOST], 400),
    ],
)
def test_versions_before_1_1_need_no_host(
    check: HeadCheck, version: str, headers: list[tuple[str, str]], status: int | None
) -> None:
    """Other versions than 1.0 and 1.1 are none of ours."""
    assert _judge(check, *headers, http_version=version) == status


@pytest.mark.parametrize(
    ("origin", "host", "status"),
    [
        ("http://localhost:8790", "localhost:8790", None),
        ("https://registry.internal", "Registry.internal", None),
        ("http://localhost:8791", "localhost:8790", 403),
        ("http://localhost", "localhost:8790", 403),
        ("http://evil.example", "localhost:8790", 403),
        ("null", "localhost:8790", 403),
        ("", "localhost:8790", 403),
        ("localhost:8790", "localhost:8790", 403),
    ],
)
def test_a_page_of_another_origin_changes_nothing(
    check: HeadCheck, origin: str, host: str, status: int | None
) -> None:
    """It may read what it is not shown anyway; nothing else."""
    headers = [("host", host), ("origin", origin)]

    answers = [_judge(check, *headers, method=name) for name in ("DELETE", "GET")]

    assert answers == [status, None]


@pytest.mark.parametrize(
    ("target", "method", "status"),
    [
        ("http://localhost/agents", "GET", None),
        ("HTTPS://LOCALHOST/", "GET", None),
        ("http://evil.example/agents", "GET", 400),
        ("http://localhost@evil.example/", "GET", 400),
        ("http://localhost", "GET", 400),
        ("file://localhost/", "GET", 400),
        ("*", "OPTIONS", None),
        ("*", "GET", 400),
        ("localhost:80", "CONNECT", 400),
    ],
)
def test_a_target_is_a_path_of_ours(
    check: HeadCheck, target: str, method: str, status: int | None
) -> None:
    """Or a whole URL whose host is that of Host."""
    assert _judge(check, HOST, target=target, method=method) == status


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("http://localhost/agents", None),
        ("http://10.0.0.7:8790/", None),
        ("http://Registry.Internal/", None),
        ("http://evil.example/agents", 421),
        ("http://localhost@evil.example/", 400),
        ("http:///agents", 400),
    ],
)
def test_a_whole_url_stands_in_for_a_host_that_is_missing(
    check: HeadCheck, target: str, status: int | None
) -> None:
    """As HTTP/1.0 may have none; it is judged as that would be."""
    assert _judge(check, target=target, http_version="1.0") == status
