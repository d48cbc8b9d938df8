"""Every call of the protocol: what to send, and how to read what comes back.

Nothing here touches a network: both clients send these.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar
from urllib.parse import parse_qs, quote, urlencode, urlsplit

from agent_registry_client.errors import NotARegistry, error_of
from agent_registry_client.models import (
    AgentInfo,
    BulkRenewal,
    Health,
    Page,
    RegisteredAgent,
    Renewal,
    read,
)

T_co = TypeVar("T_co", covariant=True)
L = TypeVar("L", RegisteredAgent, Renewal)

#: How many agents one heartbeat may renew.
MAX_BULK = 10_000

#: As many unknown ids, each of 255 characters, are below this.
_MAX_UNKNOWN_BYTES = 4 << 20
#: A listing of a million agents is below this; what never ends is not.
_MAX_LISTING_BYTES = 1 << 30

_AGENT_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:~-]{0,254}")
_NEXT = re.compile(r'<([^>]*)>\s*;\s*rel="?next"?')


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back, header names in lower case."""

    status: int
    headers: Mapping[str, str]
    content: bytes

    def json(self) -> Any:  # noqa: ANN401 - whatever JSON holds
        """Decode the content."""
        return json.loads(self.content)


@dataclass(frozen=True, slots=True)
class Call(Generic[T_co]):
    """One request, and how to read its answer."""

    method: str
    target: str
    understand: Callable[[Answer], T_co]
    #: Sent as JSON; nothing is sent without one.
    body: bytes | None = None
    good: tuple[int, ...] = (200,)
    #: More than this is no answer to it.
    max_answer_bytes: int = 1 << 20

    def read(self, answer: Answer) -> T_co:
        """Return what `answer` tells.

        Raises:
            RegistryProblem: the registry refused the call, or could not serve it.
            NotARegistry: no registry answers so.
        """
        if answer.status not in self.good:
            retry_after = answer.headers.get("retry-after", "")
            raise error_of(answer.status, answer.content, retry_after)
        try:
            return self.understand(answer)
        except (
            ArithmeticError,
            AttributeError,
            KeyError,
            RecursionError,
            TypeError,
            ValueError,
        ):
            raise NotARegistry(
                f"answered {self.method} {self.target} with {answer.status} "
                "and a content that does not belong there"
            ) from None


def register(
    agent_id: str,
    *,
    agent_name: str,
    host: str,
    port: int,
    ttl_seconds: int | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> Call[RegisteredAgent]:
    """Make this the complete registration of an agent."""
    described = {
        "agent_id": agent_id,
        "agent_name": agent_name,
        "host": host,
        "port": port,
        "ttl_seconds": ttl_seconds,
        "metadata": metadata and dict(metadata),
    }
    body = _json({k: value for k, value in described.items() if value is not None})
    return Call("POST", "/agents/register", _registered, body, (200, 201))


def heartbeat(agent_id: str) -> Call[Renewal]:
    """Renew the lease of an agent."""
    return Call("POST", f"{_path(agent_id)}/heartbeat", _renewed)


def heartbeat_all(agent_ids: Iterable[str]) -> Call[BulkRenewal]:
    """Renew the leases of many agents."""
    body = _json({"agent_ids": list(agent_ids)})
    return Call(
        "POST",
        "/agents/heartbeats",
        _as(BulkRenewal),
        body,
        max_answer_bytes=_MAX_UNKNOWN_BYTES,
    )


def agents(
    *,
    name: str | None = None,
    host: str | None = None,
    metadata: Mapping[str, Any] | None = None,
    include_dead: bool = False,
    limit: int | None = None,
    cursor: str | None = None,
) -> Call[Page]:
    """List the agents that match, or a page of them."""
    asked = {
        "name": name,
        "host": host,
        "include_dead": "true" if include_dead else None,
        "limit": limit,
        "cursor": cursor,
        **{f"metadata.{key}": _text(value) for key, value in (metadata or {}).items()},
    }
    query = urlencode({k: value for k, value in asked.items() if value is not None})
    return Call(
        "GET",
        f"/agents?{query}" if query else "/agents",
        partial(_page, cursor or ""),
        max_answer_bytes=_MAX_LISTING_BYTES,
    )


def get(agent_id: str) -> Call[AgentInfo]:
    """Tell of one agent."""
    return Call("GET", _path(agent_id), _as(AgentInfo))


def deregister(agent_id: str) -> Call[None]:
    """Remove an agent."""
    return Call("DELETE", _path(agent_id), lambda _: None, good=(204,))


def health() -> Call[Health]:
    """Tell how the registry is; that it is unwell is an answer too."""
    return Call("GET", "/health", _health, good=(200, 503))


def metrics() -> Call[str]:
    """Tell the numbers of the registry, in Prometheus' text format."""
    return Call("GET", "/metrics", lambda answer: answer.content.decode())


def release_guard() -> Call[None]:
    """Let go of the agents that the guard against mass expiry holds."""
    return Call("POST", "/guard/release", lambda _: None, good=(204,))


def _path(agent_id: str) -> str:
    # "." and ".." would name another path, and no registry knows such ids.
    if not _AGENT_ID.fullmatch(agent_id):
        raise ValueError(f"{agent_id!r} cannot be the id of an agent")
    return "/agents/" + quote(agent_id, safe=":~")


def _json(value: object) -> bytes:
    encoded = json.dumps(
        value, ensure_ascii=False, allow_nan=False, separators=(",", ":")
    )
    return encoded.encode()


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _as(kind: type[T_co]) -> Callable[[Answer], T_co]:
    def understand(answer: Answer) -> T_co:
        told: T_co = read(kind, answer.json())
        return told

    return understand


def _lease(kind: type[L]) -> Callable[[Answer], L]:
    def understand(answer: Answer) -> L:
        told = _as(kind)(answer)
        if told.heartbeat_interval_seconds <= 0:
            raise ValueError("no interval to beat at")
        return told

    return understand


# Once, not for each call: keepers of many agents hold a call for each of them.
_registered = _lease(RegisteredAgent)
_renewed = _lease(Renewal)


def _page(behind: str, answer: Answer) -> Page:
    following = _NEXT.search(answer.headers.get("link", ""))
    cursors = parse_qs(urlsplit(following[1]).query)["cursor"] if following else [None]
    if cursors[0] is not None and cursors[0] <= behind:
        raise ValueError("pages without an end")
    return Page(
        agents=read(tuple[AgentInfo, ...], answer.json()), next_cursor=cursors[0]
    )


def _health(answer: Answer) -> Health:
    told = answer.json()
    # A problem, if it is unwell, perhaps with the health beside it.
    status = told["status" if answer.status == 200 else "code"]  # noqa: PLR2004
    health: Health = read(Health, told | {"status": status})
    return health
