"""The one reader of time, and what leases are judged by.

Everything that needs the present instant takes a `Clock`; only `utcnow` asks
the machine. A test that freezes or replaces it therefore rules all of time.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Protocol

#: An instant in UTC as a part of a file's name: sorts as text.
FILE_STAMP = "%Y%m%dT%H%M%S.%fZ"

#: Returns the present instant, aware and in UTC.
Clock = Callable[[], datetime]


def utcnow() -> datetime:
    """Return the present instant, aware and in UTC."""
    # Called in the body, never captured: an alias taken at import stays real
    # under freezegun.
    return datetime.now(UTC)  # noqa: TID251 - this is the door


def to_the_second(instant: datetime) -> str:
    """Return an instant in UTC for people to read, as RFC 3339."""
    return f"{instant:%Y-%m-%dT%H:%M:%SZ}"


class LeaseTime(Protocol):
    """The time by which leases run; it stands still while nobody can be heard."""

    @property
    def generation(self) -> int:
        """Changes with each jump of lease time.

        What was read from the store while it changed may have been judged by
        the wrong side of the jump, and is to be read again.
        """

    def now(self) -> datetime:
        """Return the instant at which leases are judged."""
