"""Programs that fork, are told to end, and end."""

import os
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
    """It does nothing for it, whichever way it goes."""
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
    assert [program.hear(), program.hear()] == ["inherited", "over"]

    assert listed() == {"a"}


def test_workers_of_a_master_that_registered_leave_it_alone(
    run_program: Callable[[str], Any],
    client: AgentRegistryClient,
    listed: Listed,
) -> None:
    """As gunicorn's preloading has it: they work, end in any way, and it beats on."""
    program = run_program("""
        with client.registered('master', **me | {'ttl_seconds': 1}) as mine:
            for ending in (sys.exit, os._exit, lambda _: os.kill(os.getpid(), 9)):
                if os.fork() == 0:
                    found = [agent.agent_id for agent in client.discover().agents]
                    say(mine.state, found)
                    client.close()
                    ending(0)
                os.wait()
            say('over')
            sys.stdin.read()
            time.sleep(60)
    """)
    heard = [program.hear() for _ in range(4)]
    first = client.get("master")
    time.sleep(1.5)
    later = client.get("master")

    assert heard == ["inherited ['master']"] * 3 + ["over"]
    assert later.is_alive
    assert later.registered_at == first.registered_at
    program.end(signal.SIGTERM)
    assert listed() == set()


def test_multiprocessing_works_beside_it(
    run_program: Callable[[str], Any], listed: Listed
) -> None:
    """Workers fork, ask, and end; the agent is kept all along."""
    program = run_program("""
        import multiprocessing
        def ask(_):
            return [agent.agent_id for agent in client.agents()]
        with client.registered('a', **me):
            with multiprocessing.get_context('fork').Pool(3) as pool:
                say(pool.map(ask, range(3)))
            say(len(client.agents()))
    """)

    status, output, errors = program.end()

    assert output.splitlines() == ["[['a'], ['a'], ['a']]", "1"]
    assert (status, errors) == (0, "")
    assert listed() == set()


def test_an_agent_in_a_child_of_multiprocessing_is_deregistered_at_its_end(
    run_program: Callable[[str], Any], listed: Listed
) -> None:
    """Though such a child ends without `atexit`; its parent's stays."""
    program = run_program("""
        import multiprocessing
        def work():
            client.registered('child', **me | {'ttl_seconds': 60}).start()
        with client.registered('parent', **me):
            child = multiprocessing.get_context('fork').Process(target=work)
            child.start()
            child.join()
            say([agent.agent_id for agent in client.agents()])
    """)

    status, output, errors = program.end()

    assert (status, output, errors) == (0, "['parent']", "")
    assert listed() == set()


def test_a_child_does_not_keep_a_killed_agent_alive(
    run_program: Callable[[str], Any],
    client: AgentRegistryClient,
    wait_until: Callable[..., Any],
) -> None:
    """A worker that lives on is not the agent."""
    program = run_program("""
        with client.registered('a', **me | {'ttl_seconds': 1}):
            child = os.fork()
            if child == 0:
                time.sleep(6)
                os._exit(0)
            say(child)
            time.sleep(60)
    """)
    child = int(program.hear())

    program.process.kill()

    wait_until(lambda: not client.get("a").is_alive, 3)
    time.sleep(1.5)
    assert not client.get("a").is_alive
    os.kill(child, signal.SIGKILL)


def test_a_grandchild_does_not_deregister_an_agent_that_lives(
    run_program: Callable[[str], Any], client: AgentRegistryClient
) -> None:
    """A helper that was detached by forking twice has another parent."""
    program = run_program("""
        with client.registered('a', **me):
            if os.fork() == 0:
                if os.fork() == 0:
                    time.sleep(2.5)
                    sys.exit()
                os._exit(0)
            os.wait()
            say('in')
            sys.stdin.read()
            time.sleep(60)
    """)
    assert program.hear() == "in"
    before = client.get("a")
    time.sleep(4)

    assert client.get("a").registered_at == before.registered_at


def test_a_child_that_outlives_a_clean_stop_does_not_bring_it_back(
    run_program: Callable[[str], Any], listed: Listed
) -> None:
    """Its parent deregistered and ended: the agent has left."""
    program = run_program("""
        with client.registered('a', **me | {'ttl_seconds': 1}) as mine:
            if os.fork() == 0:
                time.sleep(2.5)
                say(mine.state)
                os._exit(0)
        os._exit(0)
    """)

    assert program.hear() == "inherited"
    assert listed() == set()


def test_a_child_that_starts_it_goes_on_after_daemonizing(
    run_program: Callable[[str], Any],
    client: AgentRegistryClient,
    listed: Listed,
    wait_until: Callable[..., Any],
) -> None:
    """From then on the agent is the child's, which deregisters it at its end."""
    program = run_program("""
        told = []
        mine = client.registered('a', **me | {'ttl_seconds': 1},
                                 on_change=lambda change: told.append(change.after))
        mine.start()
        if os.fork():
            os._exit(0)
        told.clear()
        mine.start()
        time.sleep(2.5)
        say(mine.state, mine.silent_seconds < 0.7, *told)
    """)
    time.sleep(2)
    alive = client.get("a").is_alive

    assert alive
    assert program.hear() == "registered True registered"
    wait_until(lambda: listed() == set())


def test_what_is_left_in_a_child_is_over_there(
    run_program: Callable[[str], Any],
) -> None:
    """At once, and without a word to the registry."""
    program = run_program("""
        with client.registered('a', **me) as mine:
            if os.fork() == 0:
                began_at = time.monotonic()
                mine.leave()
                say(mine.state, time.monotonic() - began_at < 0.5)
                os._exit(0)
            os.wait()
            say(client.get('a').agent_id)
    """)

    assert program.end()[1].splitlines() == ["left True", "a"]


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
