"""The first moments of the command."""

import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

PROJECT = Path(__file__).parents[2] / "pyproject.toml"

#: Hangs up at the first import that takes long; then runs the installed script.
HANGUP = """
import os, signal, sys
from importlib.metadata import EntryPoint

class Hangup:
    def find_spec(name, *_):
        if name == "typer":
            os.kill(os.getpid(), signal.SIGHUP)

sys.meta_path.insert(0, Hangup)
EntryPoint("agent-registryd", sys.argv.pop(1), "console_scripts").load()()
"""


def test_a_hangup_during_the_imports_ends_nothing() -> None:
    """There is nothing to reload yet; all files are read after them."""
    scripts = tomllib.loads(PROJECT.read_text())["project"]["scripts"]
    command = [sys.executable, "-c", HANGUP, scripts["agent-registryd"], "--version"]

    done = subprocess.run(
        command,
        env={"PYTHONPATH": str(PROJECT.parent)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == version("agent-registry") + "\n"
