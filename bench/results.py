"""What was measured, on which machine and commit, and the file that keeps it."""

import importlib.metadata
import json
import os
import platform
import re
import shutil
import sqlite3
import subprocess
import tempfile
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from store.clock import utcnow

FOLDER = Path(__file__).parent / "results"
LATEST = FOLDER / "latest.json"

_PACKAGES = (
    "agent-registry",
    "apscheduler",
    "fastapi",
    "httptools",
    "orjson",
    "peewee",
    "pydantic",
    "starlette",
    "uvicorn",
    "uvloop",
)
_PEER_VERSIONS = {"etcd": "--version", "redis-server": "--version"}


def _commit() -> str:
    known = _say("git", "rev-parse", "--short=12", "HEAD") or "unknown"
    changed = _say("git", "status", "--porcelain", "--", "api", "daemon", "store")
    return f"{known} with uncommitted changes" if changed else known


def _machine() -> dict[str, str]:
    cpu = Path("/proc/cpuinfo").read_text().partition("model name")[2]
    return {
        "cpu": cpu.partition("\n")[0].strip("\t :") or platform.machine(),
        "cores": str(len(os.sched_getaffinity(0))),
        "kernel": platform.release(),
        "filesystem": _filesystem(Path(tempfile.gettempdir())),
    }


def _versions() -> dict[str, str]:
    versions = {
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
    }
    versions |= {name: importlib.metadata.version(name) for name in _PACKAGES}
    for command, argument in _PEER_VERSIONS.items():
        if found := re.search(r"\d+(\.\d+)+", _say(command, argument)):
            versions[command] = found[0]
    return versions


def _filesystem(folder: Path) -> str:
    """Return the kind of the filesystem that holds a folder: fsync depends on it."""
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    holding = [mount for mount in mounts if folder.resolve().is_relative_to(mount[1])]
    return max(holding, key=lambda mount: len(mount[1]))[2]


def _say(command: str, *arguments: str) -> str:
    """Return what a command prints; nothing where it is missing or fails."""
    found = shutil.which(command)
    if found is None:
        return ""
    done = subprocess.run(
        [found, *arguments],
        cwd=FOLDER.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip()


@dataclass
class Results:
    """Every figure of one run, judged by nobody yet."""

    full: bool
    date: str = field(default_factory=lambda: utcnow().isoformat(timespec="seconds"))
    commit: str = field(default_factory=_commit)
    machine: dict[str, str] = field(default_factory=_machine)
    versions: dict[str, str] = field(default_factory=_versions)
    #: How long the whole run took.
    seconds: float = 0.0
    #: The figure of each round, by the key of its target.
    measures: dict[str, list[float]] = field(default_factory=dict)
    #: Why a target has no figure, by its key.
    absent: dict[str, str] = field(default_factory=dict)
    #: Why a row could not be measured to its end, by its name.
    failures: dict[str, str] = field(default_factory=dict)
    #: What was seen of each subject in each round, by what was measured.
    rounds: dict[str, dict[str, list[dict[str, Any]]]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(list))
    )

    def save(self, path: Path = LATEST) -> None:
        """Write the file."""
        path.parent.mkdir(exist_ok=True)
        # Four digits say more than the noise allows.
        rounded = json.loads(
            json.dumps(vars(self)),
            parse_float=lambda text: float(f"{float(text):.4g}"),
        )
        path.write_text(json.dumps(rounded, indent=1) + "\n")

    @classmethod
    def load(cls, path: Path = LATEST) -> Self:
        """Read the file."""
        return cls(**json.loads(path.read_text()))
