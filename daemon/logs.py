"""How log lines look, for a terminal, programs or the journal; and how many there are.

Whoever can make the daemon say something could fill a disk with it. So lines are
counted by their kind, and what exceeds a number a minute is only counted.
"""

import datetime as dt
import json
import logging
import os
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Literal

from daemon.standard_error import standard_error

#: Loggers of libraries that speak at info of what our own lines already tell.
_TALKATIVE = ("apscheduler", "uvicorn", "asyncio", "peewee")

_STANDARD = frozenset(
    {*vars(logging.makeLogRecord({})), "message", "asctime", "taskName"}
)

#: Syslog levels, as systemd reads them from a line's prefix (sd-daemon(3)).
_JOURNALD_LEVELS = (
    (logging.ERROR, 3),
    (logging.WARNING, 4),
    (logging.INFO, 6),
    (logging.DEBUG, 7),
)


#: Kinds of lines that are counted apart; a library may put anything into its own.
_KINDS = 100
_MINUTE_SECONDS = 60
#: What an owner can do only so often: nobody is removed who was not registered.
_BOUNDED = frozenset({"agent_registered", "agent_deregistered"})

log = logging.getLogger(__name__)


def configure_logging(
    level: str,
    line_format: Literal["auto", "text", "json", "journald"],
    lines_per_minute: int = 600,
) -> None:
    """Send every log record to standard error, in lines of this format.

    Args:
        level: what is below it is not told.
        line_format: "auto" is "journald" where systemd reads standard error, else
            "text".
        lines_per_minute: so many lines of one kind are told in a minute.
    """
    if line_format == "auto":
        line_format = "journald" if "JOURNAL_STREAM" in os.environ else "text"
    handler = standard_error()
    handler.setFormatter(
        {"text": TextLines, "json": JsonLines, "journald": JournaldLines}[line_format]()
    )
    handler.addFilter(LineLimit(lines_per_minute))
    # No line tells its caller, process or thread: finding them out takes a third of
    # what a line costs (the "Optimization" section of Python's logging).
    logging._srcfile = None  # noqa: SLF001
    logging.logThreads = logging.logProcesses = False
    logging.logMultiprocessing = False
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)


class LineLimit(logging.Filter):
    """Lets so many lines of a kind pass in a minute; tells how many it kept back.

    A line's kind is its `action`, else its logger and sentence. Critical lines
    always pass, and so do the registrations and removals of an `owner`, whose quota
    bounds them. May be asked from any thread.

    Args:
        lines_per_minute: of one kind.
        monotonic: the clock.
    """

    def __init__(
        self,
        lines_per_minute: int,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self._most = lines_per_minute
        self._now = monotonic
        self._lock = threading.Lock()
        self._seen: Counter[str] = Counter()
        self._over_at = 0.0

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether the line passes; before it, what the last minute kept back."""
        with self._lock:
            dropped = self._turn() if self._now() >= self._over_at else {}
            passes = _always_passes(record) or self._count(record)
        if dropped:
            _tell_dropped(dropped)
        return passes

    def _turn(self) -> dict[str, int]:
        """Begin a minute; return what was kept back in the last one, by kind."""
        seen, self._seen = self._seen, Counter()
        self._over_at = self._now() + _MINUTE_SECONDS
        return {
            kind: count - self._most
            for kind, count in seen.items()
            if count > self._most
        }

    def _count(self, record: logging.LogRecord) -> bool:
        kind = getattr(record, "action", None) or f"{record.name}: {record.msg}"
        if kind not in self._seen and len(self._seen) >= _KINDS:
            kind = "others"
        self._seen[kind] += 1
        return self._seen[kind] <= self._most


def _always_passes(record: logging.LogRecord) -> bool:
    action, owner = getattr(record, "action", ""), getattr(record, "owner", "")
    bounded = action in _BOUNDED and owner
    return bool(bounded) or record.levelno >= logging.CRITICAL


def _tell_dropped(dropped: dict[str, int]) -> None:
    log.warning(
        "Lines were not told: %s",
        ", ".join(f"{count} of {kind}" for kind, count in dropped.items()),
        extra={"action": "log_dropped", "dropped": dropped},
    )


class TextLines(logging.Formatter):
    """`2026-11-22T15:45:00.123Z info    daemon.app: Ready on ...`."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as a readable line; a traceback follows below."""
        level = record.levelname.lower()
        return f"{_stamp(record)} {level:<7} {record.name}: {super().format(record)}"


class JsonLines(logging.Formatter):
    """One JSON object a line; fields that a record carries stand beside the message."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as a line of JSON, its traceback a member of it."""
        line = {
            "time": _stamp(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {
            key: value for key, value in vars(record).items() if key not in _STANDARD
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


class JournaldLines(logging.Formatter):
    """The level as a `<6>` prefix on every line; the journal adds the time."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record with its prefix, on each line of a traceback too."""
        levels = (
            number for least, number in _JOURNALD_LEVELS if record.levelno >= least
        )
        prefix = f"<{next(levels, 7)}>"
        lines = f"{record.name}: {super().format(record)}".splitlines()
        return "\n".join(prefix + line for line in lines)


def _stamp(record: logging.LogRecord) -> str:
    created = dt.datetime.fromtimestamp(record.created, dt.UTC)
    return created.isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"
