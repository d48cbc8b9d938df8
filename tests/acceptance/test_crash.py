"""A daemon that is killed amid writes has kept its word."""

import os
import signal
import sqlite3
import struct
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from store import AgentRecord, create_storage_backend
from store.clock import utcnow

#: Kills of one database in the tests that take minutes, and of all of them.
EACH = 50
KILLS = int(os.environ.get("TORTURE_KILLS", "1000"))
MORE = [
    pytest.param(EACH, marks=pytest.mark.torture, id=f"to-{kills}-of-{KILLS}")
    for kills in range(EACH, KILLS + 1, EACH)
]

#: Where a storm of writes kills the daemon.
IN_A_STORM = ["before_commit:kill:40", "after_commit:kill:40"]
EXPIRED = 500

StartDaemon = Callable[..., Any]
StartStorm = Callable[..., Any]


def _integrity(database: Path) -> str:
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        (verdict,) = connection.execute("PRAGMA integrity_check").fetchone()
    return str(verdict)


@pytest.mark.parametrize("kills", [5, *MORE])
def test_what_was_acknowledged_survives_kill_9(
    start_daemon: StartDaemon, start_storm: StartStorm, kills: int
) -> None:
    """Again and again: the acknowledged stands, the rest is whole or absent."""
    daemon = start_daemon()
    storms = []
    for kill in range(kills):
        storm = start_storm(daemon, f"storm-{kill}")
        storms.append(storm)
        storm.wait_for(150)
        daemon.process.kill()
        storm.join()
        daemon = start_daemon()

        storm.check(daemon.agents())
        assert _integrity(daemon.database) == "ok"

    for storm in storms:
        storm.check(daemon.agents())


@pytest.mark.parametrize("failpoint", IN_A_STORM)
def test_who_is_killed_around_a_commit_has_kept_its_word(
    start_daemon: StartDaemon, start_storm: StartStorm, failpoint: str
) -> None:
    """Before it, nobody was answered; after it, all who were not are stored."""
    daemon = start_daemon(AGENTREG_FAIL=failpoint)
    storm = start_storm(daemon, "storm")
    assert daemon.process.wait(20) == -signal.SIGKILL
    storm.join()

    daemon = start_daemon()

    storm.check(daemon.agents())
    assert _integrity(daemon.database) == "ok"


def test_who_is_killed_amid_a_sweep_has_removed_only_the_dead(
    start_daemon: StartDaemon,
    start_storm: StartStorm,
    make_record: Callable[..., AgentRecord],
    wait_until: Callable[..., Any],
    tmp_path: Path,
) -> None:
    """Some of them; the others are dead for the next daemon, which removes them."""
    heard = utcnow() - timedelta(hours=1)
    _fill(
        tmp_path,
        [
            make_record(f"expired-{n}", ttl_seconds=1, last_heartbeat=heard)
            for n in range(EXPIRED)
        ],
    )
    settings = {
        "AGENT_REGISTRY_LEASES__SWEEP_INTERVAL_SECONDS": "0.5",
        "AGENT_REGISTRY_GUARD__ENABLED": "false",
    }
    daemon = start_daemon(AGENTREG_FAIL="mid_sweep:kill", **settings)
    storm = start_storm(daemon, "storm", writers=2)
    assert daemon.process.wait(20) == -signal.SIGKILL
    storm.join()
    left = _count_expired(daemon.database)

    daemon = start_daemon(**settings)
    wait_until(lambda: not any("expired" in name for name in daemon.agents()))

    assert 0 < left < EXPIRED
    storm.check(daemon.agents())
    assert _integrity(daemon.database) == "ok"


def test_who_is_killed_amid_a_checkpoint_has_lost_nothing(
    start_daemon: StartDaemon, start_storm: StartStorm
) -> None:
    """The log, of which a part was copied, is still there to be copied again."""
    for attempt in range(20):
        daemon = start_daemon(AGENTREG_FAIL="mid_checkpoint:kill_soon")
        storm = start_storm(daemon, f"storm-{attempt}")
        assert daemon.process.wait(20) == -signal.SIGKILL
        storm.join()
        amid = _is_half_copied(daemon.database)
        daemon = start_daemon()

        storm.check(daemon.agents())
        assert _integrity(daemon.database) == "ok"
        if amid:
            return
        daemon.stop()
    pytest.fail("no attempt was killed amid a checkpoint")


def _fill(folder: Path, records: list[AgentRecord]) -> None:
    agents, database = create_storage_backend(f"sqlite:///{folder}/agent-registry.db")
    for adding in [agents.submit(agents.add, record) for record in records]:
        adding.result()
    database.close()


def _count_expired(database: Path) -> int:
    query = "SELECT count(*) FROM agents WHERE agent_id LIKE 'expired-%'"
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        (count,) = connection.execute(query).fetchone()
    return int(count)


def _is_half_copied(database: Path) -> bool:
    """Tell whether a checkpoint began that did not end.

    By what SQLite notes beside its log: nBackfill and nBackfillAttempted, in "The
    WAL-Index File Format".
    """
    noted = database.with_name(f"{database.name}-shm").read_bytes()
    (copied,) = struct.unpack_from("=I", noted, 96)
    (attempted,) = struct.unpack_from("=I", noted, 128)
    return bool(attempted > copied)
