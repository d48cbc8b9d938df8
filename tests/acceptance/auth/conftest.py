"""Tokens, certificates, and programs that run beside a daemon."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import trustme
from typer.testing import CliRunner

from daemon.cli import main

from .guarded import ROOT, Issue, Pair, Run


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Return a function that runs a Python module where the daemon runs."""

    def run(
        module: str, *arguments: str, **environ: str
    ) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", module, *arguments],
            cwd=tmp_path,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)} | environ,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    return run


@pytest.fixture
def token(tmp_path: Path) -> Issue:
    """Return a function that calls `agent-registryd token`, and returns its output."""
    file = str(tmp_path / "credentials.toml")

    def token(*arguments: str) -> str:
        # In this process: one of its own takes a second to import what it does.
        done = CliRunner().invoke(main, ["token", *arguments, "--file", file])
        assert done.exit_code == 0, done.stderr
        return done.stdout.strip()

    return token


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    """Return an authority whose pair is in the place."""
    pair = Pair(trustme.CA(), tmp_path)
    pair.authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    pair.renew()
    return pair
