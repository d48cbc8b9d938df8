"""A fleet of agent processes, forked from this one: `fleet.py HOST PORT COUNT TTL`.

Each registers as `agent-N` and beats every third of its TTL on one connection. The
first line printed holds the process ids in that order. SIGTERM makes an agent
deregister and leave, with a line that holds how many seconds each of its beats took,
until it was stored. A call that is cut off or put off is made again, with a
complaint; one that is refused makes the agent leave with a complaint.
"""

import http.client
import json
import os
import signal
import sys
import time

AGAIN_SECONDS = 0.2


def main(host: str, port: str, count: str, ttl: str) -> None:
    """Start the agents, name their processes, and wait until all have left."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    pids = []
    for number in range(int(count)):
        pid = os.fork()
        if pid == 0:
            live(http.client.HTTPConnection(host, int(port)), number, int(ttl))
            os._exit(0)
        pids.append(pid)
    print(json.dumps(pids), flush=True)  # noqa: T201 - for who started us
    for pid in pids:
        os.waitpid(pid, 0)


def live(registry: http.client.HTTPConnection, number: int, ttl_seconds: int) -> None:
    """Register, beat until told to go, deregister."""
    me = f"agent-{number}"
    body = {
        "agent_id": me,
        "agent_name": "fleet",
        "host": "127.0.0.1",
        "port": 9_000 + number,
        "ttl_seconds": ttl_seconds,
    }
    call(registry, "POST", "/agents/register", json.dumps(body))
    beats = []
    while signal.sigtimedwait({signal.SIGTERM}, ttl_seconds / 3) is None:
        began = time.monotonic()
        call(registry, "POST", f"/agents/{me}/heartbeat")
        beats.append(round(time.monotonic() - began, 3))
    call(registry, "DELETE", f"/agents/{me}")
    # One write of less than a pipe takes at once: lines of many agents do not mix.
    os.write(1, f"{json.dumps(beats[-400:])}\n".encode())


def call(
    registry: http.client.HTTPConnection, method: str, path: str, body: str = ""
) -> None:
    """Make one call until it is answered; it must not be refused."""
    headers = {"Content-Type": "application/json"} if body else {}
    while True:
        try:
            registry.request(method, path, body or None, headers)
            answer = registry.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException) as error:
            registry.close()
            complaint = f"{method} {path}: {type(error).__name__}"
        else:
            if answer.status < 300:
                return
            complaint = f"{method} {path}: {answer.status} {content!r}"
            if answer.status != 503:
                raise SystemExit(complaint)
        print(complaint, file=sys.stderr, flush=True)  # noqa: T201 - to be read
        time.sleep(AGAIN_SECONDS)


main(*sys.argv[1:])
