"""A small agent: lives until its standard input ends. The demo starts some."""

import sys

from agent_registry_client.client import AgentRegistryClient


def main(url: str, agent_id: str, name: str, ttl_seconds: int, demo: str) -> None:
    """Be an agent; nobody will connect to its port."""
    with AgentRegistryClient(url).registered(
        agent_id,
        agent_name=name,
        host="127.0.0.1",
        port=9,
        ttl_seconds=ttl_seconds,
        metadata={"demo": demo},
    ):
        sys.stdin.read()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), sys.argv[5])
