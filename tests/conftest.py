"""What every test may ask for."""

import re
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from api import AgentRegistryServer
from store import (
    AgentRecord,
    AgentRegistryRepository,
    Storage,
    create_storage_backend,
)

#: A token as it is issued: nobody but who asked for it may ever see it.
TOKEN = re.compile(r"areg_[A-Za-z0-9_-]{43}")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest; the rest stays in the order it has."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[
    None, pytest.TestReport, pytest.TestReport
]:
    """Fail whatever test a token was printed or logged in, wherever that came from."""
    report = yield
    if any(TOKEN.search(said) for _, said in report.sections):
        report.outcome, report.longrepr = "failed", "a token stands in what was said"
    return report


@pytest.fixture
def store_url(tmp_path: Path) -> str:
    """Name a database file that does not exist yet."""
    return f"sqlite:///{tmp_path}/registry.db"


@pytest.fixture
def storage(store_url: str) -> Iterator[Storage]:
    """Open a store on a file of its own, and close it afterwards."""
    storage = create_storage_backend(store_url)
    yield storage
    storage.database.close()


@pytest.fixture
def repo(storage: Storage) -> AgentRegistryRepository:
    """Return the repository of `storage`."""
    return storage.agents


@pytest.fixture
def app(store_url: str, repo: AgentRegistryRepository) -> FastAPI:
    """Return an application that serves `repo`."""
    return AgentRegistryServer(store_url, repo).create_app()


@pytest.fixture
def client(app: FastAPI) -> TestClient:
    """Return a client of `app`; lifespan never runs."""
    return TestClient(app)


@pytest.fixture
def make_record() -> Callable[..., AgentRecord]:
    """Return a function that builds a record, its arguments over the defaults."""

    def make(agent_id: str = "summariser-1", **over: Any) -> AgentRecord:
        described = {"agent_name": "Summariser", "host": "10.0.0.7", "port": 8001}
        return AgentRecord(agent_id=agent_id, **described | over)

    return make


@pytest.fixture
def make_body() -> Callable[..., dict[str, Any]]:
    """Return a function that builds a registration's body."""

    def make(agent_id: str = "summariser-1", **over: Any) -> dict[str, Any]:
        described = {"agent_name": "Summariser", "host": "10.0.0.7", "port": 8001}
        return {"agent_id": agent_id} | described | over

    return make


class Watched(NamedTuple):
    """What was seen of a store by listing it amid registrations."""

    #: The lists that no instant can explain.
    torn: list[list[Any]]
    #: How many different lists there were.
    different: int
    #: Registrations a second of processor time: whoever tests beside takes the rest.
    rate: float


@pytest.fixture
def watch(
    repo: AgentRegistryRepository, make_record: Callable[..., AgentRecord]
) -> Callable[[Callable[[], list[Any]]], Watched]:
    """Return a function that calls a list over and over while agents register.

    They do so in the order of their ids, again and again, each time with the next
    generation's number in their metadata. So at any instant the first of them are
    of one generation, and the others of the one before: at first, missing.
    They come in batches, as the facade hands them over, for the sake of their rate.
    The list returns pairs of id and generation.
    """
    ids = [f"agent-{n:03}" for n in range(60)]
    order = [(agent_id, number) for number, agent_id in product(range(140), ids)]
    possible = [
        [(agent_id, number) for agent_id in ids[:first]]
        + [(agent_id, number - 1) for agent_id in ids[first:] if number]
        for number, first in product(range(140), range(len(ids) + 1))
    ]

    def register() -> None:
        waiting = deque()
        for first in range(0, len(order), 7):
            records = [
                make_record(agent_id, metadata={"generation": number})
                for agent_id, number in order[first : first + 7]
            ]
            waiting.append(repo.submit(repo.register_all, records))
            if len(waiting) > 5:
                waiting.popleft().result()

    def watch(list_once: Callable[[], list[Any]]) -> Watched:
        lists = []
        registering = threading.Thread(target=register)
        began = time.process_time()
        registering.start()
        while registering.is_alive():
            lists.append(list_once())
        rate = len(order) / (time.process_time() - began)
        torn = [listed for listed in lists if listed not in possible]
        return Watched(torn, len(set(map(tuple, lists))), rate)

    return watch
