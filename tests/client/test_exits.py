"""Programs that end, by themselves or by a signal: their agents leave at once."""

import signal
import time
from collections.abc import Callable
from typing import Any

import pytest
from agent_registry_client.testing import RegistryProcess

Listed = Callable[[], set[str]]


@pytest.mark.parametrize(
    "ending",
    [
        "",
        "sys.exit(3)",
        "raise SystemExit(3)",
        "raise RuntimeError('mistake')",
        "threading.Thread(target=time.sleep, args=(0.1,)).start()",
    ],
)
def test_a_program_that_ends_is_deregistered_and_not_held_up(
    run_program: Callable[[str], Any], listed: Listed, ending: str
) -> None:
    """Even when it never left its registration."""
    program = run_program(f"client.registered('a', **me).start()\nsay('in')\n{ending}")
    assert program.hear() == "in"
    began_at = time.monotonic()

    program.end()

    assert time.monotonic() - began_at < 2
    assert listed() == set()


def test_exit_waits_a_second_for_a_registry_that_hangs(
    run_program: Callable[[str], Any], registry: RegistryProcess
) -> None:
    """And no longer."""
    program = run_program("""
        client.registered('a', **me).start()
        say('in')
        time.sleep(0.3)
    """)
    assert program.hear() == "in"
    registry.pause()
    began_at = time.monotonic()

    status, _, errors = program.end()

    assert time.monotonic() - began_at < 3
    assert (status, "Traceback" in errors) == (0, False)


@pytest.mark.parametrize(
    ("handler", "status"),
    [
        ("", -signal.SIGTERM),
        (
            "signal.signal(15, lambda *_: (os.write(1, b'mine'), sys.exit(7)))",
            7,
        ),
    ],
)
def test_sigterm_deregisters_and_then_does_what_it_did(
    run_program: Callable[[str], Any], listed: Listed, handler: str, status: int
) -> None:
    """The program's own handler is called; without one the signal kills."""
    program = run_program(f"""
        {handler}
        with client.registered('a', **me):
            say('in')
            while True: time.sleep(60)
    """)
    assert program.hear() == "in"

    ended, output, errors = program.end(signal.SIGTERM)

    assert (ended, output, errors) == (status, "mine" if handler else "", "")
    assert listed() == set()


def test_sigterm_reaches_an_asyncio_program_as_before(
    run_program: Callable[[str], Any], listed: Listed
) -> None:
    """A handler of the loop, set before or after, still runs."""
    program = run_program("""
        import asyncio
        from agent_registry_client import AsyncAgentRegistryClient
        async def main():
            stop = asyncio.Event()
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
            async with AsyncAgentRegistryClient().registered('a', **me):
                say('in')
                await stop.wait()
                say('stopped')
        asyncio.run(main())
    """)
    assert program.hear() == "in"

    assert program.end(signal.SIGTERM)[:2] == (0, "stopped")
    assert listed() == set()


def test_sigterm_takes_a_second_when_the_registry_hangs(
    run_program: Callable[[str], Any], registry: RegistryProcess
) -> None:
    """And no longer."""
    program = run_program("""
        with client.registered('a', **me):
            say('in')
            time.sleep(60)
    """)
    assert program.hear() == "in"
    registry.pause()
    began_at = time.monotonic()

    status, _, _ = program.end(signal.SIGTERM)

    assert status == -signal.SIGTERM
    assert time.monotonic() - began_at < 3


def test_the_handler_that_was_found_is_put_back(
    run_program: Callable[[str], Any],
) -> None:
    """When nobody is kept any more; one that was ignored stays ignored."""
    program = run_program("""
        mine = lambda *_: None
        for found in (mine, signal.SIG_DFL, signal.SIG_IGN):
            signal.signal(signal.SIGTERM, found)
            with client.registered('a', **me), client.registered('b', **me):
                held = signal.getsignal(signal.SIGTERM) is not found
            say(held, signal.getsignal(signal.SIGTERM) is found)
    """)

    assert program.end()[1].splitlines() == ["True True", "True True", "False True"]


def test_a_callback_does_not_hold_up_the_exit(
    run_program: Callable[[str], Any], listed: Listed
) -> None:
    """At the very end no thread can be started for it."""
    program = run_program("""
        client.registered('a', **me, on_change=lambda _: time.sleep(0.05)).start()
        time.sleep(0.3)
        say('in')
    """)
    assert program.hear() == "in"
    began_at = time.monotonic()

    assert program.end() == (0, "", "")
    assert time.monotonic() - began_at < 0.9
    assert listed() == set()
