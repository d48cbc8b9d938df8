"""What the tests of HTTP below the application share."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from daemon.connections import Limits

from .wire import Client


@pytest.fixture
def connect() -> Iterator[Callable[..., Client]]:
    """Return what opens a connection, with limits over the defaults."""
    loop = asyncio.new_event_loop()
    clients: list[Client] = []

    def connect(**limits: Any) -> Client:
        clients.append(Client(loop, Limits(**limits)))
        return clients[-1]

    yield connect
    for client in clients:
        client.leave()
    loop.close()


@pytest.fixture
def client(connect: Callable[..., Client]) -> Client:
    """Return a connection with the default limits."""
    return connect()
