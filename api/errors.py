"""Errors as RFC 9457 problem documents, on every path.

One table maps what the store raises to statuses and codes. A problem never
repeats a rejected value: neither the caller's logs nor ours should keep it.
"""

import http
import logging
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import orjson
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import Match
from starlette.types import Scope

from store import (
    AgentNotFound,
    NotOwner,
    QuotaExceeded,
    StoreError,
    StoreFull,
    StoreUnusable,
)

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"

#: Every `code` a problem may carry, and when. The words are part of the protocol.
CODES = {
    "malformed_json": "The body is not JSON as this API takes it.",
    "invalid_request": "The request is not what this call takes; `errors` says why.",
    "agent_not_found": "No agent is registered under this id: register it again.",
    "unauthenticated": "No valid credential came with the request.",
    "forbidden": "This caller may not make this call, or not for this agent.",
    "not_found": "There is nothing at this path.",
    "method_not_allowed": "This path does not take this method; see Allow.",
    "body_too_large": "The body is larger than this call takes.",
    "unsupported_media_type": "The body must be application/json.",
    "request_timeout": "The request did not come whole in time.",
    "header_too_large": "The request line and its headers are larger than is taken.",
    "misdirected": "This registry does not go by the name in Host.",
    "foreign_origin": "Another site's page may change nothing here.",
    "store_unavailable": "The store does not answer now; nothing was changed: retry.",
    "store_full": "The disk is full: nobody can be added. Heartbeats go on: retry.",
    "quota_exceeded": "There may be no more agents, in all or of this caller.",
    "too_many_registrations": "This caller registers too often: retry.",
    "overloaded": "Too many listings are unread, or bulk heartbeats wait: retry.",
    "leases_stopped": "Lease time stands still: agents cannot be heard.",
    "sweep_overdue": "Expired agents are not being removed.",
    "internal_error": "The registry failed; its log says why.",
    "http_error": "The request could not be served.",
}

#: Seconds after which a caller may try again what the store could not do.
_RETRY_AFTER_SECONDS = 1
#: The same for what there is no quota for: an agent has to go first.
_RETRY_QUOTA_AFTER_SECONDS = 30

#: Codes of those who are kept out, and not told what is wrong with their request.
REFUSALS = frozenset(
    {
        "unauthenticated",
        "forbidden",
        "quota_exceeded",
        "too_many_registrations",
        "overloaded",
    }
)
#: Told of each of them: the request's scope and the code.
Refused = Callable[[Scope, str], None]


#: Errors that one problem tells of: 7,500 unknown members took 100 ms to write down.
_MOST_ERRORS = 20

#: Half of all tokens look like a name: they have 43 characters behind their `areg_`.
_FIELD_NAME = re.compile(r"(?!.*areg_)[A-Za-z_][A-Za-z0-9_.]{0,31}|[0-9]{1,5}")


class FieldError(BaseModel):
    """One thing that is wrong with a request."""

    field: str = Field(description="Path of the field, dots between the steps.")
    reason: str = Field(description="What is wrong with it, without its value.")


class Problem(BaseModel):
    """An RFC 9457 problem document; `code` is stable, `detail` is for people."""

    model_config = ConfigDict(extra="allow")

    type: str = Field("about:blank", description="Always about:blank: see `code`.")
    title: str = Field(description="The status in words.")
    status: int = Field(description="The HTTP status.")
    code: str = Field(description="What went wrong, for programs.")
    detail: str = Field(description="What went wrong, for people.")
    errors: list[FieldError] | None = Field(
        default=None, description="Present with invalid_request: what is wrong."
    )
    refused: list[int] | None = Field(
        default=None,
        description="Present with forbidden, where the call is about many agents: the "
        "places in agent_ids, from 0, of those that this caller may not touch.",
    )


class ProblemError(HTTPException):
    """Raise it to answer with a problem."""

    def __init__(
        self,
        status: int,
        code: str,
        *,
        detail: str | None = None,
        errors: Sequence[FieldError] = (),
        headers: Mapping[str, str] | None = None,
        refused: Sequence[int] = (),
    ) -> None:
        super().__init__(status, detail or CODES[code], headers)
        self.code = code
        self.refused = refused
        self.errors = errors[:_MOST_ERRORS]


def shown(name: str) -> str:
    """Return the name of a field that a caller sent, if it looks like a name.

    Anything else may be a value gone astray, and is not repeated.
    """
    return name if _FIELD_NAME.fullmatch(name) else "?"


def retry_after(seconds: int) -> dict[str, str]:
    """Return the header that asks a caller to wait."""
    return {"Retry-After": str(seconds)}


def unavailable(code: str) -> ProblemError:
    """Return the problem of a call that may be made again soon."""
    return ProblemError(503, code, headers=retry_after(_RETRY_AFTER_SECONDS))


