"""The lane of registrations answers as the route behind it would."""

import json
import random
from collections.abc import Callable
from functools import partial
from typing import Any

from store import AgentRecord, AgentRegistryRepository

from .traffic import (
    CREDENTIALS,
    OWNED,
    ROOT_PATHS,
    Lanes,
    Request,
    at_noon,
    draw,
    for_whom,
)

#: Ids that registrations name, good ones.
REGISTERED = ["a", "b", "a" * 255, "billing-2", "billing-1", "both-1"]
#: What may stand in the fields: first what is right in each.
FIELDS: dict[str, list[Any]] = {
    "agent_id": [*REGISTERED, "", "a/b", 1, None],
    "agent_name": ["A", "é 😀", "x" * 256, "x" * 257, "a\x07", 1],
    "host": ["10.0.0.1", "::1", "a.example", "a b", "http://x", 1],
    "port": [1, 65_535, 0, 65_536, "80", 8.0, True],
    "ttl_seconds": [1, 60, 86_400, 86_401, 0, "60", None],
    "metadata": [{}, {"a": [1, {"b": None}]}, {"k": "x" * 5_000}, [], "m"],
    "owner": ["nobody"],
}
TYPES = [b"application/json"] * 6
TYPES += [b"application/json; charset=utf-8", b"text/plain", b"application/x+json"]
#: Headers that stand beside others of their name.
TWICE = [
    (b"content-type", b"text/plain"),
    (b"content-type", b"application/json"),
    (b"content-length", b"67"),
    (b"content-length", b"70000"),
]


def a_body(rng: random.Random) -> bytes:
    """Draw the body of a registration: good, wrong in a field, or broken."""
    body = {name: values[0] for name, values in FIELDS.items() if name != "owner"}
    for name in rng.sample(list(FIELDS), rng.choice([0, 0, 1, 1, 2])):
        body[name] = rng.choice(FIELDS[name])
    for name in rng.sample(list(body), rng.choice([0, 0, 0, 1])):
        del body[name]
    text = json.dumps(body, ensure_ascii=rng.random() < 0.5).encode()
    broken = [text[:-1], text + b" ", b"[]", b"", text[:-1] + b', "port": 1}']
    broken += [b'{"agent_id": NaN}', text.replace(b'"A"', b'"\\u0000"'), b"\xff"]
    return rng.choice([text] * 3 * len(broken) + broken)


def a_registration(rng: random.Random) -> tuple[Request, dict[str, str]]:
    """Draw a registration, and the owners of the agents that are known by then."""
    body = a_body(rng)
    length = b"%d" % len(body)
    headers = [
        (b"content-type", rng.choice(TYPES)),
        (b"content-length", rng.choice([length] * 9 + [b"70000", b"", b"x"])),
    ]
    headers = headers[: rng.choice([2, 2, 2, 2, 2, 1, 0])]
    if rng.random() < 0.1:  # a header twice: the first counts
        headers.insert(rng.choice([0, len(headers)]), rng.choice(TWICE))
    headers += rng.choice(CREDENTIALS)
    root_path = rng.choice(ROOT_PATHS)
    registration = Request("/agents/register", "POST", headers, root_path, body=body)
    return registration, OWNED | ({"a": ""} if rng.random() < 0.5 else {})


@for_whom
@at_noon
def test_registrations_are_answered_as_the_route_does(
    lanes: Lanes,
    repo: AgentRegistryRepository,
    make_record: Callable[..., AgentRecord],
    kept_out: set[int],
) -> None:
    """The same status, headers and bytes, for good bodies and bad, new and known."""

    def know(owners: dict[str, str], named: list[str]) -> None:
        for agent_id in named:
            repo.delete(agent_id)
            if agent_id in owners:
                repo.add(make_record(agent_id, owner=owners[agent_id]))

    statuses = set()
    for registration, owners in draw(a_registration, seed=20261122):
        named = [one for one in REGISTERED if one.encode() in registration.body]
        answer = lanes.ask_both(registration, partial(know, owners, named))
        statuses.add(answer.status)

    assert statuses >= {200, 201, 400, 413, 415, 422} | kept_out
