"""What can go wrong when one speaks with a registry.

RegistryError
  Unreachable          nobody answered in time
  NotARegistry         somebody answered, but no registry answers so
  RegistryProblem      the registry answered with a problem; see its `code`
    AgentNotFound      no agent is registered under this id
    InvalidRequest     the request is wrong, and stays so when it is repeated
    NotAllowed         the token is missing, unknown, or not for this
    LimitReached       there are too many: agents, or registrations just now
    Unavailable        the registry cannot do it now; repeat later
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple


class RegistryError(Exception):
    """The root of all errors of this package."""

    @property
    def temporary(self) -> bool:
        """Whether the same call may succeed later, or at another registry."""
        return True


class Unreachable(RegistryError):
    """No registry answered in time; whether it heard the call is not known."""


class NotARegistry(RegistryError):
    """What answered does not speak as a registry does: is the URL right?"""


class FieldError(NamedTuple):
    """One thing that is wrong with a request."""

    #: Path of the field, dots between the steps; empty for the request as a whole.
    field: str
    reason: str


class RegistryProblem(RegistryError):
    """The registry answered with a problem (RFC 9457); decide by `code`."""

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        errors: Sequence[FieldError] = (),
        retry_after_seconds: float = 0.0,
        document: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(status, code, detail, errors, retry_after_seconds, document)
        self.status = status
        #: What went wrong, for programs: stable.
        self.code = code
        #: What went wrong, for people.
        self.detail = detail
        #: Each thing that is wrong, with `invalid_request`.
        self.errors = tuple(errors)
        #: How long the registry asks to wait; 0 when it asks nothing.
        self.retry_after_seconds = retry_after_seconds
        #: The whole problem document, members that this client does not know included.
        self.document = document or {}

    def __str__(self) -> str:
        wrong = "; ".join(f"{field} {reason}" for field, reason in self.errors)
        return f"{self.detail} [{self.status} {self.code}]{wrong and ': ' + wrong}"

    @property
    def temporary(self) -> bool:
        """Whether the same call may succeed later, or at another registry."""
        return self.status >= 500 or self.status in {408, 425, 429}  # noqa: PLR2004


class AgentNotFound(RegistryProblem):
    """No agent is registered under this id."""


class InvalidRequest(RegistryProblem):
    """The request is not what the call takes: mend the caller."""


class NotAllowed(RegistryProblem):
    """The token is missing, unknown, or gives no right to this."""


class LimitReached(RegistryProblem):
    """There are too many already, of agents or of calls just now; repeat later."""


class Unavailable(RegistryProblem):
    """The registry cannot do it now; nothing was changed."""


_BY_CODE = {
    "agent_not_found": AgentNotFound,
    "body_too_large": InvalidRequest,
    "forbidden": NotAllowed,
    "header_too_large": InvalidRequest,
    "invalid_request": InvalidRequest,
    "malformed_json": InvalidRequest,
    "overloaded": Unavailable,
    "quota_exceeded": LimitReached,
    "store_full": Unavailable,
    "store_unavailable": Unavailable,
    "sweep_overdue": Unavailable,
    "too_many_registrations": LimitReached,
    "unauthenticated": NotAllowed,
    "unsupported_media_type": InvalidRequest,
}
_BY_STATUS = {
    401: NotAllowed,
    403: NotAllowed,
    429: LimitReached,
    503: Unavailable,
}


def error_of(status: int, content: bytes, retry_after: str = "") -> RegistryError:
    """Return the error that an answer tells of; codes nobody knows yet included."""
    try:
        document = json.loads(content)
        code = str(document["code"])
        detail = str(document.get("detail", code))
        errors = [
            FieldError(str(wrong["field"]), str(wrong["reason"]))
            for wrong in document.get("errors") or ()
        ]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return NotARegistry(f"answered with {status} and no problem document")
    kind = _BY_CODE.get(code) or _BY_STATUS.get(status) or RegistryProblem
    seconds = float(retry_after) if retry_after.isdecimal() else 0.0
    return kind(status, code, detail, errors, seconds, document)
