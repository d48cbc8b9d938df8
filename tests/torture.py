"""`make torture`: what takes too long for every day, and one table of what it found.

First the tests that are marked `torture`, with their figures (`record_property`);
then the seeded bugs: each patch in `tests/seeded_bugs` is applied to a copy of the
tree, and must turn the one test red that its first line names. That test has to be
green there before; one that this machine cannot run, as only root mounts, is skipped.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree as ET

ROOT = Path(__file__).parent.parent
SEEDED = ROOT / "tests" / "seeded_bugs"
#: What pytest exits with: all passed or were skipped, or a test failed.
_GREEN, _RED = 0, 1
_SKIPPED = "skipped: this machine cannot run its test"
#: Some of these tests take half an hour, which elsewhere means that a test hangs.
_UNHURRIED = ("-o", "faulthandler_timeout=0")


class Finding(NamedTuple):
    """One line of the table."""

    what: str
    found: str
    seconds: float
    good: bool


def main(arguments: list[str]) -> int:
    """Run all of it, or only the tests that the arguments select; print the table."""
    findings = list(tortured(arguments))
    findings += seeded() if not arguments else []
    width = max(len(finding.what) for finding in findings)
    print(f"\n{'what':{width}}  {'seconds':>8}  found")
    for finding in findings:
        mark = "ok" if finding.good else "BAD"
        print(
            f"{finding.what:{width}}  {finding.seconds:8.1f}  {mark}: {finding.found}"
        )
    return 0 if all(finding.good for finding in findings) else 1


def tortured(arguments: list[str]) -> Iterator[Finding]:
    """Run the tests that are marked, and tell what each of them measured."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        # The newer family has no place for what tests measure, and pytest warns of it.
        junit = [f"--junitxml={report}", "-o", "junit_family=xunit1"]
        run = _pytest(ROOT, "-m", "torture", *_UNHURRIED, *junit, *arguments)
        subprocess.run(run, cwd=ROOT, check=False)
        for case in ET.parse(report).iter("testcase"):  # noqa: S314 - our own
            figures = [
                f"{one.get('name')} {one.get('value')}" for one in case.iter("property")
            ]
            wrong = [
                part.get("message", "") for part in case if part.tag != "properties"
            ]
            yield Finding(
                f"{case.get('classname')}::{case.get('name')}".removeprefix("tests."),
                "; ".join(wrong or figures) or "passed",
                float(case.get("time", 0)),
                good=not wrong,
            )


def seeded() -> Iterator[Finding]:
    """Apply each seeded bug to a copy of the tree, and run its test."""
    for patch in sorted(SEEDED.glob("*.patch")):
        print(f"seeding {patch.stem}", flush=True)
        begun = time.monotonic()
        (test,) = re.findall(r"^# turns red: (.+)$", patch.read_text(), re.MULTILINE)
        with tempfile.TemporaryDirectory() as folder:
            found = _seed(patch, test, Path(folder) / "tree")
        good = found in {"red", _SKIPPED}
        yield Finding(f"seeded: {patch.stem}", found, time.monotonic() - begun, good)


def _seed(patch: Path, test: str, tree: Path) -> str:
    ignored = shutil.ignore_patterns(".venv", ".git", ".*_cache", "results")
    shutil.copytree(ROOT, tree, ignore=ignored)
    unpatched = _run(tree, test)
    if unpatched.returncode != _GREEN:
        return f"NOT green before: {unpatched.stdout.strip()[-200:]}"
    if " passed" not in unpatched.stdout:
        return _SKIPPED
    applied = subprocess.run(
        ["git", "apply", patch], cwd=tree, check=False, capture_output=True, text=True
    )
    if applied.returncode:
        return f"does not apply: {applied.stderr.strip()}"
    run = _run(tree, test)
    return "red" if run.returncode == _RED else f"NOT red: {run.stdout.strip()[-200:]}"


def _run(tree: Path, test: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        _pytest(tree, "-q", "-x", "-p", "no:cacheprovider", test),
        cwd=tree,
        env=os.environ | {"PYTHONPATH": str(tree)},
        check=False,
        capture_output=True,
        text=True,
    )


def _pytest(root: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "pytest", f"--rootdir={root}", *arguments]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
