"""The container file in deploy/."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from daemon.app import RegistryDaemon
from daemon.config import Config, ServerConfig
from daemon.listener import bind

ROOT = Path(__file__).parents[2]
PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check")
BUILD = (*PIP, "wheel", "--no-deps", "--no-build-isolation")
CONTAINER_FILE = ROOT / "deploy" / "Containerfile"


def _steps() -> list[tuple[str, str]]:
    """Return the instructions, each with what follows it."""
    lines = [
        line
        for line in CONTAINER_FILE.read_text().splitlines()
        if not line.startswith("#")
    ]
    joined = "\n".join(lines).replace("\\\n", "")
    steps = [line.split(maxsplit=1) for line in joined.splitlines() if line]
    return [(instruction, arguments) for instruction, arguments in steps]


def _only(instruction: str) -> str:
    """Return what follows an instruction that is there once."""
    (arguments,) = [told for step, told in _steps() if step == instruction]
    return arguments


def _copied() -> list[str]:
    """Return what is copied from the repository."""
    copies = [told.split() for step, told in _steps() if step == "COPY"]
    return [name for *names, _target in copies for name in names]


@pytest.fixture
def check_health() -> Callable[[int], subprocess.Popen[bytes]]:
    """Return a function that runs the health check, with a port for the default."""
    _, _, command = _only("HEALTHCHECK").partition(" CMD ")
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"

    def check(port: int) -> subprocess.Popen[bytes]:
        assert str(ServerConfig().port) in command
        there = command.replace(str(ServerConfig().port), str(port))
        return subprocess.Popen(["/bin/sh", "-c", there], env={"PATH": path})

    return check


@pytest.fixture
def daemon(make_config: Callable[..., Config]) -> Iterator[RegistryDaemon]:
    """Return a daemon that serves."""
    daemon = RegistryDaemon(make_config())
    daemon.start()
    yield daemon
    daemon.stop()


def test_it_runs_as_nobody_in_particular() -> None:
    """A number that is not root's, and the last word on it; it owns the volume."""
    user = _only("USER")
    volume = _only("VOLUME")

    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user)
    owner, group = user.split(":")
    assert ("RUN", f"install -d -o {owner} -g {group} -m 700 {volume}") in _steps()
    installing = [step for step, told in _steps() if "install" in told]
    assert [step for step, _ in _steps()].index("USER") > len(installing)


def test_the_database_is_on_the_volume() -> None:
    """The default `store.url` is relative: it follows the working directory."""
    assert _only("WORKDIR") == _only("VOLUME")


def test_signals_reach_the_daemon() -> None:
    """No shell in between; the command is the one that is installed."""
    assert json.loads(_only("ENTRYPOINT")) == ["agent-registryd"]
    assert _only("EXPOSE") == str(ServerConfig().port)


def test_nothing_unlocked_is_installed() -> None:
    """As everywhere: by hashes, and without resolving."""
    installs = [told for step, told in _steps() if "pip install" in told]

    assert len(installs) == 2
    assert all("--no-deps" in told for told in installs)
    assert "--require-hashes -r /src/requirements.txt" in installs[0]
    assert "--no-build-isolation" in installs[1]


def test_no_address_is_opened_by_the_image() -> None:
    """Neither the host nor any other key is set: an image knows no auth."""
    assert not [told for step, told in _steps() if "AGENT_REGISTRY" in told]


def test_what_is_copied_is_there_and_suffices(tmp_path: Path) -> None:
    """The project can be built of it, and the ignore file lets it through."""
    let_through = re.findall(r"(?m)^!(.+)$", (ROOT / ".dockerignore").read_text())
    for name in _copied():
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, tmp_path / name)

    built = subprocess.run(
        [*BUILD, "--wheel-dir", "built", "."],
        cwd=tmp_path,
        check=False,
        capture_output=True,
        text=True,
    )

    assert sorted(let_through) == sorted(_copied())
    assert built.returncode == 0, built.stderr
    assert list((tmp_path / "built").glob("agent_registry-*.whl"))


def test_a_daemon_that_serves_is_healthy(
    daemon: RegistryDaemon, check_health: Callable[[int], subprocess.Popen[bytes]]
) -> None:
    """The very command line, in the shell that a container would take."""
    assert check_health(daemon.address[1]).wait(20) == 0


def test_a_daemon_that_is_gone_is_not_healthy(
    check_health: Callable[[int], subprocess.Popen[bytes]],
) -> None:
    """Nobody listens."""
    with bind("127.0.0.1", 0) as bound:
        port = bound.getsockname()[1]

    assert check_health(port).wait(20) != 0


def test_a_daemon_that_is_not_well_is_not_healthy(
    check_health: Callable[[int], subprocess.Popen[bytes]],
) -> None:
    """It answers, but 503."""
    with bind("127.0.0.1", 0) as bound:
        checking = check_health(bound.getsockname()[1])
        asking, _ = bound.accept()
        with asking:
            asking.recv(1000)
            asking.sendall(b"HTTP/1.1 503 Unwell\r\nContent-Length: 0\r\n\r\n")
            asking.shutdown(socket.SHUT_WR)
            status = checking.wait(20)

    assert status != 0