def invalid(field: str, reason: str) -> ProblemError:
    """Return the problem of one field that is wrong."""
    return ProblemError(
        422, "invalid_request", errors=[FieldError(field=field, reason=reason)]
    )


def agent_not_found() -> ProblemError:
    """Return the problem that tells a client to register again."""
    return ProblemError(404, "agent_not_found")


def forbidden(refused: Sequence[int] = ()) -> ProblemError:
    """Return the problem of a known caller who may not do this.

    Args:
        refused: where the call is about many agents, which of them are the reason: by
            their places, as no value that was sent is repeated.
    """
    return ProblemError(403, "forbidden", refused=refused)


def problem_response(
    problem: ProblemError, extensions: Mapping[str, Any] | None = None
) -> Response:
    """Render a problem; `extensions` are further members of its document."""
    document: dict[str, Any] = {
        "type": "about:blank",
        "title": http.HTTPStatus(problem.status_code).phrase,
        "status": problem.status_code,
        "code": problem.code,
        "detail": problem.detail,
    }
    if problem.errors:
        document["errors"] = [error.model_dump() for error in problem.errors]
    if problem.refused:
        document["refused"] = problem.refused
    document.update(extensions or {})
    return Response(
        orjson.dumps(document),
        status_code=problem.status_code,
        headers=problem.headers,
        media_type=MEDIA_TYPE,
    )


def answer(
    error: ProblemError | StoreError, scope: Scope, refused: Refused
) -> Response:
    """Answer an error that was foreseen; tell `refused` of who is kept out."""
    problem = error if isinstance(error, ProblemError) else _problem_of(error)
    if problem.code in REFUSALS:
        refused(scope, problem.code)
    return problem_response(problem)


def _problem_of(error: StoreError) -> ProblemError:
    """Translate what the store raised; it has logged what failed there."""
    if isinstance(error, AgentNotFound):
        return agent_not_found()
    if isinstance(error, NotOwner):
        return forbidden()
    if isinstance(error, QuotaExceeded):
        wait = retry_after(_RETRY_QUOTA_AFTER_SECONDS)
        return ProblemError(429, "quota_exceeded", headers=wait)
    if isinstance(error, StoreUnusable):
        log.error("%s", error, extra={"action": "store_unusable"})
    full = isinstance(error, StoreFull)
    return unavailable("store_full" if full else "store_unavailable")


def install(app: FastAPI, *, refused: Refused) -> None:
    """Make every error of `app` a problem; tell `refused` of who is kept out."""

    async def answer_http_exception(request: Request, error: Exception) -> Response:
        if isinstance(error, ProblemError):
            return answer(error, request.scope, refused)
        return _answer_http_exception(request, error)

    async def answer_store_error(request: Request, error: Exception) -> Response:
        assert isinstance(error, StoreError)  # noqa: S101 - as registered
        return answer(error, request.scope, refused)

    app.add_exception_handler(HTTPException, answer_http_exception)
    app.add_exception_handler(RequestValidationError, _answer_invalid_request)
    app.add_exception_handler(StoreError, answer_store_error)
    app.add_exception_handler(ClientDisconnect, _answer_nobody)
    app.add_exception_handler(Exception, _answer_internal_error)


def _answer_http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - as registered
    status = error.status_code
    if status == http.HTTPStatus.METHOD_NOT_ALLOWED:
        allow = ", ".join(sorted(_allowed_methods(request)))
        return problem_response(
            ProblemError(status, "method_not_allowed", headers={"Allow": allow})
        )
    code = "not_found" if status == http.HTTPStatus.NOT_FOUND else "http_error"
    return problem_response(ProblemError(status, code, headers=error.headers))


def _allowed_methods(request: Request) -> Iterable[str]:
    """Collect the methods of every route at this path; Starlette names only one."""
    return {
        method
        for route in request.app.routes
        if route.matches(request.scope)[0] is not Match.NONE
        for method in getattr(route, "methods", None) or ()
    }


async def _answer_invalid_request(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - as registered
    errors = [_field_error(found) for found in error.errors()[:_MOST_ERRORS]]
    return problem_response(ProblemError(422, "invalid_request", errors=errors))


def _field_error(error: Mapping[str, Any]) -> FieldError:
    _part_of_request, *steps = error["loc"]
    field = ".".join(shown(str(step)) for step in steps)
    return FieldError(field=field, reason=error["msg"].removeprefix("Value error, "))


async def _answer_nobody(_request: Request, _error: Exception) -> Response:
    # Who hung up before sending all of a request is no fault of ours to log.
    return problem_response(ProblemError(400, "http_error"))


async def _answer_internal_error(_request: Request, _error: Exception) -> Response:
    # Starlette raises the error again behind this answer: the server logs it.
    return problem_response(ProblemError(500, "internal_error"))
