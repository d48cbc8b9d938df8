"""Request bodies, read strictly.

JSON leaves open what duplicate keys, huge numbers or NaN mean, and parsers
differ; whatever two parsers might read differently is refused here. Nothing that
passes can make a later answer fail to serialise.
"""

import json
import math
import re
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match
from starlette.types import Scope

from api.errors import ProblemError, invalid
from api.grammar import MAX_BULK_HEARTBEATS

#: The largest body of a call.
MAX_BODY_BYTES = 64 * 1024
#: The largest of a bulk heartbeat: room for 10,000 of the longest ids.
_MAX_BULK_BYTES = 4 * 1024 * 1024
_BULK = "/agents/heartbeats"
#: Brackets and braces of a bulk body, which has one of each, that are read all the
#: same: a call with a small mistake is told what it is.
_MAX_BULK_BRACKETS = 100
#: Levels of nesting that metadata may have; the body around it is one more.
MAX_METADATA_DEPTH = 20

_UNUSABLE = re.compile("[\x00\ud800-\udfff]")
_INTEGER_LIMIT = 2**63
_CONTAINERS = (dict, list)


class StrictRequest(Request):
    """A request whose body is bounded, and whose JSON means one thing only.

    Args:
        request: as it came in.
        bulk: whether it is a bulk heartbeat.
    """

    def __init__(self, request: Request, *, bulk: bool) -> None:
        super().__init__(request.scope, request.receive)
        self._bulk = bulk

    async def body(self) -> bytes:
        """Return the whole body.

        Raises:
            ProblemError: 413 when it is larger than its call takes; a body that
                declares its length is refused before it is read.
        """
        if not hasattr(self, "_body"):
            self._body = await self._read()
        return self._body

    async def json(self) -> Any:  # noqa: ANN401 - whatever JSON holds
        """Return the body as JSON.

        Raises:
            ProblemError: 400 for anything but plain, unambiguous JSON in UTF-8; 422
                for a bulk body that can be no call, whatever it is.
        """
        body = await self.body()
        if self._bulk:
            _require_bulk(body)
        return parse_json(body)

    async def _read(self) -> bytes:
        most = _MAX_BULK_BYTES if self._bulk else MAX_BODY_BYTES
        declared = self.headers.get("content-length", "")
        if declared.isdigit() and int(declared) > most:
            raise _too_large(most)
        body = bytearray()
        async for chunk in self.stream():
            body += chunk
            if len(body) > most:
                raise _too_large(most)
        return bytes(body)


class StrictRoute(APIRoute):
    """A route whose path is taken, and request bodies are read, strictly.

    Bodies must be JSON.
    """

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Tell whether a request is for this route, as Starlette does."""
        # But for its `$`, which matches before a newline at the end too.
        if scope["type"] == "http" and scope["path"].endswith("\n"):
            return Match.NONE, {}
        return super().matches(scope)

    def get_route_handler(
        self,
    ) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return FastAPI's handler, given strict requests."""
        handle = super().get_route_handler()
        takes_json = self.body_field is not None

        async def handle_strictly(request: Request) -> Response:
            if takes_json and not _is_json(request):
                raise ProblemError(415, "unsupported_media_type")
            # By the route, not by the path: a prefix may stand in front of that.
            return await handle(StrictRequest(request, bulk=self.path == _BULK))

        return handle_strictly


async def refuse_body(request: Request, call: str) -> None:
    """Return if the request carries no body.

    Raises:
        ProblemError: 422, as `call` has none.
    """
    if await _has_body(request):
        raise invalid("", f"{call} has no body")


async def _has_body(request: Request) -> bool:
    """Tell whether the request carries a body, reading no more than its start."""
    declared = request.headers.get("content-length")
    if declared is not None:
        return declared.strip("0") != ""
    if "transfer-encoding" not in request.headers:
        return False
    async for chunk in request.stream():
        if chunk:
            return True
    return False


