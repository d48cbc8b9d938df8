"""How log lines look."""

import json
import logging
import re

import pytest

from daemon.logs import configure_logging

pytestmark = pytest.mark.usefixtures("restored_logging")
log = logging.getLogger("daemon.app")


def _speak() -> None:
    log.info("Ready on %s", "http://127.0.0.1:8790", extra={"action": "ready"})


def _fail() -> None:
    try:
        1 / 0  # noqa: B018
    except ZeroDivisionError:
        log.exception("The sweep failed", extra={"action": "sweep_failed"})


def test_text_is_a_readable_line(capsys: pytest.CaptureFixture[str]) -> None:
    """Time in UTC, level, logger, sentence; on standard error."""
    configure_logging("info", "text")

    _speak()

    printed = capsys.readouterr()
    assert printed.out == ""
    assert re.fullmatch(
        r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z info    daemon\.app: "
        r"Ready on http://127\.0\.0\.1:8790\n",
        printed.err,
    )


def test_text_shows_the_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    """Below the line it belongs to."""
    configure_logging("info", "text")

    _fail()

    first, second, *_, last = capsys.readouterr().err.splitlines()
    assert first.endswith(" error   daemon.app: The sweep failed")
    assert second == "Traceback (most recent call last):"
    assert last == "ZeroDivisionError: division by zero"


def test_json_is_an_object_a_line_with_the_fields_of_the_record(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What a record carries beside its sentence stands beside the message."""
    configure_logging("info", "json")

    _speak()

    line = json.loads(capsys.readouterr().err)
    assert line.pop("time").endswith("Z")
    assert line == {
        "level": "info",
        "logger": "daemon.app",
        "message": "Ready on http://127.0.0.1:8790",
        "action": "ready",
    }


def test_json_keeps_a_traceback_in_its_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """One record is one line, whatever happened."""
    configure_logging("info", "json")

    _fail()

    (line,) = capsys.readouterr().err.splitlines()
    assert json.loads(line)["traceback"].endswith("ZeroDivisionError: division by zero")


def test_json_takes_any_field(capsys: pytest.CaptureFixture[str]) -> None:
    """A field that JSON does not know is written as its text."""
    configure_logging("info", "json")

    log.info("Odd", extra={"odd": {1j}})

    assert json.loads(capsys.readouterr().err)["odd"] == "{1j}"


@pytest.mark.parametrize(
    ("level", "prefix"),
    [
        (logging.DEBUG, "<7>"),
        (logging.INFO, "<6>"),
        (logging.WARNING, "<4>"),
        (logging.ERROR, "<3>"),
        (logging.CRITICAL, "<3>"),
        (5, "<7>"),
    ],
)
def test_journald_lines_begin_with_their_level(
    level: int, prefix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The journal adds the time itself, so the line has none."""
    configure_logging("info", "journald")
    logging.getLogger().setLevel(1)

    log.log(level, "Ready")

    assert capsys.readouterr().err == f"{prefix}daemon.app: Ready\n"


def test_journald_marks_each_line_of_a_traceback(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The journal takes every line for an entry with a level of its own."""
    configure_logging("info", "journald")

    _fail()

    lines = capsys.readouterr().err.splitlines()
    assert len(lines) > 3
    assert all(line.startswith("<3>") for line in lines)


@pytest.mark.parametrize(
    ("stream", "beginning"), [(None, r"20\d\d-"), ("8:42", r"<6>daemon\.app")]
)
def test_auto_suits_who_reads(
    stream: str | None,
    beginning: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Prefixes where systemd connected the stream, else text."""
    if stream:
        monkeypatch.setenv("JOURNAL_STREAM", stream)
    configure_logging("info", "auto")

    _speak()

    assert re.match(beginning, capsys.readouterr().err)


@pytest.mark.parametrize(
    ("level", "heard"), [("debug", 3), ("info", 2), ("warning", 1), ("error", 0)]
)
def test_what_is_below_the_level_is_not_told(
    level: str, heard: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """Debug tells all, error only what is wrong."""
    configure_logging(level, "text")

    for number in (logging.DEBUG, logging.INFO, logging.WARNING):
        log.log(number, "Said")

    assert len(capsys.readouterr().err.splitlines()) == heard


def test_libraries_speak_up_only_to_warn(capsys: pytest.CaptureFixture[str]) -> None:
    """Even at debug: what they say at info our own lines tell better."""
    configure_logging("debug", "text")

    logging.getLogger("apscheduler.scheduler").info("Scheduler started")
    logging.getLogger("uvicorn.error").warning("Odd request")

    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("uvicorn.error: Odd request")
