"""How log lines look: for a terminal, for programs, or for the journal."""

import datetime as dt
import json
import logging
import os
import sys
from typing import Literal

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


def configure_logging(
    level: str, line_format: Literal["auto", "text", "json", "journald"]
) -> None:
    """Send every log record to standard error, in lines of this format.

    "auto" is "journald" where systemd reads standard error, else "text".
    """
    if line_format == "auto":
        line_format = "journald" if "JOURNAL_STREAM" in os.environ else "text"
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        {"text": TextLines, "json": JsonLines, "journald": JournaldLines}[line_format]()
    )
    # No line tells its caller, process or thread: finding them out takes a third of
    # what a line costs (the "Optimization" section of Python's logging).
    logging._srcfile = None  # noqa: SLF001
    logging.logThreads = logging.logProcesses = False
    logging.logMultiprocessing = False
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)


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
