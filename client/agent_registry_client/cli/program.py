"""A program that is run: its start, the signals it gets, whether it is ready."""

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from typing import Protocol

#: Whatever is asked to end or to reload gets these; job control is the terminal's.
PASSED_ON = (
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
)

#: How long one attempt to connect may take.
CONNECT_SECONDS = 0.5

#: How long one run of a command that checks may take; it is begun anew then.
CHECK_SECONDS = 10.0

#: How long a program that is told to end may take.
GRACE_SECONDS = 5.0


class Passing:
    """Passes signals on to a program; before there is one, they end us.

    Made in the main thread. Signals that are ignored stay so, for the program too.
    """

    def __init__(self, on_sigterm: Callable[[], object]) -> None:
        self._on_sigterm = on_sigterm
        self._program: subprocess.Popen[bytes] | None = None
        self._early: list[int] | None = None
        for number in PASSED_ON:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._pass_on)

    def start(self, command: Sequence[str]) -> "subprocess.Popen[bytes]":
        """Start the program.

        Raises:
            OSError: it cannot be started.
        """
        self._early = []  # a signal that comes meanwhile is for the program
        self._program = subprocess.Popen(command)  # noqa: S603 - what we are asked to run
        for number in self._early:
            self._send(self._program, number)
        return self._program

    def _pass_on(self, number: int, _frame: object) -> None:
        if self._program is not None:
            if not _typed(number):
                self._send(self._program, number)
        elif self._early is not None:
            self._early.append(number)
        else:
            raise SystemExit(128 + number)

    def _send(self, program: "subprocess.Popen[bytes]", number: int) -> None:
        program.send_signal(number)
        if number == signal.SIGTERM:
            self._on_sigterm()


def _typed(number: int) -> bool:
    """Tell whether the terminal has sent it to the program as well.

    A server that is interrupted twice gives up its clean stop.
    """
    if number not in {signal.SIGINT, signal.SIGQUIT}:
        return False
    with contextlib.suppress(OSError), open("/dev/tty", "rb") as terminal:  # noqa: PTH123
        return os.tcgetpgrp(terminal.fileno()) == os.getpgrp()
    return False


def exit_status(returned: int) -> int:
    """Return the status with which a shell would tell of this end."""
    return 128 - returned if returned < 0 else returned


def end(program: "subprocess.Popen[bytes]") -> None:
    """Ask a program to end, and end it if it does not."""
    program.terminate()
    try:
        program.wait(GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        program.kill()
        program.wait()


class Check(Protocol):
    """Tells whether a program is ready; is asked again and again."""

    def __call__(self) -> bool:
        """Return soon."""

    def stop(self) -> None:
        """Let nothing of it live on."""


class PortAnswers:
    """Tells whether somebody takes connections at a port."""

    def __init__(self, host: str, port: int) -> None:
        self._address = host, port

    def __call__(self) -> bool:
        """Try to connect."""
        try:
            socket.create_connection(self._address, CONNECT_SECONDS).close()
        except OSError:
            return False
        return True

    def stop(self) -> None:
        """Nothing of it lives on."""


class CommandSucceeds:
    """Tells whether a shell command ended with 0; runs it again until it does."""

    def __init__(self, command: str, limit_seconds: float = CHECK_SECONDS) -> None:
        self._command = command
        self._limit_seconds = limit_seconds
        self._checking: subprocess.Popen[bytes] | None = None
        self._give_up_at = 0.0

    def __call__(self) -> bool:
        """Return at once, whether or not the command has ended."""
        if self._checking is None:
            self._give_up_at = time.monotonic() + self._limit_seconds
            self._checking = subprocess.Popen(  # noqa: S602 - asked to
                self._command,
                shell=True,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                process_group=0,  # what it starts is to end with it
            )
        returned = self._checking.poll()
        if returned is not None:
            self._checking = None
        elif time.monotonic() > self._give_up_at:
            self.stop()  # the next one may be luckier
        return returned == 0

    def stop(self) -> None:
        """End a check that still runs, and all that it started."""
        if self._checking:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._checking.pid, signal.SIGKILL)
            self._checking.wait()
            self._checking = None
