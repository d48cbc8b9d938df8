"""The first application of a process, as a test of one's own would build it."""

import subprocess
import sys

PROGRAM = """
from freezegun import freeze_time
from starlette.testclient import TestClient

from api import AgentRegistryServer

with freeze_time("2026-11-22T15:45:00Z"):
    client = TestClient(AgentRegistryServer("{url}").create_app())
    paths = ["/agents", "/health", "/docs", "/openapi.json"]
    print([client.get(path).status_code for path in paths])
"""


def test_first_application_can_be_built_while_the_clock_is_frozen(
    store_url: str,
) -> None:
    """Nothing that building or serving needs is imported too late to be frozen."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM.format(url=store_url)],
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.stderr, done.stdout) == ("", "[200, 200, 200, 200]\n")
