"""The documents say what the program does."""

import itertools
import json
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from apscheduler.events import EVENT_JOB_EXECUTED
from apscheduler.schedulers.background import BackgroundScheduler
from fastapi import FastAPI
from freezegun import freeze_time
from starlette.testclient import TestClient

from api.errors import CODES
from daemon.app import RegistryDaemon
from daemon.config import _NO_KEYS, Config, ServerConfig, StoreConfig
from daemon.lease_clock import LeaseClock
from daemon.scheduler import EXPIRY_JOB
from store.clock import utcnow

ROOT = Path(__file__).parent.parent
DOCUMENTS = [
    *ROOT.glob("*.md"),
    *(ROOT / "docs").rglob("*.md"),
    *(ROOT / "client").rglob("*.md"),
]
README, ARCHITECTURE, PROTOCOL, OPERATIONS = (
    (ROOT / name).read_text()
    for name in (
        "README.md",
        "docs/architecture.md",
        "docs/protocol.md",
        "docs/operations.md",
    )
)
#: Every call can answer these, which its own table therefore leaves out.
EVERYWHERE = {"500", "503"}
#: But not what they tell without the store.
ALWAYS = {"GET /metrics": {"503"}}


def section(document: str, heading: str) -> str:
    """Return what stands under a heading, up to the next one."""
    _, _, rest = document.partition(f"\n{heading}\n")
    return re.split(r"(?m)^#+ ", rest, maxsplit=1)[0]


def first_cells(text: str) -> list[str]:
    """Return the first cell of each row of the tables in a text."""
    return [row.split("|")[1].strip(" `") for row in rows(text)]


def rows(text: str) -> list[str]:
    """Return the rows of the tables in a text, without their headings."""
    lines = text.splitlines()
    return [
        line
        for before, line in itertools.pairwise(lines)
        if line.startswith("| ") and before.startswith("|")
    ]


def test_every_config_key_is_documented_with_its_default() -> None:
    """Operations lists the keys that exist, no others, and their defaults."""
    documented = dict(re.findall(r"(?m)^\| `(\w+\.\w+)` \| `(.+?)` \|", OPERATIONS))

    assert documented == {
        f"{name}.{key}": json.dumps(value)
        for name, values in Config().model_dump().items()
        for key, value in values.items()
    }


def test_every_variable_that_is_no_key_is_documented() -> None:
    """Operations lists those that pass although they have our prefix, and no others."""
    _, _, rest = OPERATIONS.partition("with the prefix are no keys")
    listed = re.findall(r"`(\w+)`", rest.partition("\n\n")[0])

    assert sorted(listed) == sorted(_NO_KEYS)


def test_every_error_code_is_documented() -> None:
    """The protocol lists the codes that exist, and no others."""
    assert set(first_cells(section(PROTOCOL, "## Errors"))) == set(CODES)


def test_every_call_is_documented_with_its_answers(app: FastAPI) -> None:
    """The protocol and the OpenAPI document tell of the same calls and statuses."""
    described = {
        f"{method.upper()} {path}": set(operation["responses"])
        for path, operations in app.openapi()["paths"].items()
        for method, operation in operations.items()
    }
    calls = re.findall(r"(?m)^### `(.+)`$", PROTOCOL)
    documented = {
        call: set(re.findall(r"(?m)^\| (\d{3}) ", section(PROTOCOL, f"### `{call}`")))
        for call in calls
    }

    assert {
        call: told | (EVERYWHERE - ALWAYS.get(call, set()))
        for call, told in documented.items()
    } == described


def test_every_metric_is_documented_with_its_type(tmp_path: Path) -> None:
    """Operations lists the metrics of a daemon, no others, and their types."""
    config = Config(store=StoreConfig(url=f"sqlite:///{tmp_path}/registry.db"))
    with TestClient(RegistryDaemon(config).create_asgi_app()) as client:
        text = client.get("/metrics").text

    told = re.findall(r"(?m)^# TYPE (agent_registry_\w+) (\w+)$", text)
    documented = re.findall(r"(?m)^\| `(agent_registry_\w+)` \| (\w+) \|", OPERATIONS)
    assert sorted(documented) == sorted(told)


def test_every_alert_is_documented_and_asks_for_metrics_that_exist() -> None:
    """The rules that are shipped have their row, and misspell nothing."""
    rules = (ROOT / "deploy/prometheus-rules.yml").read_text()
    told = set(first_cells(section(OPERATIONS, "## Metrics")))

    alerts = set(re.findall(r"alert: (\w+)", rules))
    assert alerts == {cell for cell in told if cell.startswith("AgentRegistry")}
    assert set(re.findall(r"agent_registry_\w+", rules)) <= told


