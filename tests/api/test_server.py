"""The application, made from a URL or from a repository."""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from starlette.testclient import TestClient

import api
from api import AgentRegistryServer
from store import AgentRecord, AgentRegistryRepository, Storage

MakeBody = Callable[..., dict[str, Any]]
ROOT = Path(__file__).parents[2]


def test_package_exports_the_server_and_the_record() -> None:
    """What others import from the facade."""
    assert api.__all__ == ["AgentRecord", "AgentRegistryServer"]


def test_store_is_opened_on_first_use(tmp_path: Path, store_url: str) -> None:
    """Making the application and its document touches no file; a call does."""
    app = AgentRegistryServer(store_url).create_app()
    client = TestClient(app)
    client.get("/openapi.json")
    before = list(tmp_path.iterdir())

    listed = client.get("/agents")

    assert before == []
    assert listed.json() == []
    assert (tmp_path / "registry.db").exists()


def test_lifespan_opens_and_closes_each_time(
    tmp_path: Path, store_url: str, make_body: MakeBody
) -> None:
    """One application serves two lifespans, and what was registered stays."""
    app = AgentRegistryServer(store_url).create_app()

    with TestClient(app) as client:
        assert (tmp_path / "registry.db").exists()
        client.post("/agents/register", json=make_body())
    closed = TestClient(app).get("/agents")
    with TestClient(app) as client:
        listed = client.get("/agents").json()

    assert closed.status_code == 503
    assert [agent["agent_id"] for agent in listed] == ["summariser-1"]
    assert [path.name for path in tmp_path.iterdir()] == ["registry.db"]


def test_given_repository_is_used_and_stays_open(
    tmp_path: Path, repo: AgentRegistryRepository, make_body: MakeBody
) -> None:
    """The URL is not opened; the repository is the caller's to close."""
    server = AgentRegistryServer(f"sqlite:///{tmp_path}/other.db", repo)

    with TestClient(server.create_app()) as client:
        client.post("/agents/register", json=make_body())

    assert isinstance(repo.get("summariser-1"), AgentRecord)
    assert not (tmp_path / "other.db").exists()


def test_two_applications_on_one_file_agree(
    store_url: str, storage: Storage, client: TestClient, make_body: MakeBody
) -> None:
    """What one acknowledged, the other lists."""
    assert storage
    other = AgentRegistryServer(store_url).create_app()

    with TestClient(other) as there:
        there.post("/agents/register", json=make_body())
        assert client.get("/agents").json()[0]["agent_id"] == "summariser-1"


def test_applications_do_not_share_agents(tmp_path: Path, make_body: MakeBody) -> None:
    """Two files are two registries in one process."""

    def make_app(name: str) -> FastAPI:
        return AgentRegistryServer(f"sqlite:///{tmp_path}/{name}.db").create_app()

    with TestClient(make_app("one")) as one, TestClient(make_app("two")) as two:
        one.post("/agents/register", json=make_body())

        assert len(one.get("/agents").json()) == 1
        assert two.get("/agents").json() == []


def test_process_exits_at_once_and_silently(tmp_path: Path) -> None:
    """A bare TestClient, never closed, leaves no warning, thread or open log behind."""
    program = (
        f"import logging, sys; sys.path.insert(0, {str(ROOT)!r})\n"
        # Development mode also tells of slow steps, which a busy machine has.
        "logging.getLogger('asyncio').setLevel('ERROR')\n"
        "from starlette.testclient import TestClient\n"
        "from api import AgentRegistryServer\n"
        "client = TestClient(AgentRegistryServer('sqlite:///test.db').create_app())\n"
        "body = dict(agent_id='a', agent_name='A', host='h', port=1)\n"
        "assert client.post('/agents/register', json=body).status_code == 201\n"
        "assert client.get('/health').json()['sweep'] is None\n"
        "import time; print(time.time())\n"
    )

    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", program],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    lingered = time.time() - float(done.stdout)  # noqa: TID251 - across processes

    assert (done.returncode, done.stderr) == (0, "")
    assert lingered < 5
    assert [path.name for path in tmp_path.iterdir()] == ["test.db"]


def test_a_prefix_in_front_of_the_paths_changes_nothing_else(
    repo: AgentRegistryRepository, make_body: MakeBody
) -> None:
    """As behind a proxy that has a path for the registry: links have it too."""
    app = AgentRegistryServer("", repo).create_app()
    client = TestClient(app, root_path="/registry")
    ids = [f"agent-{number:0>200}" for number in range(1_000)]

    made = client.post("/agents/register", json=make_body("a"))
    client.post("/agents/register", json=make_body("b"))
    bulk = client.post("/agents/heartbeats", json={"agent_ids": ["a", *ids]})
    page = client.get("/agents?limit=1")

    assert (made.status_code, made.headers["Location"]) == (201, "/registry/agents/a")
    assert (bulk.status_code, bulk.json()["renewed"]) == (200, 1)
    assert page.links["next"]["url"] == "/registry/agents?limit=1&cursor=a"
