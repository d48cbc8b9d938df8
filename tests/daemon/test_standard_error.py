"""Lines that nobody reads hold nobody up."""

import logging
import os
from collections.abc import Iterator
from io import FileIO
from pathlib import Path

import pytest

from daemon.standard_error import PromptLines

pytestmark = pytest.mark.usefixtures("restored_logging")
log = logging.getLogger("daemon.app")


class Reader:
    """Who may read what is logged."""

    def __init__(self, file: FileIO) -> None:
        os.set_blocking(file.fileno(), False)
        self._file = file

    def read(self) -> list[str]:
        """Read what is there, line by line."""
        return (self._file.readall() or b"").decode().splitlines()

    def go_away(self) -> None:
        """Read nothing more, ever."""
        self._file.close()


@pytest.fixture
def reader() -> Iterator[Reader]:
    """Let the log go into a pipe; return who reads from it."""
    reading, writing = os.pipe()
    with FileIO(reading) as file, FileIO(writing, "w"):
        handlers = [PromptLines(writing)]
        logging.basicConfig(
            level=logging.INFO, format="%(message)s", handlers=handlers, force=True
        )
        yield Reader(file)


def test_what_is_read_is_told_whole(reader: Reader) -> None:
    """Each line once, also one that is longer than a pipe takes at once."""
    long = "".join(map(str, range(10_000)))

    log.info("Ready")
    log.info(long)

    ready, read = reader.read()
    assert (ready, read == long) == ("Ready", True)


def test_nobody_waits_for_who_does_not_read(reader: Reader) -> None:
    """Lines are left out; how many, the reader is told when it reads again."""
    for number in range(10_000):
        log.info("Line %d", number)
    before = reader.read()
    log.info("Read again")
    after = reader.read()

    kept = len(before)
    assert 0 < kept < 10_000
    assert before[-1] == f"Line {kept - 1}"
    assert after == [
        "Read again",
        f"Lines were not told, for nobody read them: {10_000 - kept}",
    ]


def test_a_line_of_which_a_part_was_read_is_ended(reader: Reader) -> None:
    """What follows begins a line of its own."""
    log.info("x" * 200_000)
    (torn,) = reader.read()
    log.info("Read again")

    assert 0 < len(torn) < 200_000
    assert reader.read()[:2] == ["", "Read again"]


def test_a_reader_that_has_gone_is_no_fault(
    reader: Reader, capsys: pytest.CaptureFixture[str]
) -> None:
    """As `head` goes when it has read enough."""
    reader.go_away()

    log.info("Into nothing")

    assert capsys.readouterr() == ("", "")


def test_any_text_is_written(tmp_path: Path) -> None:
    """A lone surrogate, as a file's name may hold one, is escaped."""
    odd = logging.makeLogRecord({"msg": "Odd \udcff é"})

    with (tmp_path / "log").open("wb") as log:
        PromptLines(log.fileno()).handle(odd)

    assert (tmp_path / "log").read_text() == "Odd \\udcff é\n"
