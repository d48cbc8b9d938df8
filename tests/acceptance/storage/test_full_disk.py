"""A disk without room: nobody is added, and nobody is lost."""

import resource
from collections.abc import Callable
from typing import Any

import pytest

MakeDisk = Callable[[int], Any]
MakeRegistry = Callable[..., Any]
BEATS = 3_000


def fill_by_registering(registry: Any, most: int = 5_000) -> set[str]:
    """Register until nobody can be added any more; return who is."""
    added = set()
    for number in range(most):
        agent_id = f"agent-{number}"
        status = registry.register(agent_id, filler=500)
        if status != 201:
            assert status == 503
            return added
        added.add(agent_id)
    raise AssertionError("there is always room")


def beat_for_long(registry: Any, agents: set[str]) -> None:
    """Beat so often that the log of the database starts anew many times."""
    ids = sorted(agents)
    for number in range(BEATS // 100):
        beating = [ids[(100 * number + n) % len(ids)] for n in range(100)]
        status, answer = registry.ask(
            "POST", "/agents/heartbeats", {"agent_ids": beating}
        )

        assert (status, answer) == (200, {"renewed": len({*beating}), "unknown": []})
    for agent_id in ids[:300]:
        assert registry.beat(agent_id) == 200


@pytest.mark.parametrize(
    ("filled_by", "kib"), [("agents", 1_024), ("others", 1_024), ("others", 4_096)]
)
def test_beats_reads_and_removals_outlive_a_full_disk(
    make_disk: MakeDisk,
    make_registry: MakeRegistry,
    wait_until: Callable[..., Any],
    kib: int,
    filled_by: str,
) -> None:
    """Registrations are told 503 until there is room again; nothing is restarted."""
    disk = make_disk(kib)
    registry = make_registry(disk.folder / "registry.db")
    registry.start()
    if filled_by == "agents":
        (disk.folder / "filler").write_bytes(b"x" * kib * 256)
    else:
        for number in range(100):
            assert registry.register(f"first-{number}", filler=500) == 201
        disk.fill()
    agents = fill_by_registering(registry)
    agents |= registry.ids()
    assert registry.register("brief", ttl_seconds=1) == 503

    beat_for_long(registry, agents)
    refused = registry.ask("POST", "/agents/register", _body("one-more"))
    disk.fill()
    beat_for_long(registry, agents)
    gone = sorted(agents)[:20]
    removed = [registry.ask("DELETE", f"/agents/{agent_id}")[0] for agent_id in gone]
    listed = registry.ids()
    disk.clear()
    wait_until(lambda: registry.register("one-more") == 201)

    assert (refused[0], refused[1]["code"]) == (503, "store_full")
    assert set(removed) == {204}
    assert listed == agents - {*gone}
    assert registry.ids() == listed | {"one-more"}
    assert registry.log().count("The disk is full") <= 3


def test_the_dead_are_removed_from_a_full_disk(
    make_disk: MakeDisk, make_registry: MakeRegistry, wait_until: Callable[..., Any]
) -> None:
    """Which makes the room in the database that newcomers will use."""
    disk = make_disk(1_024)
    registry = make_registry(disk.folder / "registry.db")
    registry.start(AGENT_REGISTRY_GUARD__ENABLED="false")
    for number in range(50):
        assert registry.register(f"brief-{number}", ttl_seconds=3, filler=500) == 201
    disk.fill()
    agents = fill_by_registering(registry)

    wait_until(lambda: registry.ask("GET", "/health")[1]["agents"]["dead"] == 50)
    wait_until(lambda: registry.ask("GET", "/health")[1]["agents"]["dead"] == 0)

    assert registry.ids() == agents


def test_a_daemon_starts_on_a_full_disk(
    make_disk: MakeDisk, make_registry: MakeRegistry
) -> None:
    """With the room that it had reserved; whoever was registered can beat."""
    disk = make_disk(1_024)
    registry = make_registry(disk.folder / "registry.db")
    registry.start()
    for number in range(50):
        assert registry.register(f"agent-{number}") == 201
    agents = registry.ids()
    registry.daemon.stop()
    disk.fill()

    registry.start()
    refused = registry.register("one-more")
    beat_for_long(registry, agents)

    assert refused == 503
    assert registry.ids() == agents


def test_beats_outlive_a_limit_on_the_size_of_files(
    registry: Any, wait_until: Callable[..., Any]
) -> None:
    """RLIMIT_FSIZE is a full disk, and is as soon over."""
    registry.start()
    pid = registry.daemon.process.pid
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (1_048_576, resource.RLIM_INFINITY))

    agents = fill_by_registering(registry)
    beat_for_long(registry, agents)
    listed = registry.ids()
    removed = registry.ask("DELETE", "/agents/agent-0")[0]
    unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, unlimited)
    wait_until(lambda: registry.register("one-more") == 201)

    assert listed == agents
    assert removed == 204


def _body(agent_id: str) -> dict[str, Any]:
    where = {"agent_name": "fleet", "host": "10.0.0.7", "port": 8001}
    return {"agent_id": agent_id} | where
