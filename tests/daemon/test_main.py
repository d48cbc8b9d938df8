"""The first moments of the command."""

import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2] / "pyproject.toml"
SCRIPT = tomllib.loads(PROJECT.read_text())["project"]["scripts"]["agent-registryd"]

#: Hangs up at the first import that takes long; then the command begins.
HANGUP = """
import os, runpy, signal, sys
from importlib.metadata import EntryPoint

class Hangup:
    def find_spec(name, *_):
        if name == "typer":
            os.kill(os.getpid(), signal.SIGHUP)

sys.meta_path.insert(0, Hangup)
"""
INSTALLED = f'EntryPoint("agent-registryd", "{SCRIPT}", "console_scripts").load()()'
MODULE = 'runpy.run_module("daemon", run_name="__main__", alter_sys=True)'


@pytest.mark.parametrize("begin", [INSTALLED, MODULE], ids=["installed", "module"])
def test_a_hangup_during_the_imports_ends_nothing(begin: str) -> None:
    """There is nothing to reload yet; all files are read after them."""
    command = [sys.executable, "-c", HANGUP + begin, "--version"]

    done = subprocess.run(
        command,
        env={"PYTHONPATH": str(PROJECT.parent)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == version("agent-registry") + "\n"
