"""How registrations are gathered into batches, and each is answered."""

import asyncio
import json
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any

from api.access import ANYBODY, Caller
from api.models import AgentRegistrationRequest, TtlLimits
from api.registering import Registered, Registrar
from store import AgentRecord, Storage
from store.sqlite import SqliteAgentRegistryRepository

SOMEBODY = Caller(ANYBODY, "127.0.0.1", "register", "")


class ToldRepository(SqliteAgentRegistryRepository):
    """A repository that notes the ids of every batch."""

    def __init__(self, storage: Storage) -> None:
        super().__init__(storage.database)  # type: ignore[arg-type] # SQLite's own
        self.batches: list[list[str]] = []

    def submit(self, method: Any, *args: Any, **kwargs: Any) -> Future[Any]:
        """Note a batch, and write it."""
        records: Sequence[AgentRecord] = args[0]
        self.batches.append([record.agent_id for record in records])
        return super().submit(method, *args, **kwargs)


def test_registrations_of_one_turn_are_one_batch(
    storage: Storage, make_body: Callable[..., dict[str, Any]]
) -> None:
    """Who is named twice in it is known the second time; each is answered so."""
    repo = ToldRepository(storage)
    bodies = [make_body("a"), make_body("b"), make_body("a", port=9000)]
    wanted = [AgentRegistrationRequest(**body) for body in bodies]

    async def register() -> list[Registered]:
        registrar = Registrar(repo, TtlLimits())
        registering = [registrar.register(one, SOMEBODY) for one in wanted]
        return await asyncio.gather(*registering)

    answers = [json.loads(answer.body) for answer in asyncio.run(register())]

    assert repo.batches == [["a", "b", "a"]]
    assert [(told["agent_id"], told["outcome"]) for told in answers] == [
        ("a", "created"),
        ("b", "created"),
        ("a", "updated"),
    ]
    assert [agent.port for agent in repo.list_all()] == [9000, bodies[1]["port"]]


def test_who_goes_away_is_registered_and_loses_nobody_elses_answer(
    storage: Storage, make_body: Callable[..., dict[str, Any]]
) -> None:
    """Two clients of one batch, of which one is cancelled."""
    first, second = (AgentRegistrationRequest(**make_body(name)) for name in "ab")

    async def register() -> Registered:
        registrar = Registrar(storage.agents, TtlLimits())
        gone = asyncio.create_task(registrar.register(first, SOMEBODY))
        stays = asyncio.create_task(registrar.register(second, SOMEBODY))
        await asyncio.sleep(0)
        gone.cancel()
        return await stays

    assert asyncio.run(register()).status == 201
    assert [agent.agent_id for agent in storage.agents.list_all()] == ["a", "b"]
