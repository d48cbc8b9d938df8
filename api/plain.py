"""Which requests are plain: nothing about them needs FastAPI to be understood.

What is told as plain is right too, so that the routes' refusals are theirs alone.
"""

import re

from starlette.types import Scope

from api.body import MAX_BODY_BYTES
from api.grammar import AGENT_ID, MAX_HOST_LENGTH, MAX_PAGE

_HEARTBEAT = re.compile(rf"/agents/({AGENT_ID})/heartbeat").fullmatch
#: Headers that announce a body. An empty one, as many clients send, is none.
_BODY = (b"content-length", b"transfer-encoding")
_OF_BODY = (*_BODY, b"content-type")

#: Texts are plain where every character stands for itself; a name may be longer than a
#: host, but hardly is.
_PARAMETER = (
    rf"(?:limit=[1-9][0-9]{{0,4}}|cursor={AGENT_ID}"
    rf"|(?:name|host)=[A-Za-z0-9._~:-]{{1,{MAX_HOST_LENGTH}}})"
)
_QUERY = re.compile(rf"(?:{_PARAMETER}(?:&{_PARAMETER})*)?").fullmatch


def plain_heartbeat(scope: Scope) -> str | None:
    """Return the id of a heartbeat that has no body, or None for all else."""
    if not _asks(scope, "POST"):
        return None
    matched = _HEARTBEAT(scope["path"])
    if matched is None:
        return None
    for name, value in scope["headers"]:
        if name in _BODY and value != b"0":
            return None
    return matched[1]


def is_plain_registration(scope: Scope) -> bool:
    """Tell a registration whose body is JSON, of a length that it says."""
    if not _asks(scope, "POST") or scope["path"] != "/agents/register":
        return False
    told = [header for header in scope["headers"] if header[0] in _OF_BODY]
    headers = dict(told)
    length = headers.get(b"content-length", b"")
    return (
        headers.get(b"content-type") == b"application/json"
        and length.isdigit()
        and len(told) == len(headers) == 2  # noqa: PLR2004 - these two, each once
        and len(length) <= len(str(MAX_BODY_BYTES))
        and int(length) <= MAX_BODY_BYTES
    )


def plain_listing(scope: Scope) -> dict[str, str] | None:
    """Return the parameters of a listing, if they are plain; None for all else."""
    if not _asks(scope, "GET") or scope["path"] != "/agents":
        return None
    query = scope["query_string"].decode("latin-1")
    if not _QUERY(query):
        return None
    pairs = [pair.split("=") for pair in query.split("&") if pair]
    given = dict(pairs)
    if len(given) < len(pairs) or int(given.get("limit", 1)) > MAX_PAGE:
        return None
    return given


def _asks(scope: Scope, method: str) -> bool:
    """Tell a request of this method to an application that is mounted nowhere."""
    return (
        scope["type"] == "http"
        and scope["method"] == method
        and not scope.get("root_path")
    )
