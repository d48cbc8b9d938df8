"""Keeps an agent in each of many clients, as many programs would.

Run by `test_soak.py` as a process. When its standard input ends, it tells of every
call that was made: when it began and ended, on the clock that all processes share,
for whom, and what became of it.
"""

import json
import logging
import sys
import time
from typing import Any

from agent_registry_client import AgentRegistryClient


def main(ttl_seconds: int, *agent_ids: str) -> None:
    """Keep the agents until the input ends."""
    logging.disable()
    made: list[tuple[float, float, str, str]] = []
    clients = [_counting(agent_id, made) for agent_id in agent_ids]
    for agent_id, client in zip(agent_ids, clients, strict=True):
        client.registered(
            agent_id,
            agent_name="Soaked",
            host="10.0.0.7",
            port=1,
            ttl_seconds=ttl_seconds,
        ).start()
    print("up", flush=True)  # noqa: T201 - to the test
    sys.stdin.read()
    json.dump(made, sys.stdout)
    sys.stdout.flush()


def _counting(
    agent_id: str, made: list[tuple[float, float, str, str]]
) -> AgentRegistryClient:
    client = AgentRegistryClient(deregister_on_sigterm=False)
    send = client._transport.send

    def counted(call: Any, *rest: Any) -> Any:
        began_at, outcome = time.monotonic(), "failed"
        try:
            told = send(call, *rest)
            outcome = getattr(told, "outcome", "beat")
        finally:
            made.append((began_at, time.monotonic(), agent_id, outcome))
        return told

    client._transport.send = counted  # type: ignore[method-assign]
    return client


if __name__ == "__main__":
    main(*json.loads(sys.argv[1]))
