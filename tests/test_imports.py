"""Nothing happens at import."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CLIENT = ROOT / "client"
MODULES = sorted(
    ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")
    for root, package in (
        (ROOT, "api"),
        (ROOT, "daemon"),
        (ROOT, "store"),
        (CLIENT, "agent_registry_client"),
    )
    for path in (root / package).rglob("*.py")
)


@pytest.mark.parametrize("module", MODULES)
def test_importing_a_module_does_nothing(module: str, tmp_path: Path) -> None:
    """No file, thread or output comes of an import, without environment or config."""
    program = (
        f"import sys, threading; sys.path[:0] = {[str(ROOT), str(CLIENT)]}; "
        f"import {module};"
        "assert threading.active_count() == 1"
    )

    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert list(tmp_path.iterdir()) == []
