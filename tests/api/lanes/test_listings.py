"""The lane of listings answers as the route behind it would."""

import random
from collections.abc import Callable

import pytest

from store import AgentRecord, AgentRegistryRepository

from .traffic import (
    BODIES,
    CREDENTIALS,
    HEADERS,
    METHODS,
    ROOT_PATHS,
    Lanes,
    Request,
    at_noon,
    draw,
    for_whom,
    no_way,
)

PATHS = ["/agents"] * 20 + ["/agents/", "//agents", "/agents\n"]
#: Parameters that the lane takes.
PLAIN = ["limit=1", "limit=2", "limit=100", "limit=10000", "cursor=a", "cursor=A.b_c"]
PLAIN += ["cursor=" + "x" * 255, "name=Summariser", "name=b.c:d~e_-1"]
PLAIN += ["host=10.0.0.9", "host=a.example", "name=nobody"]
#: Others that are right.
RARE = ["include_dead=true", "include_dead=1", "metadata.zone=eu-1", "name=A+B"]
RARE += ["name=A%20B", "n%61me=Summariser", "limit=007", "limit=+1", "limit=%31"]
RARE += ["name=" + "x" * 253, "name=" + "x" * 256, "host=fe80::1", "cursor=a%3Ab", ""]
#: And what is refused.
WRONG = ["limit=0", "limit=10001", "limit=99999", "limit=1e3", "limit=", "limit"]
WRONG += ["limit=1_0", "limit=-1", "cursor=", "cursor=-a", "cursor=a\n", "cursor=%C3"]
WRONG += ["cursor=" + "x" * 256, "name=" + "x" * 257, "name=a%00", "host=a%", "=a"]
WRONG += ["zone=eu-1", "metadata.=a", "Limit=1", "name=a=b", "include_dead=maybe", "ä"]
KINDS = [PLAIN] * 4 + [RARE, WRONG]


def a_query(rng: random.Random) -> str:
    """Draw the query of a listing: plain, with what is rare, wrong, or broken."""
    several = [
        rng.choice(rng.choice(KINDS)) for _ in range(rng.choice([0, 1, 1, 2, 3]))
    ]
    return rng.choice(["&"] * 9 + ["&&", ";"]).join(several)


def a_listing(rng: random.Random) -> Request:
    """Draw a listing, or what nearly is one."""
    headers = rng.sample(HEADERS, rng.choice([0, 0, 0, 1, 2]))
    headers += rng.choice(CREDENTIALS)
    return Request(
        rng.choice(PATHS),
        rng.choice(["GET"] * 20 + METHODS),
        headers,
        root_path=rng.choice(ROOT_PATHS),
        query=a_query(rng),
        body=rng.choice(BODIES),
    )


@for_whom
@at_noon
def test_listings_are_answered_as_the_route_does(
    lanes: Lanes,
    repo: AgentRegistryRepository,
    make_record: Callable[..., AgentRecord],
    register_agents: Callable[[], None],
    kept_out: set[int],
) -> None:
    """The same status, headers and bytes: pages, links, names, and what is refused."""
    register_agents()
    repo.add(make_record("named", agent_name="b.c:d~e_-1", host="10.0.0.9"))

    answers = [lanes.ask_both(listing) for listing in draw(a_listing, seed=20261126)]

    statuses = {answer.status for answer in answers}
    assert statuses >= {200, 404, 405, 422} | kept_out
    assert any(name == b"link" for answer in answers for name, _ in answer.headers)


@pytest.mark.parametrize(
    "query", ["", "limit=100", "limit=100&cursor=a.b:c~d", "name=Summariser&host=::1"]
)
def test_a_plain_listing_never_reaches_the_route(lanes: Lanes, query: str) -> None:
    """As a client pages, and as it asks who does its work."""
    lanes.listings._app = no_way

    assert lanes.ask(Request("/agents", "GET", query=query)).status == 200
