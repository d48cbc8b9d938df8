"""The seeded bugs, each of which must turn one test red: see `tests/torture.py`.

Here is checked only that they could: that each still applies, is small, and names
a test that is there.
"""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PATCHES = sorted((ROOT / "tests" / "seeded_bugs").glob("*.patch"))
LARGEST = 5

each = pytest.mark.parametrize("patch", PATCHES, ids=lambda path: path.stem)


def changed(patch: Path, sign: str) -> list[str]:
    """Return the lines that a patch adds or removes."""
    return re.findall(
        rf"(?m)^{re.escape(sign)}(?!{re.escape(sign * 2)}).*$", patch.read_text()
    )


def test_there_are_fifteen_or_more() -> None:
    """One for each thing that must not go wrong."""
    assert len(PATCHES) >= 15


@each
def test_a_seeded_bug_applies(patch: Path) -> None:
    """The code it changes is as it was; else it must be seeded anew."""
    check = ["git", "apply", "--check", str(patch)]

    subprocess.run(check, cwd=ROOT, check=True, capture_output=True)


@each
def test_a_seeded_bug_is_small(patch: Path) -> None:
    """At most five lines are changed, as an honest mistake would."""
    assert 0 < max(len(changed(patch, "+")), len(changed(patch, "-"))) <= LARGEST


@each
def test_a_seeded_bug_names_its_test(patch: Path) -> None:
    """The first line says which test it turns red."""
    named = re.match(
        r"# turns red: (tests/[\w/]+\.py)::(?:\w+::)?(\w+)", patch.read_text()
    )

    assert named is not None
    assert f"def {named[2]}(" in (ROOT / named[1]).read_text()
