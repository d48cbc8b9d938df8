"""The unit file in deploy/."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

UNIT = Path(__file__).parents[2] / "deploy" / "agent-registry.service"
#: Of ten, in tenths: a bare unit scores 96.
MOST_EXPOSURE = 15

pytestmark = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="no systemd-analyze here"
)


def _analyze(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["systemd-analyze", *arguments],  # noqa: S607 - wherever it is installed
        capture_output=True,
        text=True,
        check=False,
    )


def test_systemd_finds_no_fault_with_the_unit(tmp_path: Path) -> None:
    """Every setting is known; the program is replaced by one that exists here."""
    unit = tmp_path / UNIT.name
    unit.write_text(
        UNIT.read_text().replace(
            "/opt/agent-registry/bin/agent-registryd", sys.executable
        )
    )

    done = _analyze("verify", "--man=no", unit)

    assert done.returncode == 0, done.stderr
    assert UNIT.name not in done.stderr


def test_the_unit_exposes_little() -> None:
    """The hardening keeps systemd's own score of exposure low."""
    if "--offline" not in _analyze("--help").stdout:
        pytest.skip("this systemd-analyze judges no unit that is not loaded")

    done = _analyze("security", "--offline=true", f"--threshold={MOST_EXPOSURE}", UNIT)

    assert done.returncode == 0, done.stdout