def test_every_log_action_is_documented() -> None:
    """Operations lists the actions that log lines carry, and no others."""
    code = "".join(
        path.read_text()
        for package in ("api", "daemon", "store")
        for path in (ROOT / package).glob("*.py")
    )

    assert set(first_cells(section(OPERATIONS, "## Logs"))) == set(
        re.findall(r'"action": "(\w+)"', code)
    )


def test_every_module_is_in_the_architecture() -> None:
    """The folder tables name the modules that exist, and no others."""
    assert set(first_cells(section(ARCHITECTURE, "## The modules"))) == {
        f"{package}/{path.name}"
        for package in ("api", "daemon", "store")
        for path in (ROOT / package).glob("*.py")
    }


@pytest.mark.parametrize(
    "document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT))
)
def test_every_relative_link_resolves(document: Path) -> None:
    """A link leads to a file of the repository, and to a heading that is there."""
    for target in re.findall(r"\]\((?!\w+:)([^)]+)\)", document.read_text()):
        name, _, anchor = target.partition("#")
        path = (document.parent / unquote(name)) if name else document

        assert path.exists(), target
        assert not anchor or anchor in _anchors(path), target


def _anchors(path: Path) -> list[str]:
    headings = re.findall(r"(?m)^#+ (.+)$", path.read_text())
    return [re.sub(r"[^\w -]", "", text).lower().replace(" ", "-") for text in headings]


def tour() -> Iterator[tuple[str, str]]:
    """Yield the commands of the README's tour, each with its output."""
    for block in re.findall(r"(?ms)^```console\n(.*?)^```", README):
        for step in re.split(r"(?m)^\$ ", block)[1:]:
            command, *output = re.split(r"\n(?=[\[{])", step, maxsplit=1)
            yield command, "".join(output)


def shape(text: str) -> Any:
    """Return the keys, words and truths of JSON, without what is counted or timed."""

    def words(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: words(item) for key, item in value.items()}
        if isinstance(value, list):
            return [words(item) for item in value]
        counted = isinstance(value, int | float) and not isinstance(value, bool)
        timed = isinstance(value, str) and re.fullmatch(r"[\d.:TZ-]+", value)
        return "..." if counted or timed else value

    return words(json.loads(text))


@pytest.mark.skipif(shutil.which("curl") is None, reason="the tour is told with curl")
def test_the_tour_of_the_readme_is_true(tmp_path: Path) -> None:
    """Each command, run in order, answers as shown; sleeping moves a frozen clock."""
    config = Config(
        server=ServerConfig(port=0),
        store=StoreConfig(url=f"sqlite:///{tmp_path}/registry.db"),
    )
    shown, answered = [], []
    with freeze_time("2026-11-22T15:45:00Z") as frozen:
        daemon = RegistryDaemon(config, lease_clock=LeaseClock(running=_running))
        daemon.start()
        try:
            for command, output in tour():
                if command.startswith("sleep "):
                    for _ in range(int(command.removeprefix("sleep "))):
                        frozen.tick(1)
                        _turn(daemon)
                    _sweep_if_due(daemon._scheduler)
                else:
                    shown.append((command, shape(output)))
                    answered.append((command, shape(_run(command, daemon))))
        finally:
            daemon.stop()

    assert answered == shown
    assert len(shown) >= 7


def _running() -> float:
    """Return a running time that a frozen clock moves too."""
    return utcnow().timestamp()


def _turn(daemon: RegistryDaemon) -> None:
    """Let the lease clock see that a second passed, in which agents were heard."""
    keeper = daemon._keeper
    assert keeper is not None
    heard_at = utcnow()
    while daemon._lease_clock.listening().listened_at < heard_at:
        keeper.turn()


def _sweep_if_due(scheduler: BackgroundScheduler) -> None:
    """Wake the scheduler, whose timer waits in real time, and await what it does."""
    if scheduler.get_job(EXPIRY_JOB).next_run_time <= utcnow():
        swept = threading.Event()
        scheduler.add_listener(lambda _event: swept.set(), EVENT_JOB_EXECUTED)
        scheduler.wakeup()
        assert swept.wait(10)


def _run(command: str, daemon: RegistryDaemon) -> str:
    command = command.replace(":8790/", f":{daemon.address[1]}/")
    return subprocess.check_output(command, shell=True, text=True)  # noqa: S602 - ours
