"""Jobs beside the thread that beats."""

import sys
import threading

import pytest
from agent_registry_client import threads
from agent_registry_client.threads import SideJobs


def test_a_job_that_exits_does_not_keep_the_next_from_running(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """`sys.exit` in a callback would end our thread, not the program; it is logged."""
    jobs, ran = SideJobs(), threading.Event()
    jobs.put(sys.exit)
    jobs.put(ran.set)

    assert ran.wait(3)
    assert "A callback failed" in caplog.text


def test_jobs_run_here_where_no_thread_can_be_started(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """While the program ends, what they say would be lost."""

    def stumble(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threads, "start", stumble)
    jobs = SideJobs()
    ran: list[str] = []

    jobs.put(lambda: ran.append("first"))
    jobs.put(lambda: ran.append("second"))

    assert ran == ["first", "second"]