def _require_bulk(body: bytes) -> None:
    # Ids have neither commas nor brackets. Two million zeros in 4 MiB took 3 s to read,
    # and nobody's heartbeat was answered meanwhile; to count takes 10 ms.
    if (
        body.count(b",") >= MAX_BULK_HEARTBEATS
        or body.count(b"[") + body.count(b"{") > _MAX_BULK_BRACKETS
    ):
        raise invalid(
            "agent_ids", f"must be at most {MAX_BULK_HEARTBEATS:,} ids and nothing else"
        )


def parse_json(body: bytes) -> Any:  # noqa: ANN401 - whatever JSON holds
    """Parse one strict JSON text.

    Raises:
        ProblemError: 400, saying what is wrong and repeating none of it.
    """
    try:
        text = body.decode("utf-8")
        parsed = _DECODER.decode(text)
        if body.count(b"{") + body.count(b"[") > _DEEPEST:  # few can nest so deep
            _check_depth(parsed, left=_DEEPEST)
        if "\\u" in text:  # only an escape can spell what UTF-8 and JSON forbid
            _check_text(parsed)
    except UnicodeDecodeError:
        raise _malformed("it is not UTF-8") from None
    except json.JSONDecodeError as error:
        what = error.msg.removesuffix(" at")
        reason = f"{what} at line {error.lineno}, column {error.colno}"
        raise _malformed(reason) from None
    except RecursionError:
        raise _too_deep() from None
    return parsed


#: Metadata is itself within an object.
_DEEPEST = MAX_METADATA_DEPTH + 1


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise _malformed("an object has the same key twice")
    return found


def _refuse_constant(_name: str) -> None:
    raise _malformed("NaN and Infinity are no JSON numbers")


def _float(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise _malformed("a number is too large")
    return number


def _integer(text: str) -> int:
    # A cheap bound first: int() of thousands of digits is slow by design.
    if len(text) > len(str(_INTEGER_LIMIT)) + 1:
        raise _malformed("an integer is beyond 64 bits")
    number = int(text)
    if not -_INTEGER_LIMIT <= number < _INTEGER_LIMIT:
        raise _malformed("an integer is beyond 64 bits")
    return number


#: Made once: json.loads() would make one for each text.
_DECODER = json.JSONDecoder(
    object_pairs_hook=_object,
    parse_constant=_refuse_constant,
    parse_float=_float,
    parse_int=_integer,
)


def _check_depth(value: object, left: int) -> None:
    if isinstance(value, _CONTAINERS):
        if left == 0:
            raise _too_deep()
        for item in value.values() if isinstance(value, dict) else value:
            if isinstance(item, _CONTAINERS):  # a call for each id would be slow
                _check_depth(item, left - 1)


def _check_text(value: object) -> None:
    """Refuse text that cannot be stored or sent again."""
    if isinstance(value, str):
        if _UNUSABLE.search(value):
            raise _malformed("text has a NUL or half a surrogate pair")
    elif isinstance(value, dict):
        for key, item in value.items():
            _check_text(key)
            _check_text(item)
    elif isinstance(value, list):
        for item in value:
            _check_text(item)


def _is_json(request: Request) -> bool:
    """Tell whether the request says that its body is JSON."""
    media_type = request.headers.get("content-type", "").partition(";")[0]
    return media_type.strip().lower() == "application/json"


def _malformed(reason: str) -> ProblemError:
    return ProblemError(400, "malformed_json", detail=f"The body is refused: {reason}.")


def _too_deep() -> ProblemError:
    return _malformed(f"metadata is nested more than {MAX_METADATA_DEPTH} deep")


def _too_large(most: int) -> ProblemError:
    return ProblemError(
        413,
        "body_too_large",
        detail=f"The body is larger than {most:,} bytes.",
        # What is left of the body is not read, so the connection is of no more use.
        headers={"Connection": "close"},
    )
