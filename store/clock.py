"""The one reader of time.

Everything that needs the present instant takes a `Clock`; only `utcnow` asks
the machine. A test that freezes or replaces it therefore rules all of time.
"""

from collections.abc import Callable
from datetime import UTC, datetime

#: Returns the present instant, aware and in UTC.
Clock = Callable[[], datetime]


def utcnow() -> datetime:
    """Return the present instant, aware and in UTC."""
    # Called in the body, never captured: an alias taken at import stays real
    # under freezegun.
    return datetime.now(UTC)  # noqa: TID251 - this is the door
