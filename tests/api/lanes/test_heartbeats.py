"""The lane of heartbeats answers as the route behind it would."""

import random
from collections.abc import Callable

from store import AgentRecord, AgentRegistryRepository

from .traffic import (
    BODIES,
    CREDENTIALS,
    HEADERS,
    KNOWN,
    METHODS,
    OWNED,
    ROOT_PATHS,
    Lanes,
    Request,
    at_noon,
    draw,
    for_whom,
    no_way,
)

PATHS = ["/agents/{}/heartbeat"] * 8 + [
    "/agents/{}/heartbeat/",
    "//agents/{}/heartbeat",
    "/agents/{}/Heartbeat",
    "/agents/{}/heartbeat\n",
]
WRONG_IDS = ["", ".", "..", "-a", "a b", "a/b", "ä", "a\n", "a\x00", "%61"]
WRONG_IDS += ["x" * 256, "a" * 5_000, "\ud800"]
IDS = [*KNOWN, *OWNED, "unknown", *WRONG_IDS, "heartbeat"]


def a_heartbeat(rng: random.Random) -> Request:
    """Draw a heartbeat, or what nearly is one."""
    path = rng.choice(PATHS).format(rng.choice(IDS))
    headers = rng.sample(HEADERS, rng.choice([0, 0, 1, 1, 2, 3]))
    headers += rng.choice(CREDENTIALS)
    root_path = rng.choice(ROOT_PATHS)
    return Request(
        path, rng.choice(METHODS), headers, root_path, body=rng.choice(BODIES)
    )


@for_whom
@at_noon
def test_heartbeats_are_answered_as_the_route_does(
    lanes: Lanes, register_agents: Callable[[], None], kept_out: set[int]
) -> None:
    """The same status, headers and bytes, for thousands of requests good and bad."""
    register_agents()
    heartbeats = draw(a_heartbeat, seed=20261122)

    statuses = {lanes.ask_both(heartbeat).status for heartbeat in heartbeats}

    assert statuses >= {200, 404, 405, 422} | kept_out


def test_a_plain_heartbeat_never_reaches_the_route(
    lanes: Lanes,
    repo: AgentRegistryRepository,
    make_record: Callable[..., AgentRecord],
) -> None:
    """Many clients announce an empty body; that is none."""
    repo.add(make_record("a"))
    lanes.heartbeats._app = no_way
    heartbeat = Request("/agents/a/heartbeat", headers=[(b"content-length", b"0")])

    assert lanes.ask(heartbeat).status == 200
