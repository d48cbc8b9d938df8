"""The head of a request, judged before anything else looks at it.

Two programs that read one request differently can be played against each other
(request smuggling); and a web page may send requests here in the name of whoever
looks at it. Both are refused by what stands in the head.
"""

import functools
import ipaddress
import re
from collections.abc import Iterable
from typing import NamedTuple

from uvicorn._types import HTTPScope

from api.errors import ProblemError

#: Headers that few requests have, and that decide how they are read. None may come
#: twice, nor may Host; the parser itself sees to Content-Length.
_RARE = frozenset((b"origin", b"transfer-encoding", b"upgrade"))
_JUDGED = _RARE | {b"host"}
_SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
_HOST = re.compile(
    rb"(?:\[([0-9A-Fa-f:.]{2,45})\]|([A-Za-z0-9._-]{1,253}))(?::\d{0,5})?"
)
#: Good values of Host that are remembered; clients of one registry use a few.
_REMEMBERED = 256


class Trust(NamedTuple):
    """Whom a listener believes."""

    #: The names it goes by, besides localhost and all addresses.
    hosts: tuple[str, ...] = ()
    #: The proxies whose X-Forwarded-For and -Proto are believed.
    proxies: tuple[str, ...] = ()


class HeadCheck:
    """Judges heads of requests.

    Args:
        hosts: the names the registry goes by, besides localhost and all addresses.
    """

    def __init__(self, hosts: Iterable[str]) -> None:
        self._names = frozenset(name.lower() for name in ("localhost", *hosts))
        # What raises is not remembered: only good hosts take room.
        self._check_host = functools.lru_cache(_REMEMBERED)(self._judge_host)

    def judge(self, scope: HTTPScope, target: bytes) -> None:
        """Refuse a head that is ambiguous, or none of our business.

        Args:
            scope: method, version and headers of the request.
            target: what stands behind the method.

        Raises:
            ProblemError: the request goes no further.
        """
        host: bytes | None = None
        rare = scope["http_version"] != "1.1"
        for name, value in scope["headers"]:
            if name in _JUDGED:
                if name != b"host":
                    rare = True
                elif host is None:
                    host = value
                else:
                    raise broken()
        if host is not None:
            self._check_host(host)
        elif scope["http_version"] != "1.0":
            raise broken()
        if not target.startswith(b"/"):
            self._judge_target(scope["method"], target, host)
        if rare:
            _judge_rare(scope, host or b"")

    def _judge_host(self, value: bytes) -> None:
        """Refuse a name that is not ours: only a name can be made to mean us."""
        matched = _HOST.fullmatch(value)
        if matched is None:
            raise broken()
        address, name = matched.groups()
        if address is not None and not _is_address(address):
            raise broken()
        ours = name is None or name.lower().decode() in self._names
        if not ours and not _is_address(name):
            raise ProblemError(421, "misdirected")

    def _judge_target(self, method: str, target: bytes, host: bytes | None) -> None:
        """Take a whole URL when it names the same host, and `*` where it is meant."""
        if target == b"*" and method == "OPTIONS":
            return
        scheme, _, rest = target.partition(b"://")
        authority, slash, _ = rest.partition(b"/")
        if scheme.lower() not in (b"http", b"https") or not slash:
            raise broken()
        if host is None:
            self._check_host(authority)
        elif authority.lower() != host.lower():
            raise broken()


def plain_head(scope: HTTPScope, target: bytes, *, keep_alive: bool) -> bytes:
    """Return the head of a request as it stands without a wish for an upgrade."""
    unwanted = (b"connection", b"upgrade", b"http2-settings")
    connection = b"keep-alive" if keep_alive else b"close"
    lines = [
        b"%s %s HTTP/%s"
        % (scope["method"].encode(), target, scope["http_version"].encode()),
        b"connection: " + connection,
        *(
            name + b": " + value
            for name, value in scope["headers"]
            if name not in unwanted
        ),
    ]
    return b"\r\n".join(lines) + b"\r\n\r\n"


def broken() -> ProblemError:
    """Return the problem of a request that is not read any further."""
    return ProblemError(400, "http_error")


def _is_address(text: bytes) -> bool:
    try:
        ipaddress.ip_address(text.decode())
    except ValueError:
        return False
    return True


def _judge_rare(scope: HTTPScope, host: bytes) -> None:
    """Judge what most requests have not."""
    rare = [(name, value) for name, value in scope["headers"] if name in _RARE]
    headers = dict(rare)
    version = scope["http_version"]
    if len(headers) < len(rare) or version not in ("1.1", "1.0"):
        raise broken()
    coding = headers.get(b"transfer-encoding")
    if coding is not None and (coding.lower() != b"chunked" or version == "1.0"):
        raise broken()
    # Java's client asks for h2c with each first request; it may be ignored.
    if headers.get(b"upgrade", b"h2c").lower() != b"h2c":
        raise broken()
    origin = headers.get(b"origin")
    if origin is not None and scope["method"] not in _SAFE_METHODS:
        authority = origin.partition(b"://")[2]
        if not authority or authority.lower() != host.lower():
            raise ProblemError(403, "foreign_origin")
