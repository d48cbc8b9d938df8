"""Who may make which call: roles, principals, and the one check of both.

Nothing is allowed that `ACCESS` does not allow. A caller is known by a credential;
the lanes, the bulk call and every route ask `Authority.authorize` before they read
a body, and the caller it returns for each agent they touch.
"""

import re
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import translate
from functools import lru_cache
from typing import Annotated, Any, NamedTuple, Protocol

from fastapi import Depends, Request
from fastapi.responses import Response
from starlette.types import Scope

from api.body import StrictRoute
from api.errors import ProblemError, forbidden


class Role(StrEnum):
    """What a principal may do."""

    #: Everything.
    ADMIN = "admin"
    #: Read, see the metrics, remove any agent, end a hold.
    OPERATOR = "operator"
    #: Register, beat and remove agents whose ids match its patterns.
    AGENT = "agent"
    #: Find agents.
    READ = "read"
    #: See the metrics.
    METRICS = "metrics"


class Principal(NamedTuple):
    """Somebody whom a credential names, and what it lets them do."""

    name: str
    roles: frozenset[Role]
    #: Patterns of agents' ids, such as `billing-*`.
    agents: tuple[str, ...] = ()

    def covers(self, agent_ids: Iterable[str]) -> bool:
        """Tell whether a pattern names each of the agents, existing or not."""
        return all(map(_matcher(self.agents), agent_ids))

    def beyond(self, agent_ids: Iterable[str]) -> list[int]:
        """Return the places of those that no pattern names, existing or not."""
        named = _matcher(self.agents)
        return [place for place, one in enumerate(agent_ids) if not named(one)]


@lru_cache(maxsize=4096)
def _matcher(patterns: tuple[str, ...]) -> Callable[[str], object]:
    # One expression for all patterns: a bulk call asks for 10,000 ids.
    return re.compile("|".join(map(translate, patterns)) or r"(?!)").match


class Access(NamedTuple):
    """Who may make a call; an admin always may."""

    #: To their own agents only.
    own: frozenset[Role] = frozenset()
    #: To every agent, or where it is of no agent.
    all: frozenset[Role] = frozenset()
    #: Without a credential too.
    public: bool = False


_OWN = frozenset({Role.AGENT})
_READ = frozenset({Role.READ, Role.OPERATOR})
_PUBLIC = Access(public=True)

#: By operation id, or by the name of a route that is not described. A route that is
#: not here is for admins only.
ACCESS = {
    "register": Access(own=_OWN),
    "heartbeat": Access(own=_OWN),
    "bulk_heartbeat": Access(own=_OWN),
    "deregister": Access(own=_OWN, all=frozenset({Role.OPERATOR})),
    "list_agents": Access(all=_READ),
    "get_agent": Access(all=_READ),
    "metrics": Access(all=frozenset({Role.METRICS, Role.OPERATOR})),
    "release_guard": Access(all=frozenset({Role.OPERATOR})),
    # Whether it is well, everybody may know; the rest is for those who may read.
    "health": _PUBLIC,
    # What the program is, not what it knows.
    "openapi": _PUBLIC,
    "docs": _PUBLIC,
    "docs_file": _PUBLIC,
}

_UNDECLARED = Access()


@dataclass(slots=True)
class Caller:
    """Who makes one call, from where, and whose agents it may touch."""

    principal: Principal
    #: The address it came from; empty where it has none, as through a Unix socket.
    address: str
    operation: str
    #: On whose behalf the store changes agents; empty: it may change everyone's.
    owner: str
    #: The agents that the call is about, as far as it came to that.
    agent_ids: Sequence[str] = ()

    def __str__(self) -> str:
        address = self.address or "a local address"
        name = self.principal.name
        return f"{name} at {address}" if name else address

    @property
    def reads(self) -> bool:
        """Whether the caller may see what the registry knows."""
        return not self.principal.roles.isdisjoint(_READ | {Role.ADMIN})

    def require(self, agent_ids: Sequence[str], *, tell_places: bool = False) -> None:
        """Return if the caller may touch all of these agents, as far as ids tell.

        Args:
            agent_ids: of whom.
            tell_places: whether the problem tells the places of those who are refused.

        Raises:
            ProblemError: 403; whether the agents exist is not told.
        """
        self.agent_ids = agent_ids
        if self.owner and not self.principal.covers(agent_ids):
            raise forbidden(self.principal.beyond(agent_ids) if tell_places else ())


