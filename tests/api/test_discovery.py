"""List and get."""

from collections.abc import Callable, Iterator
from datetime import datetime

import pytest
from httpx2 import Response
from starlette.testclient import TestClient

from store import AgentRecord, AgentRegistryRepository

Register = Callable[..., Response]
MakeRecord = Callable[..., AgentRecord]


def _ids(response: Response) -> list[str]:
    assert response.status_code == 200
    return [agent["agent_id"] for agent in response.json()]


def _pages(client: TestClient, path: str) -> Iterator[list[str]]:
    following: str | None = path
    while following:
        response = client.get(following)
        yield _ids(response)
        following = response.links.get("next", {}).get("url")


@pytest.mark.usefixtures("frozen")
def test_list_and_get_tell_the_same(client: TestClient, register: Register) -> None:
    """An agent in the list is as its own path shows it, and as it registered."""
    registered = register(metadata={"é": "\U0001f600", "__proto__": "<b>"}).json()
    del registered["outcome"], registered["heartbeat_interval_seconds"]

    assert client.get("/agents").json() == [registered]
    assert client.get("/agents/summariser-1").json() == registered


def test_list_is_ordered_by_code_point(client: TestClient, register: Register) -> None:
    """Ids order the list: digits, capitals, small letters."""
    for agent_id in ("b", "a", "B", "a-1", "0", "a~"):
        register(agent_id)

    assert _ids(client.get("/agents")) == ["0", "B", "a", "a-1", "a~", "b"]


