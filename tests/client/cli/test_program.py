"""Whether a program is ready, and what it is told."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from agent_registry_client.cli.program import CommandSucceeds


@pytest.fixture
def make_check() -> Iterator[Callable[..., CommandSucceeds]]:
    """Return a function that makes checks; all are ended."""
    made: list[CommandSucceeds] = []

    def make(*arguments: Any) -> CommandSucceeds:
        made.append(CommandSucceeds(*arguments))
        return made[-1]

    yield make
    for check in made:
        check.stop()


def test_a_check_that_hangs_is_begun_anew(
    make_check: Callable[..., CommandSucceeds],
    tmp_path: Path,
    wait_until: Callable[..., Any],
) -> None:
    """The first waited for something that was not there yet, say."""
    check = make_check(
        f"cd {tmp_path}; [ -e begun ] || {{ touch begun; sleep 60; }}", 0.3
    )
    began_at = time.monotonic()

    wait_until(check, 5)

    assert time.monotonic() - began_at > 0.3


def test_a_check_that_is_stopped_takes_all_along_that_it_started(
    make_check: Callable[..., CommandSucceeds],
    tmp_path: Path,
    wait_until: Callable[..., Any],
) -> None:
    """Not only the shell."""
    noted = tmp_path / "pid"
    check = make_check(f"sh -c 'echo $$ > {noted}; exec sleep 60'; true")
    check()
    process = Path("/proc") / wait_until(lambda: noted.exists() and noted.read_text())

    check.stop()

    wait_until(lambda: not Path(str(process).strip()).exists())


def test_a_signal_that_comes_while_the_program_starts_is_not_lost() -> None:
    """The program gets it, and the agent leaves."""
    program = (
        "import os, sys; from agent_registry_client.cli.program import Passing\n"
        "told = []\n"
        "passing = Passing(lambda: told.append('left'))\n"
        "sys.addaudithook(lambda event, _: event == 'subprocess.Popen'"
        " and os.kill(os.getpid(), 15))\n"
        "print(passing.start(['sleep', '9']).wait(), told)"
    )

    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )

    assert done.stdout == "-15 ['left']\n"
