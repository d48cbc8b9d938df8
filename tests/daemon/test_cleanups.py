"""The stack of named clean-ups."""

import logging

import pytest

from daemon.cleanups import CleanUps


def _raise() -> None:
    raise OSError("stuck")


def test_steps_are_undone_in_reverse() -> None:
    """Last in, first out."""
    cleanups, undone = CleanUps(), []
    for name in ("socket", "store", "scheduler"):
        cleanups.push(name, lambda name=name: undone.append(name))

    failed = cleanups.unwind()

    assert undone == ["scheduler", "store", "socket"]
    assert failed == []


def test_a_step_is_undone_once() -> None:
    """A second unwinding finds nothing left to do."""
    cleanups, undone = CleanUps(), []
    cleanups.push("socket", lambda: undone.append("socket"))
    cleanups.unwind()

    cleanups.unwind()

    assert undone == ["socket"]


def test_a_step_that_fails_does_not_keep_the_others(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is told by its name, in the answer and in the log."""
    cleanups, undone = CleanUps(), []
    cleanups.push("socket", lambda: undone.append("socket"))
    cleanups.push("store", _raise)

    failed = cleanups.unwind()

    assert undone == ["socket"]
    assert failed == ["store"]
    (record,) = (r for r in caplog.records if r.levelno == logging.ERROR)
    assert record.getMessage() == "Stopping: store failed"
