"""Programs that fork: whose an agent is, and who keeps it or lets it go."""

import os
import signal
import time
from collections.abc import Callable
from typing import Any

import pytest
from agent_registry_client import AgentRegistryClient

Listed = Callable[[], set[str]]


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
