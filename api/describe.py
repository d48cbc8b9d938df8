"""What `/openapi.json` says of each call, beyond what its code shows.

Each constant holds the keyword arguments of one route.
"""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from api.access import ACCESS, Role
from api.errors import MEDIA_TYPE, Problem
from api.models import (
    AgentInfo,
    BulkHeartbeatAnswer,
    HeartbeatAnswer,
    RegistrationAnswer,
    TtlLimits,
)

_PROBLEM = {"$ref": "#/components/schemas/Problem"}


def _problems(**descriptions: str) -> dict[int | str, dict[str, Any]]:
    """Document the problems of a call: `_404="..."` for each status."""
    return {
        int(status[1:]): {
            "description": description,
            "content": {MEDIA_TYPE: {"schema": _PROBLEM}},
        }
        for status, description in descriptions.items()
    }


_AVAILABLE = _problems(
    _500="The registry failed; its log says why.",
    _503="The store does not answer now; nothing was changed. Retry.",
)
_UNKNOWN = _problems(_404="No agent is registered under this id: register it again.")
_JSON_REFUSED = _problems(
    _400="The body is not plain, unambiguous JSON.",
    _413="The body is too large.",
    _415="The body is not application/json.",
    _422="A field is missing, unknown or out of its bounds.",
)
_REFUSED = _problems(
    _401="No valid credential came with the request.",
    _403="This caller may not make this call, or not for this agent.",
)
_REFUSED[401]["headers"] = {
    "WWW-Authenticate": {"description": "Bearer.", "schema": {"type": "string"}}
}
_BEARER = {
    "type": "http",
    "scheme": "bearer",
    "description": "A token that `agent-registryd token create` made. Its principal's "
    "roles say which calls it may make: see `x-roles`.",
}
_RETRY_AFTER = {
    "Retry-After": {
        "description": "Seconds to wait before trying again.",
        "schema": {"type": "integer"},
    }
}
_AVAILABLE[503]["headers"] = _RETRY_AFTER
_BOUNDED = _problems(
    _429="There may be no more agents, or this caller registers too often."
)
_BOUNDED[429]["headers"] = _RETRY_AFTER


def _link(operation: str, what: str) -> dict[str, Any]:
    return {
        "operationId": operation,
        "parameters": {"agent_id": "$response.body#/agent_id"},
        "description": what,
    }


_LINKS = {
    "heartbeat": _link("heartbeat", "Renew the lease of this agent."),
    "get": _link("get_agent", "Look this agent up."),
    "deregister": _link("deregister", "Remove this agent."),
}

_REGISTERED = {
    "agent_id": "summariser-1",
    "agent_name": "Summariser",
    "host": "10.0.0.7",
    "port": 8001,
    "ttl_seconds": 60,
    "metadata": {"skills": ["summarise", "translate"]},
    "is_alive": True,
    "status": "alive",
    "last_heartbeat": "2026-11-22T15:45:00.000000Z",
    "expires_at": "2026-11-22T15:46:00.000000Z",
    "registered_at": "2026-11-22T15:45:00.000000Z",
    "age_seconds": 0.0,
}
_ANSWERED = _REGISTERED | {"outcome": "created", "heartbeat_interval_seconds": 20.0}


def _example(value: object) -> dict[str, Any]:
    return {"application/json": {"example": value}}


REGISTER: dict[str, Any] = {
    "tags": ["agents"],
    "operation_id": "register",
    "status_code": 201,
    "response_model": RegistrationAnswer,
    "response_description": "The agent is new.",
    "responses": {
        200: {
            "model": RegistrationAnswer,
            "description": "The agent existed; its registration is as asked.",
            "content": _example(_ANSWERED | {"outcome": "unchanged"}),
            "links": _LINKS,
        },
        201: {
            "content": _example(_ANSWERED),
            "headers": {
                "Location": {
                    "description": "Path of the agent.",
                    "schema": {"type": "string"},
                }
            },
            "links": _LINKS,
        },
        **_JSON_REFUSED,
        **_BOUNDED,
        **_AVAILABLE,
    },
}

HEARTBEAT: dict[str, Any] = {
    "tags": ["agents"],
    "operation_id": "heartbeat",
    "response_model": HeartbeatAnswer,
    "response_description": "The lease is renewed.",
    "responses": {
        200: {
            "content": _example(
                {
                    "agent_id": "summariser-1",
                    "expires_at": "2026-11-22T15:46:20.000000Z",
                    "ttl_seconds": 60,
                    "heartbeat_interval_seconds": 20.0,
                }
            )
        },
        **_UNKNOWN,
        **_problems(_422="A heartbeat has no body."),
        **_AVAILABLE,
    },
}

BULK_HEARTBEAT: dict[str, Any] = {
    "tags": ["agents"],
    "operation_id": "bulk_heartbeat",
    "response_model": BulkHeartbeatAnswer,
    "response_description": "The leases of all known agents are renewed.",
    "responses": {
        200: {"content": _example({"renewed": 1, "unknown": ["gone-7"]})},
        **_problems(
            _403="This caller may not make this call, or not for all of these agents; "
            "`refused` says for which not. Nobody was renewed."
        ),
        **_JSON_REFUSED,
        **_AVAILABLE,
    },
}

#: What a filter looks for: to a database, a text ends at a NUL.
NO_NUL: dict[str, Any] = {"pattern": r"^[^\u0000]*$"}