def test_dead_agents_are_listed_when_asked_for(
    client: TestClient, repo: AgentRegistryRepository, make_record: MakeRecord
) -> None:
    """The list shows the living; `include_dead` adds the dead; get shows both."""
    repo.add(make_record("dead", last_heartbeat=datetime(2020, 1, 1)))  # noqa: DTZ001
    repo.add(make_record("alive"))

    assert _ids(client.get("/agents")) == ["alive"]
    assert _ids(client.get("/agents?include_dead=false")) == ["alive"]
    assert _ids(client.get("/agents?include_dead=true")) == ["alive", "dead"]
    dead = client.get("/agents/dead").json()
    assert (dead["is_alive"], dead["status"]) == (False, "dead")
    assert dead["expires_at"] == "2020-01-01T00:01:00.000000Z"


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("name=Writer", ["b", "c"]),
        ("name=writer", []),
        ("name=", []),
        ("host=h2", ["c"]),
        ("name=Writer&host=h1", ["b"]),
        ("metadata.gpu=true", ["a"]),
        ("metadata.gpu=1", []),
        ("metadata.cores=8", ["a", "b"]),
        ("metadata.skills=read", ["b", "c"]),
        ("metadata.skills=read&metadata.cores=8", ["b"]),
        ("metadata.nothing=null", ["c"]),
        ("metadata.a.b%20%22c%22=x%26y%3Dz", ["c"]),
        ("metadata.missing=1", []),
        ("name=%27%20OR%201%3D1%20--", []),
        ("metadata.%27%29%3B=%27%20OR%201%3D1", []),
    ],
)
def test_list_filters(
    client: TestClient, register: Register, query: str, found: list[str]
) -> None:
    """Name and host match whole; metadata matches a text, or one in an array."""
    register("a", host="h1", metadata={"gpu": True, "cores": 8, "skills": []})
    described = {"cores": "8", "skills": ["read", "write"]}
    register("b", host="h1", agent_name="Writer", metadata=described)
    described = {"nothing": None, "skills": "read", 'a.b "c"': "x&y=z"}
    register("c", host="h2", agent_name="Writer", metadata=described)

    assert _ids(client.get(f"/agents?{query}")) == found


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 5])
def test_pages_are_walked_to_the_end(
    client: TestClient, register: Register, limit: int
) -> None:
    """Links lead through every agent once; the last page has none."""
    for agent_id in "abcd":
        register(agent_id)

    pages = list(_pages(client, f"/agents?limit={limit}"))

    assert [agent_id for page in pages for agent_id in page] == list("abcd")
    assert {len(page) for page in pages[:-1]} <= {limit}
    assert len(pages) == -(-4 // limit)


def test_page_links_keep_the_filters(client: TestClient, register: Register) -> None:
    """The next page is of the same question, however odd its text."""
    for agent_id in "abcd":
        register(agent_id, metadata={"k é&=": '">,;\r\n' if agent_id < "d" else "z"})
    question = {"metadata.k é&=": '">,;\r\n', "name": "Summariser", "limit": "2"}

    first = client.get("/agents", params=question)
    second = client.get(first.links["next"]["url"])

    assert (_ids(first), _ids(second)) == (["a", "b"], ["c"])


def test_pages_skip_nobody_while_agents_are_added(
    client: TestClient, register: Register
) -> None:
    """Who was there from the first page to the last is seen exactly once."""
    there = [f"m{n}" for n in range(7)]
    for agent_id in there:
        register(agent_id)

    seen = []
    for page in _pages(client, "/agents?limit=2"):
        seen += page
        if len(seen) < 8:
            register(f"a{len(seen)}")  # before the cursor
            register(f"{page[-1]}-new")  # right behind it

    assert [agent_id for agent_id in seen if agent_id in there] == there
    assert seen == sorted(set(seen))
    assert "m1-new" in seen


def test_whole_list_has_no_link(client: TestClient, register: Register) -> None:
    """Without `limit` there is one answer; a cursor starts behind an id."""
    for agent_id in "abc":
        register(agent_id)

    assert "link" not in client.get("/agents").headers
    assert _ids(client.get("/agents?cursor=a")) == ["b", "c"]
    assert _ids(client.get("/agents?cursor=zz&limit=10000")) == []


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("includ_dead=true", "includ_dead"),
        ("Name=a", "Name"),
        ("metadata=1", "metadata"),
        ("metadata.=1", "metadata."),
        ("name=a&name=a", "name"),
        ("metadata.k=1&metadata.k=2", "metadata.k"),
        ("limit=1&limit=2", "limit"),
        ("<script>=1", "?"),
        ("name=a%00", "name"),
        ("metadata.a%00=1", "?"),
        ("limit=0", "limit"),
        ("limit=10001", "limit"),
        ("limit=-1", "limit"),
        ("limit=x", "limit"),
        ("limit=", "limit"),
        ("limit=1e999", "limit"),
        ("limit=1.0", "limit"),
        ("limit=1_0", "limit"),
        ("limit=%2B1", "limit"),
        ("limit=%201", "limit"),
        ("limit=%D9%A1", "limit"),
        (f"limit={'9' * 5000}", "limit"),
        ("include_dead=maybe", "include_dead"),
        ("cursor=", "cursor"),
        ("cursor=a%0a", "cursor"),
        ("cursor=../x", "cursor"),
        (f"name={'x' * 257}", "name"),
        (f"host={'x' * 254}", "host"),
        ("&".join(f"metadata.k{n}=1" for n in range(17)), "metadata"),
        ("&".join(f"metadata.k{n}=1" for n in range(1500)), "metadata"),
    ],
)
def test_odd_parameter_is_refused(client: TestClient, query: str, field: str) -> None:
    """A filter that is unknown, given twice or out of bounds never means "all"."""
    response = client.get(f"/agents?{query}")

    assert response.status_code == 422
    assert {error["field"] for error in response.json()["errors"]} == {field}


def test_sixteen_metadata_filters_are_answered(
    client: TestClient, register: Register
) -> None:
    """As many filters as are allowed, with all others, are no strain."""
    metadata = {f"k{n}": n for n in range(16)}
    register(metadata=metadata)
    query = {f"metadata.{key}": value for key, value in metadata.items()}
    query |= {"name": "Summariser", "host": "10.0.0.7", "cursor": "a", "limit": 5}

    assert _ids(client.get("/agents", params=query)) == ["summariser-1"]
