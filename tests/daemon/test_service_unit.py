"""The unit files in deploy/."""

import configparser
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from daemon.config import ServerConfig
from daemon.listener import _BACKLOG

UNIT = Path(__file__).parents[2] / "deploy" / "agent-registry.service"
SOCKET = UNIT.with_suffix(".socket")
#: Of ten, in tenths: a bare unit scores 96.
MOST_EXPOSURE = 15

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="no systemd-analyze here"
)


def _read(unit: Path) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(unit)
    return parser


def _analyze(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["systemd-analyze", *arguments],  # noqa: S607 - wherever it is installed
        capture_output=True,
        text=True,
        check=False,
    )


@needs_systemd
def test_systemd_finds_no_fault_with_the_units(tmp_path: Path) -> None:
    """Every setting is known; the program is replaced by one that exists here."""
    units = [tmp_path / unit.name for unit in (UNIT, SOCKET)]
    shutil.copy(SOCKET, tmp_path)
    units[0].write_text(
        UNIT.read_text().replace(
            "/opt/agent-registry/bin/agent-registryd", sys.executable
        )
    )

    done = _analyze("verify", "--man=no", *units)

    assert done.returncode == 0, done.stderr
    assert UNIT.stem not in done.stderr


@needs_systemd
def test_the_unit_exposes_little() -> None:
    """The hardening keeps systemd's own score of exposure low."""
    if "--offline" not in _analyze("--help").stdout:
        pytest.skip("this systemd-analyze judges no unit that is not loaded")

    done = _analyze("security", "--offline=true", f"--threshold={MOST_EXPOSURE}", UNIT)

    assert done.returncode == 0, done.stdout


def test_a_hangup_as_the_daemon_begins_to_start_is_no_clean_end() -> None:
    """Python takes a moment before it can be told to ignore one."""
    assert _read(UNIT)["Service"]["RestartForceExitStatus"] == "SIGHUP"


def test_the_socket_unit_listens_as_the_daemon_would() -> None:
    """The default address, on loopback, and as many who wait; one daemon accepts."""
    socket = _read(SOCKET)["Socket"]
    default = ServerConfig()

    assert socket["ListenStream"] == f"{default.host}:{default.port}"
    assert SOCKET.read_text().count("\nListen") == 1
    assert int(socket["Backlog"]) == _BACKLOG
    assert "Accept" not in socket


def test_the_units_come_and_go_together() -> None:
    """Else whoever stops the daemon starts it again by the next call."""
    service = _read(UNIT)

    assert service["Unit"]["Requires"] == SOCKET.name
    assert SOCKET.name in service["Unit"]["After"]
    assert service["Install"]["Also"] == SOCKET.name