LIST: dict[str, Any] = {
    "tags": ["agents"],
    "operation_id": "list_agents",
    "response_model": list[AgentInfo],
    "response_description": "The agents that match: alive, late and held ones, and "
    "dead ones with include_dead.",
    "responses": {
        200: {
            "content": _example([_REGISTERED]),
            "headers": {
                "Link": {
                    "description": 'With `limit`: the next page, rel="next", '
                    "when there is one.",
                    "schema": {"type": "string"},
                }
            },
        },
        **_problems(_422="A parameter is unknown, given twice or out of its bounds."),
        **_AVAILABLE,
    },
    "openapi_extra": {
        "parameters": [
            {
                "name": "metadata.KEY",
                "in": "query",
                "required": False,
                "description": "Agents whose metadata has this value under KEY: a "
                "text, a number or true/false as its text, or an array with such "
                "an element. Several filters, at most 16, must all match.",
                "schema": {"type": "string", **NO_NUL},
            }
        ]
    },
}

GET: dict[str, Any] = {
    "tags": ["agents"],
    "operation_id": "get_agent",
    "response_model": AgentInfo,
    "response_description": "The agent, dead or alive.",
    "responses": {
        200: {"content": _example(_REGISTERED)},
        **_UNKNOWN,
        **_AVAILABLE,
    },
}

DEREGISTER: dict[str, Any] = {
    "tags": ["agents"],
    "operation_id": "deregister",
    "status_code": 204,
    "response_description": "The agent is gone.",
    "responses": {
        **_UNKNOWN,
        **_problems(_422="A removal has no body."),
        **_AVAILABLE,
    },
}

HEALTH: dict[str, Any] = {
    "tags": ["registry"],
    "operation_id": "health",
    "response_description": "The registry does its work.",
    "responses": {
        200: {
            "content": _example(
                {
                    "status": "ok",
                    "version": "0.1.0",
                    "uptime_seconds": 3600.5,
                    "agents": {"alive": 40, "late": 1, "held": 0, "dead": 2},
                    "sweep": {
                        "interval_seconds": 60.0,
                        "last_finished_at": "2026-11-22T15:45:00.000000Z",
                        "age_seconds": 12.5,
                        "removed": 2,
                        "runs": 60,
                        "failures": 0,
                        "overdue": False,
                    },
                    "lease_time": {
                        "stands_still_at": None,
                        "cause": None,
                        "overdue": False,
                        "rearms": {"start": 1, "gap": 0},
                    },
                    "guard": {
                        "held": 0,
                        "since": None,
                        "until": None,
                        "level": None,
                        "cap": None,
                    },
                }
            )
        },
        **_problems(
            _500="The registry failed; its log says why.",
            _503="The store does not answer, lease time has stood still for long, or "
            "the sweep is overdue: `code` says which. The members of a healthy answer "
            "stand beside the problem's.",
        ),
    },
}
HEALTH["responses"][503]["headers"] = _RETRY_AFTER

RELEASE: dict[str, Any] = {
    "tags": ["registry"],
    "operation_id": "release_guard",
    "status_code": 204,
    "response_description": "Nobody is held; also when nobody was.",
    "responses": {**_problems(_422="A release has no body."), **_AVAILABLE},
}


METRICS: dict[str, Any] = {
    "tags": ["registry"],
    "operation_id": "metrics",
    "response_description": "What was counted since the start, and how the registry "
    "stands, in Prometheus's text format; also while the store does not answer.",
    "responses": {
        200: {
            "content": {
                "text/plain": {
                    "example": "# HELP agent_registry_agents Agents, as readers see "
                    "them.\n# TYPE agent_registry_agents gauge\n"
                    'agent_registry_agents{status="alive"} 40.0\n'
                }
            }
        },
        **_problems(_500="The registry failed; its log says why."),
    },
}


def install(app: FastAPI, ttl: TtlLimits, *, for_everybody: bool) -> None:
    """Give `app` the complete description of itself.

    Args:
        app: the application, with all of its routes.
        ttl: the TTLs that it grants.
        for_everybody: whether a caller needs no credential.
    """

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = document = _complete(app)
            _tell_ttl(document, ttl)
            _tell_access(document, for_everybody=for_everybody)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign] # FastAPI's documented way


def _tell_ttl(document: dict[str, Any], ttl: TtlLimits) -> None:
    request = document["components"]["schemas"]["AgentRegistrationRequest"]
    request["properties"]["ttl_seconds"] |= {
        "default": ttl.default_seconds,
        "minimum": ttl.min_seconds,
        "maximum": ttl.max_seconds,
    }


def _tell_access(document: dict[str, Any], *, for_everybody: bool) -> None:
    """Say of each operation who may make it."""
    document["components"]["securitySchemes"] = {"bearer": _BEARER}
    for path in document["paths"].values():
        for operation in path.values():
            access = ACCESS[operation["operationId"]]
            if access.public:
                continue
            operation["security"] = [{"bearer": []}, *([{}] if for_everybody else [])]
            operation["x-roles"] = sorted({Role.ADMIN, *access.all, *access.own})
            for status, problem in _REFUSED.items():
                operation["responses"].setdefault(str(status), problem)


def _complete(app: FastAPI) -> dict[str, Any]:
    document = get_openapi(
        title=app.title,
        version=app.version,
        summary=app.summary,
        description=app.description,
        routes=app.routes,
        tags=app.openapi_tags,
        license_info=app.license_info,
    )
    schemas = document["components"]["schemas"]
    problem = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas.update(problem.pop("$defs", {}))
    schemas["Problem"] = problem
    # FastAPI's own validation errors are never sent: ours are problems.
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    for path in document["paths"].values():
        for operation in path.values():
            refused = operation["responses"].get("422", {"content": {MEDIA_TYPE: {}}})
            if MEDIA_TYPE not in refused["content"]:
                del operation["responses"]["422"]
    return document
