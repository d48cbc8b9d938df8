"""How log lines look."""

import json
import logging
import re
import threading

import pytest

from daemon.logs import LineLimit, configure_logging

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


@pytest.fixture
def clock() -> list[float]:
    """Return the time that line limits go by, in a list to be changed."""
    return [1_000.0]


@pytest.fixture
def told(clock: list[float]) -> list[logging.LogRecord]:
    """Let three lines of a kind pass in a minute; return the list they come to."""
    told: list[logging.LogRecord] = []

    class Teller(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            record.getMessage()
            told.append(record)

    teller = Teller()
    teller.addFilter(LineLimit(3, lambda: clock[0]))
    logging.basicConfig(level=logging.INFO, handlers=[teller], force=True)
    return told


def _repeat(count: int, message: str = "Odd", **fields: object) -> None:
    for _ in range(count):
        log.info(message, extra=fields)


def test_so_many_lines_of_a_kind_are_told_in_a_minute(
    told: list[logging.LogRecord],
) -> None:
    """An action is a kind, and so is a sentence without one."""
    _repeat(5, "Registered", action="agent_registered")
    _repeat(5, "Odd")

    assert [line.msg for line in told] == ["Registered"] * 3 + ["Odd"] * 3


def test_what_is_kept_back_is_not_even_formatted() -> None:
    """A flood costs no more than its counting."""

    class Unspeakable:
        def __str__(self) -> str:
            raise AssertionError("formatted")

    limit = LineLimit(1)
    said = {"msg": "Said %s", "args": (Unspeakable(),), "levelno": logging.INFO}

    passed = [limit.filter(logging.makeLogRecord(said)) for _ in range(3)]

    assert passed == [True, False, False]


def test_what_was_kept_back_is_told_when_the_minute_is_over(
    clock: list[float], told: list[logging.LogRecord]
) -> None:
    """In one line before the next one, by kind; then the count begins anew."""
    _repeat(5, "Registered", action="agent_registered")
    _repeat(4, "Odd")
    told.clear()
    clock[0] += 60

    _repeat(1, "Registered", action="agent_registered")

    dropped, registered = told
    assert vars(dropped)["action"] == "log_dropped"
    assert vars(dropped)["dropped"] == {"agent_registered": 2, "daemon.app: Odd": 1}
    assert dropped.getMessage() == (
        "Lines were not told: 2 of agent_registered, 1 of daemon.app: Odd"
    )
    assert registered.msg == "Registered"


def test_a_quiet_minute_is_followed_by_nothing(
    clock: list[float], told: list[logging.LogRecord]
) -> None:
    """Where nothing was kept back there is nothing to tell."""
    _repeat(3)
    clock[0] += 60
    _repeat(1)

    assert [line.msg for line in told] == ["Odd"] * 4


def test_critical_lines_are_never_kept_back(
    told: list[logging.LogRecord],
) -> None:
    """They are few, and each may be the last."""
    for _ in range(5):
        log.critical("Over")

    assert len(told) == 5


@pytest.mark.parametrize(
    ("fields", "passing"),
    [
        ({"action": "agent_registered", "owner": "billing"}, 5),
        ({"action": "agent_deregistered", "owner": "billing"}, 5),
        ({"action": "agent_registered", "principal": "root", "owner": ""}, 3),
        ({"action": "agent_registered"}, 3),
        ({"action": "hold_released", "principal": "ops"}, 3),
        ({"action": "refused", "principal": "billing"}, 3),
    ],
)
def test_what_a_quota_bounds_is_never_kept_back(
    fields: dict[str, str], passing: int, told: list[logging.LogRecord]
) -> None:
    """Everything else is, whoever did it: 600 releases took a second."""
    _repeat(5, "Done", **fields)

    assert len(told) == passing


def test_kinds_without_end_are_one_kind(
    told: list[logging.LogRecord],
) -> None:
    """Sentences that are made of what was sent are not told without end either."""
    for number in range(1_000):
        _repeat(1, f"Odd {number}")

    assert len(told) == 103


def test_lines_are_counted_from_any_thread(
    told: list[logging.LogRecord],
) -> None:
    """Exactly so many pass, whoever speaks."""
    speaking = [threading.Thread(target=_repeat, args=(100,)) for _ in range(8)]
    for thread in speaking:
        thread.start()
    for thread in speaking:
        thread.join()

    assert len(told) == 3


def test_the_limit_is_configured(capsys: pytest.CaptureFixture[str]) -> None:
    """As `log.lines_per_minute` says."""
    configure_logging("info", "text", 2)

    _repeat(3)

    assert len(capsys.readouterr().err.splitlines()) == 2
