"""Programs that fork, are told to end, and end."""

import signal
import time
from collections.abc import Callable
from typing import Any

import pytest
from agent_registry_client import AgentRegistryClient
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

    assert time.monotonic() - began_at < 2.2
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
    assert time.monotonic() - began_at < 1.5


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


def test_a_forked_child_registers_agents_of_its_own(
    run_program: Callable[[str], Any], listed: Listed
) -> None:
    """As gunicorn's workers do, with a client and a registration made before."""
    program = run_program("""
        with client.registered('master', **me):
            if os.fork() == 0:
                with client.registered('worker', **me | {'ttl_seconds': 1}) as mine:
                    time.sleep(1.5)
                    say(mine.state, mine.silent_seconds < 0.7)
                    say(sorted(agent.agent_id for agent in client.agents()))
                os._exit(0)
            os.wait()
    """)

    status, output, errors = program.end()

    assert output.splitlines() == ["registered True", "['master', 'worker']"]
    assert (status, errors) == (0, "")
    assert listed() == set()


@pytest.mark.parametrize("leaving", ["sys.exit()", "os.kill(os.getpid(), 15)"])
def test_a_child_that_ends_does_not_deregister_its_parent(
    run_program: Callable[[str], Any], listed: Listed, leaving: str
) -> None:
    """It stands by, whichever way it goes."""
    program = run_program(f"""
        with client.registered('a', **me) as mine:
            if os.fork() == 0:
                say(mine.state)
                {leaving}
            os.wait()
            say('over')
            sys.stdin.read()
            time.sleep(60)
    """)
    assert [program.hear(), program.hear()] == ["standing_by", "over"]

    assert listed() == {"a"}


def test_multiprocessing_works_beside_it(
    run_program: Callable[[str], Any], listed: Listed
) -> None:
    """Workers fork and end; the agent is kept all along."""
    program = run_program("""
        import multiprocessing
        with client.registered('a', **me):
            with multiprocessing.get_context('fork').Pool(3) as pool:
                say(pool.map(abs, [-1, -2, -3]))
            say(len(client.agents()))
    """)

    status, output, errors = program.end()

    assert output.splitlines() == ["[1, 2, 3]", "1"]
    assert (status, errors) == (0, "")
    assert listed() == set()


def test_a_child_goes_on_when_its_parent_is_gone(
    run_program: Callable[[str], Any],
    client: AgentRegistryClient,
    listed: Listed,
    wait_until: Callable[..., Any],
) -> None:
    """As after daemonizing; and deregisters when it ends itself."""
    program = run_program("""
        registration = client.registered('a', **me | {'ttl_seconds': 1}).start()
        if os.fork():
            os._exit(0)
        time.sleep(3)
        say(registration.state, registration.silent_seconds < 0.7)
    """)
    time.sleep(2)
    alive = client.get("a").is_alive

    assert alive
    assert program.hear() == "registered True"
    wait_until(lambda: listed() == set())


def test_a_child_does_not_bring_back_who_said_goodbye(
    run_program: Callable[[str], Any], listed: Listed
) -> None:
    """Its parent deregistered and ended: the agent has left."""
    program = run_program("""
        mine = client.registered('a', **me | {'ttl_seconds': 1}).start()
        if os.fork():
            mine.leave()
            os._exit(0)
        time.sleep(2)
        say(mine.state)
    """)

    assert program.hear() == "left"
    assert listed() == set()


def test_parent_and_child_do_not_share_a_connection(
    run_program: Callable[[str], Any],
) -> None:
    """Each hears its own answers, from a client that was used before the fork."""
    program = run_program("""
        for agent_id in ('parent', 'child'):
            client.register(agent_id, **me)
        mine = 'parent' if os.fork() else 'child'
        heard = {client.get(mine).agent_id for _ in range(300)}
        os.write(1, f'{mine} heard {heard}\\n'.encode())
        if mine == 'parent': os.wait()
    """)

    _, output, errors = program.end()

    assert sorted(output.splitlines()) == [
        "child heard {'child'}",
        "parent heard {'parent'}",
    ]
    assert errors == ""
