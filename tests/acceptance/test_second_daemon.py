"""One daemon a database."""

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.mark.parametrize("name", ["agent-registry.db", "link.db"])
def test_a_second_daemon_is_refused_and_told_who_serves(
    start_daemon: Callable[..., Any], command: Path, name: str
) -> None:
    """At once, by whatever name the file goes; the first serves on."""
    first = start_daemon()
    file = first.database.with_name(name)
    if not file.exists():
        file.symlink_to(first.database)

    second = subprocess.run(
        [command],
        env={
            "AGENT_REGISTRY_SERVER__PORT": "0",
            "AGENT_REGISTRY_STORE__URL": f"sqlite:///{file}",
        },
        capture_output=True,
        text=True,
        timeout=5,
        check=False,
    )

    assert second.returncode == 78
    assert f"pid {first.process.pid} on " in second.stderr
    assert "store.url" in second.stderr
    assert len(second.stderr.splitlines()) == 1
    assert first.agents() == {}
