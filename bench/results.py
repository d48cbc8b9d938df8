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

_ROOT = Path(__file__).parent.parent
FOLDER = _ROOT / "bench" / "results"
LATEST = FOLDER / "latest.json"
#: Of `make bench-full`, which takes too long to be run as often.
FULL = FOLDER / "full.json"
#: What a figure depends on; results are written by every run.
_MEASURED = ("api", "bench", "daemon", "store", "requirements.txt", ":!bench/results")

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


def commit_of(root: Path = _ROOT) -> str:
    """Return the commit of a checkout, and whether what is measured differs from it."""
    known = _say("git", "rev-parse", "--short=12", "HEAD", folder=root) or "unknown"
    changed = _say("git", "status", "--porcelain", "--", *_MEASURED, folder=root)
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


def _say(command: str, *arguments: str, folder: Path = _ROOT) -> str:
    """Return what a command prints; nothing where it is missing or fails."""
    found = shutil.which(command)
    if found is None:
        return ""
    done = subprocess.run(
        [found, *arguments],
        cwd=folder,
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
    commit: str = field(default_factory=commit_of)
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

    def save(self, path: Path | None = None) -> None:
        """Write the file: by default `FULL` or `LATEST`."""
        path = path or (FULL if self.full else LATEST)
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
