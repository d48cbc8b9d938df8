"""The registry every newcomer would write: the reference to be better than.

Sync FastAPI routes in its threadpool, Pydantic models in and out, one Peewee
statement and one commit per request, SQLite in WAL mode. Nothing in it is slow on
purpose: a connection stays open in each thread, and there is no access log.

Usage: `python -m bench.servers.naive PORT DATABASE normal|full [--token SHA256]
[--certificate FILE --key FILE]`: with a token, who has not got it is refused.
"""

import argparse
import hashlib
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import uvicorn
from fastapi import APIRouter, Depends, FastAPI, Header, HTTPException
from peewee import (
    CharField,
    DateTimeField,
    IntegerField,
    Model,
    SqliteDatabase,
    TextField,
    chunked,
)
from pydantic import BaseModel, TypeAdapter

database = SqliteDatabase(None)
router = APIRouter()
#: Whose each token is, by its SHA-256.
principals: dict[str, str] = {}


class Agent(Model):
    """A registered agent."""

    agent_id = CharField(primary_key=True)
    agent_name = CharField()
    host = CharField()
    port = IntegerField()
    ttl_seconds = IntegerField()
    metadata = TextField()
    last_heartbeat = DateTimeField(index=True)
    registered_at = DateTimeField()

    class Meta:
        """Where it is kept."""

        database = database


class Registration(BaseModel):
    """What an agent says of itself."""

    agent_id: str
    agent_name: str
    host: str
    port: int
    ttl_seconds: int = 60
    metadata: dict[str, Any] = {}


class AgentInfo(Registration):
    """What is told of an agent."""

    is_alive: bool
    status: str
    last_heartbeat: datetime
    expires_at: datetime
    registered_at: datetime
    age_seconds: float


class Heartbeat(BaseModel):
    """The answer to a heartbeat."""

    agent_id: str
    expires_at: datetime
    ttl_seconds: int
    heartbeat_interval_seconds: float


class Heartbeats(BaseModel):
    """Many agents that beat at once."""

    agent_ids: list[str]


class Renewed(BaseModel):
    """The answer to many heartbeats."""

    renewed: int
    unknown: list[str]


_METADATA = TypeAdapter(dict[str, Any])


def _now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)  # noqa: TID251 - a newcomer's clock


def _info(agent: Agent) -> AgentInfo:
    now = _now()
    expires_at = agent.last_heartbeat + timedelta(seconds=agent.ttl_seconds)
    return AgentInfo(
        agent_id=agent.agent_id,
        agent_name=agent.agent_name,
        host=agent.host,
        port=agent.port,
        ttl_seconds=agent.ttl_seconds,
        metadata=_METADATA.validate_json(agent.metadata),
        is_alive=now < expires_at,
        status="alive" if now < expires_at else "dead",
        last_heartbeat=agent.last_heartbeat,
        expires_at=expires_at,
        registered_at=agent.registered_at,
        age_seconds=(now - agent.last_heartbeat).total_seconds(),
    )


def _beat(agent_id: str, now: datetime) -> bool:
    query = Agent.update(last_heartbeat=now).where(Agent.agent_id == agent_id)
    return bool(query.execute())


@router.post("/agents/register", status_code=201)
def register(registration: Registration) -> AgentInfo:
    """Register an agent."""
    now = _now()
    fields = registration.model_dump() | {
        "metadata": _METADATA.dump_json(registration.metadata).decode(),
        "last_heartbeat": now,
        "registered_at": now,
    }
    Agent.insert(fields).on_conflict_replace().execute()
    return _info(Agent(**fields))


@router.post("/agents/{agent_id}/heartbeat")
def heartbeat(agent_id: str) -> Heartbeat:
    """Renew one lease."""
    now = _now()
    if not _beat(agent_id, now):
        raise HTTPException(404)
    return Heartbeat(
        agent_id=agent_id,
        expires_at=now + timedelta(seconds=60),
        ttl_seconds=60,
        heartbeat_interval_seconds=20.0,
    )


@router.post("/agents/heartbeats")
def heartbeats(beats: Heartbeats) -> Renewed:
    """Renew many leases, one after the other."""
    now = _now()
    unknown = [agent_id for agent_id in beats.agent_ids if not _beat(agent_id, now)]
    return Renewed(renewed=len(beats.agent_ids) - len(unknown), unknown=unknown)


@router.get("/agents")
def list_agents() -> list[AgentInfo]:
    """List the agents that are alive."""
    agents = map(_info, Agent.select().order_by(Agent.agent_id))
    return [agent for agent in agents if agent.is_alive]


async def principal(authorization: Annotated[str, Header()] = "") -> str:
    """Return whose token a request carries."""
    token = authorization.removeprefix("Bearer ")
    found = principals.get(hashlib.sha256(token.encode()).hexdigest())
    if found is None:
        raise HTTPException(401)
    return found


def create_app() -> FastAPI:
    """Return the application; it asks for a token if it knows one."""
    app = FastAPI()
    app.include_router(router, dependencies=[Depends(principal)] if principals else [])
    return app


def open_database(path: Path, synchronous: str) -> None:
    """Open the database, making what is missing."""
    pragmas = {"journal_mode": "wal", "synchronous": synchronous}
    database.init(str(path), pragmas=pragmas, timeout=30)
    database.create_tables([Agent])


def fill(path: Path, agents: Iterable[dict[str, Any]]) -> None:
    """Store agents, each given as a registration is."""
    open_database(path, "normal")
    now = {"last_heartbeat": _now(), "registered_at": _now()}
    rows = (
        agent | now | {"metadata": _METADATA.dump_json(agent["metadata"]).decode()}
        for agent in agents
    )
    with database.atomic():
        for batch in chunked(rows, 1_000):
            Agent.insert_many(batch).execute()
    database.close()


def main() -> None:
    """Serve."""
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("database", type=Path)
    parser.add_argument("synchronous", choices=("normal", "full"))
    parser.add_argument("--token")
    parser.add_argument("--certificate")
    parser.add_argument("--key")
    given = parser.parse_args()
    if given.token:
        principals[given.token] = "bench"
    open_database(given.database, given.synchronous)
    uvicorn.run(
        create_app(),
        port=given.port,
        access_log=False,
        log_level="warning",
        ssl_certfile=given.certificate,
        ssl_keyfile=given.key,
    )


if __name__ == "__main__":
    main()
