"""One run: subjects in turn."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from bench.connections import LoadFailed
from bench.load import Load
from bench.results import Results
from bench.run import Run, Subject

BROKEN = b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n"
REQUEST = [b"POST / HTTP/1.1\r\n\r\n"]


@pytest.fixture
def subjects(start_server: Callable[..., Any], ok: bytes) -> dict[str, Subject]:
    """Return one that answers well, and one that does not from its third on."""
    answers = {
        "well": lambda _: [ok],
        "broken": lambda number: [ok if number < 3 else BROKEN],
    }
    return {
        name: Subject(Load(start_server(answer).address, REQUEST, connections=1))
        for name, answer in answers.items()
    }


@pytest.mark.parametrize("guest", [True, False])
def test_a_guest_that_breaks_does_not_spoil_the_row(
    subjects: dict[str, Subject], tmp_path: Path, *, guest: bool
) -> None:
    """It is left out, with its reason; what is no guest ends the row."""
    results = Results(full=False)
    guests = {"broken"} if guest else set()
    with ThreadPoolExecutor() as executor:
        run = Run(results, tmp_path, generator=executor, server_side=executor, rounds=2)
        if not guest:
            with pytest.raises(LoadFailed):
                run.alternate("row", subjects, 0.05, guests=guests)
            return

        failed = run.alternate("row", subjects, 0.05, guests=guests)

    assert failed.keys() == {"broken"}
    assert "500" in failed["broken"]
    assert {name: len(seen) for name, seen in results.rounds["row"].items()} == {
        "well": 2
    }