class Credentials(Protocol):
    """Who is known; asked in the event loop, so it never waits."""

    def of_token(self, token: bytes) -> Principal | None:
        """Return whose token it is; None for all that are not valid now."""

    def of_certificate(self, names: Sequence[str]) -> Principal | None:
        """Return whom one of a client certificate's names belongs to."""


#: Everybody, where nobody has to be known.
ANYBODY = Principal("", frozenset({Role.ADMIN}))
_NOBODY = Principal("", frozenset())

_CALLER = "agent_registry.caller"
#: What an address may look like, or a name in its place.
_ADDRESS = re.compile(r"[A-Za-z0-9._:%-]{0,253}")


class Authority:
    """Lets callers in, or refuses them.

    Args:
        credentials: who is known; None where nobody has to be.
    """

    def __init__(self, credentials: Credentials | None = None) -> None:
        self._credentials = credentials

    @property
    def open(self) -> bool:
        """Whether nobody has to be known."""
        return self._credentials is None

    def authorize(self, scope: Scope, operation: str) -> Caller:
        """Return who makes a call; the scope remembers it for `caller_of`.

        Reads the request's headers, and the names of its client certificate in
        `scope["extensions"]["tls"]["client_names"]`; nothing else makes a caller.

        Raises:
            ProblemError: 401 for who is not known, 403 for who may not.
        """
        principal = self._principal(scope)
        access = ACCESS.get(operation, _UNDECLARED)
        roles = principal.roles
        everywhere = (
            access.public or Role.ADMIN in roles or not roles.isdisjoint(access.all)
        )
        owner = "" if everywhere else principal.name
        caller = Caller(principal, _address(scope), operation, owner)
        scope[_CALLER] = caller
        if not everywhere and roles.isdisjoint(access.own):
            raise forbidden() if principal.name else _unauthenticated()
        return caller

    def _principal(self, scope: Scope) -> Principal:
        if self._credentials is None:
            return ANYBODY
        given = [value for name, value in scope["headers"] if name == b"authorization"]
        if not given:
            tls = scope.get("extensions", {}).get("tls", {})
            names = tls.get("client_names", ())
            return self._credentials.of_certificate(names) or _NOBODY
        scheme, _, token = given[0].partition(b" ")
        if len(given) > 1 or scheme.lower() != b"bearer":
            return _NOBODY
        return self._credentials.of_token(token.strip()) or _NOBODY


def _address(scope: Scope) -> str:
    address: str = (scope.get("client") or ("",))[0]
    # A proxy that is believed tells of others in a header, which may be anything:
    # 14 kB of a caller's own words stood in each line of the log.
    return address if _ADDRESS.fullmatch(address) else "?"


def _unauthenticated() -> ProblemError:
    return ProblemError(401, "unauthenticated", headers={"WWW-Authenticate": "Bearer"})


def known_caller(scope: Scope) -> Caller | None:
    """Return whom `authorize` found to make this call, if it was asked."""
    caller: Caller | None = scope.get(_CALLER)
    return caller


async def _caller_of(request: Request) -> Caller:
    caller: Caller = request.scope[_CALLER]
    return caller


#: The caller, as a parameter of a route.
CallerOf = Annotated[Caller, Depends(_caller_of)]


def guarded_routes(authority: Authority) -> type[StrictRoute]:
    """Return the kind of route that lets nobody in whom `authority` refuses."""

    class GuardedRoute(StrictRoute):
        def get_route_handler(
            self,
        ) -> Callable[[Request], Coroutine[Any, Any, Response]]:
            handle = super().get_route_handler()
            operation = self.operation_id or self.name

            async def handle_authorized(request: Request) -> Response:
                authority.authorize(request.scope, operation)
                return await handle(request)

            return handle_authorized

    return GuardedRoute
