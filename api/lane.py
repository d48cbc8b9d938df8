"""The heartbeat lane: the call a registry answers most, in front of all others.

FastAPI's routing, dependencies and response machinery cost three times what
answering a heartbeat does. So a small ASGI application stands in front and takes
exactly the heartbeats that need none of it. Whatever is unusual about a request
leaves it to the route, whose answers are the reference for these.
"""

import re

from starlette.types import ASGIApp, Receive, Scope, Send

from api.beats import HeartbeatGatherer
from api.errors import problem_of
from api.grammar import AGENT_ID
from api.models import HeartbeatAnswer
from store import StoreError

_HEARTBEAT = re.compile(rf"/agents/({AGENT_ID})/heartbeat").fullmatch
#: Headers that announce a body. An empty one, as many clients send, is none.
_BODY = (b"content-length", b"transfer-encoding")


class HeartbeatLane:
    """Answers `POST /agents/{agent_id}/heartbeat` when nothing about it is unusual."""

    def __init__(self, app: ASGIApp, beats: HeartbeatGatherer) -> None:
        self._app = app
        self._beats = beats

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a plain heartbeat; hand everything else to the application."""
        agent_id = _plain_heartbeat(scope)
        if agent_id is None:
            await self._app(scope, receive, send)
            return
        try:
            lease = await self._beats.renew(agent_id)
        except StoreError as error:
            await problem_of(error)(scope, receive, send)
            return
        body = HeartbeatAnswer.render(agent_id, lease)
        await send(
            {
                "type": "http.response.start",
                "status": 200,
                "headers": [
                    (b"content-length", b"%d" % len(body)),
                    (b"content-type", b"application/json"),
                ],
            }
        )
        await send({"type": "http.response.body", "body": body})


def _plain_heartbeat(scope: Scope) -> str | None:
    """Return the id of a heartbeat that has no body, or None for all else."""
    if scope["type"] != "http" or scope["method"] != "POST":
        return None
    matched = _HEARTBEAT(scope["path"])
    if matched is None:
        return None
    for name, value in scope["headers"]:
        if name in _BODY and value != b"0":
            return None
    return matched[1]
