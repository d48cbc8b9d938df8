"""A daemon that is killed amid writes has kept its word."""

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

KILLS = 5


def test_acknowledged_registrations_survive_kill_9(
    start_daemon: Callable[..., Any], start_storm: Callable[..., Any]
) -> None:
    """Five times: the acknowledged are whole, the others whole or absent."""
    sent: dict[str, dict[str, Any]] = {}
    acknowledged: set[str] = set()
    daemon = start_daemon()
    for kill in range(KILLS):
        storm = start_storm(daemon, f"storm-{kill}")
        storm.wait_for(150)
        daemon.process.kill()
        storm.join()
        sent |= storm.sent
        acknowledged |= storm.acknowledged.keys()
        daemon = start_daemon()

        listed = daemon.agents()

        assert acknowledged <= listed.keys()
        for agent_id, agent in listed.items():
            assert {key: agent[key] for key in sent[agent_id]} == sent[agent_id]
        assert _integrity(daemon.database) == "ok"


def _integrity(database: Path) -> str:
    connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True)
    try:
        (verdict,) = connection.execute("PRAGMA integrity_check").fetchone()
    finally:
        connection.close()
    return str(verdict)
