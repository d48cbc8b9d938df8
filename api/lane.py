"""The lanes: the three calls a registry lives on, in front of all others.

FastAPI's routing, dependencies and response machinery cost three times what
answering a heartbeat does. So small ASGI applications stand in front, and take
exactly the heartbeats, registrations and listings that need none of it. Whatever is
unusual about a request leaves the lane for the route, whose answers are the reference.
"""

from collections.abc import Awaitable, Callable

from pydantic import ValidationError
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.access import Authority
from api.beats import HeartbeatGatherer
from api.body import MAX_BODY_BYTES, parse_json
from api.errors import ProblemError, Refused, answer, problem_response
from api.finding import Finder
from api.models import AgentRegistrationRequest, HeartbeatAnswer
from api.plain import is_plain_registration, plain_heartbeat, plain_listing
from api.registering import Registrar
from store import AgentFilter, StoreError

_JSON = (b"content-type", b"application/json")


class HeartbeatLane:
    """Answers `POST /agents/{agent_id}/heartbeat` when nothing about it is unusual."""

    def __init__(
        self,
        app: ASGIApp,
        beats: HeartbeatGatherer,
        authority: Authority,
        refused: Refused,
    ) -> None:
        self._app = app
        self._beats = beats
        self._authority = authority
        self._refused = refused

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a plain heartbeat; hand everything else to the application."""
        agent_id = plain_heartbeat(scope)
        if agent_id is None:
            await self._app(scope, receive, send)
            return
        try:
            caller = self._authority.authorize(scope, "heartbeat")
            caller.require([agent_id])
            lease = await self._beats.renew(agent_id, caller.owner)
        except Exception as error:  # noqa: BLE001 - raised again where it is a fault
            await _answer_error(error, self._refused, scope, receive, send)
            return
        await _send(send, 200, HeartbeatAnswer.render(agent_id, lease))


class RegistrationLane:
    """Answers `POST /agents/register` when its request is plain and right."""

    def __init__(
        self,
        app: ASGIApp,
        registrar: Registrar,
        authority: Authority,
        refused: Refused,
    ) -> None:
        self._app = app
        self._registrar = registrar
        self._authority = authority
        self._refused = refused

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a plain registration; hand everything else to the application."""
        if not is_plain_registration(scope):
            await self._app(scope, receive, send)
            return
        try:
            # Before a byte of the body is read.
            caller = self._authority.authorize(scope, "register")
            received = await _received(receive)
            registration = _registration(received)
            if registration is not None:
                done = await self._registrar.register(registration, caller)
        except Exception as error:  # noqa: BLE001 - raised again where it is a fault
            await _answer_error(error, self._refused, scope, receive, send)
            return
        if registration is None:
            await self._app(scope, _again(received, receive), send)
            return
        new = () if done.location is None else ((b"location", done.location.encode()),)
        await _send(send, done.status, done.body, *new)


class ListingLane:
    """Answers `GET /agents` when its parameters are plain and right."""

    def __init__(
        self, app: ASGIApp, finder: Finder, authority: Authority, refused: Refused
    ) -> None:
        self._app = app
        self._finder = finder
        self._authority = authority
        self._refused = refused

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a plain listing; hand everything else to the application."""
        given = plain_listing(scope)
        if given is None:
            await self._app(scope, receive, send)
            return
        try:
            self._authority.authorize(scope, "list_agents")
            listing = await self._finder.list(
                AgentFilter(name=given.get("name"), host=given.get("host")),
                given.items(),
                after=given.get("cursor"),
                limit=int(given["limit"]) if "limit" in given else None,
            )
        except Exception as error:  # noqa: BLE001 - raised again where it is a fault
            await _answer_error(error, self._refused, scope, receive, send)
            return
        await listing(scope, receive, send)


async def _send(
    send: Send, status: int, body: bytes, *headers: tuple[bytes, bytes]
) -> None:
    """Answer with JSON; a Starlette Response takes a tenth of a registration."""
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [*headers, (b"content-length", b"%d" % len(body)), _JSON],
        }
    )
    await send({"type": "http.response.body", "body": body})


async def _answer_error(
    error: Exception, refused: Refused, scope: Scope, receive: Receive, send: Send
) -> None:
    """Answer with the problem of an error; raise again what nobody foresaw."""
    if isinstance(error, ProblemError | StoreError):
        await answer(error, scope, refused)(scope, receive, send)
    else:
        failure = problem_response(ProblemError(500, "internal_error"))
        await failure(scope, receive, send)
        raise error  # the server logs it


async def _received(receive: Receive) -> list[Message]:
    """Receive a request to its end; its length was announced, and is bounded."""
    received = [await receive()]
    while received[-1].get("more_body"):
        received.append(await receive())
    return received


def _registration(received: list[Message]) -> AgentRegistrationRequest | None:
    """Return the registration that was received, if it is whole and right."""
    body = b"".join(message.get("body", b"") for message in received)
    whole = all(message["type"] == "http.request" for message in received)
    if not whole or len(body) > MAX_BODY_BYTES:
        return None
    try:
        return AgentRegistrationRequest.model_validate(parse_json(body))
    except (ProblemError, ValidationError):
        return None


def _again(
    received: list[Message], receive: Receive
) -> Callable[[], Awaitable[Message]]:
    """Return a `receive` that begins with what was received already."""
    waiting = iter(received)

    async def receive_again() -> Message:
        for message in waiting:
            return message
        return await receive()

    return receive_again
